# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of the past: a fixed number of points, over restarts and clocks that are set."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up_service import MONDAY, MadeUpFleet, MadeUpService

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page import record
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.history import (
    MOST_DECISIONS,
    MOST_REASONS,
    SPANS,
    History,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.keeping import EVERY, FILE, HistoryKeeper
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.ring import POINTS, Ring, Value
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.worker_memory import EVERY as SAMPLED_EVERY
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.worker_memory import (
    MOST_SAMPLES,
    MOST_WORKERS,
    WorkerMemory,
)

POLICY: dict[str, Any] = {
    "limits": {"min_workers": 1, "max_workers": 9, "cooldown_up": "0s", "cooldown_down": "0s"},
    "scale_up": {"any": [{"metric": "queue_depth", "above": 10}], "add": {"workers": 1}},
    "scale_down": {"all": [{"metric": "queue_depth", "below": 5}], "remove": {"workers": 1}},
}


def points(ring: Ring, name: str, now: float, last: int) -> list[float | None]:
    """The last points of a name; None is unknown."""
    return [None if math.isnan(value) else value for value in ring.span(now).column(name)[-last:]]


def put(ring: Ring, at: float, value: float | None, *, most: bool = False, goes_on: bool = True) -> None:
    ring.put(at, [] if value is None else [Value("n", value, "n" if most else "")], goes_on=goes_on)


def test_a_point_is_what_was_seen_last_or_the_most() -> None:
    last, most = Ring(10), Ring(10)
    for at, value in ((1000.0, 3.0), (1003.0, 7.0), (1009.0, 5.0)):
        put(last, at, value)
        put(most, at, value, most=True)
    assert points(last, "n", 1009, 2) == [None, 5.0]
    assert points(most, "n", 1009, 2) == [None, 7.0]


def test_what_belongs_together_is_of_one_look() -> None:
    ring = Ring(10)
    for at, first, second in ((1000.0, 9.0, 0.0), (1005.0, 1.0, 2.0)):
        ring.put(at, [Value("n", first + second, "n"), Value("a", first, "n"), Value("b", second, "n")], goes_on=True)
    assert [points(ring, name, 1005, 1) for name in ("n", "a", "b")] == [[9.0], [9.0], [0.0]]


def test_unknown_is_not_what_was_known_before_and_not_what_nobody_looked_at() -> None:
    ring = Ring(10)
    put(ring, 1000, 3.0)
    put(ring, 1010, None)
    put(ring, 1040, 4.0, goes_on=False)
    assert points(ring, "n", 1040, 5) == [3.0, None, None, None, 4.0]
    assert ring.span(1040).looked[-5:] == [True, True, False, False, True]


def test_what_was_seen_holds_until_the_next_look() -> None:
    ring = Ring(10)
    put(ring, 1000, 3.0)
    put(ring, 1040, 4.0)
    assert points(ring, "n", 1040, 5) == [3.0, 3.0, 3.0, 3.0, 4.0]
    assert all(ring.span(1040).looked[-5:])


def test_no_more_is_kept_than_there_is_room_for() -> None:
    ring = Ring(10)
    for number in range(5 * POINTS):
        put(ring, number * 10, float(number))
    now = (5 * POINTS - 1) * 10
    assert ring.span(now).column("n") == [float(number) for number in range(4 * POINTS, 5 * POINTS)]
    # The same a while later, when nobody has looked since.
    assert points(ring, "n", now + 20, 3) == [5 * POINTS - 1, None, None]
    put(ring, now + 10 * POINTS * 10, 1.0, goes_on=False)
    assert points(ring, "n", now + 10 * POINTS * 10, 2) == [None, 1.0]


def test_a_file_or_a_fleet_cannot_make_it_grow() -> None:
    ring = Ring(10)
    ring.put(0, [Value(str(number), 1.0) for number in range(1000)], goes_on=True)
    assert len(ring.span(0).columns) <= 32


@pytest.mark.parametrize("seconds", [20, -20, 10 * POINTS, -10 * (POINTS + 3), 0.4])
def test_a_clock_that_is_set_moves_what_was_recorded(seconds: float) -> None:
    ring = Ring(10)
    for number in range(100, 200):
        put(ring, number * 10, float(number))
    before = points(ring, "n", 1990, 100)
    ring.shift(seconds)
    assert points(ring, "n", 1990 + round(seconds / 10) * 10, 100) == before


def test_what_has_not_happened_by_a_clock_that_was_set_back_is_gone() -> None:
    ring = Ring(10)
    for at in (1000, 1010, 1020):
        put(ring, at, 1.0)
    put(ring, 1000, 2.0)
    assert points(ring, "n", 1020, 3) == [2.0, None, None]


def test_it_is_read_back() -> None:
    ring = Ring(10)
    put(ring, 1000, 3.5)
    again = Ring.of_json(10, json.loads(json.dumps(ring.as_json())))
    assert points(again, "n", 1000, 2) == [None, 3.5]
    assert again.span(1000).looked == ring.span(1000).looked


def service_of(folder: Path) -> MadeUpService:
    return MadeUpService(folder, [MadeUpFleet("web", {"celery": {"0": 30, "9": 5}}, policy=POLICY)])


def test_the_service_records_each_look(tmp_path: Path) -> None:
    service = service_of(tmp_path)
    service.look(3)
    span = service.daemon.history.history.span("web", "15m", service.now - 5)
    for name, value in (
        (record.WAITING, 35.0),
        (record.PRIORITY + "0", 30.0),
        (record.PRIORITY + "9", 5.0),
        (record.WORKERS, 4.0),
        (record.WANTED, 5.0),
        (record.FLOOR, 1.0),
        (record.CEILING, 9.0),
    ):
        assert span.column(name)[-1] == value, name
    told = [(each.action, each.before, each.after) for each in service.daemon.history.history.decisions("web")]
    assert told == [("up", 2, 3), ("up", 3, 4), ("up", 4, 5)]


def test_a_decision_that_is_made_again_and_again_is_one(tmp_path: Path) -> None:
    service = MadeUpService(tmp_path, [MadeUpFleet("web", {"celery": {"0": 30}}, policy=POLICY)], mode="advise")
    service.look(4)
    [decided] = service.daemon.history.history.decisions("web")
    assert (decided.before, decided.after, decided.until - decided.at) == (2, 3, 15)
    assert decided.withdrawn
    # Not of a service that did not run meanwhile.
    service.pass_by(3600)
    service.look()
    assert len(service.daemon.history.history.decisions("web")) == 2


def test_decisions_and_reasons_are_few(tmp_path: Path) -> None:
    history = History()
    for number in range(MOST_DECISIONS * 3):
        fleet = {"fleet": "web", "at": number * 5.0, "metrics": {}, "workers": number, "action": "up", "from": number}
        fleet.update({"to": number + 1, "reasons": ["x" * 10_000] * 100})
        history.record({"interval": 5.0, "fleets": [fleet]})
    decisions = history.decisions("web")
    assert len(decisions) == MOST_DECISIONS
    assert decisions[-1].before == MOST_DECISIONS * 3 - 1
    assert max(len(each.reasons) for each in decisions) == MOST_REASONS
    assert max(len(reason) for each in decisions for reason in each.reasons) <= 400
    assert history.as_seen("1h")["web"]["decisions_since"] == decisions[0].at == MOST_DECISIONS * 2 * 5.0


def test_it_survives_a_restart(tmp_path: Path) -> None:
    service = service_of(tmp_path)
    service.look(10)
    service.daemon.history.save()
    again = service_of(tmp_path)
    again.now = service.now + 60
    again.look()
    before, after = (each.daemon.history.history for each in (service, again))
    assert after.decisions("web")[:-1] == before.decisions("web")
    # The minute in which nobody looked is neither what was before nor unknown: points of 3 s.
    span = after.span("web", "15m", again.now - 5)
    assert span.column(record.WAITING)[-30] == 35.0
    assert span.looked[-10:] == [False] * 9 + [True]
    assert again.events() == ["started", "scaled"]


def test_the_memory_of_each_worker_is_sampled_and_survives(tmp_path: Path) -> None:
    service = MadeUpService(tmp_path, [MadeUpFleet("web", workers=2, policy=None)])
    service.look(121)
    service.daemon.history.save()
    again = History.of_text((tmp_path / FILE).read_text(encoding="utf-8"))
    kept = again.as_seen("1h")["web"]["memory"]
    assert kept == {
        name: {"life": f"{name[4]}:1", "samples": [[MONDAY, 2e8], [MONDAY + 300, 2e8], [MONDAY + 600, 2e8]]}
        for name in ("web-1@host", "web-2@host")
    }
    # While they cannot be read they are not gone.
    service.made_up["web"].workers = None
    service.look()
    assert len(service.daemon.history.history.as_seen("1h")["web"]["memory"]) == 2
    service.made_up["web"].workers = 1
    service.look()
    assert list(service.daemon.history.history.as_seen("1h")["web"]["memory"]) == ["web-1@host"]


def test_another_process_of_a_worker_begins_anew_and_no_more_is_kept_than_there_is_room_for() -> None:
    kept = WorkerMemory()
    for number in range(100):
        kept.record(number * SAMPLED_EVERY, {"web-1@host": {"life": "1", "bytes": 100.0 + number}})
    samples = kept.workers["web-1@host"].samples
    assert len(samples) == MOST_SAMPLES
    assert samples[-1] == (99 * SAMPLED_EVERY, 199.0)
    kept.shift(7.0)
    assert kept.workers["web-1@host"].samples[-1] == (99 * SAMPLED_EVERY + 7, 199.0)
    # A clock that was set back: what has not happened is gone.
    kept.record(50 * SAMPLED_EVERY, {"web-1@host": {"life": "1", "bytes": 5.0}})
    assert kept.workers["web-1@host"].samples[-2:] == ((49 * SAMPLED_EVERY + 7, 149.0), (50 * SAMPLED_EVERY, 5.0))
    # One whose memory cannot be read for a moment is the same still.
    kept.record(51 * SAMPLED_EVERY, {"web-1@host": {"life": "1", "bytes": None}})
    assert kept.workers["web-1@host"].samples[-1] == (50 * SAMPLED_EVERY, 5.0)
    kept.record(51 * SAMPLED_EVERY, {"web-1@host": {"life": "2", "bytes": None}})
    assert kept.workers == {}
    kept.record(51 * SAMPLED_EVERY, {"web-1@host": {"life": "2", "bytes": 6.0}})
    assert kept.workers["web-1@host"].samples == ((51 * SAMPLED_EVERY, 6.0),)
    kept.record(60 * SAMPLED_EVERY, {f"web-{number}@host": {"life": "1", "bytes": 1.0} for number in range(1000)})
    assert len(kept.workers) == MOST_WORKERS


def test_a_history_of_before_samples_were_taken_is_read(tmp_path: Path) -> None:
    service = service_of(tmp_path)
    service.look()
    raw = json.loads(service.daemon.history.history.as_text())
    del raw["fleets"]["web"]["memory"]
    assert History.of_text(json.dumps(raw)).as_seen("1h")["web"]["memory"] == {}
    raw["fleets"]["web"]["memory"] = {"web-1@host": {"life": "1", "samples": [[float("inf"), 1.0]]}}
    with pytest.raises(ValueError, match="no number"):
        History.of_text(json.dumps(raw))


def test_the_command_prints_it(tmp_path: Path, autoscaler: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    path = tmp_path / FILE
    missing = autoscaler("history", "--file", path)
    assert (missing.returncode, "there is no such file" in missing.stderr) == (2, True)
    service = service_of(tmp_path)
    service.look(4)
    service.daemon.history.save()
    printed = json.loads(autoscaler("history", "--file", path, "--last", "15m").stdout)
    web = printed["fleets"]["web"]
    assert (printed["last"], web["at"], web["first_look"]) == ("15m", service.now - 5, MONDAY)
    assert [each["action"] for each in web["decisions"]] == ["up"] * 4
    assert web["points"]["columns"]["waiting"][-2:] == [35.0, 35.0]
    assert web["points"]["columns"]["finished"][-1] == 0.0
    assert web["points"]["columns"]["waiting"][0] is None
    assert json.loads(autoscaler("history", "--file", path, "--fleet", "web").stdout)["fleets"].keys() == {"web"}
    other = autoscaler("history", "--file", path, "--fleet", "mail")
    assert (other.returncode, "no such fleet; it has web" in other.stderr) == (2, True)
    for damaged in ("{", ""):
        path.write_text(damaged, encoding="utf-8")
        assert autoscaler("history", "--file", path).returncode == 2
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "it is a link" in autoscaler("history", "--file", path).stderr


def test_it_is_saved_now_and_then(tmp_path: Path) -> None:
    service = service_of(tmp_path)
    service.look()
    assert not (tmp_path / FILE).exists()
    service.pass_by(EVERY)
    service.look()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": "something else", "version": 1, "fleets": {}}',
        '{"format": "muejam.celery autoscaler history", "version": 2, "fleets": {}}',
        '{"format": "muejam.celery autoscaler history", "version": 1, "fleets": {"web": {}}}',
        '{"format": "muejam.celery autoscaler history", "version": 1, "fleets": 3}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_told_and_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    service = service_of(tmp_path)
    assert service.events() == ["history_unusable", "started"]
    service.look()
    service.daemon.history.save()
    assert History.of_text((tmp_path / FILE).read_text(encoding="utf-8")).decisions("web")


def test_points_of_another_size_are_refused(tmp_path: Path) -> None:
    service = service_of(tmp_path)
    service.look()
    raw = json.loads(service.daemon.history.history.as_text())
    ring = raw["fleets"]["web"]["rings"]["1h"]
    ring["columns"]["waiting"] = ring["looked"]
    with pytest.raises(ValueError, match="in the place of"):
        History.of_text(json.dumps(raw))


def test_a_disk_that_is_full_keeps_the_service_from_nothing(tmp_path: Path) -> None:
    service = service_of(tmp_path)
    (tmp_path / FILE).mkdir()
    service.look()
    service.pass_by(EVERY)
    service.look(2)
    assert service.events().count("history_not_kept") == 1
    (tmp_path / FILE).rmdir()
    service.pass_by(EVERY)
    service.look()
    assert service.events()[-1] == "history_not_kept_any_more"


def test_a_fault_in_it_keeps_the_service_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(status: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    service = service_of(tmp_path)
    monkeypatch.setattr(service.daemon.history.history, "record", broken)
    service.look(2)
    assert service.made_up["web"].workers == 4
    assert "history_not_kept" in service.events()


def test_where_there_is_no_file_it_is_in_memory_alone() -> None:
    keeper = HistoryKeeper()
    assert not keeper.survives
    assert keeper.load() == ""
    keeper.record({"interval": 5.0, "fleets": []}, 0)
    keeper.save()
    assert keeper.problem == ""


def test_fleets_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    service = service_of(tmp_path)
    service.look()
    history = service.daemon.history.history
    history.record({"interval": 5.0, "fleets": []})
    assert not history.decisions("web")
    assert history.first_look() is None


def test_every_span_ends_now() -> None:
    history = History()
    for name, seconds in SPANS.items():
        span = history.span("web", name, MONDAY + 1)
        assert span.end >= MONDAY + 1
        assert span.end - span.start == seconds
