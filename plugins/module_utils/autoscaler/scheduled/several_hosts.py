# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet over several hosts: from what each host told to readings, and from a decision to a number for each host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.cycle import Cycle, paused_hosts
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.json_values import from_json
from ansible_collections.muejam.celery.plugins.module_utils.decide.spread import spread
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import DRAINING, FleetReading
from ansible_collections.muejam.celery.plugins.module_utils.observe.down import is_down

_FIELDS = tuple(field.name for field in fields(FleetReading))


@dataclass(frozen=True)
class Placement:
    """How many workers each host has and shall have; None is unknown, and such a host is left alone.

    :ivar left_over: workers that no host has room for.
    """

    current: Mapping[str, int | None]
    workers: Mapping[str, int]
    left_over: int = 0


def readings_of(answers: Mapping[str, Any], at: float) -> tuple[FleetReading, ...]:
    """Return what the hosts told, by name; hosts that do not have the fleet are left out.

    :param answers: by the host's name the result of the module C(fleet_info) there, or what Ansible has in its place
        when the module failed or the host was not reached.
    :param at: seconds since the epoch, for hosts that told nothing.
    :raises ValueError: when an answer is none of these.
    """
    readings = (_reading_of(host, answers[host], at) for host in sorted(answers))
    return tuple(reading for reading in readings if reading is not None)


def current_workers(readings: Sequence[FleetReading]) -> dict[str, int | None]:
    """Return how many workers each host has, draining ones not among them; None where it is unknown."""
    return {reading.host: reading.wanted for reading in readings}


def place(cycle: Cycle, readings: Sequence[FleetReading], capacities: Mapping[str, int]) -> Placement:
    """Return where the workers that were decided on go.

    :param capacities: the most workers of a host, for those that have such a limit.
    """
    current = current_workers(readings)
    known = {host: workers for host, workers in current.items() if workers is not None}
    wanted = sum(known.values())
    workers = cycle.workers_to_have(wanted if len(known) == len(current) else None)
    if workers is None:
        return Placement(current, known)
    # Where some have to go, those that do not run go first, on whichever host they are.
    here = _running(readings) if workers < wanted else current
    paused = {host: pause.workers for host, pause in paused_hosts(readings, cycle.seen.at).items()}
    limits = {host: most for host, most in capacities.items() if host in current and host not in paused}
    found = spread(workers, {**here, **paused}, limits, paused)
    return Placement(current, found.workers, found.left_over)


def room_on(readings: Sequence[FleetReading], capacities: Mapping[str, int], at: float) -> int | None:
    """Return how many workers the hosts together have room for; None where one of them has no limit.

    A host that is paused at C(at) has as many as somebody holds it at.
    """
    room = {**capacities, **{host: pause.workers for host, pause in paused_hosts(readings, at).items()}}
    hosts = [reading.host for reading in readings]
    return sum(room[host] for host in hosts) if all(host in room for host in hosts) else None


def owned_by_daemon(answers: Mapping[str, Any]) -> list[str]:
    """Return the hosts on which the autoscaler sizes the fleet."""
    return sorted(
        host for host, answer in answers.items() if isinstance(answer, Mapping) and answer.get("owned_by_daemon")
    )


def capacities_of(raw: Mapping[str, Any], hosts: Mapping[str, Any]) -> tuple[dict[str, int], list[str]]:
    """Return the most workers of each host, and what is wrong with what was given."""
    found: dict[str, int] = {}
    problems = []
    for host, most in raw.items():
        digits = most if isinstance(most, str) else ""
        number = int(digits) if digits.isdecimal() else most
        if host not in hosts:
            problems.append(f"capacities.{host}: there is no such host in hosts")
        elif isinstance(number, bool) or not isinstance(number, int) or number < 0:
            problems.append(f"capacities.{host}: {most!r} is no number of workers")
        else:
            found[host] = number
    return found, problems


def _running(readings: Sequence[FleetReading]) -> dict[str, int | None]:
    return {
        reading.host: sum(worker.phase != DRAINING and not is_down(worker) for worker in reading.workers or ())
        for reading in readings
    }


def _reading_of(host: str, answer: object, at: float) -> FleetReading | None:
    path = f"hosts.{host}"
    if not isinstance(answer, Mapping):
        raise ValueError(f"{path} is not the result of the module fleet_info")
    why = str(answer.get("msg") or "no reason was given")
    if answer.get("unreachable"):
        return FleetReading(host, at, None, problem=f"it was not reached: {why}")
    if answer.get("failed") or answer.get("skipped"):
        return FleetReading(host, at, None, problem=f"it told nothing: {why}")
    if answer.get("exists") is False:
        return None
    values = {name: answer[name] for name in _FIELDS if name in answer}
    reading = from_json(FleetReading, values, path)
    if reading.host == host or reading.workers is None:
        return replace(reading, host=host)
    # Two hosts may call themselves alike, and so their workers. In an inventory they have names of their own.
    workers = tuple(replace(worker, name=f"{worker.name} on {host}") for worker in reading.workers)
    return replace(reading, host=host, workers=workers)
