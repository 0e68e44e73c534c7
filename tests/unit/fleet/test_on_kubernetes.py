# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets whose workers are pods: which keys they have, and what is wrong with their values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.muejam.celery.plugins.module_utils.fleet import amounts, pod_options, problems, spec
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import KEYS
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import KUBERNETES

BASE = {"name": "web", "app": "shop", "image": "shop:1", "broker_url": "redis://h:6379/0"}


def faults_of(**keys: Any) -> list[str]:
    return problems.find([{**BASE, **keys}], platform="kubernetes")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"image": "registry.example:5000/team/shop:1.4@sha256:0123456789abcdef"},
        {"memory_max": "512M", "cpu_quota": "150%", "requests": {"memory": "256Mi", "cpu": "0.5"}},
        {"virtualenv": "/app/venv", "working_directory": "/app", "read_write_paths": ["/app/cache"]},
        {"app": None, "notify": True, "command": ["celery", "-A", "shop", "worker", "--hostname=web@%H"]},
        {"app": None, "notify": True, "command": ["airflow", "celery", "worker", "--celery-hostname", "web@%h"]},
        {"pod_options": {"spec": {"nodeSelector": {"disk": "ssd"}}, "metadata": {"labels": {"team": "shop"}}}},
        {"pull_policy": "ifnotpresent"},
        {"queues": ["celery"], "policy": {}},
        {"memory_max": "900G", "workers": 1000},
    ],
)
def test_a_good_fleet_has_no_fault(given: dict[str, Any]) -> None:
    assert faults_of(**given) == []


@pytest.mark.parametrize(
    "given",
    [
        {"extra_args": ["-B"]},
        {"environment": {"CELERY_WORKER_BEAT": "1"}},
        {"app": None, "notify": True, "command": ["celery", "-A", "shop", "worker", "-n", "web@%H", "-B"]},
        {"extra_args": ["--beat"], "workers": 3},
    ],
)
def test_no_pod_sends_what_is_scheduled_beside_its_tasks(given: dict[str, Any]) -> None:
    [fault] = faults_of(**given)
    assert "while pods are replaced, the next one runs beside the last one" in fault
    assert fault.endswith("have the role beat send it")


@pytest.mark.parametrize(
    ("given", "path", "says"),
    [
        ({"image": None}, ".image", "missing"),
        ({"image": "shop: 1"}, ".image", "no image"),
        ({"pull_policy": "Sometimes"}, ".pull_policy", "Always, IfNotPresent, Never"),
        ({"memory_max": "25%"}, ".memory_max", "which node a pod comes to is not known: write it as 512M"),
        ({"requests": {"memory": "25%"}}, ".requests.memory", "no amount of memory"),
        ({"requests": {"cpu": "many"}}, ".requests.cpu", "no amount of CPU"),
        ({"requests": {"disk": "1G"}}, ".requests.disk", "unknown key"),
        ({"requests": {"memory": "1G"}, "memory_max": "512M"}, ".requests.memory", "more than memory_max, 512M"),
        ({"requests": {"cpu": "2"}, "cpu_quota": "150%"}, ".requests.cpu", "more than cpu_quota, 150%"),
        ({"notify": False}, ".notify", "must be true on Kubernetes"),
        ({"app": None, "command": ["celery", "worker", "-n", "web@%h"]}, ".notify", "include muejam_celery_lifecycle"),
        (
            {"app": None, "notify": True, "command": ["celery", "-A", "x", "worker", "--hostname=web-%i@%H"]},
            ".command",
            "web@%H",
        ),
        ({"app": None, "notify": True, "command": ["airflow", "celery"]}, ".command", "add --hostname=web@%h"),
        ({"pod_options": {"nodeSelector": {}}}, ".pod_options.nodeSelector", "use metadata or spec"),
        ({"pod_options": {"spec": []}}, ".pod_options.spec", "must be a dictionary"),
        ({"pod_options": {"spec": {"terminationGracePeriodSeconds": 5}}}, ".pod_options.spec.term", "drain_timeout"),
        (
            {"pod_options": {"metadata": {"labels": {"app.kubernetes.io/instance": "x"}}}},
            ".pod_options.metadata.labels",
            "known by it",
        ),
        (
            {"pod_options": {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}},
            ".pod_options.metadata.labels",
            "known by it",
        ),
        (
            {"pod_options": {"spec": {"containers": [{"name": "worker", "env": [{"name": "API_KEY", "value": "x"}]}]}}},
            ".pod_options.spec.containers[0].env[0].value",
            "looks like a secret",
        ),
        (
            {"pod_options": {"spec": {"containers": [{"name": "x", "args": ["redis://:fake@h/0"]}]}}},
            ".pod_options.spec.containers[0].args[0]",
            "looks like a secret",
        ),
    ],
)
def test_what_is_wrong_is_told_once_with_its_place(given: dict[str, Any], path: str, says: str) -> None:
    [fault] = faults_of(**given)
    assert fault.startswith(f"celery_worker_fleets[0]{path}")
    assert says in fault


@pytest.mark.parametrize(
    "key",
    [
        *("packages", "python", "user", "group", "environment_files"),
        *("unit_options", "allow_memory_overcommit"),
    ],
)
def test_keys_of_a_host_are_refused(key: str) -> None:
    given = {"unit_options": {"Nice": 5}, "allow_memory_overcommit": True, "packages": ["x"]}
    value = given.get(key, ["/etc/x"] if key == "environment_files" else "x")
    assert f"celery_worker_fleets[0].{key}: has no meaning on kubernetes, only on systemd: remove it" in faults_of(
        **{key: value}
    )


@pytest.mark.parametrize("key", ["image", "pull_policy", "requests", "pod_options"])
def test_keys_of_a_pod_are_refused_on_a_host(key: str) -> None:
    fleet = {"name": "web", "app": "shop", "virtualenv": "/v", "broker_url": "redis://h", key: {}}
    assert f"celery_worker_fleets[0].{key}: has no meaning on systemd, only on kubernetes: remove it" in problems.find(
        [fleet]
    )


def test_defaults_serve_hosts_and_clusters() -> None:
    defaults = {
        "virtualenv": "/srv/venv",
        "user": "shop",
        "packages": ["shop"],
        "image": "shop:1",
        "pull_policy": "Never",
    }
    own = {"name": "web", "app": "shop", "broker_url": "redis://h", "virtualenv": None}
    assert problems.find([own], {**defaults, "virtualenv": None}, platform="kubernetes") == []
    [pods] = spec.resolve([own], defaults, "kubernetes")
    [units] = spec.resolve([own], defaults)
    assert (pods["packages"], pods["image"], pods["working_directory"]) == ([], "shop:1", None)
    assert (units["packages"], units["image"], units["pull_policy"]) == (["shop"], None, None)


def test_pod_options_of_defaults_and_fleets_add_up_at_every_depth() -> None:
    defaults = {"pod_options": {"spec": {"nodeSelector": {"a": "1"}, "priorityClassName": "low"}}}
    own = {**BASE, "pod_options": {"spec": {"nodeSelector": {"b": "2"}, "priorityClassName": None}}}
    [found] = spec.resolve([own], defaults, "kubernetes")
    assert found["pod_options"] == {"spec": {"nodeSelector": {"a": "1", "b": "2"}, "priorityClassName": None}}


def test_mounts_are_the_same_by_their_path_and_not_by_their_volume() -> None:
    ours = {"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "status", "mountPath": "/run/x"}]}
    theirs = {"volumeMounts": [{"name": "tmp", "mountPath": "/cache"}, {"name": "data", "mountPath": "/tmp"}]}
    assert pod_options.merged(ours, theirs)["volumeMounts"] == [
        {"name": "data", "mountPath": "/tmp"},
        {"name": "status", "mountPath": "/run/x"},
        {"name": "tmp", "mountPath": "/cache"},
    ]


def test_every_key_that_builds_the_command_is_for_every_platform() -> None:
    assert all(KUBERNETES in key.platforms for key in KEYS.values() if key.builds_command)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("512M", "512Mi"), ("1.5G", "1536Mi"), ("2G", "2Gi"), ("1024", "1Ki"), ("1000", "1000"), ("512Mi", "512Mi")],
)
def test_memory(written: str, meant: str) -> None:
    assert amounts.memory(written) == meant


@pytest.mark.parametrize(("written", "meant"), [("150%", "1500m"), ("0.05%", "1m"), ("2", "2000m"), ("250m", "250m")])
def test_cpu(written: str, meant: str) -> None:
    assert amounts.cpu(written) == meant


def test_the_examples_of_the_page_are_good() -> None:
    text = (Path(__file__).parents[3] / "docs/kubernetes.md").read_text(encoding="utf-8")
    inventory, options, _rights = (
        yaml.safe_load(re.sub(r"{{.*?}}", "x", block)) for block in re.findall(r"```yaml\n(.*?)```", text, re.S)
    )
    [host] = inventory["celery_workers"]["hosts"].values()
    [fleet] = host["celery_worker_fleets"]
    assert problems.find([fleet], platform=host["celery_worker_platform"]) == []
    assert faults_of(**options) == []
