# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events out of the messages that carry them."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.brokers.event_messages import (
    body_of_amqp_message,
    body_of_redis_message,
)

EVENT = {"type": "task-started", "hostname": "web-1@höst", "uuid": "x", "args": "('\\\"',)"}


def message(body: bytes, encoding: str | None = "base64", first: bool = True, **changes: Any) -> bytes:
    text = base64.b64encode(body).decode() if encoding == "base64" else body.decode()
    whole = {
        "body": text,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"hostname": "web-1@host"},
        "properties": {"delivery_mode": 1, "body_encoding": encoding, "delivery_tag": "tag"},
        **changes,
    }
    if not first:
        whole["body"] = whole.pop("body")
    return json.dumps(whole).encode()


@pytest.mark.parametrize("body", [EVENT, [EVENT, EVENT], []])
@pytest.mark.parametrize("encoding", ["base64", None])
@pytest.mark.parametrize("first", [True, False])
def test_an_event_or_a_list_of_them(body, encoding, first):
    assert body_of_redis_message(message(json.dumps(body).encode(), encoding, first)) == body


def test_as_kombu_writes_it():
    from kombu import Connection

    with Connection("memory://") as connection:
        channel = connection.default_channel
        text = json.dumps(EVENT)
        whole = channel.prepare_message(text, None, "application/json", "utf-8", {"hostname": "h"}, {})
        channel._inplace_augment_message(whole, "celeryev", "task.multi")
    from kombu.utils.json import dumps

    raw = dumps(whole).encode()
    assert raw.startswith(b'{"body": "')
    assert body_of_redis_message(raw) == EVENT


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"text", b"[]", b"{}", b'{"body": "', b'{"body": "e30="}', b"\xff",
        message(b"x"), message(b"\xff"), message(b"[" * 100_000),
        message(b"cos\nsystem\n", **{"content-type": "application/x-python-serialize"}),
        message(zlib.compress(b"{}"), headers={"compression": "application/x-gzip"}),
        message(b"{}", None, headers={"compression": "application/x-gzip"}),
        message(b"{}", None, headers=5), message(b"{}", None, properties=None),
    ],
)  # fmt: skip
def test_what_carries_none_is_an_error(raw):
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError, RecursionError)):
        body_of_redis_message(raw)


@given(st.binary(max_size=60))
def test_noise_raises_nothing_else(noise):
    for raw in (noise, b'{"body": "' + noise, message(noise)):
        try:
            body_of_redis_message(raw)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue


def test_amqp():
    assert body_of_amqp_message(json.dumps(EVENT), "application/json", {"hostname": "h"}) == EVENT
    assert body_of_amqp_message(json.dumps(EVENT).encode(), "application/json", None) == EVENT
    with pytest.raises(ValueError, match="pickle"):
        body_of_amqp_message(b"", "application/x-pickle", None)
