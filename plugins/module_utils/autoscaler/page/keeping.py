# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records what the service shows, and keeps it in a file now and then, so that it is there after a restart.

It is for people to look at. Whatever goes wrong with it is told, and keeps the service from nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.history import History
from ansible_collections.muejam.celery.plugins.module_utils.guarded_files import NotAPlainFile, read_plain_file
from ansible_collections.muejam.celery.plugins.module_utils.whole_files import write_whole

EVERY = 300.0
"""Seconds between two times that it is saved; a service that is killed forgets so much of it."""

FILE = "history.json"
"""Beside the state."""

MOST_BYTES = 64 * 1024 * 1024
"""A fleet takes some tens of thousands, and each of its workers two thousand."""


def saved(path: str | os.PathLike[str]) -> History:
    """Return the history in a file. Its writer could have written anything.

    :raises OSError: when it cannot be read; NotAPlainFile when it is none; ValueError when it is something else.
    """
    return History.of_text(read_plain_file(path, MOST_BYTES).decode("utf-8"))


class HistoryKeeper:
    """Keeps a history.

    :ivar problem: why it is not recorded or not saved; empty while it is.
    """

    def __init__(self, state: Callable[[], str] | None = None) -> None:
        """Keep it beside the file that C(state) names, or in memory alone."""
        self.history = History()
        self.problem = ""
        self._state = state
        self._saved_at: float | None = None

    @property
    def survives(self) -> bool:
        """Whether it is there after a restart."""
        return self._state is not None

    @property
    def _path(self) -> Path | None:
        return None if self._state is None else Path(os.fspath(self._state())).with_name(FILE)

    def load(self) -> str:
        """Take up what was saved last, and return why that cannot be used; empty where it can, or there is nothing."""
        path = self._path
        if path is None:
            return ""
        try:
            self.history = saved(path)
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, NotAPlainFile) as error:
            return f"{path}: {error}; the history begins anew"
        return ""

    def record(self, status: Mapping[str, Any], monotonic: float) -> None:
        """Record what was seen, and save it when it is time to.

        :param monotonic: seconds on a clock that cannot be set.
        """
        try:
            self.history.record(status)
        except Exception as error:  # a fault of ours in what only people look at
            self.problem = f"{type(error).__name__}: {error}"
            return
        if self._saved_at is None:
            self._saved_at = monotonic
            self.problem = ""
        elif monotonic - self._saved_at >= EVERY:
            self._saved_at = monotonic
            self.save()

    def shift(self, seconds: float) -> None:
        """Have the clock set by so many seconds."""
        self.history.shift(seconds)

    def save(self) -> None:
        """Keep it. What went wrong is the problem from now on."""
        path = self._path
        self.problem = ""
        if path is None:
            return
        try:
            write_whole(path, self.history.as_text(), 0o600)
        except OSError as error:
            self.problem = f"{path}: {error}"
