# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timers of this host, each with the service that it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.commands import Command
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.parsing import parse_blocks

_SYSTEMCTL = ("systemctl", "--no-pager", "--no-ask-password")
_PATIENCE = 90.0
_SEE = "See the journal of the host (journalctl -b), and try again."
_STAMPS = Path("/var/lib/systemd/timers")
"""Where systemd notes when a timer with C(Persistent=) elapsed last."""


@dataclass(frozen=True)
class TimerState:
    """What systemd says of a timer."""

    active: bool
    enabled: bool
    outdated: bool

    @property
    def ready(self) -> bool:
        """Whether it waits for its times as they are written, and will after a boot."""
        return self.active and self.enabled and not self.outdated


def state_of(name: str) -> TimerState:
    """Return what systemd says of the timer C(name), without its ending.

    :raises OperationError: when it does not answer.
    """
    properties = "--property=ActiveState,UnitFileState,NeedDaemonReload"
    told = _systemctl(["show", properties, "--", f"{name}.timer", f"{name}.service"], f"ask for the timer {name}")
    blocks = parse_blocks(told)
    return TimerState(
        active=blocks[0].get("ActiveState") == "active",
        enabled=blocks[0].get("UnitFileState") == "enabled",
        outdated=any(block.get("NeedDaemonReload") != "no" for block in blocks),
    )


def start(name: str) -> None:
    """Have a timer wait for its times as they are written, and after each boot.

    :raises OperationError: when systemd refuses.
    """
    tried = f"start the timer {name}"
    _systemctl(["daemon-reload"], tried)
    _systemctl(["enable", "--", f"{name}.timer"], tried)
    _systemctl(["restart", "--", f"{name}.timer"], tried)


def stop(name: str) -> None:
    """Stop a timer and its service for good. Their files are to be removed, and then L(forget) called.

    :raises OperationError: when systemd refuses.
    """
    # They fail where a file is missing. What counts is what runs afterwards.
    for words in (["disable", "--now", "--", f"{name}.timer"], ["stop", "--", f"{name}.service"]):
        answer = Command([*_SYSTEMCTL, *words]).end(_PATIENCE)
        if not answer.ok and state_of(name).active:
            raise OperationError(f"stop the timer {name}", answer.problem, _SEE)


def forget(name: str) -> None:
    """Have systemd know nothing any more of a timer whose files are gone.

    :raises OperationError: when it refuses.
    """
    tried = f"forget the timer {name}"
    _systemctl(["daemon-reload"], tried)
    for unit in (f"{name}.timer", f"{name}.service"):
        # It fails where there is nothing to forget.
        Command([*_SYSTEMCTL, "reset-failed", "--", unit]).end(_PATIENCE)
    (_STAMPS / f"stamp-{name}.timer").unlink(missing_ok=True)


def _systemctl(words: Sequence[str], tried: str) -> str:
    answer = Command([*_SYSTEMCTL, *words]).end(_PATIENCE)
    if not answer.ok:
        raise OperationError(tried, answer.problem, _SEE)
    return answer.output
