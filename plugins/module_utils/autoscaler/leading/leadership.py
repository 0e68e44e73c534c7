# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of several services for the same fleets acts: one alone always does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Leadership(Protocol):
    """Tells whether this service may act. Of several, one leads; the others look, and are ready to take over."""

    problem: str
    """Why it cannot be found out who leads; empty where it can."""

    @property
    def leader(self) -> str:
        """Who leads, as far as that is known; empty where nobody does."""

    def leads(self) -> bool:
        """Whether this service leads at this instant. May be asked by any thread."""

    def sizes(self, fleets: Sequence[str]) -> None:
        """Tell everybody, from now on, which fleets this service sizes where it leads."""

    def start(self) -> None:
        """Begin to ask for it."""

    def step_down(self) -> None:
        """Do not lead before having asked anew: there are signs of another one who does."""

    def release(self) -> None:
        """Ask for it no more, and let another one lead at once."""


class Alone:
    """The only service for its fleets."""

    leader = ""
    problem = ""

    def leads(self) -> bool:
        """Lead always."""
        return True

    def sizes(self, fleets: Sequence[str]) -> None:
        """Nobody else asks."""

    def start(self) -> None:
        """Ask nobody."""

    def step_down(self) -> None:
        """Nobody else is there."""

    def release(self) -> None:
        """Nobody takes over."""
