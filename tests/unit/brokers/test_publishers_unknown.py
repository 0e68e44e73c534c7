# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A broker that may not be asked whether it takes tasks is told of, once."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.base import Broker, EventSink
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.alarm import AmqpAlarm
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.link import ServerRefused
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.writes import RedisWrites
from ansible_collections.muejam.celery.plugins.module_utils.brokers.remote_control import RemoteControl
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import Found


class Link:
    def ask(self, commands: list[tuple[str, ...]]) -> list[Exception]:
        return [ServerRefused("NOPERM this user has no permissions to run the 'lpushx' command") for _one in commands]


class Refusing:
    """A connection of kombu's to a RabbitMQ that takes nothing from this user."""

    channel_errors = (ConnectionRefusedError,)

    def clone(self) -> Any:
        raise ConnectionRefusedError("access to exchange refused")


def test_redis() -> None:
    told: list[str] = []
    writes = RedisWrites()
    link: Any = Link()
    assert [writes.refused(link, "celery", told.append) for _look in range(2)] == ["", ""]
    assert len(told) == 1
    assert "It is not known" in told[0]
    assert "+lpushx" in told[0]


def test_rabbitmq() -> None:
    told: list[str] = []
    alarm = AmqpAlarm(Refusing())
    assert [alarm.blocked(told.append) for _look in range(2)] == ["", ""]
    assert len(told) == 1
    assert "It is not known" in told[0]
    assert "amq.default" in told[0]


class Silent(Broker):
    """A kind that does not know whether publishers are blocked."""

    def follow_events(self, exchange: str, sink: EventSink, stop: threading.Event) -> None:
        raise NotImplementedError

    def remote_control(self, exchange: str) -> RemoteControl:
        raise NotImplementedError

    def call_everybody(
        self, names: Collection[str], control_exchange: str, event_exchange: str, deadline: float
    ) -> Found:
        raise NotImplementedError


def test_a_kind_that_cannot_tell_says_nothing() -> None:
    told: list[str] = []
    broker = Silent(object(), "redis://h", 5.0, str, None)
    assert broker.publishers_blocked(["celery"], warn=told.append) == ""
    assert told == []
