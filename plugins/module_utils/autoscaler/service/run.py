# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`celery-autoscaler run`: the autoscaler with its signals, its log and its metrics."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TextIO

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.answering import PageOfDaemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.keeping import HistoryKeeper
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service import (
    health,
    metrics,
    metrics_server,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.event_log import Tell
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.notify import Notifier
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.places import surroundings
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.streams import Streams
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.task_metrics import TaskMetrics
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import load_configuration
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError


def run(path: str, out: TextIO | None = None) -> None:
    """Run the autoscaler with the configuration file C(path) until it is told to stop.

    SIGTERM and SIGINT end it after the cycle that is running, SIGHUP makes it read its configuration anew.

    :param out: where the log goes, by default standard output.
    :raises OperationError: when it cannot begin.
    """

    def fleet_of(name: str) -> str | None:
        # The platform asks for heartbeats, and they for the platform.
        return around.platform.fleet_of(name)

    streams = Streams(fleet_of)
    around = surroundings(load_configuration(path), streams.heartbeats)
    daemon = Daemon(
        load=lambda: load_configuration(path),
        platform=around.platform,
        tell=_writes_to(out or sys.stdout),
        notifier=Notifier(),
        listener=streams,
        store=around.store,
        leadership=around.leadership,
        # In a cluster there is no place for it but memory.
        history=HistoryKeeper(None if around.store else lambda: daemon.configuration.state),
    )
    _serve_metrics(daemon, streams)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: daemon.stop())
    signal.signal(signal.SIGHUP, lambda _number, _frame: daemon.reload())
    daemon.run()


def _serve_metrics(daemon: Daemon, streams: Streams) -> None:
    at = daemon.configuration.metrics
    if at is None:
        return
    tried = f"serve metrics at {at.address}:{at.port}"
    if not metrics_server.AVAILABLE:
        raise OperationError(
            tried,
            "the Python library prometheus-client is missing",
            "Install it, or set metrics to false in the configuration.",
        )
    try:
        collectors = metrics.FleetMetrics(daemon), TaskMetrics(daemon, streams)
        documents = {"/": PageOfDaemon(daemon).document}
        port = metrics_server.serve(at.address, at.port, collectors, health.questions(daemon), documents)
    except OSError as error:
        raise OperationError(
            tried, error, "Free the port, or choose another one (celery_autoscaler_metrics_port)."
        ) from error
    daemon.log.event("metrics_served", address=at.address, port=port)


def _writes_to(stream: TextIO) -> Tell:
    def tell(line: Mapping[str, Any]) -> None:
        stream.write((in_words(line) if stream.isatty() else json.dumps(line)) + "\n")
        stream.flush()

    return tell


def in_words(line: Mapping[str, Any]) -> str:
    """Return a line of the log as a person reads it."""
    when = datetime.fromtimestamp(line["at"]).strftime("%H:%M:%S")
    if "event" in line:
        details = ", ".join(f"{key} {value}" for key, value in line.items() if key not in ("at", "event"))
        return f"{when}  {line['event'].replace('_', ' ')}" + (f": {details}" if details else "")
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in line["metrics"].items())
    if "action" not in line:
        return f"{when}  {line['fleet']}: {_count(line['workers'])} workers, {numbers}"
    change = f"{_count(line['from'])} -> {_count(line['to'])}"
    return f"{when}  {line['fleet']} {line['action']:6} {change:8} {numbers}; {'; '.join(line['reasons'])}"


def _count(workers: int | None) -> str:
    return "?" if workers is None else str(workers)
