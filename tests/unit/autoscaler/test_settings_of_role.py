# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an autoscaler is told about the fleets of its host, and when a host has one."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.host import without
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings import role
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import read_configuration
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.variables import VARIABLES
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet import policies, spec

SETTINGS: dict[str, Any] = {
    "state": "present",
    "mode": "act",
    "interval": "5s",
    "metrics_address": "127.0.0.1",
    "metrics_port": 9541,
    "stuck_after": "5m",
    "restart_stuck": False,
    "memory_max": "256M",
    "image": "",
    "replicas": 2,
}
WEB: dict[str, Any] = {"name": "web", "app": "a", "queues": ["q"], "policy": {"limits": {"max_workers": 7}}}
PLAIN: dict[str, Any] = {"name": "plain", "app": "a"}
GONE: dict[str, Any] = {"name": "gone", "app": "a", "queues": ["q"], "policy": {}, "state": "absent"}


def resolved(*fleets: dict[str, Any]) -> list[spec.Fleet]:
    return spec.resolve(fleets, {"broker_url": "redis://h/0", "visibility_timeout": 7200})


@pytest.mark.parametrize(
    ("fleets", "mode", "state", "wanted", "scaled"),
    [
        ([WEB, PLAIN], "act", "present", True, ["web"]),
        ([{**WEB, "policy": {}}], "act", "present", True, ["web"]),
        ([WEB], "advise", "present", True, []),
        ([WEB], "observe", "present", True, ["web"]),
        ([PLAIN], "observe", "present", True, []),
        ([PLAIN], "act", "present", False, []),
        ([PLAIN], "advise", "present", False, []),
        ([GONE], "act", "present", False, []),
        ([GONE], "observe", "present", False, []),
        ([], "observe", "present", False, []),
        ([WEB], "act", "absent", False, []),
        ([WEB], "observe", "absent", False, []),
    ],
)
def test_when_a_host_has_one(
    fleets: list[dict[str, Any]], mode: str, state: str, wanted: bool, scaled: list[str]
) -> None:
    assert role.wanted(resolved(*fleets), mode, state) is wanted
    assert role.scaled(resolved(*fleets), mode, state) == scaled


def test_the_autoscaler_understands_its_configuration() -> None:
    told = role.configuration(resolved(WEB, PLAIN, GONE), {**SETTINGS, "restart_stuck": "yes"})
    read = read_configuration(told, "a test")
    web, plain = read.fleets
    assert (read.mode, read.interval, read.metrics.port if read.metrics else None) == ("act", 5.0, 9541)
    assert web.policy is not None
    assert (web.name, web.queues, web.policy.limits.max_workers) == ("web", ("q",), 7)
    assert (web.broker_url, web.transport_options) == ("redis://h/0", {"visibility_timeout": 7200})
    assert (web.stuck.after, web.stuck.restart) == (300.0, True)
    assert (plain.policy, plain.queues) == (None, ("celery",))


def test_the_file_is_checked_by_the_rules_of_the_role() -> None:
    told = role.configuration(resolved(WEB), SETTINGS)
    wrong = {
        "interval": 0.5,
        "metrics": {"address": "a b", "port": 0},
        "fleets": [{**told["fleets"][0], "stuck": {"after": 0}}],
    }
    with pytest.raises(OperationError) as refused:
        read_configuration({**told, **wrong}, "a test")
    places = ["interval", "metrics.address", "metrics.port", "fleets[0].stuck.after"]
    assert [fault["path"] for fault in refused.value.details["faults"]] == places


def test_what_the_role_leaves_as_it_is_the_file_may_leave_out() -> None:
    defaults = {name: variable.default for name, variable in VARIABLES.items()}
    told = role.configuration(resolved(PLAIN), defaults)
    [fleet] = told["fleets"]
    bare = {"mode": "act", "fleets": [{key: value for key, value in fleet.items() if key != "stuck"}]}
    assert read_configuration(told, "a test") == read_configuration(bare, "a test")


def test_an_empty_policy_is_one() -> None:
    told = role.configuration(resolved({**WEB, "policy": {}}), SETTINGS)
    assert told["fleets"][0]["policy"] == {}
    assert read_configuration(told, "a test").fleets[0].policy is not None


def test_letting_go() -> None:
    told = role.configuration(resolved(WEB, {**WEB, "name": "mail"}, PLAIN), SETTINGS)
    left = without(told, ["mail", "plain", "unheard-of"])
    assert ["policy" in fleet for fleet in left["fleets"]] == [True, False, False]
    assert {**told, "fleets": []} == {**left, "fleets": []}
    assert without(told, []) == told
    assert without({}, ["web"]) == {}
    # What only advises scales nothing, and goes on advising.
    advising = {**told, "mode": "advise"}
    assert without(advising, ["web"]) == advising


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, []),
        ({"metrics_port": "9541", "interval": 10}, []),
        ({"mode": "Act"}, ["celery_autoscaler_mode: 'Act' is not known, use one of observe, advise, act"]),
        ({"interval": "0s"}, ["celery_autoscaler_interval: 0s is out of range"]),
        (
            {"interval": "soon", "stuck_after": "0"},
            ["celery_autoscaler_interval: must be", "celery_autoscaler_stuck_after"],
        ),
        ({"metrics_port": 0}, ["celery_autoscaler_metrics_port: 0 is out of range, use 1 to 65535"]),
        ({"metrics_port": "http"}, ["celery_autoscaler_metrics_port: must be a whole number, is a text"]),
        ({"metrics_address": ""}, ["celery_autoscaler_metrics_address: must be a text, is empty"]),
        ({"metrics_address": "all of them"}, ["celery_autoscaler_metrics_address: 'all of them' is no address"]),
        ({"memory_max": "much"}, ["celery_autoscaler_memory_max: 'much' is no amount of memory"]),
        ({"state": "gone"}, ["celery_autoscaler_state: 'gone'"]),
        ({"image": "an image"}, ["celery_autoscaler_image: 'an image' is no image"]),
        ({"replicas": 0}, ["celery_autoscaler_replicas: 0 is out of range, use 1 to 10"]),
    ],
)
def test_faults_of_the_settings(changes: dict[str, Any], says: list[str]) -> None:
    found = list(role.problems({**SETTINGS, **changes}))
    assert len(found) == len(says)
    assert all(fault.startswith(start) for fault, start in zip(found, says))


def test_a_cluster_knows_no_share_of_a_host() -> None:
    [fault] = role.problems({**SETTINGS, "memory_max": "25%"}, "kubernetes")
    assert fault.startswith("celery_autoscaler_memory_max: no share of a host in a cluster")
    assert not list(role.problems({**SETTINGS, "memory_max": "25%"}))


@pytest.mark.parametrize(("interval", "seconds"), [("5s", 60), ("1m", 180), (0.5, 60)])
def test_the_watchdog_waits_for_several_looks(interval: object, seconds: int) -> None:
    assert role.watchdog({**SETTINGS, "interval": interval}) == seconds


@pytest.mark.parametrize(
    ("given", "most"),
    [
        ({"workers": 3}, 3),
        ({"workers": 3, "policy": {}}, 20),
        ({"workers": 3, "policy": {"limits": {"max_workers": 5}}}, 5),
        ({"workers": 9, "policy": {"limits": {"max_workers": 5}}}, 9),
    ],
)
def test_the_most_workers_that_a_fleet_comes_to(given: dict[str, Any], most: int) -> None:
    assert policies.most_workers(resolved({"name": "web", **given})[0]) == most
