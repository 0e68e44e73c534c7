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

    `brought` are the programs, directories and files that somebody else has to have put there. `directories` are those
    that are put there here. `brokers` names one fleet for each different broker.
    """
    users: dict[str, dict[str, str]] = {}
    virtualenvs: dict[str, dict[str, Any]] = {}
    brokers: dict[str, str] = {}
    brought: list[dict[str, str]] = []
    own_directories = [{"path": names.STATE_DIRECTORY, "owner": "root", "group": "root", "mode": "0755"}]
    for fleet in fleets:
        name = fleet["name"]
        users.setdefault(fleet["user"], {"name": fleet["user"], "group": fleet["group"]})
        if fleet["packages"]:
            made = virtualenvs.setdefault(
                fleet["virtualenv"], {"path": fleet["virtualenv"], "python": fleet["python"], "packages": []}
            )
            made["packages"] += [package for package in fleet["packages"] if package not in made["packages"]]
        own = names.state_directory(name)
        programs = [fleet["command"][0] if fleet["command"] else f"{fleet['virtualenv']}/bin/celery"]
        directories = [path for path in (fleet["working_directory"], *fleet["read_write_paths"]) if path != own]
        for kind, paths in (
            ("program", [] if fleet["packages"] else programs),
            ("directory", directories),
            ("file", fleet["environment_files"]),
        ):
            brought += [{"fleet": name, "kind": kind, "path": path} for path in paths]
        own_directories.append({"path": own, "owner": fleet["user"], "group": fleet["group"], "mode": "0750"})
        way = fleet["broker_url"], fleet["broker_transport_options"], fleet["broker_use_ssl"]
        brokers.setdefault(repr(way), name)
    made_here = tuple(f"{path}/" for path in virtualenvs)
    return {
        "users": list(users.values()),
        "groups": sorted({fleet["group"] for fleet in fleets}),
        "virtualenvs": list(virtualenvs.values()),
        "brought": [one for one in brought if one["kind"] != "program" or not one["path"].startswith(made_here)],
        "directories": own_directories,
        "brokers": list(brokers.values()),
    }


def missing(needs: Mapping[str, list[Any]], found: Mapping[str, Any]) -> dict[str, Any]:
    """What of the needs a host does not have yet.

    `brought` is for somebody else to put there. `virtualenvs` lack a requirement, and those of `new_virtualenvs` are
    not there at all. `installed` says whether nothing is left to install.

    :param found: what the module `host_info` found.
    """
    kinds = {one["path"]: one["kind"] for one in found["paths"]}
    programs = {one["path"] for one in found["paths"] if one["executable"]}
    brought = [
        one
        for one in needs["brought"]
        if (one["path"] not in programs if one["kind"] == "program" else kinds[one["path"]] != one["kind"])
    ]
    virtualenvs = [one for one in needs["virtualenvs"] if found["virtualenvs"][one["path"]]["unmet"]]
    directories = [one for one in needs["directories"] if kinds[one["path"]] != "directory"]
    return {
        "brought": brought,
        "virtualenvs": virtualenvs,
        "new_virtualenvs": [one for one in virtualenvs if not found["virtualenvs"][one["path"]]["exists"]],
        "installed": not (virtualenvs or directories or found["missing_users"] or found["missing_groups"]),
    }
