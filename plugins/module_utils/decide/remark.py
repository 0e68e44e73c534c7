# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a policy, and of which place in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remark:
    """What is wrong with a policy, or to think about again, and where: C(path) is like C(scale_up.any[2].for)."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"
