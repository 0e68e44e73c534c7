# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of fleets whose workers are pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet import amounts


def faults(fleet: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    """Faults of one resolved fleet that is to run on Kubernetes."""
    if not fleet["image"]:
        yield "image: missing, name the image that has the app, such as registry.example/shop:1.4"
    if not fleet["notify"]:
        # A probe from outside would be a Python of its own in each pod every few seconds, and nothing else knows.
        yield (
            "notify: must be true on Kubernetes, where only the lifecycle module can tell when a pod consumes: set "
            "notify: true, and have the command or the app include muejam_celery_lifecycle, which is on PYTHONPATH"
        )
    yield from _resources(fleet)


def _resources(fleet: Mapping[str, Any]) -> Iterator[str]:
    most, quota, requests = fleet["memory_max"], fleet["cpu_quota"], fleet["requests"]
    if most and (fault := amounts.limit_fault(most)):
        yield f"memory_max: {fault}"
        most = None
    asked = requests.get("memory")
    if asked and most and most != "infinity" and amounts.memory_bytes(asked) > amounts.memory_bytes(most):
        yield f"requests.memory: {asked} is more than memory_max, {most}: lower it, or raise memory_max"
    asked = requests.get("cpu")
    if asked and quota and amounts.millicores(asked) > amounts.millicores(quota):
        yield f"requests.cpu: {asked} is more than cpu_quota, {quota}: lower it, or raise cpu_quota"
