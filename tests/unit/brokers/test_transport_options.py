# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transport options are what kombu takes, whatever way they came: JSON, or templates of ansible-core 2.16."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.transport_options import prepared
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet import environment, problems, spec

NATIVE: dict[str, Any] = {
    "visibility_timeout": 7200,
    "socket_timeout": 2.5,
    "socket_keepalive": True,
    "socket_keepalive_options": {4: 60, 5: 10, 6: 3},
    "priority_steps": [0, 4, 8],
    "retry_on_timeout": False,
    "fanout_prefix": True,
    "sep": ":",
    "global_keyprefix": "7",
    "health_check_interval": 25,
    "max_connections": 20,
    "master_name": "mymaster",
    "min_other_sentinels": 1,
    "sentinel_fanout_compat": True,
    "sentinel_kwargs": {"password": "123456", "socket_timeout": 0.5, "ssl": True, "db": 1},
    "max_retries": 3,
    "interval_step": 0.2,
    "confirm_publish": True,
    "heartbeat": 30,
    "client_properties": {"product": "shop"},
    "socket_settings": {18: 5000},
    "queue_order_strategy": "shop.orders:Mine",
    "of_a_newer_kombu": "8",
}


def as_templated(value: Any) -> Any:
    """Return what ansible-core 2.16 makes of a value whose every part is a template."""
    if isinstance(value, dict):
        return {str(key): as_templated(one) for key, one in value.items()}
    if isinstance(value, list):
        return [as_templated(one) for one in value]
    return str(value)


@pytest.mark.parametrize("way", [dict, as_templated, lambda value: json.loads(json.dumps(value))])
def test_every_option_is_of_its_kind_whatever_way_it_came(way: Any) -> None:
    found = prepared(way(NATIVE))
    assert found == NATIVE
    assert [type(one) for one in found.values()] == [type(one) for one in NATIVE.values()]
    assert prepared(found) == found


def test_null_is_not_given() -> None:
    assert prepared({"priority_steps": None, "sentinel_kwargs": {"password": None}}) == {"sentinel_kwargs": {}}
    assert prepared(None) == {}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"visibility_timeout": "one hour"}, ".visibility_timeout: must be a number"),
        ({"visibility_timeout": ""}, ".visibility_timeout: must be a number"),
        ({"visibility_timeout": True}, ".visibility_timeout: must be a number"),
        ({"visibility_timeout": "-3600"}, ".visibility_timeout: must be a number of seconds above 0"),
        ({"socket_timeout": "nan"}, ".socket_timeout: must be a number"),
        ({"max_connections": "2.5"}, ".max_connections: must be a whole number"),
        ({"socket_keepalive": "perhaps"}, ".socket_keepalive: must be true or false"),
        (
            {"socket_keepalive_options": {"TCP_KEEPIDLE": 60}},
            ".socket_keepalive_options: must be a dictionary of whole",
        ),
        ({"socket_keepalive_options": [4]}, ".socket_keepalive_options: must be a dictionary"),
        ({"socket_settings": {"TCP_NODELAY": "x"}}, ".socket_settings: must be a dictionary"),
        ({"priority_steps": "0,3,6"}, ".priority_steps: must be a list of whole numbers"),
        ({"priority_steps": [0, "three"]}, ".priority_steps: must be a list of whole numbers"),
        ({"priority_steps": []}, ".priority_steps: must be a list of whole numbers"),
        ({"sep": ["a"]}, ".sep: must be a text"),
        ({"queue_order_strategy": "prioritty"}, ".queue_order_strategy: must be one of round_robin, priority, sorted"),
        ({"sentinel_kwargs": "x"}, ".sentinel_kwargs: must be a dictionary"),
        ({"sentinel_kwargs": {"socket_timeout": "x"}}, ".sentinel_kwargs.socket_timeout: must be a number"),
    ],
)
def test_what_is_of_no_use_is_refused_with_its_place(options: dict[str, Any], fault: str) -> None:
    fleet = {"name": "web", "app": "proj", "virtualenv": "/v", "broker_url": "redis://h"}
    [found] = problems.find([{**fleet, "broker_transport_options": options}])
    assert found.startswith(f"celery_worker_fleets[0].broker_transport_options{fault}")
    with pytest.raises(OperationError, match="transport_options") as caught, open_broker("redis://h", options):
        pytest.fail("it was opened")
    assert fault in str(caught.value)


def test_workers_and_readers_of_a_fleet_are_given_the_same() -> None:
    fleet = {"name": "web", "app": "proj", "virtualenv": "/v", "broker_url": "redis://h"}
    options = as_templated({key: value for key, value in NATIVE.items() if key != "visibility_timeout"})
    given = {**fleet, "broker_transport_options": options, "visibility_timeout": "7200.0"}
    assert problems.find([given]) == []
    [resolved] = spec.resolve([given])
    assert environment.transport_options(resolved) == NATIVE
    of_worker = environment.of_worker(resolved, 1)["CELERY_LIFECYCLE_TRANSPORT_OPTIONS"]
    assert prepared(json.loads(of_worker)) == NATIVE


def test_numbers_of_a_fleet_may_be_templates_on_every_ansible() -> None:
    native = {
        "name": "web", "app": "proj", "virtualenv": "/v", "broker_url": "redis://h",
        "workers": 2, "autoscale": {"max": 4, "min": 1}, "prefetch_multiplier": 1, "max_tasks_per_child": 100,
        "time_limit": 90, "soft_time_limit": 60, "drain_timeout": 1000, "start_timeout": 60.5, "watchdog": 30,
        "visibility_timeout": 7200, "acks_late": True, "task_events": False, "notify": True,
        "allow_memory_overcommit": True, "queue_max_priority": 9,
    }  # fmt: skip
    assert problems.find([as_templated(native)]) == []
    assert spec.resolve([as_templated(native)]) == spec.resolve([native])


@pytest.mark.parametrize("half", [4.0, "4.0"])
def test_a_division_that_comes_out_even_is_a_whole_number(half: Any) -> None:
    assert spec.resolve([{"concurrency": half, "name": "web"}])[0]["concurrency"] == 4
