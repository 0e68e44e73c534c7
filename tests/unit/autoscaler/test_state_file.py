# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state file: all of it or nothing, whoever is killed and whatever lies there instead."""

from __future__ import annotations

import ast
import errno
import json
import os
import random
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state import json_values
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.remembered import (
    FORMAT,
    VERSION,
    Remembered,
    StateUnusable,
    cautious,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.state_file import (
    load_state,
    save_state,
    set_aside,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import Action, State, decide
from ansible_collections.muejam.celery.plugins.module_utils.decide.observation import Observation
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Condition, Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.runs import Run
from ansible_collections.muejam.celery.plugins.module_utils.decide.sizing import Sizing
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.observe.down import Down
from ansible_collections.muejam.celery.plugins.module_utils.observe.observing import Memory

NOW = 1767225600.25


def lived(policy: Policy) -> State:
    """Return the state after a few busy and a few calm looks."""
    state = State()
    for cycle in range(12):
        busy = cycle in range(3, 8)
        metrics = {"queue_depth": 400.0 if busy else 0.0, "cpu": 12.5, "memory": 20.0, "wait_time": 0.0}
        metrics |= {"processed_total": 10.0 * cycle, "running": 4.0 if busy else 0.0}
        _decision, state = decide(
            policy, state, Observation(NOW + 20 * cycle, 4 + cycle // 4, metrics, starting=cycle % 2)
        )
    return state


MEMORIES = {
    "web": Remembered(
        lived(Policy()), Memory(runtime=1.5, running_at=NOW, down={"web-1@a": Down(NOW)}), withdrawn=True
    ),
    "mail": Remembered(lived(parse_policy({"target": {"wait_time": 30}})), scheduled=True),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_what_was_saved_is_loaded(path: Path) -> None:
    save_state(path, MEMORIES)
    assert load_state(path) == MEMORIES
    assert MEMORIES["web"].state.runs_down[0].since is not None
    assert MEMORIES["web"].state.last_up is not None
    assert MEMORIES["mail"].state.sizing != Sizing()
    save_state(path, {})
    assert load_state(path) == {}


def test_its_owner_alone_reads_it_and_nothing_else_is_left(path: Path) -> None:
    path.write_text("{}", encoding="utf-8")
    path.chmod(0o666)
    path.with_name(".state.json.new").write_text("of a writer that was killed", encoding="utf-8")
    save_state(path, MEMORIES)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


def test_a_file_that_is_not_there_remembers_nothing(path: Path) -> None:
    assert load_state(path) == {}
    assert load_state(path / "below" / "nothing") == {}


def test_every_truncated_file_is_refused(path: Path) -> None:
    save_state(path, MEMORIES)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(StateUnusable, match="Could not use the state file"):
            load_state(path)


def changed(**changes: object) -> dict[str, object]:
    return {"format": FORMAT, "version": VERSION, "fleets": {}, **changes}


def fleet(**changes: object) -> dict[str, object]:
    entry = {**json_values.to_json(Remembered()), **changes}
    return changed(fleets={"web": entry})


def of_state(**changes: object) -> dict[str, object]:
    return fleet(state={**json_values.to_json(State()), **changes})


RUN = json_values.to_json(Run(Condition("cpu", parse_policy({}).rules.up.conditions[0].comparison, 80.0)))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "empty"),
        ("\x00" * 100, "not JSON"),
        (b"\xff\xfe\x00", "utf-8"),
        ("[" * 100_000, "nested|not JSON"),
        ({"mode": "act"}, "not a state of the autoscaler"),
        ([1], "not a state of the autoscaler"),
        (changed(version=1), "version 1"),
        (changed(version=None), "version None"),
        (changed(fleets=[]), "fleets is not an object"),
        (changed(fleets={"web": {"state": {}}}), "fleets.web is not"),
        (fleet(withdrawn="noon"), "fleets.web.withdrawn is not true or false"),
        (fleet(written="noon"), "fleets.web.written is not known"),
        (fleet(observed={"of": "another"}), "fleets.web.observed.of is not known"),
        (fleet(state=None), "fleets.web.state is not an object"),
        (of_state(at="x"), "fleets.web.state.at is not a number"),
        (of_state(at=True), "fleets.web.state.at is not a number"),
        (of_state(at=10**400), "fleets.web.state.at is not a number"),
        (of_state(last_sideways=1.0), "fleets.web.state.last_sideways is not known"),
        (of_state(runs_up={}), "runs_up is not a list"),
        (of_state(runs_up=[{"since": 1.0}]), r"runs_up\[0\].condition is missing"),
        (of_state(runs_up=[{**RUN, "counts": [[1.0]]}]), r"counts\[0\] has 1 entries, not 2"),
        (
            of_state(runs_up=[{**RUN, "condition": {**RUN["condition"], "comparison": "beside"}}]),
            r"runs_up\[0\].condition.comparison is 'beside'",
        ),
        (of_state(runs_up=[{**RUN, "condition": {**RUN["condition"], "metric": 5}}]), "metric is not a text"),
        (of_state(sizing=7), "sizing is not an object"),
    ],
)
def test_anything_odd_is_refused_with_its_place(path: Path, content: object, why: str) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    with pytest.raises(StateUnusable, match=why):
        load_state(path)


def test_numbers_that_are_none_are_refused(path: Path) -> None:
    path.write_text(json.dumps(of_state(at=float("nan"))), encoding="utf-8")
    with pytest.raises(StateUnusable, match="NaN"):
        load_state(path)


def test_a_state_of_before_a_field_was_added_is_read(path: Path) -> None:
    path.write_text(json.dumps(fleet(state={"last_up": NOW})), encoding="utf-8")
    assert load_state(path) == {"web": Remembered(State(last_up=NOW))}


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link", "not a folder above"])
def test_what_is_no_file_is_refused_at_once(path: Path, kind: str) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    else:
        path.write_text("", encoding="utf-8")
        path = path / "state.json"
    with pytest.raises(StateUnusable):
        load_state(path)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_state(path: Path, failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Injected: the error of a full disk, at the last moments it can come."""
    save_state(path, MEMORIES)

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if failing == "fsync" else (Path, "replace")), full)
    with pytest.raises(OperationError, match=r"save the state in .*No space left.*has space") as refused:
        save_state(path, {})
    assert not isinstance(refused.value, StateUnusable)
    monkeypatch.undo()
    assert load_state(path) == MEMORIES
    save_state(path, {})
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


def test_a_folder_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(OperationError, match="nowhere is there"):
        save_state(path.parent / "nowhere" / "state.json", MEMORIES)


def test_an_unusable_file_is_kept_and_replaced(path: Path) -> None:
    path.write_text("{", encoding="utf-8")
    aside = set_aside(path)
    assert aside.name == "state.json.unusable-1"
    # Whoever is killed before the next save must not find that there never was a state.
    with pytest.raises(StateUnusable):
        load_state(path)
    assert set_aside(path) == aside
    save_state(path, MEMORIES)
    assert aside.read_text(encoding="utf-8") == "{"
    assert load_state(path) == MEMORIES


def test_only_so_many_are_kept(path: Path) -> None:
    for number in range(8):
        path.unlink(missing_ok=True)
        path.write_text(str(number), encoding="utf-8")
        set_aside(path)
    kept = sorted(path.parent.glob("state.json.unusable-*"))
    assert [each.read_text(encoding="utf-8") for each in kept] == ["0", "1", "2", "3", "7"]


def test_a_folder_in_its_place_is_moved_away(path: Path) -> None:
    path.mkdir()
    set_aside(path)
    assert load_state(path) == {}
    with pytest.raises(OperationError, match="Remove it by hand"):
        set_aside(path)


def test_nobody_shrinks_or_grows_at_once_after_the_state_was_lost() -> None:
    policy = parse_policy(
        {
            "scale_up": {"any": [{"metric": "queue_depth", "above": 100}]},
            "scale_down": {"all": [{"metric": "queue_depth", "below": 10}]},
        }
    )
    calm, busy = {"queue_depth": 0.0}, {"queue_depth": 500.0}
    for metrics, cooldown, action in ((calm, 300, Action.DOWN), (busy, 60, Action.UP)):
        for seconds, expected in ((0, Action.HOLD), (cooldown - 1, Action.HOLD), (cooldown, action)):
            decision, _state = decide(policy, cautious(NOW).state, Observation(NOW + seconds, 8, metrics))
            assert decision.action is expected


WRITER = """
import itertools, sys
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.remembered import Remembered
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.state_file import save_state
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import State
from ansible_collections.muejam.celery.plugins.module_utils.observe.down import Down
from ansible_collections.muejam.celery.plugins.module_utils.observe.observing import Memory
much = Memory(down={"x" * 2000: Down(None)})
for cycle in itertools.count():
    save_state(sys.argv[1], {f"fleet-{n}": Remembered(State(at=float(cycle)), much) for n in range(20)})
    if cycle == 0:
        sys.stdout.write("saved\\n")
        sys.stdout.flush()
"""


def test_a_writer_that_is_killed_leaves_a_whole_state(path: Path) -> None:
    moments = random.Random(4)
    for _round in range(8):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == "saved\n"
            time.sleep(moments.uniform(0, 0.02))  # no condition to wait for: any moment is as good
            writer.kill()
        ats = {kept.state.at for kept in load_state(path).values()}
        assert len(ats) == 1


def test_two_writers_and_a_reader_do_not_disturb_each_other(path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(path)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as one,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other,
    ):
        try:
            for writer in (one, other):
                assert writer.stdout
                assert writer.stdout.readline() == "saved\n"
            for _look in range(100):
                assert len({kept.state.at for kept in load_state(path).values()}) == 1
                assert (one.poll(), other.poll()) == (None, None)
        finally:
            one.kill()
            other.kill()


def test_an_annotation_that_is_not_understood_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match=r"set\[int\] is not read"):
        json_values._read(ast.parse("set[int]", mode="eval").body, {}, [1], "it")
    with pytest.raises(TypeError, match="set is not written"):
        json_values.to_json({1, 2})
