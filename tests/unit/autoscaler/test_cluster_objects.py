# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of the service in a cluster: restricted, with no right too many, and with the configuration it reads."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings import cluster_objects
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.cluster_objects import (
    ClusterOptions,
    configuration_in_a_cluster,
    objects,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import read_configuration

WEB: dict[str, Any] = {
    "name": "web",
    "broker_url": "redis://:not-a-real-password@broker/0",
    "queues": ["celery"],
    "stuck": {"after": 300, "restart": False},
    "policy": {"limits": {"max_workers": 7}},
}
PLAIN: dict[str, Any] = {key: value for key, value in {**WEB, "name": "plain"}.items() if key != "policy"}
OPTIONS = ClusterOptions("shop", "registry.example/celery-autoscaler:1")


def configured(**changes: Any) -> dict[str, Any]:
    raw = {
        "mode": "act",
        "interval": 5.0,
        "metrics": {"address": "127.0.0.1", "port": 9541},
        "fleets": [WEB, PLAIN],
        **changes,
    }
    return configuration_in_a_cluster(raw)


def made(configuration: dict[str, Any], options: ClusterOptions = OPTIONS) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in objects(configuration, options)}


def verbs(configuration: dict[str, Any], resource: str) -> dict[str, list[str]]:
    """What may be done to a resource, by the names for which it may."""
    return {
        ",".join(rule.get("resourceNames", ["*"])): rule["verbs"]
        for rule in cluster_objects.rules(configuration)
        if resource in rule["resources"]
    }


def test_the_service_understands_its_configuration_and_tells_everybody_of_its_metrics() -> None:
    secret = made(configured())["Secret"]
    told = json.loads(base64.b64decode(secret["data"]["config.json"]))
    read = read_configuration(told, "a test")
    assert (read.platform, read.mode) == ("kubernetes", "act")
    assert read.metrics is not None
    assert read.metrics.address == "0.0.0.0"
    assert configured(metrics={"address": "::", "port": 1})["metrics"]["address"] == "::"


def test_the_secret_alone_holds_what_is_secret() -> None:
    for kind, each in made(configured()).items():
        assert ("not-a-real-password" in json.dumps(each)) is False, kind
    assert "not-a-real-password" in base64.b64decode(made(configured())["Secret"]["data"]["config.json"]).decode()


def test_all_are_of_one_name_and_namespace() -> None:
    names = {(each["metadata"]["name"], each["metadata"]["namespace"]) for each in objects(configured(), OPTIONS)}
    assert names == {("celery-autoscaler", "shop")}


def test_its_pods_are_restricted_and_two() -> None:
    spec = made(configured())["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    assert spec["replicas"] == 2
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {
        "metrics"
    }


@pytest.mark.parametrize(("memory_max", "limit"), [("256M", "256Mi"), ("1.5G", "1536Mi"), ("infinity", None)])
def test_its_memory_is_what_it_would_be_on_a_host(memory_max: str, limit: str | None) -> None:
    pod = made(configured(), ClusterOptions("shop", "i", memory_max=memory_max))["Deployment"]["spec"]["template"]
    assert pod["spec"]["containers"][0]["resources"].get("limits", {}).get("memory") == limit


def test_another_configuration_makes_other_pods() -> None:
    def template(configuration: dict[str, Any]) -> str:
        return json.dumps(made(configuration)["Deployment"]["spec"]["template"])

    assert template(configured()) == template(configured())
    assert template(configured()) != template(configured(interval=6.0))


def test_it_may_scale_the_fleets_of_its_policies_and_no_others() -> None:
    assert verbs(configured(), "deployments/scale") == {"celery-worker-web": ["get", "patch"]}
    assert verbs(configured(), "pods")["*"] == ["patch"]
    assert verbs(configured(), "leases") == {"*": ["create"], "celery-autoscaler": ["get", "update"]}
    assert verbs(configured(), "configmaps") == {"*": ["create"], "celery-autoscaler-state": ["get", "update"]}
    assert not verbs(configured(), "secrets")
    assert not verbs(configured(), "pods/proxy")


@pytest.mark.parametrize("changes", [{"mode": "observe"}, {"mode": "advise"}, {"fleets": [PLAIN]}])
def test_who_only_looks_may_change_nothing(changes: dict[str, Any]) -> None:
    allowed = cluster_objects.rules(configured(**changes))
    touched = {
        (rule["resources"][0], verb) for rule in allowed for verb in rule["verbs"] if verb not in ("get", "list")
    }
    assert touched == {("leases", "create"), ("leases", "update"), ("configmaps", "create"), ("configmaps", "update")}


def test_it_may_replace_workers_where_it_is_to() -> None:
    stuck = {**WEB, "stuck": {"after": 300, "restart": True}}
    rules = cluster_objects.rules(configured(fleets=[stuck]))
    assert {"apiGroups": [""], "resources": ["pods"], "verbs": ["patch", "delete"]} in rules


def test_the_role_names_image_and_number() -> None:
    settings = {"image": "i:1", "replicas": "3", "memory_max": "128M", "mode": "act"}
    deployment = cluster_objects.of_role(configured(), settings, "shop")[-1]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert (deployment["spec"]["replicas"], container["image"]) == (3, "i:1")


def test_all_that_it_has_is_known_by_name_and_its_deployment_goes_first() -> None:
    gone = cluster_objects.names_of_all("shop")
    assert gone[0]["kind"] == "Deployment"
    assert {each["kind"] for each in gone} == {*made(configured()), "Lease", "ConfigMap"}
