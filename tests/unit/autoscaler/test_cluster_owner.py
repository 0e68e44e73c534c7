# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a fleet to the objects that set the number of its pods."""

from __future__ import annotations

import base64
from datetime import datetime, timezone
from typing import Any

import kubernetes_validate
import pytest

from ansible_collections.muejam.celery.plugins.filter import cluster
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler import cluster_owner
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.cluster_owner import Handover
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.manifests import LISTS, WINDOWS, ManifestOptions
from ansible_collections.muejam.celery.plugins.module_utils.fleet import problems, spec
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import AUTOSCALING_OPTIONS

MONDAY = datetime(2026, 6, 1, tzinfo=timezone.utc).timestamp()
NOON = MONDAY + 12 * 3600
WINDOWS_OF_THE_BRIEF = [
    {"name": "peak", "time": "08:00-18:00", "min_workers": 5, "max_workers": 20},
    {"name": "off_peak", "time": "18:00-08:00", "min_workers": 2, "max_workers": 10},
    {"name": "weekend", "days": ["sat", "sun"], "min_workers": 2, "max_workers": 8},
]
BASE: dict[str, Any] = {
    "name": "web",
    "app": "shop.celery:app",
    "image": "registry.example/shop:1.4",
    "broker_url": "redis://redis.shop.svc:6379/0",
    "queues": ["celery"],
    "requests": {"cpu": "100m", "memory": "128M"},
    "policy": {},
}


def fleet(**keys: Any) -> spec.Fleet:
    own = {**BASE, **keys}
    assert problems.find([own], platform="kubernetes") == []
    return spec.resolve([own], platform="kubernetes")[0]


def handed(autoscaling: str, at: float = NOON, in_force: bool = True, **keys: Any) -> Handover:
    return cluster_owner.hand_over(fleet(**keys), "muejam", autoscaling, at, in_force)


def by_kind(handover: Handover) -> dict[str, Any]:
    assert handover.problems == ()
    return {thing["kind"]: thing for thing in handover.objects}


def labels(name: str = "web") -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "celery-worker",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/managed-by": "muejam.celery",
        "app.kubernetes.io/component": "autoscaling",
    }


def test_the_brief_comes_out_of_a_fleet_field_by_field() -> None:
    limits = {"limits": {"min_workers": 2, "max_workers": 20}}
    options = {"lists": "bare", "list_length": 50, "polling_interval": 30, "cooldown_period": 300}
    found = handed("keda", broker_url="redis://redis:6379/0", policy=limits, autoscaling_options=options)
    assert found.owner == "keda"
    assert list(found.objects) == [
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": "celery-worker-web-scaler", "namespace": "muejam", "labels": labels()},
            "spec": {
                "scaleTargetRef": {"name": "celery-worker-web"},
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
    ]
    assert "KEDA looks for the broker redis from a namespace of its own" in found.notices[0]


def test_what_a_fleet_says_of_its_broker_reaches_keda() -> None:
    found = handed(
        "keda",
        broker_url="redis://worker:s3cr3t@redis.shop.svc:7000/3",
        queues=["web", "mail"],
        broker_transport_options={"global_keyprefix": "x_", "priority_steps": [0, 5], "sep": ":"},
        broker_use_ssl={"cert_reqs": "required", "ca_certs": "/etc/ssl/own.pem"},
        autoscaling_options={"list_length": 7, "ca": "-----BEGIN CERTIFICATE-----\nfake\n"},
    )
    things = by_kind(found)
    secret = {key: base64.b64decode(value).decode() for key, value in things["Secret"]["data"].items()}
    assert secret == {
        "broker-username": "worker",
        "broker-password": "s3cr3t",
        "broker-ca": "-----BEGIN CERTIFICATE-----\nfake\n",
    }
    # Not the one whose every key is a variable of the workers.
    assert things["Secret"]["metadata"]["name"] == "celery-worker-web-keda"
    login = things["TriggerAuthentication"]["spec"]["secretTargetRef"]
    assert {(each["parameter"], each["name"], each["key"]) for each in login} == {
        ("username", "celery-worker-web-keda", "broker-username"),
        ("password", "celery-worker-web-keda", "broker-password"),
        ("ca", "celery-worker-web-keda", "broker-ca"),
    }
    triggers = [each for each in things["ScaledObject"]["spec"]["triggers"] if each["type"] == "redis"]
    assert [each["metadata"]["listName"] for each in triggers] == [
        "x_web",
        "x_web:5",
        "x_mail",
        "x_mail:5",
        "x_unacked",
    ]
    assert triggers[0]["metadata"] | {"listName": ""} == {
        "address": "redis.shop.svc:7000",
        "listName": "",
        "listLength": "7",
        "databaseIndex": "3",
        "enableTLS": "true",
    }
    assert "s3cr3t" not in str([thing for thing in found.objects if thing["kind"] != "Secret"])
    assert "s3cr3t" not in repr(found.fidelity)


def test_keda_may_reach_the_broker_by_another_url() -> None:
    found = handed(
        "keda",
        broker_url="amqp://me:s3cr3t@rabbit//",
        autoscaling_options={
            "broker_url": "amqp://reader:0th3r@rabbit.shop.svc//",
            "management_url": "https://reader:0th3r@rabbit.shop.svc:15671",
        },
    )
    secret = by_kind(found)["Secret"]["data"]
    assert {key: base64.b64decode(value).decode() for key, value in secret.items()} == {
        "management-url": "https://reader:0th3r@rabbit.shop.svc:15671"
    }
    assert found.notices == ()


@pytest.mark.parametrize("autoscaling", ["policy", "none"])
def test_who_needs_no_objects_has_none(autoscaling: str) -> None:
    assert handed(autoscaling) == Handover("web", autoscaling)


@pytest.mark.parametrize("autoscaling", ["policy", "keda", "hpa", "schedule", "none"])
def test_a_fleet_without_a_policy_has_the_number_of_the_inventory(autoscaling: str) -> None:
    assert handed(autoscaling, policy=None) == Handover("web", "none")


def test_bounds_are_those_of_the_hour() -> None:
    policy = {"schedule": {"windows": WINDOWS_OF_THE_BRIEF}}
    fields = {"keda": ("ScaledObject", "minReplicaCount", "maxReplicaCount")}
    fields["hpa"] = ("HorizontalPodAutoscaler", "minReplicas", "maxReplicas")
    for autoscaling, (kind, floor, ceiling) in fields.items():
        for at, bounds in ((NOON, (5, 20)), (MONDAY, (2, 10)), (NOON + 5 * 86400, (2, 8))):
            owner = by_kind(handed(autoscaling, at=at, policy=policy))[kind]["spec"]
            assert (owner[floor], owner[ceiling]) == bounds
        # A file lives longer than an hour.
        owner = by_kind(handed(autoscaling, in_force=False, policy=policy))[kind]["spec"]
        assert (owner[floor], owner[ceiling]) == (2, 20)
    without_jobs = {"policy": policy, "autoscaling_options": {"windows": "triggers"}}
    found = by_kind(handed("keda", **without_jobs))
    assert found["ScaledObject"]["spec"]["minReplicaCount"] == 2
    assert "CronJob" not in found


def test_a_schedule_alone_sets_the_number_of_the_hour() -> None:
    policy = {"schedule": {"windows": WINDOWS_OF_THE_BRIEF}}
    found = handed("schedule", policy=policy)
    assert (found.owner, found.number) == ("schedule", 5)
    lines = {
        thing["spec"]["schedule"]: thing["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"]
        for thing in found.objects
        if thing["kind"] == "CronJob"
    }
    assert lines["0 8 * * 1-5"] == ["kubectl", "scale", "deployment/celery-worker-web", "--replicas=5"]
    assert lines["0 18 * * 1-5"][-1] == "--replicas=2"
    assert handed("schedule", policy={}).owner == "none"


def test_pods_of_cron_jobs_are_not_taken_for_workers() -> None:
    found = handed("hpa", policy={"schedule": {"windows": WINDOWS_OF_THE_BRIEF}})
    for thing in found.objects:
        assert thing["metadata"]["labels"] == labels()
        if thing["kind"] == "CronJob":
            job = thing["spec"]["jobTemplate"]
            assert "labels" not in job.get("metadata", {})
            assert "labels" not in job["spec"]["template"].get("metadata", {})


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("autoscaling", ["hpa", "schedule"])
def test_what_kubernetes_has_meets_its_schema(version: str, autoscaling: str) -> None:
    for thing in handed(autoscaling, policy={"schedule": {"windows": WINDOWS_OF_THE_BRIEF}}).objects:
        kubernetes_validate.validate(thing, version, strict=True)


@pytest.mark.parametrize(
    ("autoscaling", "keys", "says"),
    [
        ("keda", {"broker_url": "amqp://a;amqp://b"}, "KEDA takes one address"),
        ("keda", {"broker_use_ssl": {"ca_certs": "/etc/own.pem"}}, "autoscaling_options.ca"),
        ("keda", {"autoscaling_options": {"key": "-----BEGIN PRIVATE KEY-----"}}, "belong together"),
        ("hpa", {"requests": {}}, "give requests.cpu or cpu_quota"),
        ("hpa", {"requests": {}, "policy": {"target": {"wait_time": 9}}}, "give requests.cpu or cpu_quota"),
        (
            "hpa",
            {"pod_options": {"spec": {"containers": [{"name": "proxy", "image": "proxy:1"}]}}},
            "a container of this fleet requests none",
        ),
    ],
)
def test_what_cannot_be_had_is_a_problem(autoscaling: str, keys: dict[str, Any], says: str) -> None:
    found = handed(autoscaling, **keys)
    assert says in " ".join(found.problems)
    assert found.objects == ()


def test_a_broker_that_nobody_checks_needs_no_certificates() -> None:
    found = handed("keda", broker_use_ssl={"ca_certs": "/etc/own.pem", "cert_reqs": "none"})
    assert found.problems == ()
    assert by_kind(found)["ScaledObject"]["spec"]["triggers"][0]["metadata"]["unsafeSsl"] == "true"


def test_limits_stand_for_requests() -> None:
    found = handed("hpa", requests={}, cpu_quota="50%", memory_max="256M")
    assert {each["resource"]["name"] for each in by_kind(found)["HorizontalPodAutoscaler"]["spec"]["metrics"]} == {
        "cpu",
        "memory",
    }
    without = handed("keda", requests={})
    assert {each["type"] for each in by_kind(without)["ScaledObject"]["spec"]["triggers"]} == {"redis"}


def test_what_becomes_of_a_policy_is_told_line_by_line() -> None:
    found = handed("keda", policy={"schedule": {"windows": WINDOWS_OF_THE_BRIEF}})
    lines = cluster_owner.lines(found)
    assert lines[0].startswith("The policy of fleet web is carried out by KEDA: 5 exact, ")
    assert "exact         limits.min_workers: minReplicaCount: 2" in lines
    assert any(line.startswith("dropped       scale_up.any[3]: neither KEDA") for line in lines)
    assert len(lines) == 1 + len(found.fidelity)


def test_the_filter_gathers_all_fleets() -> None:
    fleets = [fleet(), fleet(name="mail", policy=None), fleet(name="slow", broker_url="amqp://a;amqp://b")]
    found = cluster.cluster_handovers(fleets, "muejam", "KEDA", NOON)
    assert found["owners"] == {"web": "keda", "mail": "none", "slow": "keda"}
    assert found["problems"] == [
        "fleet slow: KEDA cannot read its broker: KEDA takes one address of RabbitMQ; give that of a load balancer or "
        "a Service"
    ]
    assert [thing["kind"] for thing in found["objects"]] == ["ScaledObject"]
    assert list(found["reports"]) == ["web"]
    assert found["numbers"] == {}


def test_each_object_has_a_file_of_its_own() -> None:
    objects = (
        handed("hpa", policy={"schedule": {"windows": WINDOWS_OF_THE_BRIEF}}).objects
        + handed("keda", broker_url="redis://:s3cr3t@redis.shop.svc").objects
    )
    files = cluster.cluster_files(list(objects))
    assert len(files) == len(objects)
    assert {"web/autoscaling-secret.yaml", "web/autoscaling-cronjob-0800-12345.yaml"} <= set(files)


def test_options_and_their_defaults_are_those_of_policy_info() -> None:
    defaults = ManifestOptions()
    for name, key in AUTOSCALING_OPTIONS.items():
        if name in ("ca", "certificate", "key", "broker_url", "management_url"):
            continue
        assert f"V({getattr(defaults, name)})" in key.text
    assert AUTOSCALING_OPTIONS["lists"].choices == LISTS
    assert AUTOSCALING_OPTIONS["windows"].choices == WINDOWS


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"list_length": 0}, "use 1 or more"),
        ({"cpu_target": 101}, "use 1 to 100"),
        ({"windows": "both"}, "cron_jobs, triggers"),
        ({"ca": "/etc/ssl/own.pem"}, "the text of a PEM file"),
        ({"broker_url": "redis://:a/b@redis"}, "autoscaling_options.broker_url"),
        ({"length": 5}, "did you mean list_length?"),
    ],
)
def test_every_fault_of_the_options_is_told(options: dict[str, Any], says: str) -> None:
    (fault,) = problems.find([{**BASE, "autoscaling_options": options}], platform="kubernetes")
    assert says in fault
    assert "a/b" not in fault
