# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How numbers are written in reasons."""

from __future__ import annotations


def shown(number: float) -> str:
    """Return C(number) with two decimals at most, and without those that say nothing: 100, 5.73, 0.5."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
