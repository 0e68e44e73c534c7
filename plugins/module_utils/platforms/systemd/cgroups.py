# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a control group has used and may use, from the files of cgroup v2.

Memory is the working set as the kubelet counts it: C(memory.current) without C(inactive_file), the part of the page
cache that the kernel gives up first. GroupLimits are the tightest of the group and all groups above it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.guarded_files import NotAPlainFile, read_plain_file

ROOT = Path("/sys/fs/cgroup")
"""Where cgroup v2 is mounted on a host that has nothing else."""

V1_MEMORY = "memory"
"""The hierarchy of the memory controller of cgroup v1 below C(ROOT), with groups of the same paths."""

V1_NAMED = "systemd"
"""The hierarchy that systemd keeps below C(ROOT) for its own bookkeeping where the controllers are those of v1."""

_V1_NO_LIMIT = 2**62
"""Whole pages, as many as a number of the kernel can count, stand for none."""


_MOST_BYTES = 1_000_000
"""Of a file; processes of a group take 8 each."""


@dataclass(frozen=True)
class GroupUsage:
    """A control group. None is unknown for what is used, and no limit for what is allowed.

    :ivar cpu_seconds: CPU time used since the group was made, by all that ran in it.
    :ivar memory: bytes of its working set.
    :ivar cores: CPU seconds that it may use in a second.
    :ivar memory_max: bytes that it may use.
    :ivar why: why something used is unknown.
    """

    cpu_seconds: float | None = None
    memory: float | None = None
    cores: float | None = None
    memory_max: float | None = None
    why: str = ""


class GroupLimits:
    """What groups may use, each of them read once: the groups above are the same for all workers of a fleet."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._known: dict[str, tuple[float | None, float | None]] = {self._root: (None, None)}

    def of(self, group: str) -> tuple[float | None, float | None]:
        """Return the tightest limits of a group and all above it: CPU seconds in a second, and bytes of memory."""
        if group not in self._known:
            cores, memory = self.of(group.rpartition("/")[0])
            quota, most = _quota(f"{group}/cpu.max"), _number(f"{group}/memory.max")
            self._known[group] = _least(quota, cores), _least(most, memory)
        return self._known[group]


def read_group(path: str, root: Path = ROOT, limits: GroupLimits | None = None) -> GroupUsage:
    """Read one group.

    :param path: such as C(/system.slice/cron.service); empty for a unit of which nothing runs.
    :param limits: what was read of the groups below C(root) for others at this moment; by default nothing.
    """
    place = path.strip("/")
    if not place:
        return GroupUsage(why="it has no control group")
    if not (root / "cgroup.controllers").is_file():
        return _version_1(f"{root}/{V1_MEMORY}/{place}")
    group = f"{root}/{place}"
    if not Path(group).is_dir():
        return GroupUsage(why="its control group is gone")
    usage = _entry(_text(f"{group}/cpu.stat"), "usage_usec")
    current = _number(f"{group}/memory.current")
    inactive = _entry(_text(f"{group}/memory.stat"), "inactive_file")
    memory = None if current is None or inactive is None else max(current - inactive, 0.0)
    found = {"cpu.stat": usage, "memory.current or memory.stat": memory}
    missing = [name for name, value in found.items() if value is None]
    cores, memory_max = (limits or GroupLimits(str(root))).of(group)
    return GroupUsage(
        cpu_seconds=None if usage is None else usage / 1e6,
        memory=memory,
        cores=cores,
        memory_max=memory_max,
        why=f"its control group has no {' and no '.join(missing)}" if missing else "",
    )


def _version_1(group: str) -> GroupUsage:
    """Read what the memory controller of cgroup v1 knows. CPU time is seldom accounted for there."""
    details = _text(f"{group}/memory.stat")
    current, inactive = _number(f"{group}/memory.usage_in_bytes"), _entry(details, "total_inactive_file")
    memory = None if current is None or inactive is None else max(current - inactive, 0.0)
    limit = _entry(details, "hierarchical_memory_limit")
    return GroupUsage(
        memory=memory,
        memory_max=limit if limit is not None and limit < _V1_NO_LIMIT else None,
        why="this host has no cgroup v2" + (", and v1 does not account for its memory" if memory is None else ""),
    )


def processes_of(path: str, root: Path = ROOT) -> tuple[int, ...] | None:
    """Return the ids of all processes in a group and below it, in cgroup v2 or v1; None where that is not told."""
    place = path.strip("/")
    if not place:
        return None
    for base in (f"{root}", f"{root}/{V1_NAMED}"):
        group = f"{base}/{place}"
        if not Path(group, "cgroup.procs").is_file():
            continue
        try:
            folders = [folder for folder, _below, _files in os.walk(group)]
            return tuple(sorted({int(line) for folder in folders for line in _read(f"{folder}/cgroup.procs").split()}))
        except (OSError, ValueError, NotAPlainFile):
            return None
    return None


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _read(file: str) -> bytes:
    # Twenty workers have a hundred of them, every few seconds: this takes half the time of pathlib.
    return read_plain_file(file, _MOST_BYTES)


def _text(file: str) -> bytes:
    try:
        return _read(file)
    except (OSError, NotAPlainFile):
        return b""


def _number(file: str) -> float | None:
    text = _text(file).strip()
    return float(text) if text.isdigit() else None


def _entry(table: bytes, name: str) -> float | None:
    found = re.search(rb"^%s (\d+)$" % name.encode(), table, re.MULTILINE)
    return float(found[1]) if found else None


def _quota(file: str) -> float | None:
    # "max 100000" without a quota; else microseconds of CPU time and of the period they are for.
    row = _text(file).split()
    if len(row) != 2 or not row[0].isdigit() or not row[1].isdigit() or int(row[1]) == 0:
        return None
    return int(row[0]) / int(row[1])
