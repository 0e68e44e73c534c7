# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Celery calls us: its signals, and a step of its consumer."""

from __future__ import annotations

import os
from typing import Any

from celery import bootsteps, current_app, signals

from .changes_to_celery import drain_on_remote_shutdown, limit_publishing, name_queues_in_events
from .lifecycle import Lifecycle
from .log import guarded, open_log
from .transport import configure_transport, report_overruled

current: Lifecycle | None = None  # of this process's worker, and there as well in the processes that its pool forks
wanted_transport: dict[str, Any] = {}  # what configure_transport put into its app


class LifecycleStep(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Starts with each connection to the broker, after the task consumer is made and before the event loop.

    Steps stop in reverse, and ours must be the first to know: under gevent, stopping remote control may wait as long
    as the broker is away.
    """

    requires = (
        "celery.worker.consumer.tasks:Tasks",
        "celery.worker.consumer.control:Control",
        "celery.worker.consumer.gossip:Gossip",
        "celery.worker.consumer.heart:Heart",
    )
    label = "Lifecycle"

    def start(self, c: Any) -> None:
        open_log()
        if current is not None:
            guarded(report_overruled, c.app, c.connection, wanted_transport)
            guarded(current.connected, c)

    def stop(self, c: Any) -> None:
        if current is not None:
            guarded(current.disconnected, c)

    terminate = stop


def begin(worker: Any) -> None:
    global current
    worker.app.steps["consumer"].add(LifecycleStep)
    lifecycle = Lifecycle(worker, os.environ)
    drain_on_remote_shutdown(lifecycle.drain.request)
    name_queues_in_events(lifecycle.receiving)
    limit_publishing(lifecycle.publishing)
    current = lifecycle
    lifecycle.reporter.start()
    lifecycle.probes.start()


def on_worker_init(sender: Any = None, **kwargs: Any) -> None:
    global wanted_transport
    wanted_transport = guarded(configure_transport, sender.app, os.environ) or {}
    guarded(begin, sender)


def on_task_received(sender: Any = None, request: Any = None, **kwargs: Any) -> None:
    if current is not None:
        current.giving_back.mark(request)
        current.receiving.mark(request)


def on_worker_process_init(sender: Any = None, **kwargs: Any) -> None:
    if current is not None and current.status.is_here():
        return  # the solo pool: its one process is the worker itself
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CELERY_LIFECYCLE_HTTP"):
        os.environ.pop(name, None)
    if current is None:
        # A spawned, not forked, pool process starts from the app's bare configuration.
        guarded(configure_transport, current_app._get_current_object(), os.environ)


def on_worker_shutting_down(sender: Any = None, **kwargs: Any) -> None:
    # Sent from inside Celery's signal handler.
    if current is not None and current.status.is_here():
        current.status.stopping = True
        current.reporter.wake()


def on_worker_shutdown(sender: Any = None, **kwargs: Any) -> None:
    if current is not None and current.status.is_here():
        current.reporter.finish()
        current.probes.finish()


signals.worker_init.connect(on_worker_init)
signals.task_received.connect(on_task_received)
signals.worker_process_init.connect(on_worker_process_init)
signals.worker_shutting_down.connect(on_worker_shutting_down)
signals.worker_shutdown.connect(on_worker_shutdown)
