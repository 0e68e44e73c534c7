# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over fleets: thin, the rules are in `module_utils/fleet`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import known_schemes
from ansible_collections.muejam.celery.plugins.module_utils.deploy import tree
from ansible_collections.muejam.celery.plugins.module_utils.fleet import (
    app_facts,
    arguments,
    beats,
    command,
    environment,
    fingerprint,
    names,
    needs,
    placeholders,
    problems,
    rules,
    spec,
    systemd_text,
)
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import PLATFORMS
from ansible_collections.muejam.celery.plugins.plugin_utils import templated

_FLEETS = "celery_worker_fleets"
_DEFAULTS = "celery_worker_fleet_defaults"


@templated.takes_undefined
def resolve_fleets(fleets: object, defaults: object = None, platform: str = PLATFORMS[0]) -> list[spec.Fleet]:
    """Every fleet with all of its keys."""
    fleets, undefined = templated.plain(fleets, _FLEETS)
    defaults, more = templated.plain(defaults, _DEFAULTS)
    if undefined or more:
        raise AnsibleFilterError("; ".join([*undefined, *more]))
    if not isinstance(fleets, list) or not all(isinstance(fleet, Mapping) for fleet in fleets):
        raise AnsibleFilterError(f"{_FLEETS} must be a list of dictionaries; the playbook deploy says where it is not")
    if not isinstance(defaults, Mapping) and defaults is not None:
        raise AnsibleFilterError(f"{_DEFAULTS} must be a dictionary, is {checks.shown(defaults)}")
    return spec.resolve(fleets, defaults, platform)


@templated.takes_undefined
def fleet_problems(
    fleets: object, defaults: object = None, host_memory_mb: object = None, platform: str = PLATFORMS[0]
) -> list[str]:
    """Every fault of the fleets, each with its path."""
    fleets, undefined = templated.plain(fleets, _FLEETS)
    defaults, more = templated.plain(defaults, _DEFAULTS)
    memory = checks.whole_number(templated.plain(host_memory_mb, "memtotal_mb")[0])
    host_memory = memory * 1024**2 if memory else None
    return problems.find(fleets, defaults, host_memory, undefined=[*undefined, *more], platform=platform)


def fleet_service(fleet: spec.Fleet, facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a resolved fleet means to systemd."""
    reading = app_facts.reading(fleet, facts)
    if not fleet["notify"]:
        # The only readers of these variables are then ours, which speak with the worker as its app does.
        fleet = {**fleet, "broker_transport_options": reading["transport_options"]}
    return {
        "unit_path": names.unit_path(fleet["name"]),
        "environment_path": names.env_file(fleet["name"]),
        "exec_start": " ".join(systemd_text.argument(word) for word in command.argv(fleet)),
        "unit_environment": environment.unit_lines(fleet),
        "file_environment": environment.file_lines(fleet),
        "reading": reading,
        "control_exchange": systemd_text.argument(placeholders.literal(reading["control_exchange"])),
        "probe": {
            "app": fleet["app"],
            "pool": fleet["pool"],
            "python": f"{fleet['virtualenv']}/bin/python",
            "user": fleet["user"],
            "group": fleet["group"],
            "directory": fleet["working_directory"],
            "queues": fleet["queues"],
            "schemes": known_schemes(),
            "environment": environment.of_worker(fleet, 1),
            "include": names.LIFECYCLE_MODULE if fleet["notify"] else None,
            "settings": command.settings(fleet),
            "setting_arguments": command.setting_arguments(fleet),
            "timeout": fleet["start_timeout"],
        },
    }


def fleet_app_remarks(
    fleet: spec.Fleet, answer: Mapping[str, Any], known: Mapping[str, Any] | None = None
) -> dict[str, list[str]]:
    """What shows only beside the settings of the fleet's app."""
    return {
        "problems": [*rules.of_app(fleet, answer), *app_facts.problems(fleet, answer)],
        "notices": app_facts.notices(fleet, answer, known),
    }


def tree_digests(trees: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """For each tree of files the digest that the module host_info makes of it."""
    return {path: tree.digest(files) for path, files in trees.items()}


def fleet_known_apps(text: str | None, results: Sequence[Mapping[str, Any]] = (), loop_var: str = "") -> dict[str, Any]:
    """What is known of the apps of a host's fleets, by the fleet's name."""
    try:
        return app_facts.updated(app_facts.known(text), results, loop_var)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by the names that playbooks use."""
        return {
            "resolve_fleets": resolve_fleets,
            "fleet_needs": needs.of_fleets,
            "fleet_missing": needs.missing,
            "tree_digests": tree_digests,
            "fleet_problems": fleet_problems,
            "fleet_service": fleet_service,
            "fleet_known_apps": fleet_known_apps,
            "fleet_app_remarks": fleet_app_remarks,
            "fleet_reading": app_facts.reading,
            "fleet_config_id": fingerprint.config_id,
            "fleet_file_problems": arguments.of_files,
            "fleet_senders": beats.senders,
            "fleet_sender_problems": beats.of_hosts,
        }
