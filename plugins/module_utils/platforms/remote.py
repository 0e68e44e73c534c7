# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A platform that is read here, and acted on by the root helper at the other end of a socket.

The autoscaler may read its host and not start or stop anything; the root helper may. See autoscaler/scaler.py.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import FleetReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    LOCK_WAIT,
    Platform,
    ScaleRequest,
    ScaleResult,
)

ANSWER_WITHIN = 45.0
"""Seconds. Enabling and starting many units at once keeps a small host busy; shorter than any watchdog."""
_MOST_BYTES = 1_000_000


class RemotePlatform:
    """Requests to the root helper; each has a connection of its own. It never waits for workers, nor for a lock."""

    def __init__(self, path: str, here: Platform, timeout: float = ANSWER_WITHIN) -> None:
        """Prepare to ask at the socket C(path).

        :param here: the platform as this process itself can read it.
        :param timeout: seconds to wait for an answer.
        """
        self._path = path
        self._here = here
        self._timeout = timeout

    @property
    def place(self) -> str:
        """The host, as messages call it."""
        return self._here.place

    def fleets(self) -> list[str]:
        """The names of all fleets in this place."""
        return self._here.fleets()

    def read(self, fleet: str) -> FleetReading:
        """Read a fleet, without the root helper."""
        return self._here.read(fleet)

    def reader(self) -> Callable[[str], FleetReading]:
        """What reads fleets for one look at many of them, without the helper."""
        return self._here.reader()

    def fleet_of(self, name: str) -> str | None:
        """The fleet that the worker of this name belongs to."""
        return self._here.fleet_of(name)

    def scale(self, request: ScaleRequest, *, check: bool = False) -> ScaleResult:
        """Have the root helper bring a fleet to a number of workers.

        :raises OperationError: when it was refused or failed, or no answer came; see C(base.nothing_done). C(busy)
            among its details says that somebody else is at the fleet.
        """
        tried = f"scale fleet {request.fleet} to {request.workers} workers"
        if check or request.wait or request.keep:
            why = "the root helper only acts, at once and without waiting"
            raise OperationError(tried, why, "Ask the platform itself.")
        wanted = {"fleet": request.fleet, "workers": request.workers, "expected_workers": request.expected_workers}
        answer = self._ask(tried, {"do": "scale", **wanted})
        try:
            done = {key: answer[key] for key in ("before", "after", "started", "stopped")}
            lists = {key: answer.get(key, []) for key in ("draining", "warnings")}
            return ScaleResult(changed=bool(done["started"] or done["stopped"]), **done, **lists)
        except KeyError as missing:
            why = f"the root helper's answer cannot be understood, it has no {missing}"
            raise OperationError(tried, why, "Deploy the autoscaler again.", unsure=True) from missing

    def restart(self, fleet: str, worker: str, *, lock_wait: float = LOCK_WAIT) -> None:
        """Have the root helper restart one worker.

        :raises OperationError: as C(scale) does.
        """
        self._ask(f"restart {worker}", {"do": "restart", "fleet": fleet, "worker": worker})

    def _ask(self, tried: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as way:
            way.settimeout(self._timeout)
            try:
                way.connect(self._path)
            except OSError as error:
                raise self._silent(tried, error, unsure=False) from error
            try:
                way.sendall(json.dumps(request).encode() + b"\n")
                with way.makefile("rb") as answers:
                    answer = json.loads(answers.readline(_MOST_BYTES))
            except (OSError, ValueError) as error:
                # It may be at work still, or have died in the middle.
                raise self._silent(tried, error, unsure=True) from error
        if not isinstance(answer, Mapping) or answer.get("ok") is not True:
            refusal: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {"unsure": True}
            raise OperationError(
                tried,
                refusal.get("error") or "the root helper's answer cannot be understood",
                "The autoscaler tries again when the policy says so.",
                busy=refusal.get("busy") is True,
                **{key: refusal.get(key) for key in ("unsure", "started", "stopped")},
            )
        return answer

    def _silent(self, tried: str, error: Exception, unsure: bool) -> OperationError:
        return OperationError(
            tried,
            f"the root helper at {self._path} did not answer: {error}",
            "See systemctl status celery-autoscaler-scale.socket, and journalctl -u 'celery-autoscaler-scale@*'.",
            unsure=unsure,
        )
