# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This checkout as an installed collection: a directory of links in which Ansible and Python find it by its name."""

from __future__ import annotations

import shutil
from pathlib import Path

from .shell import CHECKOUT, cache_dir, checkout_key, run


def collections_path() -> Path:
    """Return a directory in which ansible_collections/muejam/celery leads to this checkout, made if missing."""
    root = cache_dir("collections", checkout_key())
    link = root / "ansible_collections" / "muejam" / "celery"
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(CHECKOUT, target_is_directory=True)
    except FileExistsError:
        if link.resolve() != CHECKOUT:
            raise RuntimeError(f"{link} does not lead to {CHECKOUT}: remove it and try again") from None
    return root


def copy_tracked(destination: Path) -> None:
    """Copy what git tracks, and what it would track, of this checkout."""
    # The owner of the checkout may be another user than the one who tests it with sudo.
    git = ["git", "-c", f"safe.directory={CHECKOUT}", "-C", str(CHECKOUT)]
    listed = run([*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]).stdout
    for name in filter(None, listed.split("\0")):
        source = CHECKOUT / name
        if source.is_file():
            target = destination / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
