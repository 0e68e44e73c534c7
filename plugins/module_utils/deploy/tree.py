# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees of files that the collection puts on hosts: what one holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path


def texts(root: Path) -> dict[str, str]:
    """The text of every file below a directory, by its path there; nothing where there is none.

    Compiled files are Python's own; they go when their source goes.
    """
    found = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8", errors="replace") for path in found}


def digest(files: Mapping[str, str]) -> str:
    """One text that stands for all files of a tree, so that a whole one need not travel to be compared."""
    return hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()
