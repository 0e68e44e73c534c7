# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A `celery beat` that tells its service manager or its container's host whether it ticks.

Load it as the scheduler: ``celery beat --scheduler muejam_celery_lifecycle.beat:scheduler``. It is none itself: it
makes the one that is wanted and watches it, so any class will do. That option is Celery's own for the purpose, and the
only one by which `celery beat` loads anything (it has no ``--include``).

Of the package's variables it reads those of systemd, ``CELERY_LIFECYCLE_HTTP``, ``CELERY_LIFECYCLE_ALIVE_WITHIN``,
``CELERY_LIFECYCLE_TRANSPORT_OPTIONS``, ``CELERY_LIFECYCLE_BROKER_USE_SSL``, ``CELERY_LIFECYCLE_PRIORITY``, and

``CELERY_LIFECYCLE_BEAT_SCHEDULER``
    The scheduler, as ``--scheduler`` takes it: a class (``redbeat.RedBeatScheduler``) or a name that a package has
    registered (``django``). Without it the app's own ``beat_scheduler``, Celery's file by default.

Ready is who has ticked, and who ticks is alive. A scheduler may sleep for minutes until something is due; it is woken
every few seconds, finds nothing to do and has proved that it would. One that waits for the broker proves it as well.
"""

from __future__ import annotations

import os
import time
from datetime import datetime
from typing import Any, Callable, Mapping

from celery.beat import Service
from celery.utils.imports import load_extension_class_names, symbol_by_name

from .changes_to_celery import ask_for_no_results, watch_scheduler
from .http_port import Answer, HttpPort
from .log import guarded, open_log, report
from .notify import Notifier
from .probes import read_port, read_within
from .transport import configure_transport

LONGEST_SLEEP = 10.0  # seconds between two ticks, however far the next task is
ALIVE_WITHIN = 120.0  # seconds without a proof of life after which probes say so, where nobody gives another number

started = False  # whether this process has a scheduler that is watched


def scheduler(app: Any, lazy: bool = False, **options: Any) -> Any:
    """Return the scheduler that is wanted, watched from the moment that it is to run.

    Celery calls this in place of the scheduler's class, with its arguments. A lazy one is made to be looked at alone.
    """
    global started
    if not started:
        # Before anything connects; each scheduler that is made finds the app so.
        guarded(configure_transport, app, os.environ)
    made = wanted(app, os.environ)(app=app, lazy=lazy, **options)
    if not lazy and not started:
        started = True
        guarded(ask_for_no_results)
        guarded(watch, made, os.environ)
    return made


def wanted(app: Any, environ: Mapping[str, str]) -> Any:
    """Return the class of the scheduler. Raises what Celery raises for one that cannot be imported."""
    name = environ.get("CELERY_LIFECYCLE_BEAT_SCHEDULER") or app.conf.beat_scheduler or Service.scheduler_cls
    return symbol_by_name(name, aliases=dict(load_extension_class_names("celery.beat_schedulers")))


def watch(made: Any, environ: Mapping[str, str]) -> None:
    """Tell of a scheduler from now on."""
    ticking = Ticking(environ)
    watch_scheduler(made, ticking.tick, ticking.send, ticking.connect)
    guarded(ticking.answer_probes)


class Ticking:
    """What one scheduler is at. All of it runs in its only thread, but for the answers to probes."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.notifier = Notifier(environ, os.getpid())
        watchdog = self.notifier.watchdog
        self.longest = min(LONGEST_SLEEP, watchdog / 3) if watchdog else LONGEST_SLEEP
        self.number = read_port(environ)
        self.within = max(read_within(environ, watchdog or ALIVE_WITHIN), 2 * self.longest)
        self.alive_at = time.monotonic()
        self.ticks = self.sent = 0
        self.last = ""  # the entry that was sent last, and when
        self.trouble = ""

    def tick(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Let it tick; return after how many seconds it does so again."""
        interval = function(*args, **kwargs)
        self.ticks += 1
        if self.ticks == 1:
            open_log()
        self.prove()
        # None and 0 mean at once.
        return min(interval, self.longest) if interval else interval

    def send(self, function: Callable[..., Any], entry: Any, *args: Any, **kwargs: Any) -> Any:
        """Let it send what is due, and note what became of it."""
        try:
            result = function(entry, *args, **kwargs)
        except Exception as error:
            # Its kind alone: what it says may hold a URL, and Celery logs it.
            origin = error.__cause__ or error.__context__ or error
            self.trouble = f"{entry.name} could not be sent ({type(origin).__name__})"
            raise
        self.sent += 1
        self.trouble = ""
        self.last = f", the last one {entry.name} at {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}"
        return result

    def connect(self, function: Callable[..., Any], errback: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Let it connect to the broker, for which it waits as long as the app says. Each attempt is a proof of life."""
        callback = kwargs.pop("callback", None)

        def failed(error: Exception, interval: float) -> Any:
            self.trouble = f"waiting for the broker ({type(error).__name__})"
            self.prove()
            return errback(error, interval) if errback else None

        def every_second() -> None:
            self.prove()
            if callback:
                callback()

        connected = function(failed, *args, callback=every_second, **kwargs)
        self.trouble = ""
        return connected

    def prove(self) -> None:
        """Note that it is alive, and tell systemd what is new."""
        self.alive_at = time.monotonic()
        self.notifier.tell(["READY=1"] if self.ticks else [], self.describe(), True, self.alive_at)

    def describe(self) -> str:
        """Return one line for people, as `systemctl status` shows it."""
        state = "ticking" if self.ticks else "starting"
        trouble = f"; {self.trouble}" if self.trouble else ""
        return f"{state}: {self.sent} sent{self.last}{trouble}"

    def answer_probes(self) -> None:
        if self.number is None:
            return
        try:
            HttpPort(self.answer).start(self.number)
        except OSError as error:
            report(f"listening on port {self.number} (CELERY_LIFECYCLE_HTTP) failed: {error}: probes get no answer")

    def answer(self, path: str) -> Answer:
        """Answer a probe. Runs in the port's thread."""
        if path not in ("/ready", "/alive"):
            return Answer(404, "There are /ready and /alive.")
        age = time.monotonic() - self.alive_at
        if age >= self.within:
            return Answer(503, f"no tick for {age:.0f} seconds; {self.within:g} are allowed")
        return Answer(200 if self.ticks or path == "/alive" else 503, self.describe())
