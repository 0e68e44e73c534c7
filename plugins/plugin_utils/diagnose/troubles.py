# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every trouble that is looked for, with what judges it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose import changes, growth, leak, timeouts
from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose.evidence import Seen
from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose.verdict import Trouble, Verdict

TROUBLES: Mapping[str, tuple[Trouble, Callable[[Seen], Verdict]]] = MappingProxyType(
    {
        "not_scaling_up": (growth.TROUBLE, growth.judge),
        "scaling_too_aggressively": (changes.TROUBLE, changes.judge),
        "tasks_timing_out": (timeouts.TROUBLE, timeouts.judge),
        "memory_leak": (leak.TROUBLE, leak.judge),
    }
)


def undecided(why: str, next_step: str) -> dict[str, dict[str, Any]]:
    """Return that nothing can be told of a fleet, in the form of a diagnosis."""
    troubles = {name: trouble for name, (trouble, _judge) in TROUBLES.items()}
    return _told({name: (trouble, trouble.cannot_tell(why, next_step, ())) for name, trouble in troubles.items()})


def diagnosis(seen: Seen) -> dict[str, dict[str, Any]]:
    """Return what is said of each trouble, by its name, with its C(title)."""
    return _told({name: (trouble, judge(seen)) for name, (trouble, judge) in TROUBLES.items()})


def _told(judged: Mapping[str, tuple[Trouble, Verdict]]) -> dict[str, dict[str, Any]]:
    return {
        name: {"title": trouble.title, **asdict(verdict), "evidence": list(verdict.evidence)}
        for name, (trouble, verdict) in judged.items()
    }
