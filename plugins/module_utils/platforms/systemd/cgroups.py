# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a control group has used and may use, from the files of cgroup v2.

Memory is the working set as the kubelet counts it: C(memory.current) without C(inactive_file), the part of the page
cache that the kernel gives up first. Limits are the tightest of the group and all groups above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
"""Where cgroup v2 is mounted on a host that has nothing else."""

V1_MEMORY = "memory"
"""The hierarchy of the memory controller of cgroup v1 below C(ROOT), with groups of the same paths."""

V1_NAMED = "systemd"
"""The hierarchy that systemd keeps below C(ROOT) for its own bookkeeping where the controllers are those of v1."""

_V1_NO_LIMIT = 2**62
"""Whole pages, as many as a number of the kernel can count, stand for none."""


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


def read_group(path: str, root: Path = ROOT) -> GroupUsage:
    """Read one group.

    :param path: such as C(/system.slice/cron.service); empty for a unit of which nothing runs.
    """
    if not path.strip("/"):
        return GroupUsage(why="it has no control group")
    if not (root / "cgroup.controllers").is_file():
        return _version_1(root / V1_MEMORY / path.strip("/"))
    group = root / path.strip("/")
    if not group.is_dir():
        return GroupUsage(why="its control group is gone")
    usage = _table(group / "cpu.stat").get("usage_usec")
    current = _number(group / "memory.current")
    inactive = _table(group / "memory.stat").get("inactive_file")
    memory = None if current is None or inactive is None else float(max(current - inactive, 0))
    found = {"cpu.stat": usage, "memory.current or memory.stat": memory}
    missing = [name for name, value in found.items() if value is None]
    levels = list(_upwards(group, root))
    return GroupUsage(
        cpu_seconds=None if usage is None else usage / 1e6,
        memory=memory,
        cores=_least(_quota(level / "cpu.max") for level in levels),
        memory_max=_least(_number(level / "memory.max") for level in levels),
        why=f"its control group has no {' and no '.join(missing)}" if missing else "",
    )


def _version_1(group: Path) -> GroupUsage:
    """Read what the memory controller of cgroup v1 knows. CPU time is seldom accounted for there."""
    details = _table(group / "memory.stat")
    current, inactive = _number(group / "memory.usage_in_bytes"), details.get("total_inactive_file")
    memory = None if current is None or inactive is None else float(max(current - inactive, 0))
    limit = details.get("hierarchical_memory_limit", _V1_NO_LIMIT)
    return GroupUsage(
        memory=memory,
        memory_max=float(limit) if limit < _V1_NO_LIMIT else None,
        why="this host has no cgroup v2" + (", and v1 does not account for its memory" if memory is None else ""),
    )


def processes_of(path: str, root: Path = ROOT) -> tuple[int, ...] | None:
    """Return the ids of all processes in a group and below it, in cgroup v2 or v1; None where that is not told."""
    if not path.strip("/"):
        return None
    for base in (root, root / V1_NAMED):
        group = base / path.strip("/")
        if not (group / "cgroup.procs").is_file():
            continue
        try:
            files = [group / "cgroup.procs", *group.glob("**/cgroup.procs")]
            return tuple(sorted({int(line) for file in files for line in file.read_text("ascii").split()}))
        except (OSError, ValueError):
            return None
    return None


def _upwards(group: Path, root: Path) -> Iterator[Path]:
    while group != root:
        yield group
        group = group.parent


def _least(limits: Iterator[float | None]) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii")
    except (OSError, ValueError):
        return ""


def _number(file: Path) -> float | None:
    text = _text(file).strip()
    return float(text) if text.isdigit() else None


def _table(file: Path) -> dict[str, int]:
    rows = (line.split() for line in _text(file).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def _quota(file: Path) -> float | None:
    # "max 100000" without a quota; else microseconds of CPU time and of the period they are for.
    row = _text(file).split()
    if len(row) != 2 or not row[0].isdigit() or not row[1].isdigit() or int(row[1]) == 0:
        return None
    return int(row[0]) / int(row[1])
