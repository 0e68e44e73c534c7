# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers may do nothing in the cluster, and what is secret stands in Secrets alone."""

from __future__ import annotations

import base64
import subprocess

import pytest
from autoscaler_image import ensure_autoscaler_image

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
