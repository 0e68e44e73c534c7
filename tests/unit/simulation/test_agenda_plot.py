# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""celery-autoscaler schedule, and the bounds of days as a page and a picture."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest

Schedule = Callable[..., subprocess.CompletedProcess[str]]
POLICY = """
schedule:
  timezone: Europe/Berlin
  windows:
    - {name: peak <hours>, time: "08:00-18:00", min_workers: 5}
    - {name: campaign, from: 2026-10-24 12:00:00, until: 2026-10-25T18:30:00Z, min_workers: 12}
"""


@pytest.fixture
def schedule(autoscaler: Schedule, tmp_path: Path) -> Schedule:
    policy = tmp_path / "policy.yml"
    policy.write_text(POLICY, encoding="utf-8")
    return partial(autoscaler, "schedule", "--policy", policy)


def test_a_week_from_today_on(schedule: Schedule) -> None:
    done = schedule()
    assert (done.returncode, done.stderr) == (0, "")
    title, _empty, *rows = done.stdout.splitlines()
    assert "policy.yml, on the clock of Europe/Berlin" in title
    days = [row.split()[1] for row in rows if not row.startswith(" ")]
    assert len(days) == 7
    assert abs(datetime.fromisoformat(days[0]).date() - datetime.now(timezone.utc).date()).days <= 1
    assert rows[0].split()[2].startswith("00:00-")


def test_days_that_were_asked_for(schedule: Schedule) -> None:
    done = schedule("--from", "2026-10-24T08:00Z", "--days", "2")
    assert done.stdout.splitlines()[2:] == [
        "Sat 2026-10-24  10:00-12:00 5-20 peak <hours>   12:00-24:00 12-20 campaign (once)",
        "Sun 2026-10-25  00:00-19:30 12-20 campaign (once)   19:30-24:00 2-20 no window",
        "                the clock goes back from 03:00 to 02:00",
    ]


@pytest.mark.parametrize("days", ["0", "367", "x", "-1"])
def test_days_out_of_range_are_refused(schedule: Schedule, days: str) -> None:
    done = schedule(f"--days={days}")
    assert done.returncode == 2
    assert "is not a number from 1 to 366" in done.stderr


@pytest.mark.parametrize("asked", [("--from", "soon"), ("--from", "9998-12-30", "--days", "366")])
def test_a_date_that_is_none_is_refused(schedule: Schedule, asked: tuple[str, ...]) -> None:
    done = schedule(*asked)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"show {asked[-1] if len(asked) > 2 else 7} days from {asked[1]} on" in done.stderr
    assert 'Give --from a date such as "2026-12-01".' in done.stderr


def test_it_is_drawn_as_a_page_and_a_picture(schedule: Schedule, tmp_path: Path) -> None:
    page = tmp_path / "out" / "week.html"
    done = schedule("--from", "2026-10-24", "--plot", page)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Drawn in {page} and {page.with_suffix('.png')}." in done.stdout
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    text = page.read_text(encoding="utf-8")
    assert ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6]).tag.endswith("svg")
    assert "5-20 peak &lt;hours&gt;" in text
    assert "<hours>" not in text
    assert "floors from 2 to 12 workers, ceilings from 20 to 20" in text


def test_a_name_is_drawn_as_it_is(autoscaler: Schedule, tmp_path: Path) -> None:
    policy = tmp_path / "$x^{$.yml"
    policy.write_text('{"schedule": {"windows": [{"name": "_$a^{b$", "min_workers": 3}]}}', encoding="utf-8")
    done = autoscaler("schedule", "--policy", policy, "--plot", tmp_path / "week.html")
    assert (done.returncode, done.stderr) == (0, "")


def test_without_matplotlib_nothing_is_drawn_and_it_is_said(
    schedule: Schedule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    done = schedule("--plot", tmp_path / "week.html")
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install matplotlib" in done.stderr
    assert schedule().returncode == 0


def test_a_pause_is_marked(schedule: Schedule, tmp_path: Path) -> None:
    page = tmp_path / "week.html"
    done = schedule("--days=3", "--pause", '{"workers": 3}', "--plot", page)
    assert (done.returncode, done.stderr) == (0, "")
    assert "  00:00-24:00 3-3 paused\n" in done.stdout
    assert "3-3 paused" in page.read_text(encoding="utf-8")
    refused = schedule("--pause", '{"workers": -3}')
    assert (refused.returncode, "pause.workers is -3" in refused.stderr) == (2, True)


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """The configuration of a service with two fleets that have a policy, one of which is paused."""
    status = tmp_path / "status.json"
    fleets = [
        {"name": name, "broker_url": "redis://localhost", **({} if policy is None else {"policy": policy})}
        for name, policy in (("web", {}), ("mail", {"limits": {"max_workers": 4}}), ("seen", None))
    ]
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"status": str(status), "fleets": fleets}), encoding="utf-8")
    paused = {"fleet": "mail", "pause": {"workers": 0, "until": None}}
    status.write_text(json.dumps({"version": 1, "fleets": [{"fleet": "web"}, paused]}), encoding="utf-8")
    return path


def test_all_fleets_of_a_service_with_their_pauses(autoscaler: Schedule, service: Path, tmp_path: Path) -> None:
    page = tmp_path / "week.html"
    done = autoscaler("schedule", "--config", service, "--days=2", "--plot", page)
    assert (done.returncode, done.stderr) == (0, "")
    rows = done.stdout.splitlines()
    assert rows[0] == "Floor and ceiling of fleet web, on the clock of UTC"
    assert rows[3].endswith("00:00-24:00 2-20 no window")
    assert rows[5] == "Floor and ceiling of fleet mail, on the clock of UTC"
    assert rows[-4].endswith("24:00 0-0 paused")
    text = page.read_text(encoding="utf-8")
    assert (text.count("<svg"), text.count("<h2>")) == (2, 2)
    one = autoscaler("schedule", "--config", service, "--fleet", "mail")
    assert one.stdout.startswith("Floor and ceiling of fleet mail")
    none = autoscaler("schedule", "--config", service, "--fleet", "seen")
    assert (none.returncode, "names no such fleet with a policy" in none.stderr) == (2, True)


def test_without_a_service_that_runs_pauses_are_not_known(autoscaler: Schedule, service: Path) -> None:
    (service.parent / "status.json").unlink()
    done = autoscaler("schedule", "--config", service, "--days=1")
    assert done.returncode == 0
    assert "It is not known whether fleets are paused" in done.stderr
    assert "no window" in done.stdout
