# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that turn workers' answers into what is known of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.roll_call import (
    neighbours,
    unseen_consumers,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.roll_call import Silence, silence_among
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import (
    Worker,
    is_pattern,
    matches,
    pool_name,
    worker_from_answers,
)

STATS = {
    "pid": 17,
    "uptime": 60,
    "total": {"app.a": 3, "app.b": 4},
    "pool": {"implementation": "celery.concurrency.prefork:TaskPool", "max-concurrency": 8, "processes": [1, 2, 3]},
}
QUEUES = [{"name": "slow", "exchange": {}}, {"name": "fast"}]


def test_complete_answers_make_a_complete_worker():
    answers = {"stats": STATS, "active_queues": QUEUES, "active": [{}], "reserved": [{}, {}]}
    assert worker_from_answers("w@h", answers) == Worker(
        "w@h", "online", "prefork", 3, active=1, reserved=2, processed=7, queues=("fast", "slow"), pid=17, uptime=60
    )


def test_a_worker_that_consumes_from_no_queue_is_draining():
    worker = worker_from_answers("w@h", {"stats": STATS, "active_queues": [], "active": [], "reserved": []})
    assert (worker.state, worker.queues, worker.active) == ("draining", (), 0)


def test_what_was_not_answered_is_unknown_and_not_zero():
    assert worker_from_answers("w@h", {"active": []}) == Worker("w@h", "online", active=0)


def test_a_command_that_failed_leaves_its_values_unknown():
    failed = {"error": "ValueError('no')"}
    answers = dict.fromkeys(["stats", "active_queues", "active", "reserved"], failed)
    assert worker_from_answers("w@h", answers) == Worker("w@h", "online")


def test_a_worker_that_has_run_nothing_has_processed_zero():
    assert worker_from_answers("w@h", {"stats": {"total": {}}}).processed == 0


@pytest.mark.parametrize(
    ("pool", "concurrency"),
    [
        ({"max-concurrency": 4, "processes": [1, 2]}, 2),
        ({"max-concurrency": 4, "threads": 1}, 4),
        ({"max-concurrency": 100}, 100),
        ({"max-concurrency": 4, "processes": []}, 4),
        ({}, None),
        ("N/A", None),
    ],
)
def test_concurrency_is_what_can_run_now(pool, concurrency):
    assert worker_from_answers("w@h", {"stats": {"pool": pool}}).concurrency == concurrency


@pytest.mark.parametrize(
    ("implementation", "name"),
    [
        ("celery.concurrency.prefork:TaskPool", "prefork"),
        ("celery.concurrency.thread:TaskPool", "threads"),
        ("celery.concurrency.gevent:TaskPool", "gevent"),
        ("celery.concurrency.eventlet:TaskPool", "eventlet"),
        ("celery.concurrency.solo:TaskPool", "solo"),
        ("celery_aio_pool.pool:AsyncIOPool", "celery_aio_pool.pool:AsyncIOPool"),
        (None, None),
        ("", None),
    ],
)
def test_pool_names_are_the_words_of_the_command_line(implementation, name):
    assert pool_name(implementation) == name


def test_names_and_patterns():
    assert [is_pattern(text) for text in ("web-1@h", "web-*", "web-?@h", "web-[12]@h")] == [False, True, True, True]
    assert matches("web-1@h", ())
    assert matches("web-1@h", ["api-*", "web-*"])
    assert matches("web-[1]@h", ["web-[1]@h"])
    assert not matches("Web-1@h", ["web-*"])


def test_nobody_is_silent_when_all_who_listen_answered():
    assert silence_among(2, {"a", "b"}, {"a", "b", "killed"}) == Silence((), 0, 0)


def test_the_one_name_left_is_the_silent_one():
    assert silence_among(2, {"a"}, {"a", "b"}) == Silence(("b",), 0, 1)


def test_a_silent_worker_and_a_name_left_behind_are_not_told_apart():
    assert silence_among(2, {"a"}, {"a", "b", "killed"}) == Silence(("b", "killed"), 0, 1)


def test_a_listener_without_a_name_is_counted():
    assert silence_among(3, {"a"}, {"a", "b"}) == Silence(("b",), 1, 1)


@given(
    listening=st.integers(0, 8),
    answered=st.sets(st.sampled_from("abcdef")),
    bound=st.sets(st.sampled_from("abcdefgh")),
)
def test_as_many_are_silent_as_are_missing(listening, answered, bound):
    silence = silence_among(listening, answered, bound)
    assert silence.sure + silence.nameless == max(0, listening - len(answered))
    assert silence.sure <= len(silence.names)
    assert not set(silence.names) & answered


def test_neighbours_fill_the_gaps_of_numbered_names():
    assert neighbours(["web-1@a", "web-3@a", "celery@b"]) == ("web-2@a", "web-4@a", "web-5@a")
    assert neighbours(["w1"], beyond=1) == ("w2",)
    assert neighbours([]) == ()


def test_neighbours_of_a_high_number_are_the_ones_below_it():
    guesses = neighbours(["web-4711@a"], at_most=10)
    assert len(guesses) == 10
    assert guesses[-1] == "web-4710@a"


def test_consumers_that_belong_to_nobody_who_answered():
    workers = [Worker("a", "online", queues=("x", "y")), Worker("b", "draining", queues=()), Worker("c", "online")]
    assert unseen_consumers({"x": 3, "y": 1, "z": 1}, workers) == {"x": 2, "z": 1}
