# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects that a fleet is in a cluster: what each key does to them, and what they never hold."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.filter import cluster
from ansible_collections.muejam.celery.plugins.lookup.tools_tree import texts
from ansible_collections.muejam.celery.plugins.module_utils.fleet import problems, spec
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import objects

PASSWORD = "not-a-real-password"
BASE = {
    "name": "web",
    "app": "shop.celery:app",
    "image": "registry.example/shop:1.4",
    "broker_url": f"redis://:{PASSWORD}@redis:6379/0",
    "result_backend": f"redis://:{PASSWORD}@redis:6379/1",
    "environment": {"DJANGO_SECRET_KEY": PASSWORD, "SHELF": "a-%i", "COST": "5$ %H"},
}
LIFECYCLE = {"signals.py": "import celery\n", "__init__.py": "# the package\n"}


def fleet(**keys: Any) -> spec.Fleet:
    own = {**BASE, **keys}
    assert problems.find([own], platform="kubernetes") == []
    return spec.resolve([own], platform="kubernetes")[0]


def made(replicas: int | None = None, network_policy: bool = False, **keys: Any) -> dict[str, Any]:
    """The objects of a fleet by their kinds."""
    found = objects.of_fleet(fleet(**keys), "shop", LIFECYCLE, replicas, network_policy)
    return {thing["kind"]: thing for thing in found}


def pod(**keys: Any) -> dict[str, Any]:
    """The pods' spec."""
    spec: dict[str, Any] = made(**keys)["Deployment"]["spec"]["template"]["spec"]
    return spec


def worker(**keys: Any) -> dict[str, Any]:
    container: dict[str, Any] = pod(**keys)["containers"][0]
    return container


def variables(**keys: Any) -> dict[str, str]:
    """What stands in the pods themselves."""
    return {one["name"]: one["value"] for one in worker(**keys)["env"] if "value" in one}


def secret(**keys: Any) -> dict[str, str]:
    data = made(**keys)["Secret"]["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def annotations(**keys: Any) -> dict[str, str]:
    found: dict[str, str] = made(**keys)["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    return found


def test_every_object_is_of_the_fleet_and_the_deployment_comes_last() -> None:
    found = objects.of_fleet(fleet(), "shop", LIFECYCLE, network_policy=True)
    kinds = ["ServiceAccount", "Secret", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Deployment"]
    assert [thing["kind"] for thing in found] == kinds
    for thing in found:
        assert thing["metadata"] == {
            "name": "celery-worker-web",
            "namespace": "shop",
            "labels": {
                "app.kubernetes.io/name": "celery-worker",
                "app.kubernetes.io/instance": "web",
                "app.kubernetes.io/managed-by": "muejam.celery",
                "app.kubernetes.io/component": "worker",
            },
        }
    assert {(thing["apiVersion"], thing["kind"]) for thing in found} == set(objects.KINDS)
    assert "NetworkPolicy" not in made()


@pytest.mark.parametrize("version", ["1.30", "1.33", "1.37"])
def test_every_object_meets_the_schema(version: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    lifecycle = texts(Path(__file__).parents[3] / "roles/worker/files/muejam_celery_lifecycle")
    full = fleet(memory_max="1.5G", cpu_quota="150%", pull_policy="Always", read_write_paths=["/app/cache"])
    for thing in objects.of_fleet(full, "shop", lifecycle, 3, True):
        kubernetes_validate.validate(thing, version, strict=True)


def test_secrets_stand_in_the_secret_and_nowhere_else() -> None:
    assert secret()["DJANGO_SECRET_KEY"] == PASSWORD
    assert secret()["CELERY_BROKER_URL"] == BASE["broker_url"]
    others = [thing for kind, thing in made(replicas=1, network_policy=True).items() if kind != "Secret"]
    coded = base64.b64encode(PASSWORD.encode()).decode()
    assert PASSWORD not in json.dumps(others)
    assert coded not in json.dumps(others)
    assert "redis" not in json.dumps([thing for thing in others if thing["kind"] == "Deployment"])


def test_what_holds_the_pods_name_is_filled_in_by_the_kubelet_and_nothing_else_is() -> None:
    assert worker()["env"][0] == {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    assert variables()["SHELF"] == "a-$(POD_NAME)"
    assert secret()["COST"] == "5$ %H"
    assert "SHELF" not in secret()
    words = worker(extra_args=["--statedb=/app/%i.db", "--x=$(HOME)", "--y=%%i %d"])["command"]
    assert words[-3:] == ["--statedb=/app/$(POD_NAME).db", "--x=$$(HOME)", "--y=%i %d"]


def test_the_command_is_that_of_every_platform_with_the_pods_node_name() -> None:
    words = worker(pool="gevent", concurrency=100, queues=["mail", "celery"])["command"]
    start = words.index("celery")
    assert words[start:] == [
        *("celery", "-A", "shop.celery:app", "worker", "--hostname=web@$(POD_NAME)", "--loglevel=INFO"),
        *("--pool=gevent", "--queues=mail,celery", "--concurrency=100", "--include=muejam_celery_lifecycle"),
    ]
    assert worker(virtualenv="/app/venv")["command"][start] == "/app/venv/bin/celery"
    assert worker(command=["airflow", "worker", "-n", "web@%H"], app=None, notify=True)["command"][start:] == [
        *("airflow", "worker", "-n", "web@$(POD_NAME)")
    ]


def test_the_lifecycle_package_is_found_beside_what_the_image_has_on_its_path() -> None:
    shell = worker()["command"][:4]
    assert shell == [
        "/bin/sh",
        "-c",
        'PYTHONPATH="/opt/muejam-celery/worker$${PYTHONPATH:+:$$PYTHONPATH}" exec "$$@"',
        "celery-worker",
    ]
    # Whoever says it needs no shell in the image.
    own = {"environment": {"PYTHONPATH": "/app"}}
    assert worker(**own)["command"][0] == "celery"
    assert secret(**own)["PYTHONPATH"] == "/opt/muejam-celery/worker:/app"
    assert {
        "name": "lifecycle",
        "mountPath": "/opt/muejam-celery/worker/muejam_celery_lifecycle",
        "readOnly": True,
    } in (worker()["volumeMounts"])
    assert made()["ConfigMap"]["data"] == LIFECYCLE


RESTRICTED: list[tuple[str, Any]] = [
    ("pod.securityContext.runAsNonRoot", True),
    ("pod.securityContext.seccompProfile.type", "RuntimeDefault"),
    ("pod.automountServiceAccountToken", False),
    ("pod.hostNetwork", None),
    ("pod.hostPID", None),
    ("pod.hostIPC", None),
    ("worker.securityContext.allowPrivilegeEscalation", False),
    ("worker.securityContext.capabilities.drop", ["ALL"]),
    ("worker.securityContext.capabilities.add", None),
    ("worker.securityContext.privileged", None),
    ("worker.securityContext.readOnlyRootFilesystem", True),
]
"""What the restricted Pod Security Standard asks for, and the root file system, which it does not."""


@pytest.mark.parametrize(("path", "wanted"), RESTRICTED)
def test_pods_are_restricted(path: str, wanted: Any) -> None:
    value: Any = {"pod": pod(), "worker": worker()}
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    assert value == wanted


def test_pods_mount_nothing_of_the_node() -> None:
    kinds = {next(kind for kind in volume if kind != "name") for volume in pod(read_write_paths=["/a"])["volumes"]}
    assert kinds == {"configMap", "emptyDir"}
    assert made()["ServiceAccount"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("keys", "resources"),
    [
        ({}, {}),
        ({"memory_max": "512M", "cpu_quota": "150%"}, {"limits": {"memory": "512Mi", "cpu": "1500m"}}),
        ({"memory_max": "1.5G"}, {"limits": {"memory": "1536Mi"}}),
        ({"memory_max": "infinity"}, {}),
        ({"memory_max": "2G", "requests": {"memory": "256M", "cpu": "50%"}},
         {"limits": {"memory": "2Gi"}, "requests": {"memory": "256Mi", "cpu": "500m"}}),
        ({"requests": {"memory": "256Mi", "cpu": "250m"}}, {"requests": {"memory": "256Mi", "cpu": "250m"}}),
    ],
)  # fmt: skip
def test_limits_and_requests(keys: dict[str, Any], resources: dict[str, Any]) -> None:
    assert worker(**keys)["resources"] == resources


def test_timeouts() -> None:
    assert pod(drain_timeout=900.5)["terminationGracePeriodSeconds"] == 931
    long = worker(start_timeout=301, watchdog=90)
    assert (long["startupProbe"]["periodSeconds"], long["startupProbe"]["failureThreshold"]) == (2, 151)
    assert long["livenessProbe"]["failureThreshold"] * long["livenessProbe"]["periodSeconds"] >= 90
    # One that stands still does not drain, however long others may.
    assert worker(watchdog=90, drain_timeout=7200)["livenessProbe"]["terminationGracePeriodSeconds"] == 30
    assert variables(watchdog=90)["CELERY_LIFECYCLE_ALIVE_WITHIN"] == "90"
    assert "livenessProbe" not in worker(watchdog=0)
    assert variables(watchdog=0)["CELERY_LIFECYCLE_ALIVE_WITHIN"] == "0"
    assert made(start_timeout=1200)["Deployment"]["spec"]["progressDeadlineSeconds"] == 1260


def test_probes_start_no_process() -> None:
    container = worker()
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "lifecycle"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/alive", "port": "lifecycle"}
    assert container["startupProbe"]["httpGet"] == {"path": "/alive", "port": "lifecycle"}
    assert {"name": "lifecycle", "containerPort": 8484, "protocol": "TCP"} in container["ports"]
    assert variables()["CELERY_LIFECYCLE_HTTP"] == "8484"


def test_what_else_keys_do() -> None:
    container = worker(pull_policy="always", working_directory="/app", read_write_paths=["/app/cache/", "/tmp"])
    assert (container["imagePullPolicy"], container["workingDir"]) == ("Always", "/app")
    assert [mount["mountPath"] for mount in container["volumeMounts"]].count("/tmp") == 1
    assert {"name": "writable-1", "mountPath": "/app/cache"} in container["volumeMounts"]
    assert "workingDir" not in worker()
    assert secret(priority_order="low_first")["CELERY_LIFECYCLE_PRIORITY"] == "low_first"


def test_the_number_of_pods_is_there_only_for_whom_it_is_to_be() -> None:
    assert "replicas" not in made()["Deployment"]["spec"]
    assert made(replicas=0)["Deployment"]["spec"]["replicas"] == 0


def test_pods_are_replaced_one_by_one_and_never_before_another_one_consumes() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert made()["Deployment"]["spec"]["strategy"] == strategy
    assert made()["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_pods_are_replaced_where_what_they_read_changed_and_only_there() -> None:
    first = annotations()
    assert first == annotations()
    changed = annotations(environment={"DJANGO_SECRET_KEY": "another-fake"})
    assert {name for name in first if first[name] != changed[name]} == {objects.ENVIRONMENT_CHECKSUM}
    other = objects.of_fleet(fleet(), "shop", {**LIFECYCLE, "drain.py": ""})[-1]["spec"]["template"]["metadata"]
    assert {name for name in first if first[name] != other["annotations"][name]} == {objects.LIFECYCLE_CHECKSUM}
    assert annotations(drain_timeout=999) == first


def test_the_same_secrets_elsewhere_have_another_checksum() -> None:
    elsewhere = objects.of_fleet(fleet(), "other", LIFECYCLE)[-1]["spec"]["template"]["metadata"]["annotations"]
    assert elsewhere[objects.ENVIRONMENT_CHECKSUM] != annotations()[objects.ENVIRONMENT_CHECKSUM]
    assert annotations(name="mail")[objects.ENVIRONMENT_CHECKSUM] != annotations()[objects.ENVIRONMENT_CHECKSUM]


def test_pod_options_win_and_add_up_by_names() -> None:
    found = made(
        pod_options={
            "metadata": {"annotations": {"team": "shop"}},
            "spec": {
                "nodeSelector": {"disk": "ssd"},
                "securityContext": {"runAsUser": 1000},
                "automountServiceAccountToken": None,
                "containers": [
                    {
                        "name": "worker",
                        "volumeMounts": [{"name": "tmp", "mountPath": "/var/tmp"}],
                        "livenessProbe": None,
                    },
                    {"name": "proxy", "image": "proxy:1"},
                ],
            },
        }
    )["Deployment"]["spec"]["template"]
    assert found["metadata"]["annotations"]["team"] == "shop"
    assert objects.ENVIRONMENT_CHECKSUM in found["metadata"]["annotations"]
    spec = found["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": 1000,
    }
    assert "automountServiceAccountToken" not in spec
    assert [one["name"] for one in spec["containers"]] == ["worker", "proxy"]
    assert "livenessProbe" not in spec["containers"][0]
    mounts = {one["name"]: one["mountPath"] for one in spec["containers"][0]["volumeMounts"]}
    assert mounts["tmp"] == "/var/tmp"
    assert "lifecycle" in mounts


def test_files_are_the_same_at_every_run_and_hold_the_objects() -> None:
    yaml = pytest.importorskip("yaml")
    things = cluster.cluster_objects([fleet()], "shop", LIFECYCLE, {"web": 2}, True)
    files = cluster.cluster_files(things)
    assert files == cluster.cluster_files(cluster.cluster_objects([fleet()], "shop", LIFECYCLE, {"web": 2}, True))
    assert list(files) == [f"web/{thing['kind'].lower()}.yaml" for thing in things]
    assert [yaml.safe_load(text) for text in files.values()] == things
    assert "&id" not in "".join(files.values())
