# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy in the languages of KEDA, HPA, cron and systemd."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.manifests import ManifestOptions, translate
from ansible_collections.muejam.celery.plugins.module_utils.brokers.keda_trigger import NotForKeda
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError, parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.edges import edges, floors, odd_edges
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.schedules import entries
from ansible_collections.muejam.celery.plugins.module_utils.decide.windows import DAYS

MONDAY = datetime(2026, 6, 1, tzinfo=timezone.utc).timestamp()
A_MINUTE, A_DAY, A_WEEK = 60.0, 86400.0, 7 * 86400.0

BRIEF = {
    "schedule": {
        "timezone": "UTC",
        "windows": [
            {"name": "peak", "time": "08:00-18:00", "min_workers": 5, "max_workers": 20},
            {"name": "off_peak", "time": "18:00-08:00", "min_workers": 2, "max_workers": 10},
            {"name": "weekend", "days": ["sat", "sun"], "min_workers": 2, "max_workers": 8},
        ],
    }
}
BRIEF_OPTIONS = ManifestOptions(
    name="celery-worker-scaler",
    workload="celery-worker",
    namespace="muejam",
    broker_url="redis://redis:6379/0",
    queues=("celery",),
    lists="bare",
)


def translated(policy: dict[str, Any], autoscaler: str, options: ManifestOptions) -> dict[str, Any]:
    """Return the objects by kind, and the fidelity by rule."""
    found = translate(parse_policy(policy), autoscaler, options, MONDAY)
    by_kind = {each["kind"]: each for each in found.manifests}
    return {**by_kind, "kept": {each["rule"]: each["kept"] for each in found.fidelity}, "fidelity": found.fidelity}


def scaled(policy: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Return the ScaledObject's spec."""
    spec = translated(policy, "keda", ManifestOptions(**{"broker_url": "redis://redis", **options}))
    return dict(spec["ScaledObject"]["spec"])


def test_the_bare_scaled_object_has_bounds_and_lists_alone() -> None:
    found = translated({}, "keda", BRIEF_OPTIONS)
    assert found["ScaledObject"] == {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "celery-worker-scaler", "namespace": "muejam"},
        "spec": {
            "scaleTargetRef": {"name": "celery-worker"},
            "minReplicaCount": 2,
            "maxReplicaCount": 20,
            "pollingInterval": 30,
            "cooldownPeriod": 300,
            "triggers": [
                {
                    "type": "redis",
                    "metadata": {
                        "address": "redis:6379",
                        "listName": "celery",
                        "listLength": "50",
                        "databaseIndex": "0",
                    },
                }
            ],
        },
    }
    assert "TriggerAuthentication" not in found
    depth = next(each for each in found["fidelity"] if each["rule"] == "scale_up.any[0]")
    assert "not counted: all priorities but one, messages that are not acknowledged" in depth["how"]


def test_every_list_and_what_is_not_acknowledged_is_added_up() -> None:
    spec = scaled({"target": {"wait_time": "30s"}}, queues=("a", "b"), list_length=7)
    names = [trigger["metadata"]["listName"] for trigger in spec["triggers"]]
    steps = ["", "\x06\x163", "\x06\x166", "\x06\x169"]
    assert names == [*(f"{queue}{step}" for queue in "ab" for step in steps), "unacked"]
    modifiers = spec["advanced"]["scalingModifiers"]
    assert modifiers["formula"].split(" + ") == [trigger["name"] for trigger in spec["triggers"]]
    assert (modifiers["target"], modifiers["metricType"]) == ("7", "AverageValue")
    assert spec["fallback"]["behavior"] == "currentReplicas"


@pytest.mark.parametrize("policy", [{}, {"target": {"wait_time": "30s"}}])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "; counted too: what all fleets in database 3 have not acknowledged, so give each a database or"),
        ({"transport_options": {"global_keyprefix": "x_"}}, "all fleets in database 3 under the prefix x_ have not"),
        ({"lists": "bare"}, ""),
    ],
)
def test_what_other_fleets_have_not_acknowledged_is_counted_and_said(
    policy: dict[str, Any], options: dict[str, Any], told: str
) -> None:
    found = translated(policy, "keda", ManifestOptions(broker_url="redis://redis/3", **options))
    rule = "target.wait_time" if policy else "scale_up.any[0]"
    how = next(each["how"] for each in found["fidelity"] if each["rule"] == rule)
    assert told in how
    assert ("counted too" in how) == bool(told)


def test_lists_are_named_as_the_app_names_them() -> None:
    options = {"global_keyprefix": "x_", "sep": ":", "priority_steps": [0, 5]}
    names = [each["metadata"]["listName"] for each in scaled({}, transport_options=options)["triggers"][:3]]
    assert names == ["x_celery", "x_celery:5", "x_unacked"]


@pytest.mark.parametrize(
    ("url", "options", "kind", "metadata"),
    [
        ("redis://redis", {}, "redis", {"address": "redis:6379", "databaseIndex": "0"}),
        ("redis://[::1]:7000/3", {}, "redis", {"address": "[::1]:7000", "databaseIndex": "3"}),
        ("rediss://redis", {}, "redis", {"address": "redis:6379", "enableTLS": "true"}),
        ("redis://redis", {"tls": True, "tls_verified": False}, "redis", {"enableTLS": "true", "unsafeSsl": "true"}),
        (
            "sentinel://a/2;sentinel://b:7001/2",
            {"transport_options": {"master_name": "main"}},
            "redis-sentinel",
            {"addresses": "a:26379,b:7001", "sentinelMaster": "main", "databaseIndex": "2"},
        ),
        ("amqp://rabbit/shop", {}, "rabbitmq", {"protocol": "amqp", "host": "amqp://rabbit/shop", "vhostName": "shop"}),
        (
            "amqp://rabbit",
            {"management_url": "http://rabbit:15672"},
            "rabbitmq",
            {"protocol": "http", "host": "http://rabbit:15672", "vhostName": "/", "value": "50", "queueName": "celery"},
        ),
    ],
)
def test_brokers(url: str, options: dict[str, Any], kind: str, metadata: dict[str, str]) -> None:
    found = scaled({}, broker_url=url, **options)["triggers"][0]
    assert found["type"] == kind
    assert {key: found["metadata"].get(key) for key in metadata} == metadata


@pytest.mark.parametrize(
    ("url", "queues", "protocol"),
    [
        ("amqp://me:pw@rabbit/my%20shop", ("celery",), "amqp"),
        ("amqp://me:pw@rabbit/shop", ("celery", "to do"), "amqp"),
        ("amqp://me:pw@rabbit/my+shop", ("celery",), "http"),
    ],
)
def test_names_with_a_space_are_asked_for_by_amqp(url: str, queues: tuple[str, ...], protocol: str) -> None:
    options = ManifestOptions(broker_url=url, queues=queues, management_url="http://me:pw@rabbit:15672")
    found = translated({}, "keda", options)
    triggers = [each for each in found["ScaledObject"]["spec"]["triggers"] if each["type"] == "rabbitmq"]
    assert {each["metadata"]["protocol"] for each in triggers} == {protocol}
    depth = next(each["how"] for each in found["fidelity"] if each["rule"] == "scale_up.any[0]")
    assert ("as KEDA finds no name with a space by HTTP" in depth) == (protocol == "amqp")


@pytest.mark.parametrize(
    ("url", "options", "parameters"),
    [
        ("redis://:s3cr3t@redis", {}, {"password": "broker-password"}),
        ("redis://me:s3cr3t@redis", {}, {"username": "broker-username", "password": "broker-password"}),
        (
            "sentinel://:s3cr3t@a",
            {"transport_options": {"master_name": "m", "sentinel_kwargs": {"password": "s3cr3t"}}},
            {"password": "broker-password", "sentinelPassword": "broker-sentinel-password"},
        ),
        ("amqp://me:s3cr3t@rabbit", {}, {"host": "broker-url"}),
        ("amqp://me:s3cr3t@rabbit", {"management_url": "http://me:s3cr3t@rabbit:15672"}, {"host": "management-url"}),
    ],
)
def test_no_part_of_a_login_is_in_an_object(url: str, options: dict[str, Any], parameters: dict[str, str]) -> None:
    manifests = translate(
        parse_policy({}), "keda", ManifestOptions(broker_url=url, workload="web", **options), MONDAY
    ).manifests
    assert "s3cr3t" not in str(manifests)
    login, spec = manifests[0], manifests[1]["spec"]
    assert {each["parameter"]: each["key"] for each in login["spec"]["secretTargetRef"]} == parameters
    assert {each["name"] for each in login["spec"]["secretTargetRef"]} == {"web"}
    asking = [each for each in spec["triggers"] if each["type"] not in ("cpu", "memory")]
    assert all(each["authenticationRef"]["name"] == login["metadata"]["name"] for each in asking)


@pytest.mark.parametrize("url", ["redis+socket:///run/redis.sock", "sentinel://a", "amqp://a;amqp://b"])
def test_what_keda_cannot_read_is_refused(url: str) -> None:
    with pytest.raises(NotForKeda):
        scaled({}, broker_url=url)


def test_floors_of_windows_are_cron_triggers_where_nobody_sets_ceilings() -> None:
    found = translated(BRIEF, "keda", ManifestOptions(broker_url="redis://redis", windows="triggers"))
    spec = found["ScaledObject"]["spec"]
    crons = [each["metadata"] for each in spec["triggers"] if each["type"] == "cron"]
    assert crons == [{"timezone": "UTC", "start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "desiredReplicas": "5"}]
    assert "(window_0 > 1 ? 250.0 : 0.0)" in spec["advanced"]["scalingModifiers"]["formula"]
    assert {each["metadata"]["value"] for each in spec["triggers"] if each["type"] in ("cpu", "memory")} == {"70", "80"}
    how = {each["rule"]: each["how"] for each in found["fidelity"]}
    assert "the ceiling of 10 is dropped" in how["schedule.windows[1]"]
    assert found["kept"]["scale_up.any[3]"] == "dropped"


@pytest.mark.parametrize(("by", "names"), [("triggers", {"window_0", "once_0"}), ("cron_jobs", {"window_0"})])
def test_a_floor_of_one_is_told_from_what_a_cron_trigger_tells_outside_its_hours(by: str, names: set[str]) -> None:
    windows = [
        {"name": "day", "time": "08:00-18:00", "min_workers": 1},
        {"name": "sale", "from": "2026-06-20T08:00Z", "until": "2026-06-21T08:00Z", "min_workers": 1},
    ]
    policy = {"limits": {"min_workers": 0}, "schedule": {"windows": windows[: len(names)]}}
    spec = scaled(policy, windows=by)
    crons = {each["name"]: each["metadata"]["desiredReplicas"] for each in spec["triggers"] if each["type"] == "cron"}
    # That is 0, and was 1 before KEDA 2.18.
    assert crons == dict.fromkeys(names, "2")
    for name in names:
        assert f"({name} > 1 ? 50.0 : 0.0)" in spec["advanced"]["scalingModifiers"]["formula"]


@pytest.mark.parametrize(
    ("windows", "spans"),
    [
        ([{"name": "always", "min_workers": 3}], [("0 0 * * 1", "0 0 * * 4"), ("0 0 * * 4", "0 0 * * 1")]),
        ([{"name": "monday", "days": ["mon"], "min_workers": 3}], [("0 0 * * 1", "0 0 * * 2")]),
    ],
)
def test_no_cron_trigger_begins_when_it_ends(windows: list[dict[str, Any]], spans: list[tuple[str, str]]) -> None:
    spec = scaled({"schedule": {"windows": windows}}, windows="triggers")
    crons = [each["metadata"] for each in spec["triggers"] if each["type"] == "cron"]
    assert [(each["start"], each["end"]) for each in crons] == spans
    assert {each["desiredReplicas"] for each in crons} == {"3"}
    assert "(window_0 > 1 ? 150.0 : 0.0)" in spec["advanced"]["scalingModifiers"]["formula"]


def test_cron_jobs_set_floors_and_ceilings_of_a_scaled_object() -> None:
    options = ManifestOptions(broker_url="redis://redis", workload="web", in_force=True)
    found = translated(BRIEF, "keda", options)
    spec = found["ScaledObject"]["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 10)  # at midnight
    # Floors are held by triggers too, should a job fail.
    assert [each["name"] for each in spec["triggers"] if each["type"] == "cron"] == ["window_0"]
    manifests = translate(parse_policy(BRIEF), "keda", options, MONDAY).manifests
    jobs = {each["spec"]["schedule"]: each for each in manifests if each["kind"] == "CronJob"}
    words = jobs["0 8 * * 1-5"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert words[:3] == ["kubectl", "patch", "scaledobject.keda.sh/web-scaler"]
    assert words[-1] == '--patch={"spec": {"minReplicaCount": 5, "maxReplicaCount": 20}}'
    assert found["Role"]["rules"] == [
        {
            "apiGroups": ["keda.sh"],
            "resources": ["scaledobjects"],
            "resourceNames": ["web-scaler"],
            "verbs": ["get", "patch"],
        }
    ]
    assert [found["kept"][f"schedule.windows[{place}]"] for place in range(3)] == ["exact"] * 3


def test_a_ceiling_of_nothing_is_one_for_keda() -> None:
    window = {"name": "maintenance", "time": "02:00-03:00", "min_workers": 0, "max_workers": 0}
    policy = {"limits": {"min_workers": 0}, "schedule": {"windows": [window]}}
    found = translated(policy, "keda", ManifestOptions(broker_url="redis://redis"))
    assert found["kept"]["schedule.windows[0]"] == "approximated"
    assert "maxReplicaCount 1" in found["fidelity"][-1]["how"]


def test_two_long_names_that_begin_alike_have_jobs_of_their_own() -> None:
    names = [
        each["metadata"]["name"]
        for last in "xy"
        for each in translate(
            parse_policy(BRIEF), "schedule", ManifestOptions(workload=f"celery-worker-{'a' * 39}{last}"), MONDAY
        ).manifests
        if each["kind"] == "CronJob"
    ]
    assert len(set(names)) == len(names) == 8
    assert all(len(name) <= 52 for name in names)


@pytest.mark.parametrize(
    ("url", "options", "secret"),
    [
        ("redis://m%65:s%40c@redis", {}, {"broker-username": "me", "broker-password": "s@c"}),
        (
            "rediss://:pw@redis",
            {"certificates": {"ca": "PEM"}},
            {"broker-password": "pw", "broker-ca": "PEM"},
        ),
        ("redis://redis", {"certificates": {"ca": "PEM"}}, {}),
        ("pyamqp://me:pw@rabbit//", {}, {"broker-url": "amqp://me:pw@rabbit//"}),
        ("amqp://me:pw@rabbit/shop", {"tls": True}, {"broker-url": "amqps://me:pw@rabbit:5672/shop"}),
        (
            "amqps://me:pw@rabbit",
            {"certificates": {"ca": "PEM", "cert": "C", "key": "K"}},
            {
                "broker-url": "amqps://me:pw@rabbit",
                "broker-ca": "PEM",
                "broker-certificate": "C",
                "broker-key": "K",
                "broker-tls": "enable",
            },
        ),
    ],
)
def test_what_keda_reads_is_kept_apart(url: str, options: dict[str, Any], secret: dict[str, str]) -> None:
    found = translate(parse_policy({}), "keda", ManifestOptions(broker_url=url, **options), MONDAY)
    assert found.secret == secret
    logins = [each for each in found.manifests if each["kind"] == "TriggerAuthentication"]
    assert {each["key"] for login in logins for each in login["spec"]["secretTargetRef"]} == set(secret)
    assert "pw" not in repr(found)


def test_a_url_may_say_itself_that_nothing_is_checked() -> None:
    found = scaled({}, broker_url="rediss://redis/0?ssl_cert_reqs=CERT_NONE")["triggers"][0]["metadata"]
    assert (found["enableTLS"], found["unsafeSsl"], found["databaseIndex"]) == ("true", "true", "0")


def test_what_pods_do_not_request_is_no_target() -> None:
    found = translated({}, "keda", ManifestOptions(broker_url="redis://redis", requested=("cpu",)))
    assert {each["type"] for each in found["ScaledObject"]["spec"]["triggers"]} == {"redis", "cpu"}
    memory = next(each for each in found["fidelity"] if each["rule"] == "scale_up.any[2]")
    assert memory["kept"] == "dropped"
    assert "request none of it" in memory["how"]


def test_an_hpa_has_the_targets_and_the_limits_as_rates() -> None:
    found = translated(BRIEF, "hpa", ManifestOptions(workload="web"))
    spec = found["HorizontalPodAutoscaler"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 20)
    assert {each["resource"]["name"]: each["resource"]["target"]["averageUtilization"] for each in spec["metrics"]} == {
        "cpu": 70,
        "memory": 80,
    }
    up, down = spec["behavior"]["scaleUp"], spec["behavior"]["scaleDown"]
    assert up["policies"] == [{"type": "Pods", "value": 5, "periodSeconds": 60}]
    assert down["policies"] == [{"type": "Pods", "value": 2, "periodSeconds": 300}]
    assert (up["stabilizationWindowSeconds"], down["stabilizationWindowSeconds"]) == (120, 300)
    job = found["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert job[:3] == ["kubectl", "patch", "hpa/web-scaler"]
    assert found["kept"]["scale_up.any[0]"] == "dropped"


DEEP = {"metric": "queue_depth", "above": 20}
LATE = {"metric": "wait_time", "above": 30}
BUSY = {"metric": "cpu", "above": 80, "for": "2m"}


@pytest.mark.parametrize(
    ("up", "of_keda", "of_hpa"),
    [
        ([DEEP, BUSY], 0, 120),
        ([{**DEEP, "for": "30s"}, BUSY, LATE], 30, 120),
        ([{**DEEP, "for": "3m"}, BUSY], 120, 120),
        ([{**DEEP, "for": "3m"}, {**BUSY, "metric": "memory"}], 180, 120),
        # None is translated: what it scales by stands for all of them.
        ([{**LATE, "for": "10s"}], 10, 10),
        ([LATE, {"metric": "tasks_processed", "below": 5, "for": "1m"}], 0, 0),
    ],
)
def test_it_grows_after_the_shortest_hold_of_what_is_translated(
    up: list[dict[str, Any]], of_keda: int, of_hpa: int
) -> None:
    policy = {"scale_up": {"any": up}}
    options = ManifestOptions(broker_url="redis://redis", requested=("cpu",))
    keda, hpa = translated(policy, "keda", options), translated(policy, "hpa", options)
    of = keda["ScaledObject"]["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert of["scaleUp"]["stabilizationWindowSeconds"] == of_keda
    assert hpa["HorizontalPodAutoscaler"]["spec"]["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == of_hpa
    for found, hold in ((keda, of_keda), (hpa, of_hpa)):
        rules = [each for each in found["fidelity"] if each["rule"].startswith("scale_up.any")]
        told = [each["how"] for each in rules if each["kept"] != "dropped"]
        assert all((f"wanted for {hold}s without a break" in how) == bool(hold) for how in told)


def test_it_shrinks_after_the_longest_hold_of_all_as_each_is_needed() -> None:
    calm = {"metric": "cpu", "below": 30, "for": "1m"}
    policy = {"scale_down": {"all": [calm, {"metric": "tasks_processed", "equals": 0, "for": "10m"}]}}
    for autoscaler, kind in (("keda", "ScaledObject"), ("hpa", "HorizontalPodAutoscaler")):
        found = translated(policy, autoscaler, ManifestOptions(broker_url="redis://redis"))
        spec = found[kind]["spec"]
        config = spec["advanced"]["horizontalPodAutoscalerConfig"] if autoscaler == "keda" else spec
        assert config["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 600
        how = next(each["how"] for each in found["fidelity"] if each["rule"] == "scale_down.all[0]")
        assert how.endswith("wanted for 600s without a break")


def test_what_the_api_would_refuse_is_cut_and_said() -> None:
    limits = {"min_workers": 0, "cooldown_down": "2h", "cooldown_up": 0}
    found = translated({"limits": limits}, "hpa", ManifestOptions())
    spec = found["HorizontalPodAutoscaler"]["spec"]
    assert spec["minReplicas"] == 1
    assert spec["behavior"]["scaleUp"]["policies"][0]["periodSeconds"] == 1
    assert spec["behavior"]["scaleDown"]["policies"][0]["periodSeconds"] == 1800
    assert found["kept"]["limits.min_workers"] == "approximated"
    assert "no more than 1800s" in next(
        each["how"] for each in found["fidelity"] if each["rule"] == "limits.cooldown_down"
    )


def test_the_edges_of_the_brief_in_three_languages() -> None:
    found = entries(parse_policy(BRIEF), MONDAY)
    bounds = [(2, 10), (5, 20), (2, 10), (2, 8)]
    for each in found.values():
        assert [(entry["min_workers"], entry["max_workers"]) for entry in each] == bounds
    lines = ["0 0 * * 1", "0 8 * * 1-5", "0 18 * * 1-5", "0 0 * * 6"]
    assert [entry["schedule"] for entry in found["cron"]] == lines
    assert [(entry["schedule"], entry["time_zone"]) for entry in found["kubernetes"]] == [
        (line, "UTC") for line in lines
    ]
    assert [entry["on_calendar"] for entry in found["systemd"]] == [
        "Mon *-*-* 00:00:00 UTC",
        "Mon..Fri *-*-* 08:00:00 UTC",
        "Mon..Fri *-*-* 18:00:00 UTC",
        "Sat *-*-* 00:00:00 UTC",
    ]


def test_cron_jobs_may_touch_the_one_object_alone() -> None:
    found = translated(BRIEF, "schedule", ManifestOptions(workload="celery-worker", namespace="muejam"))
    assert {name for rule in found["Role"]["rules"] for name in rule["resourceNames"]} == {"celery-worker"}
    manifests = translate(parse_policy(BRIEF), "schedule", ManifestOptions(), MONDAY).manifests
    jobs = {each["spec"]["schedule"]: each for each in manifests if each["kind"] == "CronJob"}
    words = jobs["0 8 * * 1-5"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert words == ["kubectl", "scale", "deployment/celery-worker", "--replicas=5"]
    names = [each["metadata"]["name"] for each in manifests if each["kind"] == "CronJob"]
    assert len(set(names)) == len(names) == 4
    assert all(len(name) <= 52 for name in names)


def test_days_on_which_the_clock_is_changed_are_told() -> None:
    window = {"name": "night", "time": "02:30-06:00", "min_workers": 4}
    policy = {"schedule": {"timezone": "Europe/Berlin", "windows": [window]}}
    odd = list(odd_edges(parse_policy(policy), MONDAY, MONDAY + 366 * A_DAY))
    assert [(f"{each.wall:%Y-%m-%d %H:%M}", each.twice) for each in odd] == [
        ("2026-10-25 02:30", True),
        ("2027-03-28 02:30", False),
    ]
    found = translated(policy, "hpa", ManifestOptions())
    assert found["kept"]["schedule.windows[0]"] == "approximated"
    assert "2026-10-25 02:30 comes twice" in found["fidelity"][-1]["how"]


TIMES = st.integers(0, 24 * 4).map(lambda quarters: f"{quarters // 4:02}:{quarters % 4 * 15:02}")
WINDOWS = st.lists(
    st.builds(
        lambda start, end, days, floor, room: {
            "name": "w",
            "time": f"{start}-{end}",
            "days": sorted(days),
            "min_workers": floor,
            "max_workers": floor + room,
        },
        TIMES.filter(lambda text: text != "24:00"),
        TIMES.filter(lambda text: text != "00:00"),
        st.sets(st.sampled_from(DAYS), min_size=1),
        st.integers(0, 6),
        st.integers(0, 6),
    ),
    min_size=1,
    max_size=4,
)


def policy_of(windows: list[dict[str, Any]]) -> Policy | None:
    named = [{**window, "name": f"w{place}"} for place, window in enumerate(windows)]
    try:
        return parse_policy({"limits": {"min_workers": 1, "max_workers": 12}, "schedule": {"windows": named}})
    except PolicyError:
        return None  # such as a window of no length


@given(WINDOWS, st.lists(st.integers(0, 7 * 24 * 60 - 1), min_size=1, max_size=30))
def test_edges_hold_what_the_engine_holds(windows: list[dict[str, Any]], minutes: list[int]) -> None:
    policy = policy_of(windows)
    if policy is None:
        return
    marks = {day * 24 * 60 + edge.minute: edge for edge in edges(policy) for day in edge.days}
    spans = floors(policy)
    for minute in (*minutes, *marks):
        at = MONDAY + minute * A_MINUTE
        truth = policy.limits.narrowed(policy.schedule.in_force(at))
        last = max((mark for mark in marks if mark <= minute), default=max(marks))
        assert (marks[last].min_workers, marks[last].max_workers) == truth
        raised = {
            span.min_workers
            for span in spans
            for day in span.days
            if (minute - day * 24 * 60 - span.start) % (7 * 24 * 60) < span.length
        }
        assert raised == ({truth[0]} if truth[0] > policy.limits.min_workers else set())
