# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who leads: whatever the clocks of the candidates say, and whoever is killed, never two at once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.candidate import Candidate
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.election import (
    LONGEST,
    SHORTEST,
    Election,
    Record,
    times,
)
from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused


@dataclass
class Sky:
    """The true time, and the record in the API server."""

    now: float = 0.0
    record: Record | None = None
    version: int = 0


def refusal(status: int | None) -> Refused:
    error = Refused("do it", "no", "Wait.")
    error.status = status
    return error


@dataclass
class Server:
    """The record as one candidate reaches it: perhaps not at all, perhaps without an answer."""

    sky: Sky
    down: bool = False
    mute: bool = False
    version: int = -1

    def read(self) -> Record | None:
        if self.down or self.mute:
            raise refusal(None)
        self.version = self.sky.version
        return self.sky.record

    def write(self, record: Record) -> None:
        if self.down:
            raise refusal(None)
        if self.version != self.sky.version:
            raise refusal(409)
        self.sky.record, self.sky.version = record, self.sky.version + 1
        if self.mute:
            raise refusal(None)
        self.version = self.sky.version


@dataclass
class Pod:
    """A candidate whose clocks go as they like."""

    sky: Sky
    name: str
    offset: float = 0.0
    speed: float = 1.0
    interval: float = 5.0
    server: Server = field(init=False)
    candidate: Candidate = field(init=False)
    asks_at: float = 0.0

    def __post_init__(self) -> None:
        self.server = Server(self.sky)
        clock = Clock(lambda: 1e9 + self.offset + self.sky.now, lambda: self.offset + self.sky.now * self.speed)
        self.times = times(self.interval)
        self.candidate = Candidate(Election(self.name, self.times), self.server, clock)

    def turn(self) -> None:
        if self.sky.now >= self.asks_at:
            self.candidate.ask()
            self.asks_at = self.sky.now + self.times.pause / self.speed


def go_on(sky: Sky, pods: list[Pod], seconds: float) -> None:
    end = sky.now + seconds
    while sky.now < end:
        for pod in pods:
            pod.turn()
        assert sum(pod.candidate.leads() for pod in pods) <= 1
        sky.now += 0.05


@pytest.fixture
def sky() -> Sky:
    return Sky()


def test_the_first_one_leads_and_goes_on_to(sky: Sky) -> None:
    one, other = Pod(sky, "one"), Pod(sky, "other")
    go_on(sky, [one, other], 60)
    assert (one.candidate.leads(), other.candidate.leads()) == (True, False)
    assert (one.candidate.leader, other.candidate.leader) == ("one", "one")
    assert sky.record is not None
    assert sky.record.transitions == 0
    assert sky.record.acquired != sky.record.renewed


@pytest.mark.parametrize("interval", [5.0, 10.0, 60.0])
@pytest.mark.parametrize("phase", [0.0, 0.4, 0.9, 1.2])
def test_a_follower_leads_within_two_intervals_after_the_leader_was_killed(
    sky: Sky, interval: float, phase: float
) -> None:
    one, other = Pod(sky, "one", interval=interval), Pod(sky, "other", offset=-4e6, interval=interval)
    go_on(sky, [one, other], 30 + phase)
    killed = sky.now
    while not other.candidate.leads():
        go_on(sky, [other], 0.05)
    assert sky.now - killed < 2 * interval - interval / 5
    assert sky.record is not None
    assert (sky.record.holder, sky.record.transitions) == ("other", 1)


def test_a_follower_leads_at_once_after_the_leader_stepped_back(sky: Sky) -> None:
    one, other = Pod(sky, "one"), Pod(sky, "other")
    go_on(sky, [one, other], 20)
    one.candidate.release()
    assert not one.candidate.leads()
    go_on(sky, [one, other], times(5).pause + 0.1)
    assert other.candidate.leads()
    one.candidate.ask()
    assert not one.candidate.leads()


def test_who_cannot_renew_stops_before_anybody_else_begins(sky: Sky) -> None:
    one, other = Pod(sky, "one"), Pod(sky, "other")
    go_on(sky, [one, other], 20)
    one.server.down = True
    go_on(sky, [one, other], 4)
    assert (one.candidate.leads(), other.candidate.leads()) == (False, False)
    assert "no" in one.candidate.problem
    go_on(sky, [one, other], 4)
    assert other.candidate.leads()
    one.server.down = False
    go_on(sky, [one, other], 20)
    assert (one.candidate.leads(), other.candidate.leads(), one.candidate.problem) == (False, True, "")


def test_a_write_whose_answer_is_lost_is_found_again(sky: Sky) -> None:
    one = Pod(sky, "one")
    go_on(sky, [one], 10)
    one.server.mute = True
    go_on(sky, [one], 1.3)
    one.server.mute = False
    go_on(sky, [one], 2)
    assert one.candidate.leads()


def test_somebody_who_edits_the_record_takes_the_lead_from_nobody(sky: Sky) -> None:
    one, other = Pod(sky, "one"), Pod(sky, "other")
    go_on(sky, [one, other], 10)
    sky.version += 1
    go_on(sky, [one, other], 10)
    assert one.candidate.leads()
    assert sky.record is not None
    assert sky.record.transitions == 0


def test_who_steps_down_looks_before_he_leads_again(sky: Sky) -> None:
    one = Pod(sky, "one")
    go_on(sky, [one], 10)
    one.candidate.step_down()
    assert not one.candidate.leads()
    assert sky.record is not None
    sky.record, sky.version = replace(sky.record, holder="other", renewed="now"), sky.version + 1
    go_on(sky, [one], 4)
    assert (one.candidate.leads(), one.candidate.leader) == (False, "other")
    go_on(sky, [one], 3)
    assert one.candidate.leads()


def test_a_record_that_makes_no_sense_is_a_problem_and_no_end(sky: Sky) -> None:
    one = Pod(sky, "one")
    one.server.read = lambda: int("x")  # type: ignore[method-assign, return-value]
    one.candidate.ask()
    assert "invalid literal" in one.candidate.problem
    assert not one.candidate.leads()


def test_times_have_a_shortest_and_a_longest() -> None:
    assert times(1).lasts == SHORTEST
    assert times(3600).lasts == LONGEST
    assert times(7.5).lasts == 8
    assert all(each.pause * 2 < each.deadline < each.lasts for each in map(times, (1, 5, 7.5, 15, 60)))


EVENTS = st.lists(
    st.tuples(
        st.floats(0.1, 8),
        st.integers(0, 2),
        st.sampled_from(["down", "up", "mute", "kill", "release", "freeze", "edit", "step_down"]),
    ),
    max_size=12,
)


@given(EVENTS, st.tuples(*[st.floats(-1e6, 1e6)] * 3), st.tuples(*[st.floats(0.9, 1.1)] * 3))
def test_never_two_lead_and_in_the_end_one_does(
    events: list[tuple[float, int, str]], offsets: tuple[float, ...], speeds: tuple[float, ...]
) -> None:
    sky = Sky()
    pods = [Pod(sky, f"{n}", offset=offsets[n], speed=speeds[n], asks_at=n * 0.3) for n in range(3)]
    left = list(pods)
    for seconds, number, event in events:
        go_on(sky, left, seconds)
        pod = pods[number]
        if event == "edit":
            sky.version += 1
        elif event == "step_down":
            pod.candidate.step_down()
        elif event == "freeze":
            pod.asks_at = sky.now + 7
        elif event in ("kill", "release") and pod in left and len(left) > 1:
            if event == "release":
                pod.candidate.release()
            left.remove(pod)
        else:
            pod.server.down, pod.server.mute = event == "down", event == "mute"
    for pod in left:
        pod.server.down = pod.server.mute = False
    go_on(sky, left, 20)
    assert sum(pod.candidate.leads() for pod in left) == 1
