# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The beats of the role beat: what each is told, what is wrong with it, and what it is to systemd.

A beat is that of a fleet: app, virtualenv, environment and broker are the fleet's, so that nothing is written twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.checks import INTEGER, MAPPING, SECONDS, TEXT, TEXTS
from ansible_collections.muejam.celery.plugins.module_utils.fleet import (
    beats,
    command,
    environment,
    names,
    placeholders,
    spec,
    systemd_text,
    values,
)
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import (
    KEYS as FLEET_KEYS,
)
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import (
    ON_KUBERNETES,
    Key,
)
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import ON_HOSTS

Beat = dict[str, Any]

SCHEDULER = f"{names.LIFECYCLE_MODULE}.beat:scheduler"
"""What makes the scheduler that is wanted, and tells that it ticks."""

CONFIG_DIRECTORY = "/etc/celery-beat"
STATE_DIRECTORY = "/var/lib/celery-beat"
UNIT_PREFIX = "celery-beat-"

_SHORTEST_WATCHDOG = 60
"""Seconds. An attempt to connect to a broker that does not answer takes 30, and proves nothing until it ends."""

_OPTIONS = {
    "-A": "the fleet has the app",
    "--app": "the fleet has the app",
    "-b": "the fleet has the broker_url",
    "--broker": "the fleet has the broker_url",
    "--workdir": "the fleet has the working_directory",
    "-s": "the schedule is in the state directory",
    "--schedule": "the schedule is in the state directory",
    "-S": "use the key scheduler",
    "--scheduler": "use the key scheduler",
    "--max-interval": "use the key max_interval",
    "-l": "use the key log_level",
    "--loglevel": "use the key log_level",
    "--detach": "it would be no process of its unit",
    "--pidfile": "the unit knows its process",
    "--uid": "the unit has a user",
    "--gid": "the unit has a group",
}
"""Options of `celery beat` that are not for `extra_args`, and why."""

KEYS: Mapping[str, Key] = {
    "fleet": Key(
        TEXT,
        required="the name of a fleet of the app",
        text="A fleet of C(celery_worker_fleets). Its app, virtualenv, user, working directory, variables, files of "
        "variables, broker and settings are those of beat, and its name is beat's.",
    ),
    "state": Key(
        TEXT,
        choices=("present", "absent"),
        any_case=True,
        default="present",
        text="V(absent) stops it everywhere and removes it with its schedule.",
    ),
    "host": Key(
        TEXT,
        otherwise="C(celery_beat_host)",
        text="The host of the inventory that it runs on, or that stands for the cluster it runs in.",
    ),
    "scheduler": Key(
        TEXT,
        check=checks.line,
        otherwise="the app's own C(beat_scheduler), which is Celery's file",
        text="Class of the scheduler, such as V(redbeat.RedBeatScheduler), or the name that a package registers, such "
        "as V(django) for django-celery-beat. The package is the app's to bring along.",
    ),
    "max_interval": Key(
        INTEGER, minimum=1, text="Seconds after which the scheduler looks for changes of the schedule at the latest."
    ),
    "watchdog": Key(
        SECONDS,
        minimum=0,
        default=120,
        text="Seconds without a tick after which it is restarted; V(0) never, else 60 or more.",
    ),
    "start_timeout": Key(SECONDS, minimum=1, default=120, text="Seconds that it has until its first tick."),
    "log_level": FLEET_KEYS["log_level"],
    "extra_args": Key(TEXTS, check=values.argument, text="Further arguments of C(celery beat)."),
    "environment": Key(
        MAPPING,
        check=values.variable,
        text="Environment variables beside those of the fleet, over which they win. Secrets are kept as the fleet's.",
    ),
    "memory_max": Key(TEXT, check=checks.memory, text="Memory that it may take, such as V(512M)."),
    "unit_options": Key(
        MAPPING,
        check=values.directive,
        platforms=ON_HOSTS,
        text="Further directives of the unit's C([Service]) section. They come last and win.",
    ),
    "requests": FLEET_KEYS["requests"],
    "pod_options": FLEET_KEYS["pod_options"],
    "volume_claim": Key(
        TEXT,
        check=checks.line,
        platforms=ON_KUBERNETES,
        text="Name of a PersistentVolumeClaim for the schedule file. Without it a new pod begins with a new file, and "
        "does not know what was sent last; schedulers that keep it elsewhere need none.",
    ),
}
"""What one beat takes."""


def problems(
    given: Any, fleets: Sequence[spec.Fleet], place: Mapping[str, Any], platform: str, label: str = "celery_beats"
) -> list[str]:
    """Every fault of the beats, each with its place.

    :param fleets: the resolved ones of this host, without faults.
    :param place: the `hosts` that a beat may run on, the `host` of those that name none, and `here`, which this is.
    """
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        return [f"{label}: must be a list of dictionaries, is {checks.shown(given)}"]
    hosts = place["hosts"]
    found: list[str] = []
    if place["host"] not in hosts:
        found.append(f"celery_beat_host: {place['host']} is none of celery_beat_hosts: {', '.join(hosts)}")
    sound: list[tuple[str, Beat]] = []
    for index, own in enumerate(given):
        path = f"{label}[{index}]"
        faults = list(_of_one(own, hosts, platform))
        found += [f"{path}{fault}" for fault in faults]
        if not faults:
            sound.append((path, _plain(own)))
    for number, (path, beat) in enumerate(sound):
        other = next((before for before, one in sound[:number] if one["fleet"] == beat["fleet"]), None)
        if other:
            found.append(f"{path}.fleet: {beat['fleet']} has a beat in {other} already, keep one")
    here = [
        (path, beat)
        for path, beat in sound
        if beat["state"] == "present" and (beat["host"] or place["host"]) == place["here"]
    ]
    return found + list(_of_fleets(here, fleets))


def _of_one(own: Any, hosts: Sequence[str], platform: str) -> Iterator[str]:
    """Faults of one beat by itself, each after its place."""
    if not isinstance(own, Mapping):
        yield f": must be a dictionary, is {checks.shown(own)}"
        return
    misplaced = [name for name, key in KEYS.items() if own.get(name) is not None and platform not in key.platforms]
    yield from (f".{name}: has no meaning on {platform}, remove it" for name in misplaced)
    rest = {name: one for name, one in own.items() if name not in misplaced}
    faults = [f".{fault}" for fault in checks.of_mapping(KEYS, rest, "")]
    yield from faults
    if misplaced or faults:
        return
    beat = _plain(own)
    if beat["host"] and beat["host"] not in hosts:
        yield f".host: {beat['host']} is none of celery_beat_hosts: {', '.join(hosts)}"
    if 0 < beat["watchdog"] < _SHORTEST_WATCHDOG:
        yield f".watchdog: {beat['watchdog']:g} s is shorter than an attempt to connect may take, use 60 or more, or 0"
    for index, word in enumerate(beat["extra_args"]):
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        if name in _OPTIONS:
            yield f".extra_args[{index}]: {name}: {_OPTIONS[name]}, remove it"


def _of_fleets(here: Sequence[tuple[str, Beat]], fleets: Sequence[spec.Fleet]) -> Iterator[str]:
    """Faults of the beats of this host beside its fleets."""
    present = {one["name"]: one for one in fleets if one["state"] == "present"}
    apps: list[tuple[str, beats.App]] = []
    for path, beat in here:
        fleet = present.get(beat["fleet"])
        if fleet is None:
            there = ", ".join(sorted(present)) or "none"
            yield (
                f"{path}.fleet: there is no fleet {beat['fleet']} in celery_worker_fleets (there are: {there}), "
                "describe it there"
            )
            continue
        app = beats.app_of(fleet) if fleet["app"] else None
        if app is None:
            yield (f"{path}.fleet: {beat['fleet']} has a command of its own, and beat needs an app: name another fleet")
            continue
        for other, one in apps:
            if app.is_of(one):
                yield f"{path}.fleet: has the same app as {other}, and both would send everything: keep one"
        apps.append((path, app))
        for name, sender in present.items():
            where, same = beats.place_of_beat(sender), beats.app_of(sender)
            if where and same and app.is_of(same):
                yield (
                    f"{path}.fleet: fleet {name} has --beat in {where} for the same app, and both would send "
                    "everything: remove it there"
                )


def _plain(own: Mapping[str, Any]) -> Beat:
    return {name: key.plain(key.default if own.get(name) is None else own[name]) for name, key in KEYS.items()}


def resolve(given: Sequence[Mapping[str, Any]], fleets: Sequence[spec.Fleet], host: str) -> list[Beat]:
    """Every beat with all of its keys, its `name`, its host, and under `of` its fleet, which has secrets.

    :param host: where those run that name no host.
    """
    found = []
    for own in given:
        beat = _plain(own)
        fleet = next((one for one in fleets if one["name"] == beat["fleet"]), None)
        found.append({**beat, "name": beat["fleet"], "host": beat["host"] or host, "of": fleet})
    return found


def schedule_path(beat: Beat) -> str:
    """The file of Celery's own scheduler; other schedulers do not use it."""
    return f"{STATE_DIRECTORY}/{beat['name']}/schedule"


def as_fleet(beat: Beat) -> spec.Fleet:
    """What runs a beat, in the form of a fleet with a command of its own: environment and limits are made alike."""
    fleet = beat["of"]
    literal = placeholders.literal
    words = [
        f"{fleet['virtualenv']}/bin/celery" if fleet["virtualenv"] else "celery",
        "-A",
        literal(fleet["app"]),
        "beat",
        f"--loglevel={beat['log_level']}",
        f"--scheduler={SCHEDULER}",
        f"--schedule={schedule_path(beat)}",
        *([f"--max-interval={beat['max_interval']}"] if beat["max_interval"] else []),
        *map(literal, beat["extra_args"]),
        *map(literal, command.setting_arguments(fleet)),
    ]
    # What has the worker's number there has one value here.
    shared = {
        name: placeholders.literal_value(placeholders.filled(str(text), "beat"))
        for name, text in fleet["environment"].items()
    }
    own = {name: placeholders.literal_value(str(text)) for name, text in beat["environment"].items()}
    wanted = {"CELERY_LIFECYCLE_BEAT_SCHEDULER": beat["scheduler"]} if beat["scheduler"] else {}
    return {
        **fleet,
        "command": words,
        "notify": True,
        "environment": {**shared, **own, **wanted},
        "start_timeout": beat["start_timeout"],
        "watchdog": beat["watchdog"],
        "memory_max": beat["memory_max"],
        "cpu_quota": None,
        "requests": beat["requests"],
        "pod_options": beat["pod_options"],
    }


def service(beat: Beat) -> dict[str, Any]:
    """What a resolved beat means to systemd."""
    fleet = as_fleet(beat)
    variables = environment.variables(fleet)
    # A beat has no status file: nobody would read it.
    del variables["CELERY_LIFECYCLE_STATUS_FILE"]
    return {
        "unit": f"{UNIT_PREFIX}{beat['name']}.service",
        "unit_path": f"{names.UNIT_DIRECTORY}/{UNIT_PREFIX}{beat['name']}.service",
        "environment_path": f"{CONFIG_DIRECTORY}/{beat['name']}.env",
        "in_force_path": f"{CONFIG_DIRECTORY}/{beat['name']}.in-force",
        "state_directory": f"celery-beat/{beat['name']}",
        "program": fleet["command"][0],
        "exec_start": " ".join(systemd_text.argument(word) for word in fleet["command"]),
        "file_environment": [
            systemd_text.file_variable(name, placeholders.plain(text)) for name, text in sorted(variables.items())
        ],
    }
