# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key with which Ansible logs in on all hosts of this machine's tests."""

from __future__ import annotations

from pathlib import Path

from .shell import cache_dir, one_at_a_time, run


def private_key() -> Path:
    """Return the file of the private key, made if there is none."""
    path = cache_dir("ssh") / "id_ed25519"
    with one_at_a_time("ssh"):
        if not path.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "muejam-bed", "-f", str(path)])
    return path


def public_key() -> str:
    """Return the line for the hosts' authorized_keys."""
    return private_key().with_suffix(".pub").read_text(encoding="utf-8")
