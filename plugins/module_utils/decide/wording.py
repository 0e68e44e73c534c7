# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How numbers are written in reasons, and what is said of a policy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remark:
    """What is wrong with a policy, or to think about again, and where: C(path) is like C(scale_up.any[2].for)."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def shown(number: float) -> str:
    """Return C(number) with two decimals at most, and without those that say nothing: 100, 5.73, 0.5."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
