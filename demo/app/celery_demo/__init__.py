# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Celery application that can prove what was run: every finished task leaves one line in a ledger."""

from __future__ import annotations

from .app import app

__all__ = ["app"]
