# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a deployment is there on a host: questions that a role asks all at once, in place of one task for each."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.deploy.commands import run
from ansible_collections.muejam.celery.plugins.module_utils.deploy.requirements import unmet
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet import names
from ansible_collections.muejam.celery.plugins.module_utils.who_else_writes import place_of_others

MOST_BYTES = 4 * 1024 * 1024
"""Bytes of a file above which it is told without a checksum."""

UNIT_PROPERTIES = ("Id", "LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload")


def text_of(path: str) -> str | None:
    """The text of a file; none where there is no file.

    :raises OperationError: when it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise OperationError(f"read {path}", error, "See what it is, and remove it when it is not a file.") from None


def path_facts(path: str) -> dict[str, Any]:
    """What is at a path, links followed: a file has its checksum."""
    found = Path(path)
    # A link of somebody else's in a loop is nothing that can be used.
    try:
        kind = "directory" if found.is_dir() else "file" if found.is_file() else ""
    except OSError:
        kind = ""
    if not kind and os.path.lexists(path):
        kind = "other"
    small = kind == "file" and found.stat().st_size <= MOST_BYTES
    return {
        "path": path,
        "kind": kind,
        "executable": kind == "file" and os.access(path, os.X_OK),
        "checksum": hashlib.sha256(found.read_bytes()).hexdigest() if small else "",
    }


def missing_packages(packages: Sequence[str]) -> list[str]:
    """Those packages of the operating system that are not installed."""
    for command in (
        ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}${Package}\n"],
        ["rpm", "--query", "--queryformat=ii %{NAME}\n"],
    ):
        try:
            # What is not known is no failure here.
            answer = run([*command, *packages])
        except FileNotFoundError:
            continue
        installed = {line[3:].strip() for line in answer.stdout.splitlines() if line.startswith("ii")}
        return [package for package in packages if package not in installed]
    return list(packages)


def python_facts(interpreter: str) -> dict[str, str]:
    """The version of a Python, and why it cannot make virtual environments, empty where it can."""
    question = "import ensurepip, venv, sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = run([interpreter, "-I", "-c", question])
    except OSError as error:
        return {"version": "", "problem": str(error)}
    if answer.returncode != 0:
        return {"version": "", "problem": answer.stderr.strip() or f"it ended with {answer.returncode}"}
    return {"version": answer.stdout.strip(), "problem": ""}


def virtualenv_facts(path: str, requirements: Sequence[str]) -> dict[str, Any]:
    """Whether there is a virtual environment, and the requirements that it does not meet."""
    there = os.access(f"{path}/bin/python", os.X_OK)
    # What others than root can change is refused elsewhere, and not looked into.
    readable = there and not place_of_others(Path(path))
    return {"exists": there, "unmet": unmet(Path(path), requirements) if readable else list(requirements)}


def missing_users(users: Sequence[str]) -> list[str]:
    """Those users that the host does not know."""
    return [name for name in users if not _known(pwd.getpwnam, name)]


def missing_groups(groups: Sequence[str]) -> list[str]:
    """Those groups that the host does not know."""
    return [name for name in groups if not _known(grp.getgrnam, name)]


def others_write(paths: Sequence[str]) -> dict[str, str]:
    """For each path that others than root can change: where they can."""
    places = ((path, place_of_others(Path(path))) for path in paths)
    return {path: place for path, place in places if place}


def lacks_room(path: str, mebibytes: int) -> str:
    """What the file system of a path lacks, empty where there is room. The path need not be there yet."""
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    room = os.statvfs(place)
    free = room.f_bavail * room.f_frsize // 1024**2
    if free < mebibytes:
        return f"{path}: its file system has {free} MiB left, and {mebibytes} are needed"
    # File systems that make inodes as they need them have a number of none.
    if room.f_files and room.f_favail < 10 * mebibytes:
        return f"{path}: its file system has room for {room.f_favail} more files, and {10 * mebibytes} are needed"
    return ""


def unit_facts(units: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """What systemd says of units, by their names.

    :raises OperationError: when it cannot be asked.
    """
    tried = f"ask systemd about {', '.join(units)}"
    try:
        answer = run(["systemctl", "show", f"--property={','.join(UNIT_PROPERTIES)}", "--", *units])
    except OSError as error:
        raise OperationError(tried, error, "Check that systemd runs this host.") from None
    if answer.returncode != 0:
        raise OperationError(tried, answer.stderr.strip(), "Check that systemd answers: systemctl status.")
    blocks = (
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in answer.stdout.split("\n\n")
    )
    return {block["Id"]: block for block in blocks if "Id" in block}


def fleets() -> list[str]:
    """The names of the fleets of workers that the host has, by their template units."""
    found = Path(names.UNIT_DIRECTORY).glob(names.unit_template("*"))
    return sorted(path.name[len(names.UNIT_PREFIX) : -len("@.service")] for path in found)


def _known(lookup: Any, name: str) -> bool:
    try:
        lookup(name)
    except KeyError:
        return False
    return True
