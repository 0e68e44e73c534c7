# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker engine: the one that runs, or one that is installed and started."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .shell import CHECKOUT, BedError, as_root, cache_dir, one_at_a_time, run, say, wait_until

SOCKET = Path("/var/run/docker.sock")
START_SECONDS = 60.0
ANSWER_SECONDS = 60.0


def _answers() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        return run(["docker", "version"], check=False, timeout=ANSWER_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _has_service_manager() -> bool:
    return Path("/run/systemd/system").is_dir()


def _start() -> None:
    if _has_service_manager():
        say("starting the Docker engine (systemctl start docker)")
        run(as_root(["systemctl", "start", "docker"]))
        return
    log = cache_dir() / "dockerd.log"
    say(f"starting the Docker engine by hand, as no service manager runs here (log: {log})")
    with log.open("ab") as output:
        subprocess.Popen(
            as_root(["dockerd"]),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _open_socket() -> None:
    """Let this user talk to an engine that runs but refuses them."""
    if os.geteuid() == 0 or not SOCKET.exists() or os.access(SOCKET, os.R_OK | os.W_OK):
        return
    say(f"giving this user's group access to {SOCKET} until the engine restarts")
    run(as_root(["chgrp", str(os.getgid()), str(SOCKET)]))


def ensure_engine() -> None:
    """Return when a Docker engine answers; install and start one if need be.

    Raises BedError when there is none and none can be started.
    """
    if _answers():
        return
    with one_at_a_time("engine"):
        _bring_up()


def _bring_up() -> None:
    if _answers():  # another process started it meanwhile
        return
    if "DOCKER_HOST" in os.environ:
        raise BedError(f"no Docker engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}: start it or unset this")
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        say("installing a Docker engine from the distribution")
        subprocess.run([str(CHECKOUT / "tests/bed/packages.sh"), "docker"], check=True)
    if not SOCKET.exists() or run(as_root(["docker", "version"]), check=False).returncode != 0:
        _start()
        wait_until(
            lambda: run(as_root(["docker", "version"]), check=False).returncode == 0,
            START_SECONDS,
            f"the Docker engine answers (see {cache_dir() / 'dockerd.log'} or 'journalctl -u docker')",
        )
    _open_socket()
    if not _answers():
        raise BedError("a Docker engine runs, but this user may not use it: run as root or join the group docker")
