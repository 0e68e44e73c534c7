# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that prints JSON lines, read in the background."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


class Feed:
    """A program that runs, and what it has printed so far."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.lines: list[dict[str, Any]] = []
        self._errors: list[str] = []
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self._readers = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.lines.append(json.loads(line))

    def _read_errors(self) -> None:
        for line in self._process.stderr or ():
            self._errors.append(line)

    @property
    def last(self) -> dict[str, Any]:
        """The newest line; empty before the first."""
        return self.lines[-1] if self.lines else {}

    @property
    def ended(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll()

    @property
    def errors(self) -> str:
        """What it wrote to standard error."""
        return "".join(self._errors).strip()

    def terminate(self) -> None:
        """Tell it to end."""
        self._process.terminate()

    def close(self) -> None:
        """Wait until it has ended, and read what is left."""
        self._process.wait(timeout=30)
        for reader in self._readers:
            reader.join(timeout=30)


@contextmanager
def running(
    command: Sequence[str], end: Callable[[], None] | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Feed]:
    """Run a program for the length of a with block.

    :param end: how to end one that still runs; by default it is sent SIGTERM.
    """
    opened = Feed(command, environment)
    try:
        yield opened
    finally:
        if opened.ended is None:
            (end or opened.terminate)()
        opened.close()
