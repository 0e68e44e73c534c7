# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster asks the autoscaler: whether it is alive, and whether it has begun."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import ALIVE_PATH, READY_PATH
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.role import watchdog_seconds

Question = Callable[[], str]
"""Returns why not; nothing is yes."""


def questions(daemon: Daemon) -> Mapping[str, Question]:
    """The questions by their paths. To be answered by any thread."""
    return {ALIVE_PATH: lambda: _alive(daemon), READY_PATH: lambda: _ready(daemon)}


def _alive(daemon: Daemon) -> str:
    silent = daemon.monotonic() - daemon.alive_at
    allowed = watchdog_seconds(daemon.configuration.interval)
    return "" if silent < allowed else f"the autoscaler hangs: its loop has not gone on for {silent:.0f} s"


def _ready(daemon: Daemon) -> str:
    return "" if daemon.looked else "the autoscaler has not looked at its fleets yet"
