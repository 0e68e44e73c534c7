# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a trouble: whether a fleet has it, by which numbers, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

YES = "yes"
NO = "no"
CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Verdict:
    """What is said of one trouble of one fleet.

    :ivar verdict: C(YES), C(NO) or C(CANNOT_TELL).
    :ivar says: the cause, or why there is no trouble, or why nobody can tell.
    :ivar evidence: numbers, a text each.
    :ivar next_step: a full sentence; empty where nothing is to be done.
    :ivar runbook: a path of the collection.
    """

    verdict: str
    says: str
    evidence: tuple[str, ...]
    next_step: str
    runbook: str


@dataclass(frozen=True)
class Cause:
    """Why a fleet has a trouble.

    :ivar runbook: the name of its page.
    """

    says: str
    next_step: str
    runbook: str


@dataclass(frozen=True)
class Trouble:
    """One of the troubles that people report.

    :ivar runbook: the name of its page.
    """

    title: str
    runbook: str

    def yes(self, causes: Iterable[Cause], evidence: Iterable[str]) -> Verdict:
        """Return that the fleet has it: by the first cause, with the others beside the evidence."""
        first, *others = causes
        also = (f"also: {cause.says} ({_page(cause.runbook)})" for cause in others)
        return Verdict(YES, first.says, (*evidence, *also), first.next_step, _page(first.runbook))

    def no(self, says: str, evidence: Iterable[str]) -> Verdict:
        """Return that the fleet does not have it."""
        return Verdict(NO, says, tuple(evidence), "", _page(self.runbook))

    def cannot_tell(self, says: str, next_step: str, evidence: Iterable[str], runbook: str = "") -> Verdict:
        """Return that it is not known, and what would tell."""
        return Verdict(CANNOT_TELL, says, tuple(evidence), next_step, _page(runbook or self.runbook))


def _page(name: str) -> str:
    return f"docs/runbooks/{name}.md"
