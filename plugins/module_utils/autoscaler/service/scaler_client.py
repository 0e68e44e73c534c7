# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the scaler, which may start and stop workers, from the autoscaler, which may not."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

ANSWER_WITHIN = 45.0
"""Seconds. Enabling and starting many units at once keeps systemd busy on a small host; shorter than any watchdog."""
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class ScalerClient:
    """Requests to the scaler at the other end of a unix socket; each has a connection of its own."""

    path: str
    timeout: float = ANSWER_WITHIN

    def scale(self, fleet: str, workers: int, expected_workers: int) -> Mapping[str, Any]:
        """Have C(workers) workers in a fleet that is believed to have C(expected_workers), and do not wait for them.

        :raises OperationError: when it was refused or failed, or no answer came; C(nothing_done) among its details
            says whether it is certain that no worker was started or stopped, C(busy) whether somebody else is at it.
        """
        wanted = {"do": "scale", "fleet": fleet, "workers": workers, "expected_workers": expected_workers}
        return self._ask(f"scale fleet {fleet} to {workers} workers", wanted)

    def restart(self, fleet: str, worker: str) -> Mapping[str, Any]:
        """Restart one worker, by the name of its unit, and do not wait for it.

        :raises OperationError: when it was refused or failed, or no answer came.
        """
        return self._ask(f"restart {worker}", {"do": "restart", "fleet": fleet, "worker": worker})

    def _ask(self, tried: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as way:
            way.settimeout(self.timeout)
            try:
                way.connect(self.path)
            except OSError as error:
                raise self._silent(tried, error, nothing_done=True) from error
            try:
                answer = json.loads(_exchange(way, json.dumps(request).encode() + b"\n"))
            except (OSError, ValueError) as error:
                # It may be at work still, or have died in the middle.
                raise self._silent(tried, error, nothing_done=False) from error
        if not isinstance(answer, Mapping) or answer.get("ok") is not True:
            told = answer if isinstance(answer, Mapping) else {"unsure": True}
            raise OperationError(
                tried,
                told.get("error") or "the scaler's answer makes no sense",
                "It is tried again when the policy says so.",
                busy=told.get("busy") is True,
                nothing_done=not any(told.get(key) for key in ("unsure", "started", "stopped")),
            )
        return answer

    def _silent(self, tried: str, error: Exception, nothing_done: bool) -> OperationError:
        return OperationError(
            tried,
            f"the scaler at {self.path} did not answer: {error}",
            "See systemctl status celery-autoscaler-scale.socket, and journalctl -u 'celery-autoscaler-scale@*'.",
            nothing_done=nothing_done,
        )


def _exchange(way: socket.socket, request: bytes) -> bytes:
    way.sendall(request)
    answer = b""
    while not answer.endswith(b"\n"):
        more = way.recv(65536)
        answer += more
        if not more or len(answer) > _MOST_BYTES:
            break
    return answer
