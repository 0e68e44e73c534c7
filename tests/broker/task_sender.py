# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that sends tasks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from celery import Celery


@contextlib.contextmanager
def sender(broker_url: str, **settings: Any) -> Iterator[Celery]:
    """A client app that sends tasks and commands, with connections of its own."""
    app = Celery("sender", broker=broker_url, set_as_current=False)
    app.conf.update(settings)
    try:
        yield app
    finally:
        app.close()
