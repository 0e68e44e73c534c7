# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page for people: what is on it, that nothing of others becomes a part of it, and what it costs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from made_up_day import BusyDay
from made_up_service import MONDAY, MadeUpFleet, MadeUpService

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page import markup
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.answering import (
    PageOfDaemon,
    asked_span,
    usual_span,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.calendar import Weeks
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.fleet_section import told
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.history import SPANS, History
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.look import SCRIPT, STYLE, source
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.markup import Markup, tag
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.page import HEADERS, Shown, page
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service import metrics_server
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status import metric_cell, workers_cell
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status_file import read_status
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import METRICS
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy

POLICY: dict[str, Any] = {
    "limits": {"min_workers": 2, "max_workers": 12, "cooldown_up": "10s", "cooldown_down": "20s"},
    "scale_up": {"any": [{"metric": "queue_depth", "above": 20}], "add": {"workers": 2}},
    "scale_down": {"all": [{"metric": "queue_depth", "below": 5, "for": "10s"}], "remove": {"workers": 1}},
    "schedule": {
        "timezone": "Europe/Berlin",
        "windows": [
            {"name": "office", "days": ["mon", "tue", "wed", "thu", "fri"], "time": "08:00-18:00", "min_workers": 4},
            {"name": "campaign", "from": "2026-01-07 10:00", "until": "2026-01-07 20:00", "min_workers": 10},
        ],
    },
}


class Seen(HTMLParser):
    """What a browser would take a page for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.numbers: dict[str, list[tuple[str, str]]] = {}
        self._open: str | None = None
        self._value = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self._open = attributes.get("data-name")
        self._value = attributes.get("data-value") or ""

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._open:
            self.numbers.setdefault(self._open, []).append((data, self._value))
            self._open = None

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def seen(service: MadeUpService, query: str = "") -> Seen:
    return Seen(PageOfDaemon(service.daemon).document(query).body.decode())


def service_of(folder: Path, *fleets: MadeUpFleet, **settings: Any) -> MadeUpService:
    service = MadeUpService(folder, fleets, **settings)
    service.look()
    return service


def test_its_numbers_are_those_of_the_status(tmp_path: Path) -> None:
    service = service_of(tmp_path, MadeUpFleet("web", {"celery": {"0": 30, "9": 12}}, 4, busy=3, policy=POLICY))
    service.look(5)
    shown = seen(service)
    [fleet] = read_status(service.configuration.status)["fleets"]
    names = [name for name, metric in METRICS.items() if metric.column]
    expected = {name: [(told(metric_cell(fleet, name)), json.dumps(fleet["metrics"].get(name)))] for name in names}
    expected["workers"] = [(workers_cell(fleet), json.dumps(fleet["workers"]))]
    expected["to"] = [(str(fleet["to"]), json.dumps(fleet["to"]))]
    for name, key in (("floor", "min_workers"), ("ceiling", "max_workers")):
        expected[name] = [(str(fleet["window"][key]), json.dumps(fleet["window"][key]))]
    assert shown.numbers == expected
    assert fleet["reasons"][0] in shown.text


def test_it_tells_why(tmp_path: Path) -> None:
    service = service_of(tmp_path, MadeUpFleet("web", {"celery": {"0": 30}}, 4, policy=POLICY))
    shown = seen(service)
    assert "queue_depth 30 is above 20" in shown.text
    assert "grows 4 \u2192 6" in shown.text
    assert "Floor 4 and ceiling 12 are of the window office" in shown.text
    # What changed it last stands there when it does not change any more.
    service.made_up["web"].waiting = {"celery": {"0": 10}}
    service.look(3)
    assert "4 \u2192 6" in seen(service).text
    assert "It stays at 6." in seen(service).text


def test_a_fleet_whose_broker_is_away_is_unknown_and_not_empty(tmp_path: Path) -> None:
    service = service_of(tmp_path, MadeUpFleet("web", {"celery": {"0": 30}}, 4, policy=POLICY))
    service.look(20)
    service.made_up["web"].waiting = None
    service.look(80)
    shown = seen(service)
    assert shown.numbers["queue_depth"] == [("unknown", "null")]
    assert "queue unknown" in shown.text
    assert "broker:6379: Connection refused" in shown.text
    assert [attributes for tag, attributes in shown.tags if tag == "rect" and attributes.get("class") == "unknown"]
    assert [attributes for tag, attributes in shown.tags if attributes.get("class") == "fleet unknown"]


def test_workers_that_cannot_be_read_are_unknown(tmp_path: Path) -> None:
    shown = seen(service_of(tmp_path, MadeUpFleet("web", workers=None, policy=POLICY)))
    assert shown.numbers["workers"] == [("unknown", "null")]
    assert shown.numbers["to"] == [("unknown", "null")]
    assert "workers unknown" in shown.text


def test_a_fleet_without_a_policy(tmp_path: Path) -> None:
    shown = seen(service_of(tmp_path, MadeUpFleet("web", policy=None)))
    assert "It has no policy" in shown.text
    assert "ceiling" not in shown.numbers
    assert "only looked at" in shown.text


@pytest.mark.parametrize(("mode", "words"), [("advise", "nobody carries out"), ("observe", "decides nothing")])
def test_a_mode_that_does_not_act_is_told(tmp_path: Path, mode: str, words: str) -> None:
    assert words in seen(service_of(tmp_path, MadeUpFleet("web"), mode=mode)).text


def test_the_coming_week(tmp_path: Path) -> None:
    shown = seen(service_of(tmp_path, MadeUpFleet("web", policy=POLICY)))
    # Five days of the office, one of them with what comes once in its middle.
    classes = [attributes.get("class") or "" for tag, attributes in shown.tags if tag == "svg"]
    bars = [each for each in classes if each.startswith("bar ")]
    assert len([bar for bar in bars if bar == "bar w1 once"]) == 1
    assert len([bar for bar in bars if bar == "bar w0"]) == 5
    assert "Wed 2026-01-07  00:00-08:00 2-12 no window   08:00-10:00 4-12 office" in shown.text


def test_a_service_that_hangs_is_told(tmp_path: Path) -> None:
    service = service_of(tmp_path, MadeUpFleet("web"))
    answers = PageOfDaemon(service.daemon)
    fresh = answers.document("").body.decode()
    service.pass_by(300)
    assert "It last looked" not in fresh
    assert "It last looked 305 s ago" in answers.document("").body.decode()
    service.pass_by(60)
    assert "It last looked 365 s ago" in answers.document("").body.decode()


def test_one_that_has_not_looked_yet(tmp_path: Path) -> None:
    service = MadeUpService(tmp_path, [MadeUpFleet("web")])
    assert "has not looked at its fleets yet" in seen(service).text
    service.daemon.status()
    status = {**service.daemon.status(), "at": MONDAY}
    shown = Shown(status, History(), {}, Weeks(), "host")
    assert "not looked at yet" in page(shown, MONDAY, "1h")


def test_a_follower_says_who_leads(tmp_path: Path) -> None:
    service = service_of(tmp_path, MadeUpFleet("web"))
    for leader, words in (("celery-autoscaler-1", "celery-autoscaler-1 leads"), ("", "it is not known which")):
        status = {**service.daemon.status(), "follows": leader}
        assert words in page(Shown(status, History(), {}, Weeks(), "host"), service.now, "1h")


def test_a_pause_is_told_and_drawn(tmp_path: Path) -> None:
    service = service_of(tmp_path, MadeUpFleet("web", policy=POLICY))
    status = service.daemon.status()
    status["fleets"][0]["pause"] = {"workers": 3, "until": "2026-01-06T03:00:00+01:00", "by": "ops <b>"}
    status["fleets"][0]["next_edge"] = {
        "at": "2026-01-05T18:00:00+01:00",
        "min_workers": 2,
        "max_workers": 12,
        "name": None,
    }
    text = page(Shown(status, History(), {"web": parse_policy(POLICY)}, Weeks(), "host"), service.now, "1h")
    shown = Seen(text)
    assert "Somebody holds it at 3 workers until Tue 06 Jan 03:00, by ops <b>" in shown.text
    assert "until 18:00; then 2 and 12 (outside every window)." in shown.text
    assert shown.numbers["floor"] == shown.numbers["ceiling"] == [("3", "3")]
    assert [one for tag, one in shown.tags if one.get("class") == "bar paused"]


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&\u202e\x00"


def hostile_status() -> dict[str, Any]:
    fleet = {
        "fleet": HOSTILE,
        "policy": True,
        "at": MONDAY,
        "workers": 2,
        "starting": 0,
        "draining": 0,
        "metrics": {"queue_depth": 3.0},
        "unknown": {HOSTILE: HOSTILE},
        "bounds": {"wait_time": {"at_least": 0, "at_most": None, "why": HOSTILE}},
        "sources": {HOSTILE: HOSTILE},
        "blocked": HOSTILE,
        "down": {HOSTILE: HOSTILE},
        "action": "up",
        "from": 2,
        "to": 4,
        "reasons": [HOSTILE, HOSTILE],
        "stuck": {HOSTILE: 3.0},
        "errors": {HOSTILE: 2},
        "decisions": {},
        "queues": {HOSTILE: 3},
        "waiting_by_priority": {HOSTILE: {HOSTILE: 3}},
        "window": {"name": HOSTILE, "min_workers": 1, "max_workers": 4},
        "next_edge": {"at": "2026-01-06T03:00:00Z", "name": HOSTILE, "min_workers": 1, "max_workers": 4},
        "pause": {"workers": 2, "until": None, "by": HOSTILE},
    }
    return {
        "at": MONDAY,
        "mode": HOSTILE,
        "interval": 5.0,
        "follows": HOSTILE,
        "fleets": [fleet, {**fleet, "fleet": "b"}],
    }


def test_nothing_of_others_becomes_a_part_of_it() -> None:
    policy = {"schedule": {"windows": [{"name": HOSTILE, "time": "08:00-18:00", "min_workers": 3}]}}
    status, history = hostile_status(), History()
    history.record(status)
    policies = {fleet["fleet"]: parse_policy(policy) for fleet in status["fleets"]}
    text = page(Shown(status, history, policies, Weeks(), HOSTILE), MONDAY, "15m")
    shown = Seen(text)
    assert HOSTILE.replace("\u202e", r"\u202e").replace("\x00", r"\x00") in shown.text
    assert "\u202e" not in text
    assert "\x00" not in text
    assert [tag for tag, _attributes in shown.tags].count("script") == 1
    assert not [tag for tag, _attributes in shown.tags if tag in ("img", "iframe", "object", "link", "form")]
    names = {name for _tag, attributes in shown.tags for name in attributes}
    assert not [name for name in names if name.startswith("on") or name == "style"]
    # An id or a link of its own would let a name lead elsewhere.
    for _tag, attributes in shown.tags:
        assert re.fullmatch(r"[\w-]+", attributes.get("id") or "x")
        assert re.fullmatch(r"#[\w-]+|\?last=\w+", attributes.get("href") or "#x")


def test_no_password_is_in_it(tmp_path: Path) -> None:
    service = service_of(tmp_path, MadeUpFleet("web", None, policy=POLICY), MadeUpFleet("mail", policy=POLICY))
    assert b"not-a-real-password" not in PageOfDaemon(service.daemon).document("").body


def test_its_policy_allows_its_own_style_and_script_alone() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert source(STYLE) in policy
    assert source(SCRIPT) in policy
    assert "unsafe" not in policy
    text = page(Shown({**hostile_status(), "fleets": []}, History(), {}, Weeks(), "host"), MONDAY, "1h")
    assert f"<style>{STYLE}</style>" in text
    assert f"<script>{SCRIPT}</script>" in text
    assert "url(http" not in STYLE


@pytest.mark.parametrize(
    ("query", "span"),
    [("last=6h", "6h"), ("last=24h&x=1", "24h"), ("", None), ("last=7h", None), ("last=" + "6h" * 10_000, None)],
)
def test_only_times_that_there_are_can_be_asked_for(query: str, span: str | None) -> None:
    assert asked_span(query) == span


@pytest.mark.parametrize(
    ("age", "span"), [(None, "15m"), (60.0, "15m"), (1000.0, "1h"), (4000.0, "6h"), (80_000.0, "6h")]
)
def test_a_young_service_shows_less(age: float | None, span: str) -> None:
    assert usual_span(None if age is None else MONDAY - age, MONDAY) == span


def asked(port: int, path: str, method: str = "GET") -> tuple[int, Mapping[str, str], bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.headers, b""


def test_it_is_served_beside_the_metrics(tmp_path: Path) -> None:
    service = service_of(tmp_path, MadeUpFleet("web", policy=POLICY))
    documents = {"/": PageOfDaemon(service.daemon).document}
    port = metrics_server.serve("127.0.0.1", 0, (), documents=documents)
    status, headers, body = asked(port, "/?last=1h")
    assert status == 200
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert int(headers["Content-Length"]) == len(body)
    assert body.startswith(b"<!DOCTYPE html>")
    status, headers, body = asked(port, "/", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0
    assert asked(port, "/", "POST")[0] == 405
    assert asked(port, "/metrics")[1]["Content-Type"].startswith("text/plain")


def test_it_is_made_once_for_each_look(tmp_path: Path) -> None:
    service = service_of(tmp_path, MadeUpFleet("web", policy=POLICY))
    answers = PageOfDaemon(service.daemon)
    first = answers.document("").body
    assert answers.document("").body is first
    service.look()
    assert answers.document("").body is not first


# Of functions, for one page; measured: 72,000. Time is for tests/benchmark/page.py to measure: here others work too.
MOST_CALLS = 90_000


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions are called, of Python and of C."""
    calls = 0

    def count(_frame: object, event: str, _what: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_ten_fleets_with_a_day_of_history_take_little_work() -> None:
    day = BusyDay(1)
    # The week is worked out once a day.
    assert len(page(day.after_a_look(), day.at, "1h")) < 1_000_000
    for span in SPANS:
        assert calls_of(partial(page, day.after_a_look(), day.at, span)) < MOST_CALLS


def test_attributes_that_are_kept_have_a_bound() -> None:
    """What is drawn anew each time is not among them: a path has thousands of letters."""
    markup._attribute.cache_clear()
    assert tag("path", d=Markup("M0 0" * 1000), class_="line")
    assert markup._attribute.cache_info().currsize == 1


MEMORY = """
import sys
from pathlib import Path

from made_up_service import MONDAY, MadeUpFleet, MadeUpService
from test_page import POLICY

# All that the service itself loads.
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.answering import PageOfDaemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.history import SPANS
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service import run
from ansible_collections.muejam.celery.plugins.module_utils.brokers import opening
import celery, kombu, redis

queues = {f"queue {number}": dict.fromkeys(map(str, range(10)), 5) for number in range(3)}
fleets = [MadeUpFleet(f"fleet {number}", queues, 20, policy=POLICY) for number in range(20)]
service = MadeUpService(Path(sys.argv[1]), fleets, mode="advise")
service.look(60)
answers = PageOfDaemon(service.daemon)
for span in SPANS:
    answers.document(f"last={span}")
service.daemon.history.save()
status = Path("/proc/self/status").read_text()
print(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
"""
MOST_MEGABYTES = 90


def test_twenty_fleets_and_400_workers_fit(tmp_path: Path) -> None:
    # Points are there from the first look on, so a day takes as much as a minute.
    path = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 / 1e6 < MOST_MEGABYTES
