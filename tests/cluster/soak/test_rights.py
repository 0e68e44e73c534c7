# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers may do nothing in the cluster, secrets stand in Secrets alone, and who deploys has the rights of the page."""

from __future__ import annotations

import base64
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from autoscaler_image import ensure_autoscaler_image

from muejam_bed.shell import CHECKOUT
from muejam_cluster.deployed import Deployed

SECRET = "not-a-real-secret-9876543210"
PASSWORD = "not-a-real-password-9876543210"
# All that is there of us but Secrets, and what tells of it.
KINDS = (
    "deployments,replicasets,pods,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets,leases,cronjobs,"
    "events,scaledobjects,triggerauthentications,horizontalpodautoscalers"
)
POLICY = {"limits": {"min_workers": 1, "max_workers": 2}, "scale_up": {"any": [{"metric": "queue_depth", "above": 50}]}}

pytestmark = pytest.mark.soak


def shows_nothing(text: str) -> None:
    for secret in (SECRET, PASSWORD):
        assert secret not in text
        # Of each way in which it may be cut into threes of bytes, what does not depend on its neighbours.
        for skipped in range(3):
            part = secret[skipped:]
            assert base64.b64encode(part[: len(part) // 3 * 3].encode()).decode() not in text


def deploy(deployed: Deployed, autoscaling: str, image: str) -> subprocess.CompletedProcess[str]:
    fleet = {
        "name": "web",
        "workers": 1,
        "policy": POLICY,
        "broker_url": deployed.broker.url.replace("redis://", f"redis://:{PASSWORD}@"),
        "environment": {"DEMO_SECRET": SECRET},
    }
    return deployed.deploy(
        fleet,
        arguments=("-vvv", "--diff"),
        celery_worker_autoscaling=autoscaling,
        celery_autoscaler_image=image,
        celery_autoscaler_mode="act",
    )


def test_secrets_stand_in_secrets_and_workers_may_do_nothing(deployed: Deployed) -> None:
    image = ensure_autoscaler_image()
    deployed.cluster.load_image(image)
    deployed.broker.client().config_set("requirepass", PASSWORD)
    deployed.broker.password = PASSWORD
    for autoscaling in ("policy", "keda"):
        done = deploy(deployed, autoscaling, image)
        shows_nothing(done.stdout + done.stderr)
        shows_nothing(deployed.kubectl("get", KINDS, "--output=yaml"))
        for pod in deployed.autoscalers():
            shows_nothing(deployed.kubectl("logs", pod))

    [pod] = deployed.consuming("web")
    shown = deployed.kubectl("exec", pod, "--", "sh", "-c", "ls /var/run/secrets/kubernetes.io 2>&1 || true")
    assert "No such file or directory" in shown, "it has no token"
    for account in ("celery-worker-web", "default"):
        user = f"--as=system:serviceaccount:{deployed.namespace}:{account}"
        for verb, what in (
            ("get", "secrets"),
            ("list", "pods"),
            ("create", "pods"),
            ("patch", "deployments/celery-worker-web"),
            ("patch", "deployments.apps/celery-worker-web"),
            ("update", "leases"),
            ("create", "configmaps"),
        ):
            answer = deployed.kubectl("auth", "can-i", verb, what, user, check=False).strip()
            assert answer == "no", (account, verb, what, answer)


def rules_of_the_page() -> list[dict[str, Any]]:
    """The Role that docs/kubernetes.md has for who deploys."""
    text = (CHECKOUT / "docs/kubernetes.md").read_text(encoding="utf-8")
    found = re.search(r"^## Rights$.*?^```yaml\n(?P<rules>.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found
    rules: list[dict[str, Any]] = yaml.safe_load(found["rules"])["rules"]
    return rules


def test_the_role_of_the_page_is_enough_to_deploy_for_every_owner_and_to_remove(
    deployed: Deployed, kubectl_image: str, tmp_path: Path
) -> None:
    image = ensure_autoscaler_image()
    deployed.cluster.load_image(image)
    deployed.broker.client().config_set("requirepass", PASSWORD)
    deployed.broker.password = PASSWORD
    token = deployed.cluster.token_of(deployed.namespace, "deploys", rules_of_the_page())
    variables = {
        "celery_worker_kubeconfig": str(deployed.cluster.another_way(tmp_path, token)),
        "celery_worker_network_policy": True,
        "celery_autoscaler_image": image,
    }
    fleet = {
        "name": "web",
        "workers": 1,
        "policy": {
            "limits": {"min_workers": 1, "max_workers": 2},
            "scale_up": {"any": [{"metric": "queue_depth", "above": 50}, {"metric": "cpu", "above": 90}]},
            "schedule": {"windows": [{"name": "day", "time": "08:00-18:00", "max_workers": 1}]},
        },
        "broker_url": deployed.broker.url.replace("redis://", f"redis://:{PASSWORD}@"),
        "autoscaling_options": {"image": kubectl_image},
    }
    for autoscaling in ("policy", "schedule", "keda", "hpa", "none", "policy"):
        # The first time nothing is there yet, no Role either.
        for arguments in (("--check",), ()):
            deployed.deploy(fleet, arguments=arguments, celery_worker_autoscaling=autoscaling, **variables)
        assert bool(deployed.autoscalers()) is (autoscaling == "policy")
        assert bool(deployed.get("cronjobs")["items"]) is (autoscaling in ("keda", "hpa", "schedule"))
    deployed.deploy({**fleet, "state": "absent"}, **variables)
    # Events stay, and what the cluster made of the Deployments goes after them.
    kinds = re.sub("events,|replicasets,|pods,", "", KINDS) + ",secrets,networkpolicies"
    left = [f"{thing['kind']} {thing['metadata']['name']}" for thing in deployed.get(kinds)["items"]]
    assert [each for each in left if " celery-" in each] == []
