# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Redis server sends to a subscriber, cut anywhere."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis import push
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.push import PushReader, ServerSaid

pytest.importorskip("hiredis")

PATTERN = b"/0.celeryev/*"
CONFIRMED = b"*3\r\n$10\r\npsubscribe\r\n$13\r\n/0.celeryev/*\r\n:1\r\n"
CONFIRMED_3 = b">" + CONFIRMED[1:]
PONG = b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"


def message(payload: bytes, kind: bytes = b"*", pattern: bytes = PATTERN, channel: bytes = b"/0.celeryev/x") -> bytes:
    parts = [b"pmessage", pattern, channel, payload]
    return kind + b"4\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


@pytest.mark.parametrize("kind", [b"*", b">"])
def test_both_versions_of_the_protocol(kind):
    reader = PushReader(PATTERN)
    assert reader.feed(kind + CONFIRMED[1:] + message(b"one", kind) + message(b"two", kind)) == [b"one", b"two"]
    assert reader.confirmed


def test_not_confirmed_until_the_server_says_so():
    reader = PushReader(PATTERN)
    assert reader.feed(CONFIRMED[:-1]) == []
    assert not reader.confirmed
    reader.feed(CONFIRMED[-1:])
    assert reader.confirmed


@pytest.mark.parametrize(
    "other",
    [
        PONG, b"+PONG\r\n", b":3\r\n", b"$-1\r\n", b"_\r\n", b"*0\r\n", message(b"x", pattern=b"other"),
        b">3\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n$-1\r\n", b"~1\r\n#t\r\n",
    ],
)  # fmt: skip
def test_anything_else_is_passed_over(other):
    reader = PushReader(PATTERN)
    assert reader.feed(message(b"one") + other + message(b"two")) == [b"one", b"two"]


def test_an_error_of_the_server_is_raised():
    with pytest.raises(ServerSaid, match="NOPERM this user"):
        PushReader(PATTERN).feed(b"-NOPERM this user has no permissions\r\n")


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"*x\r\n", b"*-x\r\n"])
def test_another_protocol_is_an_error(data):
    with pytest.raises(ValueError, match=r"Protocol error|multi-bulk"):
        PushReader(PATTERN).feed(data)


def test_what_is_too_large_is_passed_over(monkeypatch):
    monkeypatch.setattr(push, "MESSAGE_MAX", 1000)
    reader = PushReader(PATTERN)
    data = message(b"one") + message(b"x" * 5000) + message(b"two")
    found = []
    for begin in range(0, len(data), 100):
        found += reader.feed(data[begin : begin + 100])
    assert found == [b"one", b"two"]
    assert reader.dropped == 1


@given(
    st.lists(st.binary(max_size=60) | st.sampled_from([b"\r\n$4\r\n", message(b"inside"), b"*4\r\n"]), max_size=8),
    st.lists(st.integers(1, 40), min_size=1, max_size=30),
    st.sampled_from([b"*", b">"]),
)
def test_it_does_not_matter_where_the_bytes_are_cut(payloads, cuts, kind):
    data = CONFIRMED + PONG.join(message(payload, kind) for payload in payloads)
    reader = PushReader(PATTERN)
    found: list[bytes] = []
    at = turn = 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        found += reader.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert found == payloads
    assert reader.confirmed


@given(st.binary(max_size=80))
def test_noise_is_an_error_or_nothing(noise):
    try:
        PushReader(PATTERN).feed(noise)
    except (ValueError, ServerSaid) as error:
        json.dumps(str(error))
