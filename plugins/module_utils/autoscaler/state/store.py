# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the service keeps what it remembers: a file on a host, an object in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.remembered import Remembered
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.state_file import (
    load_state,
    save_state,
    set_aside,
)


class Store(Protocol):
    """One place for all fleets of a service.

    :ivar acts_unsaved: whether one may act on a fleet where that could not be noted before.
    """

    acts_unsaved: bool

    def load(self) -> dict[str, Remembered]:
        """Return what was saved last, by fleet; nothing where nothing ever was.

        :raises StateUnusable: when there is something and it cannot be used.
        :raises OperationError: when it is not known whether there is something; it may be tried again.
        """

    def set_aside(self) -> str:
        """Keep what cannot be used for whoever looks into it, and return where.

        :raises OperationError: when that fails.
        """

    def save(self, memories: Mapping[str, Remembered]) -> None:
        """Put this in the place of what was saved last, all of it or nothing.

        :raises OperationError: when that fails. C(conflict) among its details says that somebody else has saved since.
        """


class FileStore:
    """A file of this host. Its service is the only one, and goes on where the disk is full."""

    acts_unsaved = True

    def __init__(self, path: Callable[[], str]) -> None:
        """Keep it in the file that C(path) names whenever it is asked."""
        self._path = path

    def load(self) -> dict[str, Remembered]:
        """Return what the file remembers."""
        return load_state(self._path())

    def set_aside(self) -> str:
        """Keep the unusable file under another name."""
        return str(set_aside(self._path()))

    def save(self, memories: Mapping[str, Remembered]) -> None:
        """Replace the file."""
        save_state(self._path(), memories)
