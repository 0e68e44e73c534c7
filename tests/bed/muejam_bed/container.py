# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemd host in a container: up, down, run something in it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .image import ensure_image, extra_authorities
from .shell import CHECKOUT, BedError, cache_dir, run, say, wait_until
from .ssh_key import public_key

LABEL = "muejam.celery.bed"
RUN = "MUEJAM_RUN"
"""The variable that names the run of all stages in which a host is started, for what is left of it in the end."""
BOOT_SECONDS = 90.0
REMOVE_SECONDS = 90.0
PIP_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
AUTHORIZED_KEYS = "/root/.ssh/authorized_keys"
SSHD_PROXIES = "/etc/ssh/sshd_config.d/proxies.conf"
# systemd as PID 1 without --privileged, on cgroup version 1 and 2.
SYSTEMD_FLAGS = (
    "--cap-add=SYS_ADMIN",
    "--cap-add=NET_ADMIN",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--cgroupns=host",
    "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
    "--stop-signal=SIGRTMIN+3",
    "--tmpfs=/run",
    "--tmpfs=/run/lock",
    "--tmpfs=/tmp:exec",
    "--env=container=docker",
)
# Read by systemd as if from the kernel's command line. Newer ones refuse cgroup version 1 without it.
SYSTEMD_ARGUMENTS = ("SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",)


def docker(*arguments: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the Docker client."""
    return run(["docker", *arguments], check=check, stdin=stdin)


def execute(name: str, command: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in a host as root and return it with its output."""
    return docker("exec", name, *command, check=check)


def is_running(name: str) -> bool:
    """Say whether a container of this name runs."""
    return docker("inspect", "--format", "{{.State.Running}}", name, check=False).stdout.strip() == "true"


def address(name: str) -> str:
    """Return the host's IP address, reachable from this machine."""
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return docker("inspect", "--format", form, name).stdout.strip()


def identity(name: str) -> str:
    """Return what tells a host from others of the same name, and from itself before its power was cut."""
    told = docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", name).stdout
    return hashlib.sha256(told.encode()).hexdigest()


def up(
    name: str,
    release: str = "bookworm",
    *,
    fresh: bool = False,
    image: str | None = None,
    flags: Sequence[str] = (),
) -> None:
    """Bring a host up and return when its systemd has booted.

    It is a bare one unless an image is given. A running host of this name and image is kept unless fresh is set.
    The flags are further ones of C(docker run).
    Raises BedError when it does not boot.
    """
    image = image or ensure_image(release)
    if not fresh and is_running(name) and _image_of(name) == image:
        say(f"{name} is up already")
    else:
        down(name)
        _start(name, release, image, flags)
    _wait_for_boot(name)
    _let_ansible_in(name)


def down(name: str) -> None:
    """Remove a host with everything on it; nothing happens when there is none."""
    if docker("inspect", name, check=False).returncode == 0:
        release = docker("inspect", "--format", f'{{{{index .Config.Labels "{LABEL}.release"}}}}', name).stdout.strip()
        _remove(name)
        _keep_packages(name, release)


def cut_power(name: str) -> None:
    """End all that a host runs at once; its disk stays as it was at that moment."""
    docker("kill", name)


def power_on(name: str) -> None:
    """Start a host that is off and return when its systemd has booted. It may have another address then.

    Raises BedError when it does not boot.
    """
    docker("start", name)
    _wait_for_boot(name)
    _let_ansible_in(name)


def _remove(name: str) -> None:
    """Remove a container. A busy engine says that it cannot, and does it a moment later."""
    said = []

    def gone() -> bool:
        said.append(docker("rm", "--force", "--volumes", name, check=False).stderr)
        return docker("inspect", name, check=False).returncode != 0

    wait_until(gone, REMOVE_SECONDS, lambda: f"{name} cannot be removed: {said[-1]}")


def names_of_checkout() -> list[str]:
    """Return the hosts that this checkout started."""
    return _labelled(LABEL, str(CHECKOUT)).stdout.split()


def names_of_run(run_name: str) -> list[str]:
    """Return the hosts that a run of stages started; none where no engine answers."""
    return _labelled(f"{LABEL}.run", run_name, check=False).stdout.split()


def _labelled(label: str, value: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    return docker("ps", "--all", "--filter", f"label={label}={value}", "--format", "{{.Names}}", check=check)


def journal(name: str, pattern: str = "celery-worker-*", lines: int = 200) -> str:
    """Return what the matching units logged, for a test that failed."""
    return execute(
        name, ["journalctl", "--no-pager", "-o", "short-precise", "-n", str(lines), "-u", pattern], check=False
    ).stdout


def _image_of(name: str) -> str:
    return docker("inspect", "--format", "{{.Config.Image}}", name).stdout.strip()


def _start(name: str, release: str, image: str, flags: Sequence[str]) -> None:
    say(f"starting {name} ({release})")
    environment = [f"--env={key}={os.environ[key]}" for key in PROXY_VARIABLES if key in os.environ]
    docker(
        "run",
        "--detach",
        f"--name={name}",
        f"--hostname={name}",
        f"--label={LABEL}={CHECKOUT}",
        f"--label={LABEL}.release={release}",
        f"--label={LABEL}.run={os.environ.get(RUN, '')}",
        *SYSTEMD_FLAGS,
        *flags,
        *environment,
        f"--volume={cache_dir('pip')}:/root/.cache/pip",
        f"--volume={_packages_for(name, release)}:/var/cache/apt/archives",
        image,
        "/lib/systemd/systemd",
        *SYSTEMD_ARGUMENTS,
    )
    # pip brings certificates of its own, so it has to be told of those the host trusts.
    settings = {key: os.environ[key] for key in PIP_VARIABLES if key in os.environ}
    if extra_authorities():
        settings["PIP_CERT"] = "/etc/ssl/certs/ca-certificates.crt"
    if settings:
        lines = ["[global]"] + [f"{key[4:].lower().replace('_', '-')} = {value}" for key, value in settings.items()]
        docker("exec", "--interactive", name, "tee", "/etc/pip.conf", stdin="\n".join(lines) + "\n")


def _wait_for_boot(name: str) -> None:
    state = ""

    def booted() -> bool:
        nonlocal state
        if not is_running(name):
            raise BedError(f"{name} stopped while booting:\n{docker('logs', name, check=False).stdout[-2000:]}")
        state = execute(name, ["systemctl", "is-system-running"], check=False).stdout.strip()
        return state in ("running", "degraded")

    def waits_for() -> str:
        jobs = execute(name, ["systemctl", "list-jobs", "--no-pager"], check=False).stdout
        return f"{name} is '{state}'; systemd waits for:\n{jobs}"

    wait_until(booted, BOOT_SECONDS, waits_for)
    if state == "degraded":
        failed = execute(name, ["systemctl", "list-units", "--failed", "--no-pager", "--plain"], check=False).stdout
        say(f"{name} booted degraded, these units failed:\n{failed}")


def sshd_proxies(environment: Mapping[str, str]) -> str:
    """Return the line that tells sshd of proxies; empty if there are none. It heeds only the first such line."""
    proxies = [f'"{key}={value}"' for key, value in environment.items() if key in PROXY_VARIABLES]
    return f"SetEnv {' '.join(proxies)}\n" if proxies else ""


def _let_ansible_in(name: str) -> None:
    docker("exec", "--interactive", name, "tee", AUTHORIZED_KEYS, stdin=public_key())
    # What is logged in has the environment of sshd, not that of the container.
    proxies = sshd_proxies(os.environ)
    if proxies:
        docker("exec", "--interactive", name, "tee", SSHD_PROXIES, stdin=proxies)
        execute(name, ["systemctl", "restart", "ssh.service"])


# apt locks its archive directory, so hosts do not share one: each gets links to the packages kept so far,
# and what it downloaded is kept when it goes.
def _packages_for(name: str, release: str) -> Path:
    own = cache_dir("apt", "hosts", name)
    shutil.rmtree(own)
    own.mkdir()
    for package in cache_dir("apt", release).glob("*.deb"):
        (own / package.name).hardlink_to(package)
    return own


def _keep_packages(name: str, release: str) -> None:
    own = cache_dir("apt", "hosts", name)
    kept = cache_dir("apt", release or "unknown")
    for package in own.glob("*.deb"):
        target = kept / package.name
        if not target.exists():
            package.rename(target)
    shutil.rmtree(own, ignore_errors=True)
