# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role does to a cluster: as nobody special, without a secret in its output, checked before anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

TASKS = Path(__file__).parents[3] / "roles/worker/tasks/kubernetes"
AUTOSCALER = TASKS.parents[2] / "autoscaler/tasks/kubernetes"
K8S = "kubernetes.core.k8s"


def tasks_of(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((TASKS / name).read_text(encoding="utf-8"))
    return found


def everything() -> Iterator[dict[str, Any]]:
    for path in sorted(TASKS.glob("*.yml")):
        yield from tasks_of(path.name)


def test_nobody_becomes_root() -> None:
    [fleets] = tasks_of("main.yml")
    assert fleets["become"] is False
    assert not [task for task in everything() if task.get("become")]


def test_what_is_missing_is_asked_for_before_anything_else() -> None:
    first, *others = tasks_of("look.yml")
    assert (
        first["muejam.celery.access_info"]["objects"]
        == "{{ __celery_worker_outlines + __celery_worker_handovers.objects }}"
    )
    # What is to go is known only then, and is asked for too.
    assert "removed" in others[-1]["muejam.celery.access_info"]
    preflight = yaml.safe_load((AUTOSCALER / "preflight.yml").read_text(encoding="utf-8"))
    [include] = preflight[-1]["block"]
    assert include["ansible.builtin.include_tasks"]["file"] == "check.yml"
    # A condition of the block would be one of each task of check.yml, and the first of these makes it false.
    assert "when" in include
    assert "when" not in preflight[-1]
    checks = yaml.safe_load((AUTOSCALER / "check.yml").read_text(encoding="utf-8"))
    assert "muejam.celery.access_info" in checks[0]
    assert {task["check_mode"] for task in checks if K8S in task} == {True}


def test_everything_is_checked_before_anything_is_put_there() -> None:
    [fleets] = tasks_of("main.yml")
    order = [task["name"] for task in fleets["block"]]
    assert order.index("Preflight") < order.index("Look") < order.index("Check") < order.index("Configure")
    checks = [task for task in tasks_of("check.yml") if K8S in task]
    assert len(checks) == 2
    for task in checks:
        assert task["check_mode"] is True
        assert task[K8S]["validate"] == "{{ __celery_worker_validate }}"
    variables = yaml.safe_load((TASKS.parents[1] / "vars/main.yml").read_text(encoding="utf-8"))
    assert "{'fail_on_error': true, 'strict': true}" in variables["__celery_worker_validate"]


def test_what_handles_secrets_shows_nothing() -> None:
    handling = [task for task in everything() if "Secrets" in task["name"]]
    assert len(handling) == 3
    for task in handling:
        assert task["no_log"] is True
        assert task["diff"] is False
    for task in everything():
        definition = str(task.get(K8S, {}).get("resource_definition", ""))
        if "__celery_worker_objects" in definition and task not in handling:
            assert "rejectattr('kind', 'equalto', 'Secret')" in definition or "selectattr('kind'" in definition


def test_every_apply_is_the_api_servers_and_names_its_manager() -> None:
    for task in everything():
        options = task.get(K8S)
        if options and options.get("state") != "absent":
            assert options["apply"] is True
            apply = options["server_side_apply"]
            assert apply == "{{ __celery_worker_apply }}" or apply["field_manager"] == "muejam.celery.workers"


def test_the_number_changes_hands_before_anybody_sets_it() -> None:
    [fleets] = tasks_of("main.yml")
    order = [task["name"] for task in fleets["block"]]
    # A ScaledObject wants a Deployment to be there. One that is left would start again what is drained to go.
    assert order.index("Configure") < order.index("Autoscaling") < order.index("Service") < order.index("Remove")
    first, *_others = tasks_of("check.yml")
    assert first["check_mode"] is True
    [real] = [task for task in tasks_of("autoscaling.yml") if "muejam.celery.hand_over" in task]
    assert real["muejam.celery.hand_over"] == first["muejam.celery.hand_over"]
    # Whatever part of the role is run, nobody else has the number when it is set or the fleet goes.
    [include] = [task for task in fleets["block"] if task["name"] == "Autoscaling"]
    assert {"worker_configure", "worker_service", "worker_remove"} <= set(include["tags"])
