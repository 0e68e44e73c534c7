# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cycle of the module `autoscale`, and what it keeps between its runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.replay import replay
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scheduled.fleet_file import (
    FleetFile,
    default_path,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.scheduled.one_cycle import (
    OneCycle,
    Outcome,
    counts,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.remembered import Remembered
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.state_file import (
    load_state,
    save_state,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import Action, State
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import (
    CONSUMING,
    DRAINING,
    FleetReading,
    QueuesReading,
    WorkerReading,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import ScaleResult

AT = 1767225600.0
POLICY = parse_policy(
    {
        "limits": {"min_workers": 1, "max_workers": 9, "cooldown_up": "60s", "cooldown_down": "5m"},
        "scale_up": {"any": [{"metric": "queue_depth", "above": 10}], "add": {"workers": 2}},
        "scale_down": {"all": [{"metric": "queue_depth", "below": 5, "for": "2m"}], "remove": {"workers": 1}},
    }
)


def host(workers: int | None, draining: int = 0) -> FleetReading:
    if workers is None:
        return FleetReading("app1", AT, None, "systemd hangs")
    phases = [CONSUMING] * workers + [DRAINING] * draining
    read = (
        WorkerReading(f"web-{n}@app1", phase, id=f"celery-worker-web@{n}.service")
        for n, phase in enumerate(phases, start=1)
    )
    return FleetReading("app1", AT, tuple(read), cores=4, memory=8e9)


def queues(waiting: int | None) -> QueuesReading:
    if waiting is None:
        return QueuesReading(AT, None, problem="no answer")
    return QueuesReading(AT, {"web": waiting}, 0)


@dataclass
class Fleet:
    """Does what it is told, or fails, and remembers what it was told."""

    told: list[tuple[int, int]] = field(default_factory=list)
    fails: dict[str, Any] | None = None

    def scale(self, workers: int, expected: int) -> ScaleResult:
        self.told.append((workers, expected))
        if self.fails is not None:
            raise OperationError("scale fleet web", "systemd refused", "See to it.", **self.fails)
        names = [f"celery-worker-web@{n}.service" for n in range(1, max(workers, expected) + 1)]
        return ScaleResult(True, expected, workers, names[expected:], [], [], names[:expected], names[:workers])


@pytest.fixture
def cycle(tmp_path: Path) -> OneCycle:
    tmp_path.chmod(0o700)
    return OneCycle(FleetFile(str(tmp_path / "web.json"), "web"), POLICY)


def take(
    cycle: OneCycle, seconds: float, workers: int | None, waiting: int | None, fleet: Fleet | None = None
) -> Outcome:
    reading = host(workers)
    return cycle.run(AT + seconds, (reading,), replace(queues(waiting), at=AT + seconds), fleet and fleet.scale)


def test_a_pause_is_honoured_and_replayed(cycle: OneCycle) -> None:
    fleet, pause = Fleet(), Pause(3, AT + 60, "alice")
    lines = []
    for seconds in (0, 30, 60):
        at = AT + seconds
        reading = replace(host(4 if seconds == 0 else 3), at=at, pause=pause)
        done = cycle.run(at, (reading,), replace(queues(99), at=at), fleet.scale)
        lines.append(done.log_line)
    assert fleet.told == [(3, 4), (5, 3)]
    assert [line["action"] for line in lines] == ["bounds", "hold", "up"]
    assert ["pause" in line for line in lines] == [True, True, False]
    again = [json.loads(line) for line in replay(POLICY, map(json.dumps, lines))]
    assert [line["reasons"] for line in again] == [line["reasons"] for line in lines]


def test_a_broker_that_blocks_is_seen_and_replayed(cycle: OneCycle) -> None:
    for seconds in range(0, 150, 30):
        at = AT + seconds
        done = cycle.run(at, (replace(host(4), at=at),), replace(queues(0), at=at, blocked="a memory alarm"))
        assert done.decision.action is Action.HOLD
        assert done.log_line["blocked"] == "a memory alarm"
        (again,) = replay(POLICY, [json.dumps(done.log_line)])
        assert json.loads(again)["action"] == "hold"
    assert "blocked" not in take(cycle, 150, 4, 0).log_line


def test_a_decision_that_no_host_has_room_for_is_none(cycle: OneCycle) -> None:
    full = cycle.run(AT, (host(4),), queues(50), room=4)
    assert (full.decision.action, full.decision.after, full.cycle.left_over) == (Action.HOLD, 4, 2)
    assert "ceiling of 4 (the room on the hosts)" in full.decision.reasons[-1]
    (again,) = replay(POLICY, [json.dumps(full.log_line)])
    assert json.loads(again)["reasons"] == full.log_line["reasons"]
    # No cooldown has begun.
    cut = cycle.run(AT + 5, (host(4),), replace(queues(50), at=AT + 5), room=5)
    assert (cut.decision.action, cut.decision.after, cut.cycle.left_over) == (Action.UP, 5, 1)


def test_a_burst_grows_the_fleet_and_the_cooldown_is_remembered(cycle: OneCycle) -> None:
    fleet = Fleet()
    first = take(cycle, 0, 2, 50, fleet)
    assert (first.decision.action, fleet.told) == (Action.UP, [(4, 2)])
    assert counts(first, host(2)) == {
        "before": 2,
        "after": 4,
        "started": ["celery-worker-web@3.service", "celery-worker-web@4.service"],
        "stopped": [],
        "draining": [],
    }
    assert first.scaled is not None
    assert first.scaled.diff()["after"].splitlines()[2:] == [
        "celery-worker-web@3.service",
        "celery-worker-web@4.service",
    ]
    second = take(cycle, 30, 4, 50, fleet)
    assert second.decision.action is Action.HOLD
    assert "cooling down for another 30s" in second.decision.reasons[-1]
    assert take(cycle, 60, 4, 50, fleet).decision.after == 6
    assert fleet.told == [(4, 2), (6, 4)]


def test_a_condition_goes_on_from_run_to_run(cycle: OneCycle) -> None:
    fleet = Fleet()
    assert [take(cycle, seconds, 3, 0, fleet).decision.after for seconds in (0, 60, 119)] == [3, 3, 3]
    assert take(cycle, 120, 3, 0, fleet).decision.after == 2


def test_after_a_long_break_conditions_begin_anew_and_cooldowns_do_not(cycle: OneCycle) -> None:
    cycle = replace(cycle, forget_after=600.0)
    fleet = Fleet()
    take(cycle, 0, 3, 0, fleet)
    late = take(cycle, 601, 3, 0, fleet)
    assert (late.decision.action, late.log_line["restarted"]) == (Action.HOLD, True)
    assert "restarted" not in take(cycle, 720, 3, 0, fleet).log_line
    assert take(cycle, 721, 3, 0, fleet).decision.action is Action.DOWN
    slow = replace(cycle, forget_after=60.0)
    again = take(slow, 1000, 2, 0, fleet)
    again = take(slow, 1060, 2, 0, fleet)
    assert again.decision.action is Action.HOLD


def test_hold_does_nothing_and_tells_of_draining_workers(cycle: OneCycle) -> None:
    fleet = Fleet()
    reading = host(2, draining=1)
    outcome = cycle.run(AT, (reading,), queues(7), fleet.scale)
    assert (outcome.decision.action, outcome.scaled, fleet.told) == (Action.HOLD, None, [])
    told = counts(outcome, reading)
    assert told == {"before": 2, "after": 2, "started": [], "stopped": [], "draining": ["celery-worker-web@3.service"]}


def test_unknown_changes_nothing(cycle: OneCycle) -> None:
    fleet = Fleet()
    unread = take(cycle, 0, None, 50, fleet)
    assert (unread.decision.before, unread.decision.after) == (None, None)
    assert "systemd hangs" in " ".join(unread.decision.reasons)
    assert take(cycle, 60, 3, None, fleet).decision.after == 3
    assert fleet.told == []


def test_bounds_hold_with_an_unreadable_broker(cycle: OneCycle) -> None:
    fleet = Fleet()
    assert take(cycle, 0, 0, None, fleet).decision.action is Action.BOUNDS
    assert fleet.told == [(1, 0)]


def test_advice_is_not_acted_on_and_starts_no_cooldown(cycle: OneCycle) -> None:
    fleet = Fleet()
    advice = take(replace(cycle, apply=False), 0, 2, 50, fleet)
    assert (advice.decision.after, advice.scaled, advice.log_line["mode"]) == (4, None, "advise")
    assert fleet.told == []
    acted = take(cycle, 10, 2, 50, fleet)
    assert (acted.decision.after, acted.log_line["mode"], acted.log_line["withdrawn"]) == (4, "act", True)
    assert fleet.told == [(4, 2)]
    assert "withdrawn" not in take(cycle, 20, 4, 50, fleet).log_line


def test_advice_goes_on_with_what_was_seen(cycle: OneCycle) -> None:
    cycle = replace(cycle, apply=False)
    assert [take(cycle, seconds, 3, 0).decision.after for seconds in (0, 60, 120, 180)] == [3, 3, 2, 2]


def test_somebody_else_acts(cycle: OneCycle) -> None:
    assert take(cycle, 0, 2, 50).decision.after == 4
    assert take(cycle, 30, 4, 50).decision.action is Action.HOLD


def test_check_mode_keeps_nothing_and_says_what_would_be_done(cycle: OneCycle) -> None:
    fleet = Fleet()
    checked = take(replace(cycle, check_mode=True), 0, 2, 50, fleet)
    assert (checked.decision.after, fleet.told) == (4, [(4, 2)])
    assert list(Path(cycle.file.path).parent.iterdir()) == []


def test_a_failure_starts_no_cooldown_and_tells_what_was_decided(cycle: OneCycle) -> None:
    with pytest.raises(OperationError, match="systemd refused") as failure:
        take(cycle, 0, 2, 50, Fleet(fails={"before": 2, "after": 2}))
    assert failure.value.details["decision"]["to"] == 4
    assert failure.value.details["observation"]["workers"] == 2
    again = take(cycle, 10, 2, 50, Fleet())
    assert (again.decision.after, again.log_line["withdrawn"]) == (4, True)


def test_a_failure_after_the_number_was_reached_keeps_the_cooldown(cycle: OneCycle) -> None:
    with pytest.raises(OperationError):
        take(cycle, 0, 2, 50, Fleet(fails={"before": 2, "after": 4}))
    again = take(cycle, 10, 4, 50, Fleet())
    assert again.decision.action is Action.HOLD
    assert "withdrawn" not in again.log_line


def test_nothing_is_done_that_could_not_be_remembered(cycle: OneCycle) -> None:
    # The temporary file's name is taken by a directory: the fault of a full disk, for root as well.
    Path(cycle.file.path).with_name(".web.json.new").mkdir()
    fleet = Fleet()
    with pytest.raises(OperationError, match="save the state"):
        take(cycle, 0, 2, 50, fleet)
    assert fleet.told == []


def test_a_clock_that_was_set_back_is_noticed(cycle: OneCycle) -> None:
    fleet = Fleet()
    take(cycle, 0, 2, 50, fleet)
    back = take(cycle, -3600, 4, 50, fleet)
    assert back.log_line["clock_stepped"] == -3600
    assert "cooling down for another 60s" in back.decision.reasons[-1]
    assert take(cycle, -3540, 4, 50, fleet).decision.after == 6


@pytest.mark.parametrize("damage", ["", "{", '{"format": "else"}', "inside", "of the version before"])
def test_a_damaged_file_is_set_aside_and_the_cycle_is_cautious(cycle: OneCycle, damage: str) -> None:
    fleet = Fleet()
    take(cycle, 0, 2, 50, fleet)
    path = Path(cycle.file.path)
    raw = json.loads(path.read_text())
    if damage == "inside":
        raw["fleets"]["web"]["observed"] = {"no": "memory"}
        damage = json.dumps(raw)
    elif damage == "of the version before":
        damage = json.dumps({**raw, "version": 1})
    path.write_text(damage)
    checked = take(replace(cycle, check_mode=True), 600, 4, 50, Fleet())
    assert "lost" in checked.warnings[0]
    assert path.read_text() == damage
    found = take(cycle, 600, 4, 50, fleet)
    assert found.decision.action is Action.HOLD
    assert (found.log_line["state_lost"], found.log_line["restarted"]) == (True, True)
    assert "web.json.unusable-1" in found.warnings[0]
    assert (path.with_name("web.json.unusable-1")).read_text() == damage
    assert take(cycle, 660, 4, 50, fleet).decision.action is Action.UP


def test_the_file_of_another_fleet_or_of_the_autoscaler_is_left_alone(cycle: OneCycle) -> None:
    for fleets in ({"other": Remembered(scheduled=True)}, {"web": Remembered(State(last_up=AT))}):
        save_state(cycle.file.path, fleets)
        with pytest.raises(OperationError, match="alone"):
            take(cycle, 0, 2, 50, Fleet())
        assert load_state(cycle.file.path) == fleets


def test_only_one_at_a_time_and_only_in_a_directory_of_ones_own(tmp_path: Path) -> None:
    file = FleetFile(str(tmp_path / "new" / "below" / "web.json"), "web")
    with file.alone():
        assert (tmp_path / "new" / "below").stat().st_mode & 0o777 == 0o700
    (tmp_path / "new" / "below").chmod(0o770)
    with pytest.raises(OperationError, match="others than root"), file.alone():
        pass
    with pytest.raises(OperationError, match="state_path"), FleetFile("/proc/none/web.json", "web").alone():
        pass


def test_every_fleet_has_a_file_of_its_own() -> None:
    assert default_path("web") != default_path("other")


def with_down(seconds: float, *states: str) -> FleetReading:
    down = tuple(
        WorkerReading(f"web-{n}@app1", "down", down_for=seconds, state=state) for n, state in enumerate(states, start=8)
    )
    reading = host(2)
    return replace(reading, workers=(*(reading.workers or ()), *down))


def test_wanted_workers_that_are_down_are_started_again_and_not_at_each_run(cycle: OneCycle) -> None:
    fleet = Fleet()
    told = []
    for seconds, down_for in ((0, 5), (20, 25), (40, 5), (60, 25), (80, 45), (110, 75)):
        reading = with_down(down_for, "failed, exit-code", "dead, success")
        outcome = cycle.run(AT + seconds, (reading,), replace(queues(7), at=AT + seconds), fleet.scale)
        told.append(len(fleet.told))
        assert (outcome.decision.action, outcome.decision.before) == (Action.HOLD, 2)
    assert told == [0, 1, 1, 2, 2, 2]
    assert fleet.told[0] == (4, 4)


def test_a_fleet_that_is_only_advised_starts_nobody(cycle: OneCycle) -> None:
    fleet = Fleet()
    outcome = replace(cycle, apply=False).run(AT, (with_down(60, "dead, success"),), queues(7), fleet.scale)
    assert (fleet.told, outcome.started_again) == ([], ())
    assert "web-8@app1 is down (dead, success) and does not count" in outcome.decision.reasons


def test_those_that_are_down_above_the_ceiling_are_let_go(cycle: OneCycle) -> None:
    fleet = Fleet()
    cycle.run(AT, (with_down(60, *["dead, success"] * 9),), queues(7), fleet.scale)
    assert fleet.told == [(9, 11)]
