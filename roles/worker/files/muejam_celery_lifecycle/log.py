# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with us is told in the worker's log, and never ends the worker."""

from __future__ import annotations

from typing import Any, Callable

from celery.utils.log import get_logger

logger = get_logger("celery.worker.lifecycle")
waiting: list[str] = []
is_open = False


def report(text: str) -> None:
    """Log an error of ours. While the worker is being set up it has no log yet: the text waits for one."""
    waiting.append("muejam_celery_lifecycle: " + text)
    if is_open:
        open_log()


def open_log() -> None:
    """Log what waits; from now on there is a log."""
    global is_open
    is_open = True
    while waiting:
        logger.error("%s", waiting.pop(0))


def guarded(function: Callable[..., Any], *args: Any) -> Any:
    """Call a hook of ours and return what it returns; its failure is logged and never the worker's."""
    try:
        return function(*args)
    except Exception as error:
        report(f"{function.__name__} failed: {error!r}")
        return None
