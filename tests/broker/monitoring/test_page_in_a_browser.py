# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The autoscaler's page in a real Chromium: its numbers, how it keeps itself up to date, and that it fits."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from page_scene import Scene

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.record import bounds_of
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status_file import read_status
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import METRICS
from muejam_bed.browser import Tab, program, tab_running

pytestmark = pytest.mark.skipif(program() is None, reason="no Chromium, which Ubuntu has as a snap alone")

NUMBERS = """
Array.from(document.querySelectorAll("section.fleet"), function (section) {
  return [section.querySelector("h2").firstChild.data, Object.fromEntries(Array.from(
    section.querySelectorAll("[data-name]"), (one) => [one.dataset.name, [one.dataset.value, one.textContent]]))];
})
"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with tab_running(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    scene = Scene(tmp_path_factory.mktemp("scene"))
    scene.play()
    return scene


@pytest.fixture
def scene(played: Scene, tab: Tab) -> Iterator[Scene]:
    """The fleets, which a test may look at again, and a browser that complains of nothing."""
    tab.complaints.clear()
    tab.show(1280, 900)
    yield played
    assert tab.complaints == []


def numbers(tab: Tab) -> dict[str, dict[str, list[str]]]:
    """What the page shows, by fleet and name: as JSON, and as people see it."""
    return dict(tab.evaluate(NUMBERS))


def at(tab: Tab) -> float:
    return float(tab.evaluate("document.querySelector('main').dataset.at"))


def test_its_numbers_are_those_of_the_status(scene: Scene, tab: Tab) -> None:
    tab.open(scene.url)
    status = read_status(scene.service.configuration.status)
    assert at(tab) == status["at"]
    shown = numbers(tab)
    assert list(shown) == [fleet["fleet"] for fleet in status["fleets"]]
    for fleet in status["fleets"]:
        told = {name: json.loads(value) for name, (value, _text) in shown[fleet["fleet"]].items()}
        metrics = {name: fleet["metrics"].get(name) for name, metric in METRICS.items() if metric.column}
        bounds = dict(zip(("floor", "ceiling"), bounds_of(fleet) or ()))
        decided = {"to": fleet["to"]} if "to" in fleet else {}
        assert told == {"workers": fleet["workers"], **decided, **bounds, **metrics}
        unknown = {name for name, (_value, text) in shown[fleet["fleet"]].items() if text == "unknown"}
        assert unknown == {name for name, value in told.items() if value is None}
    assert shown["billing"]["queue_depth"] == ["null", "unknown"]


def test_it_keeps_itself_up_to_date_and_what_was_opened_and_scrolled_to(scene: Scene, tab: Tab) -> None:
    tab.show(1280, 500)
    tab.open(f"{scene.url}?last=1h")
    first = at(tab)
    tab.evaluate("document.querySelector('#queues-0').open = true")
    tab.evaluate("window.scrollTo(0, 700)")
    marked = tab.evaluate("document.querySelector('header').dataset.mark = document.documentElement.scrollTop")
    assert int(marked) == 700
    scene.look()
    tab.wait_for(f"Number(document.querySelector('main').dataset.at) > {first}")
    assert tab.evaluate("document.documentElement.scrollTop") == 700
    assert tab.evaluate("document.querySelector('#queues-0').open") is True
    assert tab.evaluate("document.querySelector('nav b').textContent") == "1h"
    # What did not change is the same element as before: nothing flickers.
    tab.evaluate("document.querySelector('#help').dataset.mark = 'kept'")
    second = at(tab)
    scene.look()
    tab.wait_for(f"Number(document.querySelector('main').dataset.at) > {second}")
    assert tab.evaluate("document.querySelector('#help').dataset.mark") == "kept"


def test_a_service_that_does_not_answer_is_told(scene: Scene, tab: Tab) -> None:
    tab.open(scene.url)
    shown = "getComputedStyle(document.getElementById('silent')).display"
    assert tab.evaluate(shown) == "none"
    tab.evaluate("window.answers = window.fetch; window.fetch = function () { return Promise.reject(new Error()); }; 1")
    tab.wait_for(f"{shown} === 'block'")
    tab.evaluate("window.fetch = window.answers; 1")
    tab.wait_for(f"{shown} === 'none'")


@pytest.mark.parametrize("width", [1280, 768, 390, 320])
def test_it_fits(scene: Scene, tab: Tab, width: int) -> None:
    tab.show(width, 900)
    tab.open(scene.url)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("dark", [False, True])
def test_it_is_as_dark_as_somebody_likes_it(scene: Scene, tab: Tab, dark: bool) -> None:
    tab.show(1280, 900, dark=dark)
    tab.open(scene.url)
    brightness = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).reduce((a, b) => a + Number(b), 0)"
    assert (tab.evaluate(brightness) < 200) is dark


def test_nothing_but_the_page_itself_is_asked_for(scene: Scene, tab: Tab) -> None:
    tab.open(scene.url)
    assert tab.evaluate("performance.getEntriesByType('resource').filter((one) => one.initiatorType !== 'fetch')") == []


def test_its_policy_stops_what_is_not_its_own(scene: Scene, tab: Tab) -> None:
    tab.open(scene.url)
    tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"http://192.0.2.1/x.png\">'); 1")
    tab.evaluate(
        "(function () { var one = document.createElement('script'); one.textContent = 'window.hurt = 1';"
        "document.body.append(one); })(); 1"
    )
    assert tab.evaluate("window.hurt === undefined")
    assert any("Content Security Policy" in each for each in tab.complaints)
    tab.complaints.clear()


def test_it_needs_no_scripts(scene: Scene, tab: Tab) -> None:
    tab.without_scripts(True)
    try:
        tab.open(scene.url)
        assert numbers(tab)["web"]["workers"][1] != ""
        assert tab.evaluate("document.querySelectorAll('svg .area').length") > 3
    finally:
        tab.without_scripts(False)
