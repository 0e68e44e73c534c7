# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table that people read, and the lines of the log in words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.run import in_words
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status import table
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status_file import (
    read_status,
    write_status,
)
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

FLEET: dict[str, Any] = {
    "fleet": "web",
    "policy": True,
    "workers": 4,
    "starting": 1,
    "draining": 0,
    "metrics": {"queue_depth": 120.0, "wait_time": 12.25},
    "unknown": {"cpu": "celery-worker-web@2.service has written no status file"},
    "action": "up",
    "from": 4,
    "to": 6,
    "reasons": ["queue_depth 120 is above 100 for 60s"],
    "stuck": {"web-3@a": 301.0},
    "errors": {"scale": 2},
    "decisions": {"up": 1},
}
STATUS = {"at": 1000.0, "mode": "act", "interval": 5.0, "reload_failed": False, "fleets": [FLEET]}


def test_the_table_tells_what_is_known_and_what_is_not() -> None:
    text = table(STATUS, now=1003)
    assert "mode act, every 5 s, last looked 3 s ago" in text
    for told in ("4 (1 starting)", "120", "12.2 s", "?", "up 4 -> 6", "queue_depth 120 is above 100 for 60s"):
        assert told in text
    assert "unknown: cpu: celery-worker-web@2.service has written no status file" in text
    assert "web-3@a has idled for 301 s while tasks wait" in text
    assert "2 times could not scale" in text


@pytest.mark.parametrize(("at_most", "cell"), [(12.25, "<= 12.2 s"), (None, ">= 12.2 s")])
def test_a_bound_is_told_as_one(at_most: float | None, cell: str) -> None:
    bounds = {"wait_time": {"at_least": 0.0, "at_most": at_most, "why": "the looks are 60 s apart"}}
    text = table({**STATUS, "fleets": [{**FLEET, "bounds": bounds}]}, now=1003)
    assert cell in text
    assert "web: wait_time is only a bound: the looks are 60 s apart" in text


def test_a_broker_that_blocks_is_told() -> None:
    text = table({**STATUS, "fleets": [{**FLEET, "blocked": "Redis is full"}]}, now=1003)
    assert "web: the broker takes no tasks: Redis is full" in text


def test_a_pause_and_the_next_edge_are_told() -> None:
    pause = {"workers": 4, "until": None, "by": "alice"}
    bounds = {"min_workers": 2, "max_workers": 9}
    edges = {"window": {"name": "sale", **bounds}, "next_edge": {"name": None, "at": "2026-12-01T08:00:00Z", **bounds}}
    reasons = ["paused at 4 until it is lifted (by alice)"]
    paused = {**FLEET, **edges, "action": "hold", "to": 4, "pause": pause, "reasons": reasons}
    text = table({**STATUS, "fleets": [paused]}, now=1003)
    assert "web: paused at 4 until it is lifted (by alice)" in text
    assert "  paused\n" in text
    assert "2 to 9 workers (sale) until 2026-12-01T08:00:00Z, then 2 to 9 workers (outside every window)" in text


def test_an_old_status_says_so() -> None:
    assert "long ago" in table(STATUS, now=2000)


def test_a_fleet_without_a_policy_or_a_known_count() -> None:
    quiet = {key: value for key, value in FLEET.items() if key not in ("action", "from", "to", "reasons")}
    assert "none: no policy" in table({**STATUS, "fleets": [{**quiet, "policy": False, "workers": None}]}, now=1000)
    assert "none: mode observe" in table({**STATUS, "fleets": [quiet]}, now=1000)


def test_the_status_file_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    with pytest.raises(OperationError, match="does not run"):
        read_status(str(path))
    write_status(str(path), STATUS)
    assert read_status(str(path))["fleets"] == [FLEET]
    assert path.stat().st_mode & 0o777 == 0o644
    path.write_text("{", encoding="utf-8")
    with pytest.raises(OperationError):
        read_status(str(path))


HOSTILE = "\x1b]0;owned\x07\x9b2J\u202e\nweb: all is well"


@pytest.mark.parametrize(
    "fleet",
    [
        {**FLEET, "fleet": HOSTILE},
        {**FLEET, "action": HOSTILE, "from": 1, "to": 1},
        {**FLEET, "reasons": [HOSTILE]},
        {**FLEET, "unknown": {HOSTILE: HOSTILE}},
        {**FLEET, "stuck": {HOSTILE: 3}},
        {**FLEET, "errors": {HOSTILE: 3}},
        {**FLEET, "workers": HOSTILE},
        {**FLEET, "reasons": [HOSTILE * 100_000], "fleet": HOSTILE * 100_000},
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(fleet: dict[str, Any]) -> None:
    lines = table({**STATUS, "mode": HOSTILE, "fleets": [fleet]}, now=1000).splitlines()
    assert all(line.isprintable() for line in lines)
    assert "web: all is well" not in lines
    assert max(map(len, lines)) < 10_000


@pytest.mark.parametrize(
    "status",
    [
        {},
        {**STATUS, "at": "yesterday"},
        {**STATUS, "at": 10**400},
        {**STATUS, "fleets": 3},
        {**STATUS, "fleets": ["metrics"]},
        {**STATUS, "fleets": [{"metrics": {}}]},
        {**STATUS, "fleets": [{**FLEET, "metrics": {"cpu": 10**400}}]},
        {**STATUS, "fleets": [{**FLEET, "metrics": {"cpu": "much"}}]},
        {**STATUS, "fleets": [{**FLEET, "stuck": []}]},
    ],
)
def test_a_status_of_another_form_is_refused(status: dict[str, Any]) -> None:
    with pytest.raises(OperationError, match="not what the autoscaler writes"):
        table(status, now=1000)


def test_status_is_not_held_up_by_what_lies_in_the_files_place(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    os.mkfifo(path)
    with pytest.raises(OperationError, match="no plain file"):
        read_status(str(path))
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(OperationError, match="a link"):
        read_status(str(path))
    with pytest.raises(OperationError, match="no plain file"):
        read_status("/dev/zero")
    path.unlink()
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(OperationError, match="larger than"):
        read_status(str(path))
    path.write_bytes(b"[" * 100_000)
    with pytest.raises(OperationError, match=r"nested|not JSON|status\.json"):
        read_status(str(path))


def test_lines_of_the_log_in_words() -> None:
    line = {**FLEET, "at": 1000.0, "mode": "act"}
    assert "web up     4 -> 6" in in_words(line)
    assert in_words({"at": 1000.0, "event": "scale_failed", "fleet": "web"}).endswith("scale failed: fleet web")
    assert "? workers" in in_words({"at": 0.0, "fleet": "web", "workers": None, "metrics": {}})
