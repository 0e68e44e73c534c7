# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of a fleet's workers, and how a host has it: split between unit file and root-only environment file.

An environment file expands no specifiers, so values with the worker's number (`%i`) have to stand in the unit file,
which everyone can read. Everything else, secrets above all, goes into the environment file.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import kind_of
from ansible_collections.muejam.celery.plugins.module_utils.brokers.tls import tls_settings
from ansible_collections.muejam.celery.plugins.module_utils.brokers.url import normal
from ansible_collections.muejam.celery.plugins.module_utils.fleet import names, placeholders, systemd_text

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def of_keys(fleet: Mapping[str, Any]) -> dict[str, str]:
    """What the keys of a resolved fleet say to its app and to the lifecycle module, on every platform."""
    literal = placeholders.literal_value
    found = {"CELERY_BROKER_URL": literal(normal(fleet["broker_url"]))}
    if fleet["result_backend"]:
        found["CELERY_RESULT_BACKEND"] = literal(normal(fleet["result_backend"]))
    options = transport_options(fleet)
    if options:
        found["CELERY_LIFECYCLE_TRANSPORT_OPTIONS"] = literal(json.dumps(options, sort_keys=True))
    ssl = broker_ssl(fleet)
    if ssl is not None:
        found["CELERY_LIFECYCLE_BROKER_USE_SSL"] = literal(json.dumps(ssl, sort_keys=True))
    if fleet["priority_order"] is not None:
        found["CELERY_LIFECYCLE_PRIORITY"] = fleet["priority_order"]
    return found


def variables(fleet: Mapping[str, Any]) -> dict[str, str]:
    """Every variable of a resolved fleet on a host, with the placeholder `%i` still in the values."""
    found = of_keys(fleet)
    found["CELERY_LIFECYCLE_STATUS_FILE"] = f"{names.RUNTIME_DIRECTORY}/{fleet['name']}-%i/status.json"
    programs = f"{fleet['virtualenv']}/bin" if fleet["virtualenv"] else posixpath.dirname(fleet["command"][0])
    found["PATH"] = f"{programs}:{_SYSTEM_PATH}"
    # setproctitle would overwrite the environment in /proc, by which a worker with an old configuration is known.
    found["SPT_NOENV"] = "1"
    found.update({name: str(value) for name, value in fleet["environment"].items()})
    if fleet["notify"]:
        found["PYTHONPATH"] = with_lifecycle(found.get("PYTHONPATH"))
    return found


def with_lifecycle(path: str | None) -> str:
    """The fleet's own `PYTHONPATH` and, before it, where the lifecycle module is."""
    return f"{names.LIFECYCLE_DIRECTORY}:{path}" if path else names.LIFECYCLE_DIRECTORY


def transport_options(fleet: Mapping[str, Any]) -> dict[str, Any]:
    """The broker's transport options, the visibility timeout among them."""
    options = dict(fleet["broker_transport_options"])
    if fleet["visibility_timeout"] is not None:
        options["visibility_timeout"] = fleet["visibility_timeout"]
    return options


def broker_ssl(fleet: Mapping[str, Any]) -> bool | dict[str, Any] | None:
    """How the workers speak TLS with the broker, in the form that its transport takes; None leaves it to the URL."""
    kind = kind_of(fleet["broker_url"])
    return tls_settings(fleet["broker_use_ssl"], kind) if kind else None


def unit_lines(fleet: Mapping[str, Any]) -> list[str]:
    """Values of the unit's `Environment=` lines: the variables that hold the worker's number."""
    return [
        systemd_text.unit_variable(name, text)
        for name, text in sorted(variables(fleet).items())
        if placeholders.uses_number(text)
    ]


def file_lines(fleet: Mapping[str, Any]) -> list[str]:
    """Lines of the environment file: every other variable. They hold secrets."""
    return [
        systemd_text.file_variable(name, placeholders.plain(text))
        for name, text in sorted(variables(fleet).items())
        if not placeholders.uses_number(text)
    ]


def of_worker(fleet: Mapping[str, Any], number: int) -> dict[str, str]:
    """The variables as worker `number` gets them."""
    return {name: placeholders.filled(text, number) for name, text in variables(fleet).items()}
