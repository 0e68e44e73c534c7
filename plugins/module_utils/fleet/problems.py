# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault of a list of fleets, each with its path and what to change, before anything is touched."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.fleet import beats, rules, spec
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import KEYS
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import PLATFORMS
from ansible_collections.muejam.celery.plugins.module_utils.redaction import redact

_LEFT_OUT = {
    "command": {"app"},
    "packages": {"virtualenv"},
    "notify": {"watchdog"},
    "broker_url": {"visibility_timeout"},
    "memory_max": {"requests"},
    "cpu_quota": {"requests"},
}
"""Keys about which a rule would say something only because another key, which is at fault, was left out."""


def find(
    fleets: object,
    defaults: object = None,
    host_memory: int | None = None,
    label: str = "celery_worker_fleets",
    defaults_label: str = "celery_worker_fleet_defaults",
    undefined: Sequence[str] = (),
    platform: str = PLATFORMS[0],
) -> list[str]:
    """All faults as sentences such as `celery_worker_fleets[1].autoscale.min: 5 is more than ...`.

    :param host_memory: bytes of memory of the host; `None` leaves the memory limits unchecked.
    :param label: the variable that `fleets` came from; every path begins with it.
    :param undefined: faults of what is undefined, and therefore not among what is given.
    :param platform: what runs the workers. Defaults may serve several, so keys of others are no fault among them.
    """
    if defaults is None:
        defaults = {}
    if not isinstance(defaults, Mapping):
        return [f"{defaults_label}: must be a dictionary, is {checks.shown(defaults)}"]
    if any(fault.startswith((f"{label}: ", f"{defaults_label}: ")) for fault in undefined):
        return list(undefined)
    if not isinstance(fleets, Sequence) or isinstance(fleets, (str, bytes)):
        return [f"{label}: must be a list of fleets, is {checks.shown(fleets)}"]
    found = [*undefined, *_faults(defaults, defaults_label, platform, is_defaults=True)]
    faulty_defaults = _faulty_keys(found, defaults_label)
    sound_defaults = _without(defaults, faulty_defaults)
    whole: list[tuple[str, spec.Fleet]] = []
    for index, own in enumerate(fleets):
        path = f"{label}[{index}]"
        if not isinstance(own, Mapping):
            if not any(fault.startswith(f"{path}: ") for fault in undefined):
                found.append(f"{path}: must be a dictionary, is {checks.shown(own)}")
            continue
        unknown = _faulty_keys(undefined, path)
        faults = [fault for fault in _faults(own, path, platform) if not _faulty_keys([fault], path) & unknown]
        found += faults
        # Rules see the sound values alone: a bad one would make each rule about it repeat the fault in other words.
        faulty = _faulty_keys(faults, path) | unknown
        resolved = spec.resolve([_without(own, faulty)], sound_defaults, platform)[0]
        if resolved["state"] == "absent":
            continue
        whole.append((path, resolved))
        repeated = faulty | (faulty_defaults - set(own))
        repeated = repeated.union(*(_LEFT_OUT[key] for key in repeated if key in _LEFT_OUT))
        found += [fault for fault in rules.of_one(resolved, own, path) if not _faulty_keys([fault], path) & repeated]
    found += _double_names(fleets, label)
    found += rules.of_virtualenvs(whole)
    found += beats.of_fleets(whole)
    found += rules.of_memory(whole, host_memory, label)
    return [redact(fault) for fault in found]


def _faulty_keys(faults: Sequence[str], path: str) -> set[str]:
    starts = (re.match(r"\.(\w+)", fault[len(path) :]) for fault in faults if fault.startswith(path))
    return {found[1] for found in starts if found}


def _without(given: Mapping[Any, Any], keys: Container[str]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in keys}


def _faults(given: Mapping[Any, Any], path: str, platform: str, is_defaults: bool = False) -> Iterator[str]:
    misplaced = {}
    for name, key in sorted(KEYS.items()):
        if is_defaults and name in given and not key.inherits:
            misplaced[name] = "cannot be a default, give it to each fleet"
        elif not is_defaults and given.get(name) is not None and platform not in key.platforms:
            misplaced[name] = f"has no meaning on {platform}, only on {' and '.join(key.platforms)}: remove it"
    yield from (f"{path}.{name}: {fault}" for name, fault in misplaced.items())
    yield from checks.of_mapping(KEYS, _without(given, misplaced), path, partly=is_defaults)


def _double_names(fleets: Sequence[Any], label: str) -> Iterator[str]:
    first: dict[str, int] = {}
    for index, fleet in enumerate(fleets):
        name = fleet.get("name") if isinstance(fleet, Mapping) else None
        if not isinstance(name, str):
            continue
        if name in first:
            yield f"{label}[{index}].name: {name!r} is also the name of {label}[{first[name]}], rename one"
        else:
            first[name] = index
