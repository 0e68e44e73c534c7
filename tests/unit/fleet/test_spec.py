# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet over its defaults."""

from __future__ import annotations

from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet import placeholders, rules, spec
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import KEYS


def resolved(own: dict[str, Any], defaults: dict[str, Any] | None = None) -> spec.Fleet:
    return spec.resolve([{"name": "web", **own}], defaults)[0]


def test_a_fleet_has_every_key() -> None:
    assert set(resolved({})) == {*KEYS, "platform"}


def test_own_values_win_and_null_is_the_built_in_default() -> None:
    fleet = resolved({"workers": 3, "drain_timeout": None}, {"workers": 2, "drain_timeout": 60, "log_level": "debug"})
    assert (fleet["workers"], fleet["drain_timeout"], fleet["log_level"]) == (3, 300, "DEBUG")


def test_a_choice_is_known_however_it_is_written() -> None:
    fleet = resolved({"state": "Absent", "pool": "GEVENT", "priority_order": "High_First"})
    assert (fleet["state"], fleet["pool"], fleet["priority_order"]) == ("absent", "gevent", "high_first")


def test_mappings_add_up_and_lists_do_not() -> None:
    fleet = resolved(
        {"environment": {"A": "1"}, "queues": ["a"]}, {"environment": {"A": "0", "B": "2"}, "queues": ["b"]}
    )
    assert fleet["environment"] == {"A": "1", "B": "2"}
    assert fleet["queues"] == ["a"]


def test_what_the_own_pool_cannot_use_is_not_inherited() -> None:
    defaults = {"concurrency": 4, "max_tasks_per_child": 10, "soft_time_limit": 5, "time_limit": 6}
    assert resolved({}, defaults)["max_tasks_per_child"] == 10
    gevent = resolved({"pool": "gevent"}, defaults)
    assert (gevent["concurrency"], gevent["max_tasks_per_child"], gevent["soft_time_limit"]) == (4, None, None)
    assert gevent["time_limit"] == 6
    assert resolved({"pool": "solo"}, defaults)["concurrency"] is None
    assert resolved({"autoscale": {"max": 2, "min": 1}}, defaults)["concurrency"] is None
    own = resolved({"command": ["/bin/x"]}, {**defaults, "app": "proj"})
    assert (own["app"], own["concurrency"], own["time_limit"]) == (None, None, 6)


def test_what_follows_from_other_values() -> None:
    fleet = resolved({"app": "proj", "packages": ["proj"], "user": "shop"})
    assert fleet["group"] == "shop"
    assert fleet["virtualenv"] == "/opt/celery-worker/web"
    assert fleet["working_directory"] == "/var/lib/celery-worker/web"
    assert (fleet["notify"], fleet["watchdog"]) == (True, 60)
    own = resolved({"command": ["/bin/x"]})
    assert (own["notify"], own["watchdog"]) == (False, 0)


def test_texts_of_extra_vars_are_numbers() -> None:
    fleet = resolved({"workers": "4", "time_limit": "2.5", "acks_late": "yes"})
    assert (fleet["workers"], fleet["time_limit"], fleet["acks_late"]) == (4, 2.5, True)


def test_limits_of_the_app_count_where_the_fleet_has_none() -> None:
    fleet = resolved({"app": "proj", "broker_url": "redis://h"})
    assert rules.of_app(fleet, {}) == []
    found = rules.of_app(fleet, {"app_time_limit": 600, "app_soft_time_limit": 700, "app_visibility_timeout": 500})
    assert [fault.split(":")[0] for fault in found] == ["soft_time_limit", "drain_timeout", "visibility_timeout"]
    assert "more than 3000" in found[2]
    fewer = {"app_time_limit": 250, "app_visibility_timeout": 501, "app_prefetch_multiplier": 1}
    assert rules.of_app(fleet, fewer) == []
    assert rules.of_app(fleet, {key: str(value) for key, value in fewer.items()}) == []
    assert "1 + prefetch_multiplier 2" in rules.of_app(fleet, {**fewer, "app_prefetch_multiplier": 2})[0]
    assert (
        rules.of_app(resolved({"app": "p", "pool": "solo", "broker_url": "redis://h"}), {"app_time_limit": 600}) == []
    )


DEFAULTS = {"app_time_limit": None, "app_visibility_timeout": None, "app_prefetch_multiplier": 4}


def test_what_only_the_app_knows_is_judged_when_it_was_asked() -> None:
    fleet = resolved({"app": "proj", "broker_url": "redis://h", "time_limit": 1800, "drain_timeout": 1800})
    assert rules.of_app(fleet, {**DEFAULTS, "app_visibility_timeout": 43200}) == []
    assert rules.of_app({**fleet, "time_limit": 1799}, {**DEFAULTS, "app_prefetch_multiplier": 1}) == []
    (found,) = rules.of_app(fleet, DEFAULTS)
    assert found.startswith("visibility_timeout: 3600 s is not above 9000 s")
    assert "use more than 9000 (" in found
    # An app that could not be loaded said nothing.
    assert rules.of_app(fleet, {"problems": ["app: no module"], "celery": "5.6.3"}) == []


def test_celerys_own_values_count_where_nobody_asks_the_app() -> None:
    fleet = resolved({"app": "proj", "broker_url": "redis://h", "time_limit": 1800, "drain_timeout": 1800})
    (found,) = rules.of_app(fleet, {})
    assert "use more than 9000 (" in found
    assert "nobody asked the app for its own" in found
    command = {**fleet, "app": None, "command": ["/bin/x", "%i"]}
    assert rules.of_app(command, {}) == []


def test_a_drain_without_the_lifecycle_module_is_judged_by_the_apps_multiplier() -> None:
    fleet = resolved({"app": "p", "broker_url": "amqp://h", "notify": False, "time_limit": 100, "drain_timeout": 200})
    assert rules.of_app(fleet, {**DEFAULTS, "app_prefetch_multiplier": 1}) == []
    (found,) = rules.of_app(fleet, DEFAULTS)
    assert "use 500 or more" in found


def test_workers_are_numbered_on_hosts_alone() -> None:
    names = {platform: placeholders.node("web", platform) for platform in ("systemd", "kubernetes", "another")}
    assert names == {"systemd": "web-%i@%H", "kubernetes": "web@%H", "another": "web@%H"}
    assert spec.resolve([{"name": "web"}], platform="another")[0]["working_directory"] is None
