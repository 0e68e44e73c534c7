# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the demo says what it does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console


def step(console: Console, text: str) -> Callable[[str], None]:
    """Say what begins, and return how to say what happens meanwhile."""
    console.print(text, style="bold", highlight=False, markup=False, soft_wrap=True)
    said = time.monotonic()

    def progress(task: str) -> None:
        nonlocal said
        if time.monotonic() - said >= 5:
            said = time.monotonic()
            console.print(f"    {task}", style="dim", highlight=False, markup=False)

    return progress


def near(path: Path) -> str:
    """Return a path as one types it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
