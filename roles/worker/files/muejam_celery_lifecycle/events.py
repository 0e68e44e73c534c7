# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue of each task, for its events and for the counts."""

from __future__ import annotations

from typing import Any, Callable

from .counts import Tally

QUEUE = "muejam_celery_queue"  # attribute of a request


class Receiving:
    """The queue whose message is being looked at, and what is told of it. Runs in the main loop."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.queue: str | None = None

    def watched(self, queue: str, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return a consumer's callback that counts the messages of its queue."""
        self.tally.begin(queue)

        def on_message(message: Any) -> Any:
            self.tally.add(queue)
            before, self.queue = self.queue, queue
            try:
                return callback(message)
            finally:
                self.queue = before

        return on_message

    def mark(self, request: Any) -> None:
        """Let a request that was made of the message keep its queue's name."""
        if self.queue is not None:
            setattr(request, QUEUE, self.queue)

    def send_event_of_request(self, send_event: Callable[..., Any], request: Any, type: str, **fields: Any) -> Any:
        queue = request.__dict__.get(QUEUE) or self.queue
        if queue is not None:
            fields.setdefault("queue", queue)
        return send_event(request, type, **fields)

    def send_of_dispatcher(
        self, send: Callable[..., Any], dispatcher: Any, type: str, *args: Any, **fields: Any
    ) -> Any:
        if type in ("task-received", "task-failed") and self.queue is not None:
            fields.setdefault("queue", self.queue)
        return send(dispatcher, type, *args, **fields)
