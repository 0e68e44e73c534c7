# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault of the variables of the role broker is named, with what to change."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.filter import broker
from ansible_collections.muejam.celery.plugins.plugin_utils import broker_role


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"password": ""}, "celery_broker_password: must be a password of one line"),
        ({"password": "a\nb"}, "celery_broker_password: must be a password of one line"),
        ({"type": "kafka"}, "celery_broker_type: 'kafka' is not known, use one of redis, valkey, rabbitmq"),
        ({"port": 70000}, "celery_broker_port: 70000 is out of range, use 1 to 65535"),
        ({"port": "many"}, "celery_broker_port: must be a whole number, is a text"),
        (
            {"bind": []},
            "such as [127.0.0.1], is an empty list",
        ),
        ({"bind": [""]}, "must be a list of addresses"),
        ({"user": "a b"}, "celery_broker_user: 'a b' has the wrong form: use letters"),
        ({"type": "rabbitmq", "user": "guest"}, "choose another name"),
        ({"type": "rabbitmq", "vhost": ""}, "celery_broker_vhost: is empty"),
        ({"consumer_timeout": 5}, "celery_broker_consumer_timeout: 5 is too small, use 60 or more"),
        ({"databases": True}, "celery_broker_databases: must be a whole number, is true"),
        ({"maxmemory": "2 gigs"}, "write a size such as 2gb"),
        ({"pubsub_buffer": "256mb"}, "such as 256mb 64mb 60"),
        ({"settings": ["maxclients 9"]}, "celery_broker_settings: must be a dictionary, is a list"),
    ],
)
def test_a_fault_says_what_to_change(variables: dict[str, Any], says: str) -> None:
    [found] = broker_role.problems(variables)
    assert says in found


def test_good_values_are_taken_as_text_too() -> None:
    variables = {
        "port": "6379",
        "databases": "16",
        "maxmemory": 1000000,
        "bind": ["10.0.0.5"],
        "type": "redis",
        "user": "a",
    }
    assert list(broker_role.problems(variables)) == []


@pytest.mark.parametrize(
    ("kind", "needed"), [("redis", []), ("valkey", []), ("rabbitmq", ["run ansible-galaxy collection install"])]
)
def test_only_rabbitmq_needs_a_collection_of_others(
    kind: str, needed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "_has_rabbitmq_modules", lambda: False)
    found = broker.broker_problems({"type": kind})
    assert len(found) == len(needed)
    assert all(words in said for words, said in zip(needed, found))
