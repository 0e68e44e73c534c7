# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over what fleets are in a cluster: thin, the rules are in `module_utils/platforms/kubernetes`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler import cluster_owner
from ansible_collections.muejam.celery.plugins.module_utils.fleet import spec
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import (
    objects,
    ownership,
    schemas,
    settings,
)
from ansible_collections.muejam.celery.plugins.plugin_utils.manifest_text import as_yaml


def cluster_problems(variables: Mapping[str, Any]) -> list[str]:
    """Every fault of what the role is told of a cluster."""
    return settings.problems(variables)


def cluster_objects(
    fleets: Sequence[spec.Fleet],
    namespace: str,
    lifecycle: Mapping[str, str],
    replicas: Mapping[str, int] | None = None,
    network_policy: bool = False,
    owners: Mapping[str, str] | None = None,
) -> list[objects.Object]:
    """Every object of resolved fleets."""
    numbers, noted = replicas or {}, owners or {}
    return [
        thing
        for fleet in fleets
        for thing in objects.of_fleet(
            fleet, namespace, lifecycle, numbers.get(fleet["name"]), network_policy, noted.get(fleet["name"], "")
        )
    ]


def cluster_files(found: Sequence[objects.Object]) -> dict[str, str]:
    """The objects as YAML, by the names of files."""
    return {objects.file_name(thing): as_yaml(thing, "worker") for thing in found}


def cluster_leftovers(fleets: Sequence[str], namespace: str) -> list[objects.Object]:
    """What is to go with fleets, by its names alone."""
    return [thing for fleet in fleets for thing in objects.names_of_all(fleet, namespace)]


def cluster_numbers(replicas: Mapping[str, int], namespace: str) -> list[objects.Object]:
    """Numbers of pods by fleets' names, as they are to be applied."""
    return [ownership.number(fleet, namespace, number) for fleet, number in replicas.items()]


def cluster_replicas(deployments: Sequence[Mapping[str, Any]], unhanded: bool = False) -> dict[str, int]:
    """How many pods the Deployments of fleets are to have, by the fleets' names."""
    return ownership.still_ours(deployments) if unhanded else ownership.numbers(deployments)


def cluster_handovers(
    fleets: Sequence[spec.Fleet], namespace: str, autoscaling: str, at: float | None = None, in_force: bool = True
) -> dict[str, Any]:
    """Who sets the number of each fleet's pods, and what that takes."""
    moment = time.time() if at is None else at
    found = [cluster_owner.hand_over(fleet, namespace, autoscaling.lower(), moment, in_force) for fleet in fleets]
    return {
        "problems": [f"fleet {each.fleet}: {problem}" for each in found for problem in each.problems],
        "owners": {each.fleet: each.owner for each in found},
        "objects": [thing for each in found for thing in each.objects],
        "numbers": {each.fleet: each.number for each in found if each.number is not None},
        "reports": {each.fleet: cluster_owner.lines(each) for each in found if each.fidelity},
    }


def cluster_schema_version(server: str) -> str:
    """The version of the schemas that objects for a server of this version can be checked against."""
    return schemas.schema_version(server)


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by the names that playbooks use."""
        return {
            "cluster_files": cluster_files,
            "cluster_handovers": cluster_handovers,
            "cluster_leftovers": cluster_leftovers,
            "cluster_numbers": cluster_numbers,
            "cluster_objects": cluster_objects,
            "cluster_problems": cluster_problems,
            "cluster_replicas": cluster_replicas,
            "cluster_schema_version": cluster_schema_version,
        }
