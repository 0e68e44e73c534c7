# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cycle for one fleet: from what was read to a decision. Pure; run by the autoscaler and the module `autoscale`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.remembered import Remembered
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import Decision, decide, withdrawn
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause, as_mapping, together
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.wall_clock import zone_of
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import FleetReading, QueuesReading
from ansible_collections.muejam.celery.plugins.module_utils.observe.down import due, started
from ansible_collections.muejam.celery.plugins.module_utils.observe.observing import Heartbeats, observe


@dataclass(frozen=True)
class Cycle:
    """What was seen and decided, and what to remember.

    :ivar decision: None for a fleet that is only looked at.
    :ivar after: to pass in at the next cycle when the decision was carried out, or was not to be.
    :ivar left_over: workers that would be wanted if the hosts had more room.
    :ivar floor: the fewest, and C(ceiling) the most workers that are allowed at this instant, by policy or pause.
    :ivar pause: what somebody holds the fleet at, as a line of the log has it; None while nobody does.
    :ivar if_withdrawn: to pass in when it was to be carried out and could not: no cooldown has begun.
    """

    seen: Observation
    decision: Decision | None
    after: Remembered
    if_withdrawn: Remembered
    left_over: int = 0
    floor: int | None = None
    ceiling: int | None = None
    pause: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what was seen and decided with the keys of a line of the log."""
        pause = {} if self.pause is None else {"pause": dict(self.pause)}
        return {**observation_as_json(self.seen), **pause, **decision_as_json(self.decision)}

    @property
    def due(self) -> list[str]:
        """The names of the workers that are down and that it is time to start again; none where nobody decides."""
        return due(self.after.observed.down, self.seen.at) if self.decision else []

    def workers_to_have(self, wanted: int | None) -> int | None:
        """Return how many workers to ask for, those that are down among them; None is no number at all.

        A fleet that is not to shrink keeps those that are down: they are started again.

        :param wanted: how many there are to be by now.
        """
        decision = self.decision
        if decision is None or decision.after is None or decision.before is None or wanted is None:
            return None
        if decision.after < decision.before:
            return decision.after
        return max(decision.after, wanted if self.ceiling is None else min(wanted, self.ceiling))

    def started_again(self, names: Iterable[str]) -> Cycle:
        """Return the cycle with these workers noted as having been started again."""

        def noted(then: Remembered) -> Remembered:
            down = started(then.observed.down, names, self.seen.at)
            return replace(then, observed=replace(then.observed, down=down))

        return replace(self, after=noted(self.after), if_withdrawn=noted(self.if_withdrawn))


def run_cycle(
    policy: Policy | None,
    before: Remembered,
    at: float,
    hosts: Sequence[FleetReading],
    queues: QueuesReading,
    heartbeats: Heartbeats | None = None,
    room: int | None = None,
) -> Cycle:
    """Observe and decide.

    A fleet of which every host is paused is held at what all of them are. Where some are, the policy decides for the
    whole fleet, and the others have the rest.

    :param policy: None where nothing is to be decided.
    :param at: seconds since the epoch.
    :param heartbeats: of workers that keep no status file.
    :param room: workers that the hosts together have room for; None is no limit.
    """
    seen, observed = observe(before.observed, at, hosts, queues, heartbeats)
    seen = replace(seen, room=room)
    if policy is None:
        # Nobody judges meanwhile, so nothing that held before holds without a break.
        after = Remembered(before.state.restarted(), observed)
        return Cycle(seen, None, after, after)
    pauses = paused_hosts(hosts, at)
    pause = together(list(pauses.values())) if len(pauses) == len(hosts) else None
    decision, state = decide(policy, before.state, seen, pause)
    with_room, _state = decide(policy, before.state, replace(seen, room=None), pause)
    left_over = max((with_room.after or 0) - (decision.after or 0), 0)
    if_withdrawn = Remembered(withdrawn(before.state, state), observed, withdrawn=True)
    zone = zone_of(policy.schedule.timezone)
    if pause is None:
        some = tuple(f"{host} is {each.in_words(zone)}" for host, each in pauses.items())
        decision = replace(decision, reasons=(*decision.reasons, *some))
        floor, ceiling = policy.limits.narrowed(policy.schedule.in_force(at))
        noted = None
    else:
        floor = ceiling = pause.workers
        noted = as_mapping(pause, zone)
    return Cycle(seen, decision, Remembered(state, observed), if_withdrawn, left_over, floor, ceiling, noted)


def paused_hosts(hosts: Iterable[FleetReading], at: float) -> dict[str, Pause]:
    """Return what somebody holds hosts at, at C(at) in seconds since the epoch, by the host's name."""
    return {host.host: host.pause for host in hosts if host.pause is not None and host.pause.holds(at)}


def observation_as_json(seen: Observation) -> dict[str, Any]:
    """Return C(seen) with the keys of a recorded observation, which replay reads again."""
    bounds = {"bounds": {name: asdict(each) for name, each in seen.bounds.items()}} if seen.bounds else {}
    return {
        "at": seen.at,
        "workers": seen.workers,
        "starting": seen.starting,
        "draining": seen.draining,
        "metrics": dict(seen.metrics),
        "unknown": dict(seen.unknown),
        **bounds,
        **({"blocked": seen.blocked} if seen.blocked else {}),
        **({"sources": dict(seen.sources)} if seen.sources else {}),
        **({"down": dict(seen.down)} if seen.down else {}),
        **({} if seen.room is None else {"room": seen.room}),
    }


def decision_as_json(decision: Decision | None) -> dict[str, Any]:
    """Return C(decision) with the keys that it has everywhere; none for None."""
    if decision is None:
        return {}
    return {
        "action": decision.action.value,
        "from": decision.before,
        "to": decision.after,
        "reasons": list(decision.reasons),
    }
