# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names from the network, made fit for labels: short, printable, and not too many."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.muejam.celery.plugins.module_utils.observe.events.values import OTHER

NAME_MAX = 200
"""Longest name that is kept, in characters."""

Label = tuple[str, str]
"""A task and its queue, "" where unknown."""


def clean_name(text: str) -> str:
    """Return a name cut to length, in which everything can be encoded and nothing breaks a line."""
    # JSON can hold halves of surrogate pairs, which no text file can.
    readable = text[:NAME_MAX].encode("utf-8", "replace").decode()
    return readable if readable.isprintable() else "".join(c if c.isprintable() else "?" for c in readable)


class Labels:
    """Gives equal labels out as one object, because each message brings strings of its own.

    :param limit: labels kept; beyond it, it starts anew, so that a flood of names takes no memory.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[Label, Label] = {}

    def of(self, task: str, queue: str) -> Label:
        """Return the label of a task and a queue as an event named them."""
        known = self._known.get((task, queue))
        if known is None:
            known = (clean_name(task), clean_name(queue))
            known = self._known.get(known, known)
            if len(self._known) >= self._limit:
                self._known.clear()
            self._known[known] = known
        return known


class Admission:
    """Admits so many names, first come first served; all others are C(OTHER)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._names: set[str] = set()

    def of(self, name: str) -> str:
        """Return the name, or C(OTHER)."""
        if name not in self._names:
            if len(self._names) >= self._limit:
                return OTHER
            self._names.add(name)
        return name

    def add(self, names: Iterable[str]) -> None:
        """Admit further names that were asked for."""
        self._names.update(names)
