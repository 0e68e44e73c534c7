# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for what kubectl is asked, which costs a tenth of a second of a core each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from muejam_bed import shell


def wait_until(
    condition: Callable[[], Any],
    seconds: float = 10.0,
    what: str | Callable[[], object] = "condition",
    every: float = 0.5,
) -> Any:
    """Poll as L(shell.wait_until) does, but leave the cores to the pods."""
    return shell.wait_until(condition, seconds, what, every)
