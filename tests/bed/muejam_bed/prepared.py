# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image of a host that has what the roles install from elsewhere: packages, and the virtual environments.

Nothing of the collection's own is in it, so that a deployment to such a host still does all of its own work. It is made
anew when a list of packages or requirements changes. Tests of installing use a bare host.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import container
from .image import REPOSITORY, exists, tag
from .shell import CHECKOUT, checkout_key, one_at_a_time, say

APP_REQUIREMENTS = ("celery[redis]==5.7.0",)
# Where the applications of the tests have theirs.
APP_VENVS = ("/opt/celery-demo/venv", "/opt/scaled/venv", "/opt/probe/venv")
BROKER_SERVICES = ("redis-server", "rabbitmq-server", "epmd.socket", "epmd.service")

_SETUP = """
set -eu
export DEBIAN_FRONTEND=noninteractive
# What is installed is not started, and comes up with a boot only once a role has enabled it.
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get update -qq
apt-get install -qq -y --no-install-recommends {packages} >/dev/null
rm /usr/sbin/policy-rc.d
for unit in {services}; do systemctl --quiet disable "$unit" 2>/dev/null || true; done
umask 0022
{venvs}
: >/etc/machine-id
"""


def _variables(role: str) -> dict[str, Any]:
    import yaml  # "make clean" has no virtual environment and needs nothing of this

    text = (CHECKOUT / "roles" / role / "vars" / "main.yml").read_text(encoding="utf-8")
    variables: dict[str, Any] = yaml.safe_load(text)
    return variables


def _requirements() -> tuple[str, ...]:
    lines = (CHECKOUT / "roles" / "_common" / "files" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def _packages() -> list[str]:
    packages: set[str] = set(_variables("_common")["__celery_common_platforms"]["systemd"]["Debian"]["packages"])
    brokers = _variables("broker")["__celery_broker_packages"]["Debian"]
    for broker in ("redis", "rabbitmq"):
        packages.update(brokers[broker])
    return sorted(packages)


def _setup() -> str:
    wanted = {
        _variables("_common")["__celery_common_venv"]: _requirements(),
        **dict.fromkeys(APP_VENVS, APP_REQUIREMENTS),
    }
    venvs = [
        f"python3 -m venv {path}\n{path}/bin/pip install --quiet --disable-pip-version-check {shlex.join(requirements)}"
        for path, requirements in wanted.items()
    ]
    return _SETUP.format(packages=shlex.join(_packages()), services=shlex.join(BROKER_SERVICES), venvs="\n".join(venvs))


def prepared_tag(release: str) -> str:
    """Return the image's name; its tag carries a fingerprint of everything that goes into it."""
    recipe = json.dumps([tag(release), _setup()])
    return f"{REPOSITORY}-prepared:{release}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def ensure_prepared(release: str) -> str:
    """Return the name of the image for a Debian release, made if the engine does not have it.

    Raises BedError when it cannot be made.
    """
    name = prepared_tag(release)
    with one_at_a_time(f"prepared-{release}"):
        if not exists(name):
            say(f"making the image of a prepared {release} host (a minute or two, once)")
            with committed(name, release, "prepared") as host:
                run_script(host, _setup())
    return name


def run_script(host: str, script: str) -> None:
    """Run a shell script, given as text, on a host. Raises BedError with its output when it fails."""
    container.docker("exec", "--interactive", host, "sh", "-s", stdin=script)


@contextmanager
def committed(name: str, release: str, purpose: str) -> Iterator[str]:
    """Give a bare host, by its name, and make an image of what became of it."""
    host = f"muejam-{checkout_key()}-{purpose}-{release}"
    container.up(host, release, fresh=True)
    try:
        yield host
        # Whoever starts one of the image has a key and proxies of their own.
        container.execute(host, ["rm", "-f", container.AUTHORIZED_KEYS, container.SSHD_PROXIES])
        container.docker("stop", host)
        container.docker("commit", host, name)
    finally:
        container.down(host)
