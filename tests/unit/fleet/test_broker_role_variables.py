# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault of the variables of the role broker is named, with what to change."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.plugin_utils import broker_role


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"password": ""}, "celery_broker_password is not set"),
        ({"password": "a\nb"}, "celery_broker_password is not set, empty, or has a line break"),
        ({"type": "kafka"}, 'celery_broker_type is "kafka": use one of redis, valkey, rabbitmq'),
        ({"port": 70000}, "celery_broker_port is 70000: set it to a TCP port"),
        ({"port": "many"}, 'celery_broker_port is "many"'),
        ({"bind": []}, "celery_broker_bind is empty"),
        ({"bind": [""]}, "write a list of addresses"),
        ({"user": "a b"}, 'celery_broker_user is "a b": use letters'),
        ({"type": "rabbitmq", "user": "guest"}, "choose another name"),
        ({"type": "rabbitmq", "vhost": ""}, "celery_broker_vhost is empty"),
        ({"consumer_timeout": 5}, "RabbitMQ needs at least 60"),
        ({"databases": True}, "so set at least 2"),
        ({"maxmemory": "2 gigs"}, "write a size such as 2gb"),
        ({"pubsub_buffer": "256mb"}, "such as 256mb 64mb 60"),
        ({"settings": ["maxclients 9"]}, "celery_broker_settings is a list: write a dictionary"),
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
