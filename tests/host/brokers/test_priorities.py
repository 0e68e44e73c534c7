# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""High priorities run first on both brokers, with what the role configures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muejam_bed.shell import wait_until

if TYPE_CHECKING:
    from conftest import Brokered


def test_nine_before_five_before_one(brokered: Brokered) -> None:
    load = brokered.load("ordered")
    load.scale(0)
    load.send(60, 0.01, 0.02)
    load.scale(1)
    try:
        wait_until(lambda: load.left() <= 0, 60, lambda: f"{load.left()} tasks do not end")
        order = [run["priority"] for run in load.runs()]
        assert set(order) == {9, 5, 1}
        assert order == sorted(order, reverse=True)
    finally:
        load.scale(0)
