# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports, made by a task that works and by one that leaks: docs/training.md has an exercise in finding it."""

from __future__ import annotations

import zlib

from .app import app

MEGABYTE = 1 << 20
_rendered: dict[str, bytes] = {}


@app.task  # type: ignore[untyped-decorator]
def render(day: str) -> int:
    """Render the report of a day, and keep it for who asks again. Nobody ever takes one out."""
    if day not in _rendered:
        _rendered[day] = day.encode().ljust(4 * MEGABYTE, b".")
    return len(_rendered[day])


@app.task  # type: ignore[untyped-decorator]
def archive(day: str) -> int:
    """Pack the report of a day."""
    return len(zlib.compress(day.encode().ljust(4 * MEGABYTE, b".")))
