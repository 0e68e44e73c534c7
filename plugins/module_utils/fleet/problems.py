# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault of a list of fleets, each with its path and what to change, before anything is touched."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import plain_values
from ansible_collections.muejam.celery.plugins.module_utils.brokers import transport_options
from ansible_collections.muejam.celery.plugins.module_utils.fleet import (
    beats,
    names,
    policies,
    rules,
    spec,
    values,
)
from ansible_collections.muejam.celery.plugins.module_utils.redaction import redact

_KINDS = {
    "text": "a text",
    "path": "a text",
    "choice": "a text",
    "texts": "a list of texts",
    "mapping": "a dictionary",
    "transport": "a dictionary",
    "tls": "true, false or a dictionary",
    "policy": "a dictionary, {} for the defaults of every part",
    "integer": "a whole number",
    "seconds": "a number of seconds",
    "boolean": "true or false",
}

_LEFT_OUT = {
    "command": {"app"},
    "packages": {"virtualenv"},
    "notify": {"watchdog"},
    "broker_url": {"visibility_timeout"},
}
"""Keys about which a rule would say something only because another key, which is at fault, was left out."""


def find(
    fleets: object,
    defaults: object = None,
    host_memory: int | None = None,
    label: str = "celery_worker_fleets",
    defaults_label: str = "celery_worker_fleet_defaults",
    undefined: Sequence[str] = (),
) -> list[str]:
    """All faults as sentences such as `celery_worker_fleets[1].autoscale.min: 5 is more than ...`.

    :param host_memory: bytes of memory of the host; `None` leaves the memory limits unchecked.
    :param label: the variable that `fleets` came from; every path begins with it.
    :param undefined: faults of what is undefined, and therefore not among what is given.
    """
    if defaults is None:
        defaults = {}
    if not isinstance(defaults, Mapping):
        return [f"{defaults_label}: must be a dictionary, is {_shown(defaults)}"]
    if any(fault.startswith((f"{label}: ", f"{defaults_label}: ")) for fault in undefined):
        return list(undefined)
    if not isinstance(fleets, Sequence) or isinstance(fleets, (str, bytes)):
        return [f"{label}: must be a list of fleets, is {_shown(fleets)}"]
    found = [*undefined, *_faults(defaults, defaults_label, is_defaults=True)]
    faulty_defaults = _faulty_keys(found, defaults_label)
    sound_defaults = _without(defaults, faulty_defaults)
    whole: list[tuple[str, spec.Fleet]] = []
    for index, own in enumerate(fleets):
        path = f"{label}[{index}]"
        if not isinstance(own, Mapping):
            if not any(fault.startswith(f"{path}: ") for fault in undefined):
                found.append(f"{path}: must be a dictionary, is {_shown(own)}")
            continue
        unknown = _faulty_keys(undefined, path)
        faults = [fault for fault in _faults(own, path) if not _faulty_keys([fault], path) & unknown]
        found += faults
        # Rules see the sound values alone: a bad one would make each rule about it repeat the fault in other words.
        faulty = _faulty_keys(faults, path) | unknown
        resolved = spec.resolve([_without(own, faulty)], sound_defaults)[0]
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


def _without(given: Mapping[Any, Any], keys: set[str]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in keys}


def _faults(given: Mapping[Any, Any], path: str, is_defaults: bool = False) -> Iterator[str]:
    for key, value in given.items():
        if key not in spec.KEYS:
            near = difflib.get_close_matches(str(key), spec.KEYS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(sorted(spec.KEYS))}"
            yield f"{path}.{key}: unknown key, {hint}"
        elif is_defaults and not spec.KEYS[key].inherits:
            yield f"{path}.{key}: cannot be a default, give it to each fleet"
        elif value is not None:
            yield from _value_faults(key, value, f"{path}.{key}")
    if not is_defaults:
        yield from _name_fault(given.get("name"), f"{path}.name")


def _name_fault(name: object, path: str) -> Iterator[str]:
    if name is None:
        yield f"{path}: missing, give the fleet a name such as web"
    elif isinstance(name, str) and not names.is_fleet_name(name):
        yield (
            f"{path}: {name!r} is no fleet name: lower-case letters, digits and '-' inside, "
            f"at most {names.FLEET_NAME_MAX} characters"
        )


def _value_faults(key: str, value: Any, path: str) -> Iterator[str]:
    wrong_kind = _kind_fault(key, value)
    if wrong_kind and spec.KEYS[key].kind == "texts" and isinstance(value, Sequence) and not isinstance(value, str):
        wrong = [(index, one) for index, one in enumerate(value) if not isinstance(one, str)]
        yield from (f"{path}[{index}]: must be a text, is {_shown(one)}" for index, one in wrong)
        return
    if wrong_kind:
        yield f"{path}: {wrong_kind}"
        return
    known = spec.KEYS[key]
    if known.kind == "choice" and str(value).lower() not in (one.lower() for one in spec.CHOICES[key]):
        yield f"{path}: {value!r} is not known, use one of {', '.join(spec.CHOICES[key])}"
    elif known.kind in ("integer", "seconds"):
        amount = plain_values.number(value)
        if amount is not None and known.minimum is not None and amount < known.minimum:
            yield f"{path}: {value} is too small, use {known.minimum} or more"
    elif known.kind in ("text", "path") and key in values.TEXTS:
        fault = values.TEXTS[key](value)
        if fault:
            yield f"{path}: {fault}"
    elif known.kind == "texts":
        for index, one in enumerate(value):
            fault = values.LISTS[key](one)
            if fault:
                yield f"{path}[{index}]: {fault}"
    elif key == "policy":
        yield from (f"{path}.{fault}" for fault in policies.faults(value))
    elif key == "broker_transport_options":
        yield from (f"{path}{fault}" for fault in transport_options.faults(value))
    elif key == "broker_use_ssl":
        yield from (f"{path}{fault}" for fault in values.tls(value))
    elif key == "autoscale":
        yield from _autoscale_faults(value, path)
    elif key in values.MAPPINGS:
        for name, one in value.items():
            fault = values.MAPPINGS[key](name, one)
            if fault:
                yield f"{path}.{name}: {fault}"


def _kind_fault(key: str, value: Any) -> str | None:
    if value is None:
        return None
    kind = spec.KEYS[key].kind
    return None if _is_of_kind(kind, value) else f"must be {_KINDS[kind]}, is {_shown(value)}"


def _is_of_kind(kind: str, value: Any) -> bool:
    if kind == "integer":
        return plain_values.whole_number(value) is not None
    if kind == "seconds":
        return plain_values.number(value) is not None
    if kind == "boolean":
        return plain_values.boolean(value) is not None
    if kind in ("mapping", "transport", "policy"):
        return isinstance(value, Mapping)
    if kind == "tls":
        return isinstance(value, Mapping) or plain_values.boolean(value) is not None
    if kind == "texts":
        return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(one, str) for one in value)
    return isinstance(value, str) and bool(value)


def _shown(value: object) -> str:
    # Only what cannot be a secret is repeated.
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number else plain_values.kind_of(value)


def _autoscale_faults(value: Mapping[Any, Any], path: str) -> Iterator[str]:
    for key in value:
        if key not in ("max", "min"):
            yield f"{path}.{key}: unknown key, the keys are max and min"
    bounds = {}
    for key, smallest in (("max", 1), ("min", 0)):
        amount = plain_values.whole_number(value.get(key))
        if amount is None:
            yield f"{path}.{key}: must be a whole number, such as {{max: 10, min: 3}}"
        elif amount < smallest:
            yield f"{path}.{key}: {amount} is too small, use {smallest} or more"
        else:
            bounds[key] = amount
    if len(bounds) == 2 and bounds["min"] > bounds["max"]:
        yield f"{path}.min: {bounds['min']} is more than max, {bounds['max']}: lower min or raise max"


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
