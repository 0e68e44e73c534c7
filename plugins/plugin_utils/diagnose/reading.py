# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the playbook gathered, the results of modules and commands, to values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose import prometheus
from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose.evidence import (
    NOT_DEPLOYED,
    Bounds,
    Change,
    Past,
    Samples,
    Seen,
    TimedOut,
    Unknown,
)

_LIMIT = re.compile(r"(Soft|Hard) time limit \(([\d.]+)s\) exceeded for (\S+)\[([^\]\s]+)\]")
"""As Celery's worker logs it."""

_NOT_HERE = Unknown("it is not asked in a cluster")


def seen_of(
    fleet: str,
    gathered: Mapping[str, Any],
    policy: bool | None,
    bounds: Bounds | None,
    is_late: Callable[[Mapping[str, Any], float], bool],
) -> Seen:
    """Return what is known of a fleet.

    :param gathered: by its name each result: C(reading) of the module C(fleet_info), C(queues) of C(queue_info),
        C(workers) of C(worker_info), C(status) and C(history) of the command, C(journal) of C(journalctl); C(alerts),
        C(memory) and C(finished) are answers of a Prometheus, where one was asked. C(in_cluster) says where the fleet
        is, C(others) which other hosts are diagnosed.
    :param policy: whether the inventory has a policy for it, and C(bounds) what holds by that; None where the inventory
        does not describe the fleet.
    :param is_late: whether the service that wrote a status ought to have looked again by a time.
    """
    reading, in_cluster = gathered["reading"], bool(gathered["in_cluster"])
    service: dict[str, Any] | Unknown = _NOT_HERE if in_cluster else _document(gathered["status"])
    status = service if isinstance(service, Unknown) else _part(service, fleet)
    past, own = _past(gathered["history"], fleet, in_cluster)
    workers = Unknown(reading["problem"] or "no answer") if reading["workers"] is None else reading["workers"]
    if not isinstance(status, Unknown):
        policy = status["policy"]
    alerts = prometheus.firing(gathered["alerts"], gathered.get("others", ())) if gathered.get("alerts") else None
    return Seen(
        fleet=fleet,
        at=float(reading["at"]),
        in_cluster=in_cluster,
        workers=workers,
        wanted=_wanted(reading),
        waiting=_waiting(gathered["queues"], status),
        policy=policy,
        sized_by_daemon=reading.get("owned_by_daemon"),
        scaled_by=reading.get("scaled_by") or "",
        service=service,
        status=status,
        bounds=_bounds(reading, status, bounds),
        past=past,
        timed_out=_timed_out(gathered["journal"], in_cluster),
        memory=_memory(gathered, own, workers),
        alerts=None if isinstance(alerts, Unknown) else alerts,
        unconsumed=_unconsumed(gathered["queues"], gathered["workers"]),
        late=not isinstance(service, Unknown) and is_late(service, float(reading["at"])),
    )


def _document(result: Mapping[str, Any]) -> dict[str, Any] | Unknown:
    """Return what a command printed as JSON."""
    if result.get("rc") != 0:
        # The program itself says why it fails.
        if result.get("rc") == 2 and not result.get("stderr"):
            return NOT_DEPLOYED
        return Unknown(" ".join(str(result.get("stderr") or result.get("msg") or "it was not asked").split()))
    try:
        found = json.loads(result["stdout"])
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else Unknown("it did not answer in JSON")


def _part(service: Mapping[str, Any], fleet: str) -> dict[str, Any] | Unknown:
    found: dict[str, Any] = next((each for each in service["fleets"] if each["fleet"] == fleet), {})
    if not found:
        return Unknown("the autoscaler does not know this fleet")
    return found if "metrics" in found else Unknown("the autoscaler has not looked at this fleet yet")


def _wanted(reading: Mapping[str, Any]) -> int | None:
    if reading["workers"] is None:
        return None
    number: int | None = reading.get("wanted_workers")
    return sum(worker["phase"] != "draining" for worker in reading["workers"]) if number is None else number


def _waiting(queues: Mapping[str, Any], status: Mapping[str, Any] | Unknown) -> float | Unknown:
    """Return how many tasks wait: as the broker says now, else as the autoscaler saw last."""
    found = queues.get("queues")
    if found is not None:
        counts = [0 if queue["exists"] is False else queue["waiting"] for queue in found]
        if None not in counts:
            return float(sum(counts))
    if not isinstance(status, Unknown):
        seen = status["metrics"].get("queue_depth")
        return Unknown(status["unknown"].get("queue_depth", "not read")) if seen is None else float(seen)
    return Unknown(" ".join(str(queues.get("msg") or "no broker_url in the inventory").split()))


def _unconsumed(queues: Mapping[str, Any], workers: Mapping[str, Any]) -> tuple[str, ...]:
    asked = workers.get("workers") or []
    # One that does not answer may take from it.
    if not asked or any(worker["queues"] is None for worker in asked):
        return ()
    taken = {queue for worker in asked for queue in worker["queues"]}
    return tuple(
        queue["name"] for queue in queues.get("queues") or () if queue["waiting"] and queue["name"] not in taken
    )


def _bounds(
    reading: Mapping[str, Any], status: Mapping[str, Any] | Unknown, of_inventory: Bounds | None
) -> Bounds | None:
    pause = reading.get("pause")
    if pause and (pause["until"] is None or pause["until"] > reading["at"]):
        by = f" (by {pause['by']})" if pause.get("by") else ""
        return Bounds(pause["workers"], f"paused at {pause['workers']}{by}", paused=True)
    window = None if isinstance(status, Unknown) else status.get("window")
    if window:
        return Bounds(window["max_workers"], f"window {window['name']}" if window["name"] else "the limits")
    return of_inventory


def _past(
    result: Mapping[str, Any], fleet: str, in_cluster: bool
) -> tuple[Past | Unknown, dict[str, Samples] | Unknown]:
    """Return the changes of a fleet, and the samples of its workers' memory."""
    found: dict[str, Any] | Unknown = _NOT_HERE if in_cluster else _document(result)
    if isinstance(found, Unknown):
        return found, found
    own = found["fleets"].get(fleet)
    if own is None or own["at"] is None or own["first_look"] is None:
        nothing = Unknown("the autoscaler has saved nothing of this fleet yet")
        return nothing, nothing
    changes = tuple(
        Change(each["at"], each["action"], each["before"], each["after"], tuple(each["reasons"]))
        for each in own["decisions"]
        if not each["withdrawn"]
    )
    finished = [value for value in own["points"]["columns"].get("finished", ()) if value is not None]
    # One that lost its state begins to count anew.
    steps = [now - before if now >= before else now for before, now in zip(finished, finished[1:])]
    ran = sum(steps) if steps else None
    since = max(own["first_look"], own.get("decisions_since") or 0.0)
    memory: dict[str, Samples] = {
        name: [(at, float(size)) for at, size in each["samples"]] for name, each in own["memory"].items()
    }
    return Past(own["at"], own["first_look"], since, changes, ran), memory


def _timed_out(result: Mapping[str, Any], in_cluster: bool) -> list[TimedOut] | Unknown:
    if in_cluster:
        return Unknown("the logs of pods are not read")
    printed, said = result.get("stdout", ""), result.get("stderr") or ""
    # It looks first which units that match have ever written something.
    if "No data available" in said:
        return Unknown("the journal has nothing of its workers")
    # One that finds nothing ends with 1.
    if result.get("rc") not in (0, 1) or said:
        return Unknown(" ".join(str(said or result.get("msg") or "the journal was not asked").split()))
    return [
        TimedOut(found[4], found[3], f"{found[1].lower()} limit of {float(found[2]):g} s")
        for found in _LIMIT.finditer(printed)
    ]


def _memory(
    gathered: Mapping[str, Any], own: dict[str, Samples] | Unknown, workers: Any
) -> dict[str, Samples] | Unknown:
    """Return the samples of the workers that are there, of a Prometheus or else the autoscaler's own."""
    found = own
    if gathered.get("memory"):
        asked = prometheus.memory(gathered["memory"], gathered["finished"])
        found = own if (isinstance(asked, Unknown) or not asked) and not isinstance(own, Unknown) else asked
    if isinstance(found, Unknown) or isinstance(workers, Unknown):
        return found
    names = {worker["name"] for worker in workers}
    return {name: samples for name, samples in found.items() if name in names}
