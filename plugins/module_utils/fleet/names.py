# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and paths of a fleet on a systemd host: one place, so that every part agrees on them."""

from __future__ import annotations

import re

FLEET_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
"""A fleet's name, matched in full. It becomes part of unit, file and node names, hence the narrow alphabet."""

FLEET_NAME_MAX = 40
"""Longest fleet name, in characters: leaves room for the rest of a unit name and of a host name."""

UNIT_PREFIX = "celery-worker-"
UNIT_DIRECTORY = "/etc/systemd/system"
CONFIG_DIRECTORY = "/etc/celery-worker"
STATE_DIRECTORY = "/var/lib/celery-worker"
VIRTUALENV_DIRECTORY = "/opt/celery-worker"
RUNTIME_DIRECTORY = "/run/celery-worker"

TOOLS_DIRECTORY = "/opt/muejam-celery"
TOOLS_PYTHON = TOOLS_DIRECTORY + "/venv/bin/python"
LIFECYCLE_DIRECTORY = TOOLS_DIRECTORY + "/worker"
LIFECYCLE_MODULE = "muejam_celery_lifecycle"

_INSTANCE = re.compile(r"celery-worker-(?P<fleet>[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)@(?P<number>[1-9][0-9]*)\.service")


def is_fleet_name(text: object) -> bool:
    """Whether `text` can name a fleet."""
    return isinstance(text, str) and len(text) <= FLEET_NAME_MAX and FLEET_NAME.fullmatch(text) is not None


def unit_template(fleet: str) -> str:
    """The fleet's template unit, such as `celery-worker-web@.service`."""
    return f"{UNIT_PREFIX}{fleet}@.service"


def unit_name(fleet: str, number: int) -> str:
    """The unit of one worker, such as `celery-worker-web@1.service`."""
    return f"{UNIT_PREFIX}{fleet}@{number}.service"


def unit_glob(fleet: str) -> str:
    """A pattern for `systemctl` that matches the fleet's workers and no other fleet's."""
    return f"{UNIT_PREFIX}{fleet}@*.service"


def unit_path(fleet: str) -> str:
    """Where the fleet's template unit lies."""
    return f"{UNIT_DIRECTORY}/{unit_template(fleet)}"


def instance_of(unit: str) -> tuple[str, int] | None:
    """The fleet and worker number that a unit name stands for, `None` when it is no worker of ours."""
    found = _INSTANCE.fullmatch(unit)
    return (found["fleet"], int(found["number"])) if found else None


def is_unit_of(fleet: str, unit: str) -> bool:
    """Whether a unit is that of a worker of the fleet, by its name."""
    instance = instance_of(unit)
    return instance is not None and instance[0] == fleet


def node_name(fleet: str, number: int, host: str) -> str:
    """The Celery node name of one worker, such as `web-1@host`."""
    return f"{fleet}-{number}@{host}"


def fleet_of_node(node: str) -> str | None:
    """The fleet that a node name such as `web-1@host` belongs to, `None` when it has another form."""
    name, at, host = node.partition("@")
    fleet, dash, number = name.rpartition("-")
    return fleet if at and host and dash and number.isascii() and number.isdigit() else None


def status_path(fleet: str, number: int) -> str:
    """The status file that a worker keeps up to date."""
    return f"{RUNTIME_DIRECTORY}/{fleet}-{number}/status.json"


def env_file(fleet: str) -> str:
    """The root-only environment file of the fleet; everything secret is in it."""
    return f"{CONFIG_DIRECTORY}/{fleet}.env"


def state_directory(fleet: str) -> str:
    """Where workers of the fleet can keep files; their working directory unless another one is given."""
    return f"{STATE_DIRECTORY}/{fleet}"


def virtualenv(fleet: str) -> str:
    """The virtualenv that is made from a fleet's packages unless another path is given."""
    return f"{VIRTUALENV_DIRECTORY}/{fleet}"
