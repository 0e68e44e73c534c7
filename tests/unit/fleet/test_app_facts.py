# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet leaves open is its app's, and what both say is the same or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.muejam.celery.plugins.filter import fleets as filters
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings import role
from ansible_collections.muejam.celery.plugins.module_utils.fleet import app_facts, spec

FACTS: dict[str, Any] = {
    "app": "proj",
    "transport_options": {"sep": ":", "priority_steps": [0, 4, 8], "visibility_timeout": 99},
    "queues": ["shop"],
    "remote_control": True,
    "sets_priorities": False,
    "control_exchange": "shop",
    "event_exchange": "shopev",
}
ANSWER: dict[str, Any] = {**FACTS, "problems": [], "other_broker": None}
SETTINGS = {
    "mode": "observe", "interval": "5s", "metrics_address": "127.0.0.1", "metrics_port": 9541, "stuck_after": "5m",
    "restart_stuck": False,
}  # fmt: skip


def fleet(**keys: Any) -> spec.Fleet:
    return spec.resolve([{"name": "web", "app": "proj", "virtualenv": "/v", "broker_url": "redis://h/0", **keys}])[0]


def test_a_silent_fleet_is_read_as_its_app_says() -> None:
    reading = app_facts.reading(fleet(), FACTS)
    assert (reading["transport_options"], reading["queues"]) == (FACTS["transport_options"], ["shop"])


def test_what_a_host_keeps_of_apps() -> None:
    assert filters.fleet_known_apps(None) == {}
    assert filters.fleet_known_apps(json.dumps({"web": FACTS})) == {"web": FACTS}


@pytest.mark.parametrize("text", ["", '{"web": {"app"', "[]", "null", '{"web": 1}', "\xff\xfe\xfd"])
def test_a_broken_file_of_apps_is_named(text: str) -> None:
    with pytest.raises(
        AnsibleFilterError, match=r"^/etc/celery-worker/apps\.json cannot be read: .*remove it, and deploy"
    ):
        filters.fleet_known_apps(text)


def test_nobody_reads_the_file_of_apps_otherwise() -> None:
    root = Path(__file__).parents[3]
    for path in [*root.glob("roles/*/*/*.yml"), *root.glob("playbooks/**/*.yml")]:
        assert "apps_file.content" not in path.read_text(encoding="utf-8"), path


def test_what_a_fleet_says_wins() -> None:
    said = fleet(visibility_timeout=7200, broker_transport_options={"sep": "/"}, queues=["a", "b"])
    reading = app_facts.reading(said, FACTS)
    assert reading["transport_options"] == {"sep": "/", "priority_steps": [0, 4, 8], "visibility_timeout": 7200}
    assert reading["queues"] == ["a", "b"]


@pytest.mark.parametrize("other", [{"app": "other"}, {"app": None, "command": ["/bin/x", "web-%i@%H"]}])
def test_what_is_known_of_another_app_says_nothing(other: dict[str, Any]) -> None:
    reading = app_facts.reading(fleet(**other), FACTS)
    assert (reading["transport_options"], reading["queues"]) == ({}, [])
    assert app_facts.reading(fleet(), None)["queues"] == []


def test_the_autoscaler_reads_as_the_app_does() -> None:
    (entry,) = role.configuration([fleet()], SETTINGS, {"web": FACTS})["fleets"]
    assert (entry["transport_options"], entry["queues"]) == (FACTS["transport_options"], ["shop"])


def test_workers_without_the_module_are_asked_as_their_app_speaks() -> None:
    def told(service: dict[str, Any]) -> bool:
        return any("CELERY_LIFECYCLE_TRANSPORT_OPTIONS" in line for line in service["file_environment"])

    assert told(filters.fleet_service(fleet(notify=False), FACTS))
    # The module takes the app's own by itself.
    assert not told(filters.fleet_service(fleet(), FACTS))
    assert filters.fleet_service(fleet(), FACTS)["reading"]["queues"] == ["shop"]
    exchanges = [filters.fleet_service(fleet(notify=False), facts)["control_exchange"] for facts in (FACTS, None)]
    assert exchanges == ["shop", "celery"]


def test_what_was_found_is_kept_until_something_else_is_found() -> None:
    results = [
        {"name": "web", "stdout": json.dumps(ANSWER)},
        {"name": "skipped", "skipped": True},
        {"name": "broken", "stdout": json.dumps({"problems": ["app: no"]})},
    ]
    before = {"skipped": {"app": "a"}, "broken": {"app": "b"}, "elsewhere": {"app": "c"}}
    assert app_facts.updated(before, results, "name") == {**before, "web": FACTS}
    assert app_facts.updated({}, [], "name") == {}


@pytest.mark.parametrize(
    ("keys", "starts"),
    [
        ({}, []),
        ({"broker_transport_options": {"sep": ":"}}, []),
        ({"broker_transport_options": {"priority_steps": ["8", 4, "0"]}}, []),
        (
            {"broker_transport_options": {"sep": "/"}},
            ["broker_transport_options.sep: the fleet says '/' and the app itself ':'"],
        ),
        (
            {"broker_transport_options": {"priority_steps": [0, 5]}},
            ["broker_transport_options.priority_steps: the fleet says [0, 5] and the app itself [0, 4, 8]"],
        ),
        # The app does not say: it may be told elsewhere as well.
        ({"broker_transport_options": {"global_keyprefix": "x:"}}, []),
        # A matter of the workers alone, and they get the fleet's.
        ({"visibility_timeout": 7200}, []),
        ({"visibility_timeout": 99, "notify": False}, []),
        ({"visibility_timeout": 7200, "notify": False}, ["visibility_timeout: the fleet says 7200, the app itself 99"]),
        (
            {"broker_transport_options": {"global_keyprefix": "x:"}, "notify": False},
            ["broker_transport_options.global_keyprefix: the fleet says 'x:', the app says nothing"],
        ),
        ({"broker_url": "amqp://h//", "broker_transport_options": {"sep": "/"}}, []),
    ],
)
def test_contradictions(keys: dict[str, Any], starts: list[str]) -> None:
    found = app_facts.problems(fleet(**keys), ANSWER)
    assert len(found) == len(starts), found
    assert all(fault.startswith(start) for fault, start in zip(found, starts))


@pytest.mark.parametrize(
    ("options", "keys", "told"),
    [
        (
            {"global_keyprefix": "x:"},
            {},
            ["broker_transport_options.global_keyprefix: the fleet says 'x:', and the app"],
        ),
        ({"sep": ":"}, {}, ["broker_transport_options.sep: the fleet says ':', and the app"]),
        ({"priority_steps": [0, 5]}, {}, ["broker_transport_options.priority_steps: the fleet says [0, 5], and the"]),
        # As kombu has them by itself.
        ({"global_keyprefix": "", "sep": "\x06\x16", "priority_steps": ["9", 6, 3, 0]}, {}, []),
        ({"visibility_timeout": 7200}, {}, []),
        ({"sep": ":"}, {"broker_url": "amqp://h//"}, []),
    ],
)
def test_lists_that_only_the_fleet_names_are_told(
    options: dict[str, Any], keys: dict[str, Any], told: list[str]
) -> None:
    said = fleet(broker_transport_options=options, **keys)
    answer = {**ANSWER, "transport_options": {}}
    assert app_facts.problems(said, answer) == []
    found = app_facts.notices(said, answer)
    assert [text[: len(start)] for text, start in zip(found, told)] == told
    assert len(found) == len(told)
    # Those that the app names otherwise are refused, which is enough.
    own = dict.fromkeys(options, "other")
    assert app_facts.notices(said, {**answer, "transport_options": own}) == []


def test_names_that_are_kombus_own_need_nobody_who_passes_them_on() -> None:
    said = fleet(notify=False, broker_transport_options={"sep": "\x06\x16", "global_keyprefix": ""})
    assert app_facts.problems(said, {**ANSWER, "transport_options": {}}) == []


def test_without_remote_control_a_worker_needs_the_module() -> None:
    answer = {**ANSWER, "remote_control": False}
    assert "worker_enable_remote_control" in app_facts.problems(fleet(notify=False), answer)[0]
    assert app_facts.problems(fleet(), answer) == []
    assert "worker_enable_remote_control" in app_facts.notices(fleet(), answer)[0]


@pytest.mark.parametrize(
    ("keys", "own", "told"),
    [
        ({}, {}, True),
        ({}, {"visibility_timeout": 9}, True),
        ({}, {"priority_steps": [0, 4, 8]}, False),
        ({}, {"queue_order_strategy": "priority"}, False),
        ({"priority_order": "high_first"}, {}, False),
        ({"priority_order": "low_first"}, {}, False),
        ({"notify": False}, {}, False),
        ({"broker_url": "amqp://h//"}, {}, False),
    ],
)
def test_the_order_of_priorities_is_told_once(keys: dict[str, Any], own: dict[str, Any], told: bool) -> None:
    answer = {**ANSWER, "transport_options": own, "sets_priorities": True}
    assert [text.partition(":")[0] for text in app_facts.notices(fleet(**keys), answer)] == ["priority_order"] * told
    assert app_facts.notices(fleet(**keys), answer, answer) == []
    assert app_facts.notices(fleet(**keys), {**answer, "sets_priorities": False}) == []


def test_another_broker_is_told_each_time() -> None:
    answer = {**ANSWER, "other_broker": "redis://elsewhere:6379/0"}
    (text,) = app_facts.notices(fleet(), answer, answer)
    assert "redis://elsewhere:6379/0" in text
    assert app_facts.notices(fleet(), {"problems": ["app: no"]}) == []
    assert app_facts.problems(fleet(), {"problems": ["app: no"]}) == []
