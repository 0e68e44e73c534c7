# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user lays over the pods of a fleet on Kubernetes: C(metadata) and C(spec) of a pod, as the API has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.fleet import values

PARTS = ("metadata", "spec")

_TAKEN = {
    ("metadata", "name"): "pods are named by their ReplicaSet: remove it",
    ("metadata", "namespace"): "pods are where their Deployment is: use celery_worker_namespace",
    ("spec", "serviceAccountName"): "the fleet has a ServiceAccount of its own: give that one the rights",
    ("spec", "terminationGracePeriodSeconds"): "use the key drain_timeout",
    ("spec", "restartPolicy"): "a Deployment restarts what ends: remove it",
}
_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by")
_MERGED_BY = {"volumeMounts": "mountPath"}
"""By which of their fields elements of these lists are the same, as the API has it; others go by C(name)."""


def merged(below: Any, above: Any, field: str = "") -> Any:
    """`above` laid over `below`, as the API itself merges.

    Dictionaries add up, and so do lists whose elements all have a `name`, or as mounts of volumes a path; other lists
    and values are replaced, and None takes out.

    :param field: the one that has them.
    """
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        both = {**below, **{key: merged(below.get(key), value, key) for key, value in above.items()}}
        return {key: value for key, value in both.items() if value is not None}
    key = _MERGED_BY.get(field, "name")
    if _all_have(key, below) and _all_have(key, above):
        ours = {one[key]: one for one in below}
        theirs = {one[key]: one for one in above}
        return [merged(ours.get(name), theirs.get(name, ours.get(name))) for name in {**ours, **theirs}]
    if isinstance(above, Mapping):
        return merged({}, above)
    return above


def added(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a fleet over those of the defaults. What takes out stays, for what is below both."""
    both = dict(base)
    for key, value in top.items():
        below = both.get(key)
        both[key] = added(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return both


def _all_have(key: str, value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) and key in one for one in value)


def faults(options: Mapping[Any, Any]) -> Iterator[str]:
    """Every fault, with its place in the options."""
    for part, content in options.items():
        if part not in PARTS:
            yield f".{part}: unknown part, use metadata or spec: fields of a pod stand below one of them"
        elif not isinstance(content, Mapping):
            yield f".{part}: must be a dictionary, is {checks.shown(content)}"
        else:
            for (of, name), instead in _TAKEN.items():
                if of == part and name in content:
                    yield f".{part}.{name}: {instead}"
            labels = content.get("labels") if part == "metadata" else None
            known_by = [name for name in _LABELS if isinstance(labels, Mapping) and name in labels]
            yield from (f".metadata.labels.{name}: the fleet is known by it: remove it" for name in known_by)
            yield from _secrets(content, f".{part}")


def _secrets(value: Any, place: str, name: str = "") -> Iterator[str]:
    """What looks like a secret, and would stand where everybody who may read a Deployment reads it."""
    if isinstance(value, Mapping):
        named = str(value.get("name", "")) if isinstance(value.get("value"), str) else ""
        for key, one in value.items():
            yield from _secrets(one, f"{place}.{key}", named if key == "value" else "")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _secrets(one, f"{place}[{index}]")
    elif isinstance(value, str) and values.looks_secret(name, value):
        yield (
            f"{place}: looks like a secret, and a Deployment is read by more people than a Secret: use the key "
            "environment, or refer to a Secret"
        )
