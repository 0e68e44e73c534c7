# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make this checkout importable as ansible_collections.muejam.celery, wherever it lies."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def _collection_root() -> Path:
    """Return a directory in which ansible_collections/muejam/celery is a link to this checkout."""
    owner = f"muejam-celery-{os.getuid()}"
    key = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]
    root = Path(tempfile.gettempdir(), owner, f"collections-{key}")
    link = root / "ansible_collections" / "muejam" / "celery"
    link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        link.symlink_to(CHECKOUT, target_is_directory=True)
    except FileExistsError:
        if link.resolve() != CHECKOUT:
            raise RuntimeError(f"{link} leads elsewhere than {CHECKOUT}: remove it and try again") from None
    return root


def _put_first(variable: str, path: Path) -> None:
    rest = [entry for entry in os.environ.get(variable, "").split(os.pathsep) if entry and entry != str(path)]
    os.environ[variable] = os.pathsep.join([str(path), *rest])


COLLECTION_ROOT = _collection_root()
# For this process, for Python programs it starts, and for Ansible that it starts.
sys.path.insert(0, str(COLLECTION_ROOT))
_put_first("PYTHONPATH", COLLECTION_ROOT)
_put_first("ANSIBLE_COLLECTIONS_PATH", COLLECTION_ROOT)
