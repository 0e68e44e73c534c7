# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host needs for its fleets, each thing once even when fleets share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet import names


def of_fleets(fleets: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Users, virtualenvs, programs and directories of resolved fleets that are to be present.

    `brought` are the programs, directories and files that somebody else has to have put there. `brokers` names one
    fleet for each different broker.
    """
    users: dict[str, dict[str, str]] = {}
    virtualenvs: dict[str, dict[str, Any]] = {}
    brokers: dict[str, str] = {}
    brought: list[dict[str, str]] = []
    own_directories = []
    for fleet in fleets:
        name = fleet["name"]
        users.setdefault(fleet["user"], {"name": fleet["user"], "group": fleet["group"]})
        if fleet["packages"]:
            made = virtualenvs.setdefault(
                fleet["virtualenv"], {"path": fleet["virtualenv"], "python": fleet["python"], "packages": []}
            )
            made["packages"] += [package for package in fleet["packages"] if package not in made["packages"]]
        elif fleet["command"]:
            brought.append({"fleet": name, "kind": "program", "path": fleet["command"][0]})
        else:
            brought.append({"fleet": name, "kind": "program", "path": f"{fleet['virtualenv']}/bin/celery"})
        own = names.state_directory(name)
        if fleet["working_directory"] != own:
            brought.append({"fleet": name, "kind": "directory", "path": fleet["working_directory"]})
        brought += [
            {"fleet": name, "kind": "directory", "path": path} for path in fleet["read_write_paths"] if path != own
        ]
        brought += [{"fleet": name, "kind": "file", "path": path} for path in fleet["environment_files"]]
        own_directories.append({"path": own, "user": fleet["user"], "group": fleet["group"]})
        way = fleet["broker_url"], fleet["broker_transport_options"], fleet["broker_use_ssl"]
        brokers.setdefault(repr(way), name)
    made_here = tuple(f"{path}/" for path in virtualenvs)
    return {
        "users": list(users.values()),
        "groups": sorted({fleet["group"] for fleet in fleets}),
        "virtualenvs": list(virtualenvs.values()),
        "brought": [one for one in brought if one["kind"] != "program" or not one["path"].startswith(made_here)],
        "own_directories": own_directories,
        "brokers": list(brokers.values()),
    }
