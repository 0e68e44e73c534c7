# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image of the node: a systemd host with what Debian has of a node, and what reads the configuration beside it."""

from __future__ import annotations

import hashlib
import json
import shlex

from muejam_bed.image import exists, tag
from muejam_bed.prepared import committed, run_script
from muejam_bed.shell import CHECKOUT, one_at_a_time, say

RELEASE = "bookworm"
REPOSITORY = "muejam-celery-node"
FILES = CHECKOUT / "tests" / "cluster" / "node"
PACKAGES = (
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "etcd-server",
    "iptables",
    "openssl",
    "runc",
)

_SETUP = """
set -eu
export DEBIAN_FRONTEND=noninteractive
# What is installed is not started before it has its configuration.
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get update -qq
apt-get install -qq -y --no-install-recommends {packages} >/dev/null
rm /usr/sbin/policy-rc.d
mkdir -p /etc/containerd
printf '%s' {containerd} >/etc/containerd/config.toml
cd /etc/systemd/system
mkdir -p containerd.service.d etcd.service.d
# A container loads no modules of the kernel.
printf '[Service]\\nExecStartPre=\\n' >containerd.service.d/bed.conf
# In memory: it is written to disk all the time otherwise, and is of no use after the container.
printf '[Service]\\nRuntimeDirectory=etcd\\nEnvironment=ETCD_DATA_DIR=/run/etcd\\n' >etcd.service.d/bed.conf
: >/etc/machine-id
"""


def _setup() -> str:
    containerd = (FILES / "containerd.toml").read_text(encoding="utf-8")
    return _SETUP.format(packages=shlex.join(PACKAGES), containerd=shlex.quote(containerd))


def ensure_node_image() -> str:
    """Return the name of the node's image, made if the engine does not have it. Raises BedError when it cannot be."""
    recipe = json.dumps([tag(RELEASE), _setup()])
    name = f"{REPOSITORY}:{RELEASE}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with one_at_a_time("node-image"):
        if not exists(name):
            say("making the image of a Kubernetes node (a minute, once)")
            with committed(name, RELEASE, "node") as host:
                run_script(host, _setup())
    return name
