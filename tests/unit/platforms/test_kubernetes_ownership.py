# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose the number of pods is, and what the role is told of a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import ownership, settings

GOOD = {
    "namespace": "shop",
    "kubeconfig": "",
    "context": "",
    "autoscaling": "policy",
    "network_policy": False,
    "render_to": "",
    "rollout_timeout": 300,
}


def deployment(fleet: str, replicas: int, *owners: tuple[str, str], ours: bool = True) -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/name": "celery-worker",
        "app.kubernetes.io/instance": fleet,
        "app.kubernetes.io/managed-by": "muejam.celery" if ours else "helm",
    }
    fields = [
        {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        for manager, operation in owners
    ]
    template = {"manager": "muejam.celery", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {}}}}
    status = {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:status": {}}}
    return {
        "metadata": {"labels": labels, "managedFields": [*fields, template, status]},
        "spec": {"replicas": replicas},
    }


def test_numbers_are_those_of_our_fleets() -> None:
    assert ownership.numbers([deployment("web", 3), deployment("mail", 0), deployment("x", 1, ours=False)]) == {
        "web": 3,
        "mail": 0,
    }


@pytest.mark.parametrize(
    ("owners", "still"),
    [
        ([("muejam.celery", "Apply")], True),
        ([("muejam.celery.workers", "Apply")], False),
        ([("muejam.celery", "Apply"), ("muejam.celery.workers", "Apply")], True),
        ([("kubectl", "Update")], False),
        ([("muejam.celery", "Update")], False),
        ([], False),
    ],
)
def test_the_next_apply_takes_out_what_its_own_manager_alone_may_own(
    owners: list[tuple[str, str]], still: bool
) -> None:
    assert ownership.still_ours([deployment("web", 3, *owners)]) == ({"web": 3} if still else {})


def test_a_number_is_applied_with_nothing_else() -> None:
    assert ownership.number("web", "shop", 0) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "celery-worker-web", "namespace": "shop"},
        "spec": {"replicas": 0},
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, None),
        ({"autoscaling": "None", "render_to": "/srv/rendered", "network_policy": "yes"}, None),
        ({"namespace": ""}, "celery_worker_namespace: missing"),
        ({"namespace": "Shop_1"}, "no name of a namespace"),
        ({"autoscaling": "magic"}, "use one of policy, keda, hpa, schedule, none"),
        ({"render_to": "rendered"}, "celery_worker_render_to: 'rendered' is not absolute"),
        ({"rollout_timeout": "soon"}, "must be a number of seconds"),
    ],
)
def test_what_the_role_is_told(given: dict[str, Any], says: str | None) -> None:
    found = settings.problems({**GOOD, **given})
    assert (found == []) if says is None else (len(found) == 1 and says in found[0]), found
