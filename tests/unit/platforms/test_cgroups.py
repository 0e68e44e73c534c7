# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control groups read from files, and the processes of this test by psutil."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd import processes
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.cgroups import (
    GroupLimits,
    GroupUsage,
    processes_of,
    read_group,
)

MIB = 2**20
UNIT = "/system.slice/system-web.slice/web@1.service"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cgroup v2 with one worker in it."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    group = tmp_path / UNIT.strip("/")
    group.mkdir(parents=True)
    for name, text in {
        "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 0\n",
        "memory.current": f"{300 * MIB}\n",
        "memory.stat": f"anon {200 * MIB}\nfile {100 * MIB}\ninactive_file {60 * MIB}\n",
        "memory.max": f"{1024 * MIB}\n",
        "cpu.max": "150000 100000\n",
        "cgroup.procs": "12\n10\n",
    }.items():
        (group / name).write_text(text)
    return tmp_path


def test_a_group(root: Path) -> None:
    assert read_group(UNIT, root) == GroupUsage(2.5, 240.0 * MIB, 1.5, 1024.0 * MIB)
    assert processes_of(UNIT, root) == (10, 12)


def test_the_tightest_limit_above_counts(root: Path) -> None:
    (root / "system.slice" / "memory.max").write_text(f"{512 * MIB}\n")
    (root / "system.slice" / "system-web.slice" / "cpu.max").write_text("50000 100000\n")
    usage = read_group(UNIT, root)
    assert (usage.cores, usage.memory_max) == (0.5, 512.0 * MIB)


def test_groups_above_are_read_once_for_all_workers(root: Path) -> None:
    other = UNIT.replace("@1", "@2")
    shutil.copytree(root / UNIT.strip("/"), root / other.strip("/"))
    (root / other.strip("/") / "memory.max").write_text(f"{256 * MIB}\n")
    above = root / "system.slice" / "memory.max"
    above.write_text(f"{512 * MIB}\n")
    limits = GroupLimits(str(root))
    assert read_group(UNIT, root, limits).memory_max == 512.0 * MIB
    above.write_text(f"{128 * MIB}\n")
    assert read_group(other, root, limits).memory_max == 256.0 * MIB
    assert read_group(UNIT, root, limits).memory_max == 512.0 * MIB
    assert read_group(UNIT, root).memory_max == 128.0 * MIB


def test_no_limits(root: Path) -> None:
    group = root / UNIT.strip("/")
    (group / "memory.max").write_text("max\n")
    (group / "cpu.max").write_text("max 100000\n")
    usage = read_group(UNIT, root)
    assert (usage.cores, usage.memory_max, usage.why) == (None, None, "")


def test_processes_below_the_group_belong_to_it(root: Path) -> None:
    below = root / UNIT.strip("/") / "pool"
    below.mkdir()
    (below / "cgroup.procs").write_text("14\n")
    assert processes_of(UNIT, root) == (10, 12, 14)


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("cpu.stat", "user_usec 3\n", "no cpu.stat"),
        ("memory.current", None, "no memory.current"),
        ("memory.stat", "anon 3\n", "memory.stat"),
        ("memory.current", "a lot\n", "no memory.current"),
    ],
)
def test_what_cannot_be_read_is_unknown(root: Path, file: str, text: str | None, why: str) -> None:
    path = root / UNIT.strip("/") / file
    path.unlink()
    if text is not None:
        path.write_text(text)
    usage = read_group(UNIT, root)
    assert None in (usage.cpu_seconds, usage.memory)
    assert why in usage.why


def test_groups_that_are_not_there(root: Path) -> None:
    assert "gone" in read_group("/system.slice/other.service", root).why
    assert "no control group" in read_group("", root).why
    (root / "cgroup.controllers").unlink()
    assert "no cgroup v2" in read_group(UNIT, root).why
    assert processes_of("/system.slice/other.service", root) is None


def version_1(root: Path, **files: str) -> None:
    for hierarchy in ("systemd", "memory"):
        (root / hierarchy / UNIT.strip("/")).mkdir(parents=True)
    (root / "systemd" / UNIT.strip("/") / "cgroup.procs").write_text("7\n")
    for name, text in files.items():
        (root / "memory" / UNIT.strip("/") / f"memory.{name}").write_text(text)


def test_version_1_tells_memory_and_processes(tmp_path: Path) -> None:
    stat = f"inactive_file 0\nhierarchical_memory_limit {512 * MIB}\ntotal_inactive_file {60 * MIB}\n"
    version_1(tmp_path, usage_in_bytes=f"{300 * MIB}\n", stat=stat)
    assert processes_of(UNIT, tmp_path) == (7,)
    usage = read_group(UNIT, tmp_path)
    assert (usage.cpu_seconds, usage.memory, usage.memory_max) == (None, 240.0 * MIB, 512.0 * MIB)


def test_version_1_without_a_limit(tmp_path: Path) -> None:
    stat = f"hierarchical_memory_limit {2**63 - 4096}\ntotal_inactive_file 0\n"
    version_1(tmp_path, usage_in_bytes=f"{300 * MIB}\n", stat=stat)
    assert read_group(UNIT, tmp_path).memory_max is None


@pytest.mark.parametrize("files", [{}, {"usage_in_bytes": "5\n"}, {"stat": "total_inactive_file 0\n"}])
def test_version_1_without_accounting(tmp_path: Path, files: dict[str, str]) -> None:
    version_1(tmp_path, **files)
    usage = read_group(UNIT, tmp_path)
    assert usage.memory is None
    assert "v1 does not account for its memory" in usage.why


BURN = "import sys, time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"


def test_processes_are_added_up() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", BURN + "print('burnt', flush=True)\nsys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"burnt\n"
        own, both = (processes.cpu_time_of(each).used or 0 for each in ([os.getpid()], [os.getpid(), child.pid]))
        assert child.pid in processes.ProcessTree().below(os.getpid())
        assert both >= own + 0.25
        burnt = both
        own, both = (processes.memory_of(each).used or 0 for each in ([child.pid], [os.getpid(), child.pid]))
        assert both > own + MIB
    finally:
        child.communicate()
    # Its time is its parent's now, and it is left out itself.
    assert (processes.cpu_time_of([os.getpid(), child.pid]).used or 0) >= burnt


def test_pages_that_processes_share_count_once() -> None:
    pool = (
        "import os, sys, time; block = bytearray(os.urandom(1024)) * (64 * 1024)\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(600)\n"
        "print('forked', flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", pool], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"forked\n"
        running = processes.ProcessTree().below(parent.pid)
        assert len(running) == 5
        # Five times 64 MiB and five Pythons, if what they share counted for each.
        assert 64 * MIB < (processes.memory_of(running).used or 0) < 200 * MIB
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.communicate()


def test_memory_that_may_not_be_told_apart_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: object) -> None:
        raise processes.psutil.AccessDenied

    monkeypatch.setattr(processes.psutil.Process, "memory_full_info", refuse)
    assert processes.memory_of([os.getpid(), os.getppid()]).used is None
    assert "cannot be read (AccessDenied)" in processes.memory_of([os.getpid(), os.getppid()]).why
    assert (processes.memory_of([os.getpid()]).used or 0) > MIB


def test_no_process_is_unknown() -> None:
    assert processes.cpu_time_of([]).why == processes.memory_of([]).why == "it has no process"


def test_without_psutil_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "psutil", None)
    assert processes.memory_of([os.getpid()]).why == processes.MISSING
    assert processes.host_totals() == processes.HostTotals()
    assert processes.ProcessTree().below(1) == (1,)


def test_the_host_has_cores_and_memory() -> None:
    totals = processes.host_totals()
    assert (totals.cores or 0) >= 1
    assert (totals.memory or 0) > 64 * MIB
