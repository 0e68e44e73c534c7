# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small functions that draw, and those that write HTML."""

from __future__ import annotations

import math
import re
from zoneinfo import ZoneInfo

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page import chart
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.markup import Markup, joined, tag
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.ring import Span

AXIS = chart.Axis(10.0)
NAN = math.nan


def test_a_line_turns_where_the_value_does_and_breaks_where_it_is_unknown() -> None:
    assert (
        chart.line(["500", "500", "0", None, "1000"], "n") == '<path class="line n" d="M0 500H2V0H3M4 1000H5"></path>'
    )
    assert chart.line([None, None], "n") == ""


def test_an_area_is_all_that_is_below_where_it_is_known() -> None:
    assert chart.area(["500", "0", None, "700"], "n") == (
        '<path class="area n" d="M0 500H1V0H2V1000H0ZM3 700H4V1000H3Z"></path>'
    )
    assert chart.area(["1000", "1000", None], "n") == ""


def test_heights_go_down_from_the_top() -> None:
    assert AXIS.heights([0, 5, 10, NAN]) == ["1000", "500", "0", None]


@pytest.mark.parametrize(
    ("most", "top"), [(0, 4), (4, 4), (4.1, 6), (7, 8), (9, 10), (11, 20), (130, 200), (0.3, 4), (12345, 20000)]
)
def test_an_axis_ends_at_a_round_number(most: float, top: float) -> None:
    assert chart.Axis.over([most, NAN], least=4).top == top


@pytest.mark.parametrize(("most", "top"), [(3, 4), (31, 40), (200, 240), (3000, 3600), (90_000, 100_000)])
def test_an_axis_of_times_ends_at_a_round_time(most: float, top: float) -> None:
    assert chart.Axis.over([most], unit=chart.SECONDS).top == top


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(5, "", "5"), (30, "s", "30 s"), (600, "s", "10 min"), (7200, "s", "2 h"), (2.5, "", "2.5")],
)
def test_a_value_is_told_with_its_unit(value: float, unit: str, words: str) -> None:
    assert chart.Axis(10, unit).words(value) == words


def test_gaps_are_of_two_kinds() -> None:
    unknown, unseen = chart.gaps([1, NAN, NAN, 2, NAN], [True, True, True, True, False])
    assert unknown == [(1, 3)]
    assert unseen == [(4, 5)]


def test_hours_are_those_of_the_clock() -> None:
    end = 1_767_600_000.0  # 08:00 UTC
    span = Span(end - 6 * 3600, 72, {}, [])
    assert re.findall(r">([\d:]+)<", chart.time_axis(span, ZoneInfo("Asia/Kolkata"))) == [
        "08:00",
        "09:00",
        "10:00",
        "11:00",
        "12:00",
        "13:00",
    ]
    day = Span(end - 86400, 288, {}, [])
    assert re.findall(r">([\d:]+)<", chart.time_axis(day, ZoneInfo("Asia/Kolkata")))[0] == "15:00"


def test_a_mark_is_where_its_time_is() -> None:
    span = Span(0, 10, {}, [])
    assert chart.place(span.end / 2, span) == "50%"
    assert chart.place(-1, span) is None


def test_what_is_not_markup_is_escaped() -> None:
    assert tag("p", "<b>", Markup("<b>"), ["&", '"'], class_="a", data_x='"<', hidden=True, id=None) == (
        '<p class="a" data-x="&quot;&lt;" hidden>&lt;b&gt;<b>&amp;&quot;</p>'
    )
    assert joined(["\u202e"]) == r"\u202e"
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'
