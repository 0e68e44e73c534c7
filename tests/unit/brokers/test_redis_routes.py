# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which queue an unacknowledged message belongs to."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kombu.transport.virtual.exchange import TopicExchange

from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.routes import (
    Binding,
    attribute,
    parse_binding,
    route_of,
)

NAMES = st.text(max_size=40) | st.text(alphabet='", \\]x', max_size=12)
MESSAGES = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(MESSAGES, NAMES, NAMES, st.booleans(), st.sampled_from([(", ", ": "), (",", ":")]))
@example({}, 'x"', "key", True, (", ", ": "))
@example({}, 'x, "', "key", True, (", ", ": "))
@example({}, "exchange", 'a", "b', True, (", ", ": "))
@example('", "a", "b"]', "exchange", "key", True, (", ", ": "))
@example({"k": "foo, "}, "", "", True, (",", ":"))
def test_every_route_is_found(
    message: object, exchange: str, key: str, escape: bool, separators: tuple[str, str]
) -> None:
    text = json.dumps([message, exchange, key], ensure_ascii=escape, separators=separators)
    assert route_of(text.encode("utf-8", "surrogatepass")) in ((exchange, key), None)
    try:
        value = text.encode()
    except UnicodeEncodeError:
        return
    assert route_of(value) == (exchange, key)


@pytest.mark.parametrize(
    "value",
    [b"", b"x", b"[]", b"{}", b"3", b'["a", "b"]', b"[{}, 1, 2]", b'{"a": "b", "c"]', b"\xff", b'[{}, "\xff", "b"]'],
)
def test_what_kombu_did_not_write(value: bytes) -> None:
    assert route_of(value) is None


def test_no_exchange() -> None:
    assert route_of(b'[{}, null, "celery"]') == ("", "celery")


def test_parse_binding() -> None:
    assert parse_binding("key||queue", "|") == ("key", "", "queue")
    assert parse_binding("a.*|^a$|queue", "|") == ("a.*", "^a$", "queue")
    assert parse_binding("queue", "|") is None


TOPIC = TopicExchange(None)


def topic(key: str, queue: str) -> Binding:
    return key, TOPIC.key_to_pattern(key), queue


def test_attribute() -> None:
    found = attribute(
        {
            ("", "direct"): 1,
            ("", "celery"): 10,
            ("celery", "celery"): 2,
            ("media", "image.png"): 3,
            ("media", "sound.loud"): 4,
            ("news", "all"): 5,
            ("gone", "old"): 6,
        },
        {
            "celery": [("celery", "", "celery")],
            "media": [topic("image.*", "images"), topic("sound.#", "sounds")],
            "news": [("all", "", "first"), ("all", "", "second"), ("some", "", "third")],
            "gone": [],
        },
        lambda table, exchange, key: TOPIC.lookup(table, exchange, key, None),
    )
    assert found.counts == {"direct": 1, "celery": 12, "images": 3, "sounds": 4}
    assert found.shared == {"first", "second"}
    assert found.unbound == {("gone", "old"): 6}
    names = ["direct", "celery", "images", "sounds", "first", "second", "third", "gone", "old", "other"]
    assert [found.of(name) for name in names] == [1, 12, 3, 4, None, None, 0, None, None, 0]
