# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet must not say to Celery past its keys: in `extra_args`, in `command`, and in the environment."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.fleet import (
    celery_names,
    celery_words,
    command,
    environment,
    placeholders,
    policies,
    spec,
    values,
)
from ansible_collections.muejam.celery.plugins.module_utils.fleet.celery_names import Flag
from ansible_collections.muejam.celery.plugins.module_utils.fleet.celery_words import Word
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import KEYS, PREFORK
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import ON_HOSTS
from ansible_collections.muejam.celery.plugins.module_utils.redaction import shown

_FLAGS = (*celery_names.WORKER, *celery_names.MAIN)
_SLOWEST_HEARTBEAT = 2
_SETTING = re.compile(r"(?P<name>[\w.]+)=(?P<cast>\(\w+\))?(?P<value>.*)", re.DOTALL)
_VARIABLES = {
    "BROKER_URL": "broker_url",
    "CELERY_BROKER": "broker_url",
    "RESULT_BACKEND": "result_backend",
    "CELERY_WORKDIR": "working_directory",
}
"""What `celery` itself takes from the environment, over the variables that the role sets."""


def faults(fleet: spec.Fleet, own: Mapping[str, Any]) -> Iterator[str]:
    """Faults of one resolved fleet; `own` is what the user wrote for it, without defaults."""
    for word in celery_words.options(fleet["extra_args"]):
        yield from (f"extra_args[{word.index}]: {fault}" for fault in _extra_argument(fleet, own, word))
    for line in celery_words.all_in(fleet["command"]):
        yield from (f"command: {fault}" for fault in _command(fleet, own, line))
    yield from _variables(fleet, own, fleet["environment"], "environment.")


def of_files(fleet: spec.Fleet, variables: Mapping[str, str]) -> list[str]:
    """Faults of the variables that the fleet's `environment_files` set.

    What the role sets itself wins over the files, and so does an option in the command line.
    """
    ours = environment.variables(fleet)
    rest = {}
    found = []
    for name, value in sorted(variables.items()):
        place = f"environment_files: {name}"
        refused = values.variable(name, "")
        if name == "PYTHONPATH" and fleet["notify"] and name not in fleet["environment"]:
            found.append(f"{place} is set by the role, which adds that of the key environment: move it")
        elif name in ours and placeholders.uses_number(ours[name]):
            found.append(f"{place} would win over that of the role or of the key environment, which has %i: remove it")
        elif name in ours or name in _overruled(fleet):
            continue
        elif refused:
            found.append(f"{place} {refused}")
        elif name == "CELERY_WORKER_BEAT" and value.lower() not in celery_names.OFF and _runs_celery(fleet):
            # What files say is read where other fleets and hosts are not known.
            found.append(f"{place}: other fleets and hosts could not be held against it: move it to environment")
        elif name == "CELERY_WORKER_STATEDB" and value and policies.most_workers(fleet) > 1:
            found.append(f"{place}: workers cannot share the file: move it to environment, with %i in its name")
        else:
            rest[name] = value
    own = {"pool": fleet["pool"]} if fleet["pool"] != PREFORK else {}
    return found + list(_variables(fleet, own, rest, "environment_files: "))


def _overruled(fleet: spec.Fleet) -> set[str]:
    """Variables in whose place Celery takes what stands in the fleet's command line."""
    line = celery_words.celery_in(command.argv(fleet))
    if line is None:
        return set()
    keys = {word.flag.key for word in line.main if word.flag}
    return {f"CELERY_WORKER_{word.flag.variable}" for word in line.words if word.flag} | {
        name for name, key in _VARIABLES.items() if key in keys
    }


def _extra_argument(fleet: spec.Fleet, own: Mapping[str, Any], word: Word) -> Iterator[str]:
    flag = word.flag
    if flag is None:
        yield from _unknown(word)
    elif flag.value and word.value is None:
        yield f"{word.written} takes a value: add it"
    elif flag.key and not flag.refused:
        yield f"{word.written} is what the key {flag.key} says: use the key"
    else:
        yield from _of_option(fleet, own, flag, word.written, word.value or "")


def _command(fleet: spec.Fleet, own: Mapping[str, Any], line: celery_words.CommandLine) -> Iterator[str]:
    """What is wrong with one command line of Celery within the fleet's command."""
    if line.command != "worker":
        if line.command:
            yield (
                f"celery {line.command} is no worker that can be watched, and would run whenever one starts: "
                "use celery worker alone"
            )
        return
    words = [*line.main, *line.words]
    for word in words:
        if word.flag:
            yield from _of_option(fleet, own, word.flag, word.written, word.value or "")
        elif celery_words.shortened(word.written, _FLAGS):
            yield from _unknown(word)
    for word in line.words:
        if not word.written:
            yield from _setting(fleet, own, word)
    named = any(word.flag and word.flag.name == "--hostname" for word in words)
    if fleet["name"] and not named and "CELERY_WORKER_HOSTNAME" not in fleet["environment"]:
        yield f"names no node, and the tools look for this one: add --hostname={_node(fleet)}"


def _setting(fleet: spec.Fleet, own: Mapping[str, Any], word: Word) -> Iterator[str]:
    """What is wrong with a word such as `task.time_limit=900`, which Celery takes for a setting."""
    written = _SETTING.fullmatch(word.value or "")
    if written is None:
        return
    name = written["name"].lower().replace(".", "_")
    value: object = written["value"]
    if written["cast"]:
        with contextlib.suppress(ValueError):
            value = json.loads(written["value"])
    key = celery_names.SETTING_KEYS.get(name)
    if key is None:
        fault = values.celery_setting(name, value)
        if fault:
            yield f"{written['name']}: {fault}"
        return
    flag = next((flag for flag in _FLAGS if flag.key == key), None)
    if value == fleet[key]:
        return
    if flag:
        yield from _differs(fleet, own, flag, written["name"], str(value))
    elif not KEYS[key].builds_command:
        yield f"{written['name']}: the command says something else than the key {key}: give both the same"


def _variables(fleet: spec.Fleet, own: Mapping[str, Any], variables: Mapping[str, Any], where: str) -> Iterator[str]:
    """Celery's command line takes options from variables such as `CELERY_WORKER_PURGE` too."""
    if not _runs_celery(fleet):
        return
    flags = {f"CELERY_WORKER_{flag.variable}": flag for flag in celery_names.WORKER if flag.name != "--help"}
    flags["CELERY_VERSION"] = {flag.name: flag for flag in celery_names.MAIN}["--version"]
    for name, value in variables.items():
        text = str(value)
        place = f"{where}{name}"
        key = _VARIABLES.get(name)
        if key and text and text != fleet[key]:
            yield f"{place}: Celery would take it in place of the key {key}: remove it, or give both the same"
        flag = flags.get(name)
        if flag is None or not text or (not flag.value and text.lower() in celery_names.OFF):
            continue
        if flag.refused:
            yield f"{place}: Celery takes it as {flag.name}, and {flag.refused}: remove it"
        elif flag.key and not fleet["command"]:
            yield f"{place}: Celery takes it as {flag.name}, which is what the key {flag.key} says: use the key"
        else:
            written = f"Celery takes it as {flag.name}, and this"
            yield from (f"{place}: {fault}" for fault in _of_option(fleet, own, flag, written, text))


def _runs_celery(fleet: spec.Fleet) -> bool:
    return not fleet["command"] or celery_words.celery_in(fleet["command"]) is not None


def _unknown(word: Word) -> Iterator[str]:
    if not word.written:
        name, sign, _value = (word.value or "").partition("=")
        setting = name.lower().replace(".", "_")
        if sign and setting:
            key = celery_names.SETTING_KEYS.get(setting)
            yield f"{name} is a setting: use " + (f"the key {key}" if key else "celery_settings")
        return
    main = next((flag for flag in celery_names.MAIN if word.written in flag.names), None)
    whole = celery_words.shortened(word.written, celery_names.WORKER)
    if main:
        instead = f"use the key {main.key}" if main.key else "remove it"
        yield f"{word.written} is no option of celery worker, which would not start: {instead}"
    elif any(letter.isspace() for letter in word.written):
        yield f"{word.written!r} is one word: give the option and its value as two"
    elif whole:
        yield f"{word.written} is no option of celery worker, which takes none shortened: remove it, or write {whole}"


def _of_option(fleet: spec.Fleet, own: Mapping[str, Any], flag: Flag, written: str, value: str) -> Iterator[str]:
    """What is wrong with an option wherever it stands."""
    if flag.refused:
        yield f"{written}: {flag.refused}, remove it"
    elif flag.name == "--beat":
        most = policies.most_workers(fleet)
        if fleet["platform"] not in ON_HOSTS:
            yield (
                f"{written}: while pods are replaced, the next one runs beside the last one, and both would send what "
                "is scheduled: remove it, and have the role beat send it"
            )
        elif most > 1:
            yield (
                f"{written}: each of up to {most} workers would send what is scheduled: "
                "run `celery beat` once as a service of its own, or give the option to a fleet of one worker"
            )
        if fleet["pool"] == "gevent":
            yield f"{written}: Celery cannot do that with pool gevent: run `celery beat` as a service of its own"
    elif flag.name == "--include" and fleet["notify"] and not fleet["command"]:
        yield f"{written}: would replace the lifecycle module: name the modules in the app's setting include"
    elif flag.name == "--statedb" and not placeholders.uses_number(value) and policies.most_workers(fleet) > 1:
        yield f"{written}: workers cannot share the file: put %i into its name"
    elif flag.name == "--heartbeat-interval" and (checks.number(value) or 0) > _SLOWEST_HEARTBEAT:
        yield f"{written}: {celery_names.HEARTBEATS}: leave it out"
    yield from _differs(fleet, own, flag, written, value)


def _differs(fleet: spec.Fleet, own: Mapping[str, Any], flag: Flag, written: str, value: str) -> Iterator[str]:
    """Where a command says something else than a key that is read by others than the command."""
    key = flag.key
    if key is None:
        return
    if key == "name":
        nodes = [_node(fleet, host) for host in ("%H", "%h")]
        if fleet["name"] and value not in nodes:
            yield f"{written}: names the node {value}, and the tools look for {nodes[0]}: write that"
    elif flag.name == "--exclude-queues":
        both = sorted(set(_names(value)) & set(fleet["queues"]))
        if both:
            yield f"{written}: leaves out {', '.join(both)}, which the key queues has: remove it from one of them"
    elif key == "broker_url" and value != fleet[key]:
        yield f"{written}: is another broker than the key {key}: remove the option"
    elif key == "pool" and own.get("pool") and value != fleet[key]:
        yield f"{written}: {value} is not what the key pool says, {fleet[key]}: give both the same"
    elif key not in ("app", "pool") and not KEYS[key].builds_command and not _same(fleet[key], value):
        wanted = ", ".join(fleet[key]) if isinstance(fleet[key], list) else fleet[key]
        if key == "result_backend":
            value, wanted = shown(value), wanted and shown(wanted)
        yield (
            f"{written}: the command says {value}, the key {key} "
            f"{f'says {wanted}' if wanted else 'is not given'}: give both the same"
        )


def _node(fleet: spec.Fleet, host: str = "%H") -> str:
    return placeholders.node(fleet["name"], fleet["platform"], host)


def _same(wanted: object, value: str) -> bool:
    if isinstance(wanted, list):
        return not wanted or set(wanted) == set(_names(value))
    if isinstance(wanted, (int, float)):
        return checks.number(value) == wanted
    return wanted == value


def _names(value: str) -> list[str]:
    return [name.strip() for name in value.split(",")]
