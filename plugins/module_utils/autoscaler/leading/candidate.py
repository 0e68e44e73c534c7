# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One of several services for the same fleets: asks for the lead, in a thread of its own, for as long as it runs.

The cycles of the service may take long, where a broker or the cluster does not answer. The lead must not be lost by it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.election import Election, Record
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.lease import written
from ansible_collections.muejam.celery.plugins.module_utils.clock import REAL_CLOCK, Clock
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused
from ansible_collections.muejam.celery.plugins.module_utils.redaction import redact

CONFLICT = 409
"""HTTP's status for what somebody else has changed, or made, since it was read."""


class Board(Protocol):
    """Where the record is."""

    def read(self) -> Record | None:
        """Return it, None where there is none."""

    def write(self, record: Record) -> None:
        """Replace it, unless somebody else has since it was read."""


class Candidate:
    """A Leadership by a record that all candidates see."""

    def __init__(self, election: Election, board: Board, clock: Clock = REAL_CLOCK) -> None:
        self.problem = ""
        self._election = election
        self._board = board
        self._clock = clock
        self._stop = threading.Event()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def leader(self) -> str:
        """Who leads, as far as that is known."""
        record = self._election.record
        return record.holder if record else ""

    def leads(self) -> bool:
        """Whether this one leads at this instant."""
        return self._election.leads(self._clock.monotonic())

    def sizes(self, fleets: Sequence[str]) -> None:
        """Note them in the record, at the next time that it is written."""
        self._election.fleets = tuple(fleets)

    def start(self) -> None:
        """Ask once, and from then on in a thread."""
        self.ask()
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)
        self._thread.start()

    def step_down(self) -> None:
        """Look again before leading any further."""
        self._election.step_down()

    def release(self) -> None:
        """Ask no more, and step back where this one leads."""
        self._stop.set()
        with self._turn:
            if self.leads():
                record = self._election.last_record(written(self._clock.wall()))
                # Where that fails the others find out by themselves, a little later.
                with suppress(Refused):
                    self._board.write(record)
                self._election.step_down()

    def ask(self) -> None:
        """Look who leads, and go on or take over where that may be."""
        with self._turn:
            if self._stop.is_set():
                return
            self.problem = self._tried(self._go_on if self.leads() else self._look)

    def _tried(self, ask: Callable[[], None]) -> str:
        try:
            try:
                ask()
            except Refused as error:
                if error.status != CONFLICT:
                    raise
                # Somebody was quicker, or edited it: who leads is what stands there now.
                self._look()
        except Refused as error:
            # Of two that want the same one is too late, and no problem.
            return "" if error.status == CONFLICT else str(error)
        except Exception as error:
            # Whatever stands there, it is asked again: without its thread this service would never lead any more.
            return redact(f"{type(error).__name__}: {error}")
        return ""

    def _look(self) -> None:
        record = self._board.read()
        self._election.saw(record, self._clock.monotonic())
        if self._election.may_write(self._clock.monotonic()):
            self._go_on()

    def _go_on(self) -> None:
        asked_at = self._clock.monotonic()
        record = self._election.next_record(written(self._clock.wall()))
        self._board.write(record)
        self._election.wrote(record, asked_at)

    def _run(self) -> None:
        while not self._stop.wait(self._election.times.pause):
            self.ask()
