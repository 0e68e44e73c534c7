# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers whoever asks for the page, from what the service showed last."""

from __future__ import annotations

import socket
from urllib.parse import parse_qs

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.calendar import Weeks
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.history import SPANS
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.page import (
    HEADERS,
    Shown,
    not_yet,
    page,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.metrics_server import Document
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status import is_late

_USUAL = 6 * 3600.0  # seconds
_OLDER_EVERY = 10.0  # seconds, after which the words about an old status are written anew


class PageOfDaemon:
    """The page. It is made once for each look, however often it is asked for: who asks keeps nobody from deciding."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._weeks = Weeks()
        self._where = socket.gethostname()
        self._made: dict[str, tuple[object, bytes]] = {}

    def document(self, query: str) -> Document:
        """Return the page. To be called by one thread at a time.

        :param query: what follows the question mark; C(last) is understood, one of C(SPANS).
        """
        status, now = self._daemon.shown, self._daemon.wall()
        if status is None:
            return Document(not_yet().encode(), HEADERS)
        history = self._daemon.history.history
        span = asked_span(query) or usual_span(history.first_look(), now)
        key = status["at"], int((now - status["at"]) // _OLDER_EVERY) if is_late(status, now) else None
        made = self._made.get(span)
        if made is None or made[0] != key:
            policies = {name: watch.fleet.policy for name, watch in self._daemon.watches.items()}
            survives = self._daemon.history.survives
            shown = Shown(status, history, policies, self._weeks, self._where, survives)
            self._made[span] = made = key, page(shown, now, span).encode()
        return Document(made[1], HEADERS)


def asked_span(query: str) -> str | None:
    """Return which time somebody wants to see; None where he asks for none that there is."""
    asked = parse_qs(query[:200]).get("last", [""])[0]
    return asked if asked in SPANS else None


def usual_span(first_look: float | None, now: float) -> str:
    """Return the time that is shown to whoever asks for none: some hours, less where there is less to see.

    :param first_look: when a fleet was looked at first, and C(now), in seconds since the epoch.
    """
    age = 0.0 if first_look is None else now - first_look
    *shorter, usual = (name for name, seconds in SPANS.items() if seconds <= _USUAL)
    return next((name for name in shorter if SPANS[name] >= age), usual)
