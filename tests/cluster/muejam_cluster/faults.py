# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done to the node of this checkout's cluster from outside of Kubernetes, and is undone again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from muejam_bed import container
from muejam_bed.shell import BedError

from . import node
from .access import Cluster

_DROP_IN = "/run/systemd/system/{unit}.service.d/for-a-while.conf"
_PROCESSES = """
for file in /proc/[0-9]*/cgroup; do
  if grep -q {uid} "$file" 2>/dev/null; then
    pid="${{file#/proc/}}" && pid="${{pid%/cgroup}}"
    # The first process of a container is the first of its namespace of processes.
    if grep -q "^NSpid:.*[[:space:]]1$" "/proc/$pid/status" && [ "$(cat "/proc/$pid/comm")" != pause ]; then
      echo "$pid"
    fi
  fi
done
"""


@contextmanager
def set_for(unit: str, **variables: str) -> Iterator[None]:
    """Run a unit of the node with other values of variables that its file has, for the length of a with block."""
    lines = "".join(f'Environment="{name}={value}"\\n' for name, value in variables.items())
    _shell(f"{_with_drop_in(unit, 'Service', lines)} && systemctl daemon-reload && systemctl restart {unit}")
    try:
        yield
    finally:
        _shell(f"rm -f {_DROP_IN.format(unit=unit)} && systemctl daemon-reload && systemctl restart {unit}")


@contextmanager
def stopped(*units: str) -> Iterator[None]:
    """Have units of the node stopped for the length of a with block."""
    # Others want them, and would start them too when they are themselves started anew for want of them.
    never = " && ".join(_with_drop_in(unit, "Unit", "ConditionPathExists=!/\\n") for unit in units)
    try:
        _shell(f"{never} && systemctl daemon-reload && systemctl stop {shlex.join(units)}")
        yield
    finally:
        files = shlex.join(_DROP_IN.format(unit=unit) for unit in units)
        _shell(f"rm -f {files} && systemctl daemon-reload && systemctl start {shlex.join(units)}")


def _with_drop_in(unit: str, section: str, lines: str) -> str:
    """Return what writes a drop-in of a unit; C(lines) as printf has them."""
    file = _DROP_IN.format(unit=unit)
    return f"mkdir -p {file.rpartition('/')[0]} && printf '[{section}]\\n{lines}' >{file}"


def main_process(cluster: Cluster, namespace: str, pod: str) -> int:
    """Return the process, as the node numbers it, that is the first one of a pod's container.

    Raises BedError when there is none.
    """
    uid: str = cluster.get("--namespace", namespace, "pod", pod)["metadata"]["uid"]
    found = _shell(_PROCESSES.format(uid=uid)).split()
    if len(found) != 1:
        raise BedError(f"pod {pod} has the first processes {found}, not one")
    return int(found[0])


def signal_main(cluster: Cluster, namespace: str, pod: str, signal: str) -> None:
    """Send a signal to the first process of a pod's container, which nobody in its own namespace can stop or kill."""
    _shell(f"kill -{signal} {main_process(cluster, namespace, pod)}")


def available_memory() -> int:
    """Return the bytes of memory that the node has left, as it says itself."""
    [line] = [line for line in _shell("cat /proc/meminfo").splitlines() if line.startswith("MemAvailable:")]
    return int(line.split()[1]) * 1024


def _shell(script: str) -> str:
    return container.execute(node.name(), ["sh", "-ec", script]).stdout
