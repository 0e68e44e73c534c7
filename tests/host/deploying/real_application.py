# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What workers of real applications do, and a sandbox must not refuse. Prints what was refused, nothing else."""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_DUMPABLE, PR_SET_NAME = 4, 15
LIBC = ctypes.CDLL(None, use_errno=True)


def seen_by_another(prepare: Callable[[], object]) -> None:
    """Start a child and ask /proc for it, as psutil does."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        prepare()
        os.write(writing, b".")
        time.sleep(60)
        os._exit(0)
    try:
        os.read(reading, 1)
        assert Path(f"/proc/{child}") in Path("/proc").iterdir(), "it is not listed"
        for name in ("stat", "status", "cmdline", "statm"):
            Path(f"/proc/{child}/{name}").read_bytes()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def a_child_that_is_not_dumpable() -> None:
    seen_by_another(lambda: LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))


def a_child_that_changes_its_name() -> None:
    seen_by_another(lambda: LIBC.prctl(PR_SET_NAME, b"[task] renamed", 0, 0, 0))


def the_parent_is_not_dumpable() -> None:
    # As a supervisor that holds secrets is; its children look for it.
    LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    try:
        look = f"import os; os.stat('/proc/{os.getpid()}'); open('/proc/{os.getpid()}/stat').read()"
        subprocess.run([sys.executable, "-c", look], check=True, capture_output=True)
        for name in ("status", "maps", "stat", "fd"):
            Path(f"/proc/self/{name}").stat()
    finally:
        LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def the_host_in_proc() -> None:
    for name in ("meminfo", "loadavg", "stat", "cpuinfo", "uptime", "1/stat", "net/dev", "sys/kernel/pid_max"):
        Path("/proc", name).read_bytes()
    Path("/sys/fs/cgroup").iterdir()


def memory_that_is_executed() -> None:
    writable = mmap.PROT_READ | mmap.PROT_WRITE
    mmap.mmap(-1, mmap.PAGESIZE, prot=writable | mmap.PROT_EXEC).close()
    block = mmap.mmap(-1, mmap.PAGESIZE, prot=writable)
    address = ctypes.addressof(ctypes.c_char.from_buffer(block))
    assert LIBC.mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC) == 0


def files_that_are_mapped_and_executed() -> None:
    with tempfile.TemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        mmap.mmap(file.fileno(), mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    descriptor = os.memfd_create("code")
    os.ftruncate(descriptor, mmap.PAGESIZE)
    mmap.mmap(descriptor, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()


def callbacks_of_c() -> None:
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    numbers = (ctypes.c_int * 3)(3, 1, 2)
    LIBC.qsort(numbers, 3, ctypes.sizeof(ctypes.c_int), compare(lambda one, other: one[0] - other[0]))
    assert list(numbers) == [1, 2, 3]


def pools_and_shared_memory() -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]
    multiprocessing.get_context("spawn").Semaphore(1).acquire()
    # Containers mount this without the right to execute, so that is not asked for here.
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        file.truncate(mmap.PAGESIZE)
        mmap.mmap(file.fileno(), mmap.PAGESIZE).close()


def priorities_and_cores() -> None:
    os.nice(1)
    os.sched_setaffinity(0, os.sched_getaffinity(0))


def owners_and_identities() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "file")
        file.touch()
        os.chown(file, os.getuid(), os.getgid())
        subprocess.run(["cp", "-p", file, f"{file}.copy"], check=True)
        shutil.copystat(file, f"{file}.copy")
    os.setresuid(os.getuid(), os.getuid(), os.getuid())
    os.setgid(os.getgid())


def the_network() -> None:
    socket.getaddrinfo("localhost", 80)
    socket.socketpair()
    assert socket.if_nameindex()


def main() -> int:
    """Try everything, and return 1 when anything was refused."""
    refused = False
    for attempt in (
        a_child_that_is_not_dumpable,
        a_child_that_changes_its_name,
        the_parent_is_not_dumpable,
        the_host_in_proc,
        memory_that_is_executed,
        files_that_are_mapped_and_executed,
        callbacks_of_c,
        pools_and_shared_memory,
        priorities_and_cores,
        owners_and_identities,
        the_network,
    ):
        try:
            attempt()
        except Exception as error:
            refused = True
            print(f"{attempt.__name__}: {type(error).__name__}: {error}", flush=True)
    return int(refused)


if __name__ == "__main__":
    sys.exit(main())
