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

ANSWER_WITHIN = 60.0
"""Seconds. Enabling and starting many units at once keeps systemd busy on a small host."""
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class ScalerClient:
    """Requests to the scaler at the other end of a unix socket; each has a connection of its own."""

    path: str
    timeout: float = ANSWER_WITHIN

    def scale(self, fleet: str, workers: int, expected_workers: int) -> Mapping[str, Any]:
        """Have C(workers) workers in a fleet that is believed to have C(expected_workers), and do not wait for them.

        :raises OperationError: when it was refused or failed, or no answer came.
        """
        wanted = {"do": "scale", "fleet": fleet, "workers": workers, "expected_workers": expected_workers}
        return self._ask(f"scale fleet {fleet} to {workers} workers", wanted)

    def restart(self, fleet: str, worker: str) -> Mapping[str, Any]:
        """Restart one worker, by the name of its unit, and do not wait for it.

        :raises OperationError: when it was refused or failed, or no answer came.
        """
        return self._ask(f"restart {worker}", {"do": "restart", "fleet": fleet, "worker": worker})

    def _ask(self, tried: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            answer = json.loads(self._exchange(json.dumps(request).encode() + b"\n"))
        except (OSError, ValueError) as error:
            raise OperationError(
                tried,
                f"the scaler at {self.path} did not answer: {error}",
                "See systemctl status celery-autoscaler-scale.socket; it is tried again at the next turn.",
            ) from error
        if not isinstance(answer, Mapping) or answer.get("ok") is not True:
            why = answer.get("error") if isinstance(answer, Mapping) else None
            raise OperationError(
                tried, why or "the scaler's answer makes no sense", "It is tried again at the next turn."
            )
        return answer

    def _exchange(self, request: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as way:
            way.settimeout(self.timeout)
            way.connect(self.path)
            way.sendall(request)
            answer = b""
            while not answer.endswith(b"\n"):
                more = way.recv(65536)
                answer += more
                if not more or len(answer) > _MOST_BYTES:
                    break
            return answer
