# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real Prometheus answers, against what was really run."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from autoscaled_host import PASSWORD, Scaled
from prometheus_client.parser import text_string_to_metric_families

from muejam_bed.prometheus import Prometheus, prometheus_running, scraping
from muejam_bed.shell import wait_until

PORT = 9541
DONE, FAILED, SECONDS = 24, 6, 1.2
DONE_BEFORE, FAILED_BEFORE = 4, 1
"""In the same proportion: how far Prometheus extrapolates a counter's growth depends on where it began."""
TASK = "celery_demo.tasks.work"

SEND = """
import sys, time
from celery_demo.app import app
count, failing, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
for number in range(count):
    arguments = {"duration": seconds, "id": f"prometheus-{number}", "sent": time.time()}
    app.send_task("celery_demo.tasks.work", kwargs=arguments, queue="web")
for _number in range(failing):
    app.send_task("celery_demo.tasks.work", kwargs={"of": "no such argument"}, queue="web")
"""


def send(scaled: Scaled, done: int, failed: int, seconds: float = SECONDS) -> None:
    """Publish tasks that return, and tasks that fail."""
    environment = ["env", "--chdir=/opt/celery-demo", f"CELERY_BROKER_URL=redis://:{PASSWORD}@127.0.0.1:6379/0"]
    sender = ["/opt/celery-demo/venv/bin/python", "-c", SEND, str(done), str(failed), str(seconds)]
    scaled.host.run(*environment, *sender)


def at_endpoint(target: str, metric: str) -> float | None:
    """Return the sum of a metric's series as the autoscaler itself tells them; None when there are none."""
    try:
        with urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as said:
            families = list(text_string_to_metric_families(said.read().decode()))
    except OSError:
        return None
    found = [sample.value for family in families for sample in family.samples if sample.name == metric]
    return sum(found) if found else None


class Watched:
    """The host, and the Prometheus that scrapes its autoscaler."""

    def __init__(self, scaled: Scaled, prometheus: Prometheus) -> None:
        self.scaled = scaled
        self.prometheus = prometheus

    def wait_for(self, query: str, holds: Callable[[float | None], bool], seconds: float = 60) -> float | None:
        """Wait until the query's answer is as wanted, and return it."""
        seen: list[float | None] = []

        def asked() -> bool:
            seen.append(self.prometheus.value(query))
            return holds(seen[-1])

        wait_until(asked, seconds, lambda: f"{query}: {seen[-5:]}")
        return seen[-1]


@pytest.fixture(scope="module")
def watched(bare: Scaled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A host with an autoscaler whose metrics are scraped, and on which tasks of either outcome have ended."""
    bare.deploy(
        task_events=True,
        read_write_paths=["/var/lib/celery-demo"],
        celery_autoscaler_metrics_address="0.0.0.0",
    )
    folder: Path = tmp_path_factory.mktemp("prometheus")
    target = f"{bare.host.address}:{PORT}"
    # Events that nobody listens to are lost.
    wait_until(lambda: at_endpoint(target, "celery_autoscaler_events_connected") == 1, 60)
    send(bare, DONE_BEFORE, FAILED_BEFORE, 0.01)
    # A scrape between them would take the later ones for some of those whose rates are asked for.
    before = DONE_BEFORE + FAILED_BEFORE
    wait_until(lambda: at_endpoint(target, "celery_tasks_total") == before, 60)
    with prometheus_running(folder, scraping(target)) as prometheus:
        watched = Watched(bare, prometheus)
        watched.wait_for(f'celery_tasks_total{{task="{TASK}"}}', lambda value: value == before)
        yield watched


def test_the_five_lines_of_the_brief(watched: Watched) -> None:
    send(watched.scaled, DONE, FAILED)
    # One worker, one task at a time: while they run the queue shrinks, and the worker is busy.
    waiting = watched.wait_for('celery_queue_length{queue="web"}', lambda value: value is not None and value > 0)
    assert waiting is not None
    assert waiting <= DONE + FAILED
    watched.wait_for('celery_workers_active{fleet="web"}', lambda value: value == 1)
    ended = DONE_BEFORE + FAILED_BEFORE + DONE + FAILED
    watched.wait_for(f'celery_tasks_total{{task="{TASK}"}}', lambda value: value == ended, 120)
    watched.wait_for('celery_queue_length{queue="web"}', lambda value: value == 0)
    watched.wait_for('celery_workers_active{fleet="web"}', lambda value: value == 0)
    watched.wait_for('celery_workers_idle{fleet="web"}', lambda value: value == 1)

    # All of them ended within the last five minutes. What Prometheus extrapolates to the edges of the window is a
    # second or two of some twenty.
    rate = watched.prometheus.value("sum(rate(celery_tasks_total[5m]))")
    assert rate is not None
    assert rate * 300 == pytest.approx(DONE + FAILED, rel=0.15)
    assert watched.prometheus.ask("rate(celery_tasks_total[5m])")

    share = watched.prometheus.value("rate(celery_tasks_failed_total[5m]) / rate(celery_tasks_total[5m])")
    assert share == pytest.approx(FAILED / (DONE + FAILED), rel=0.02)

    slow = watched.prometheus.value("histogram_quantile(0.95, rate(celery_task_duration_seconds_bucket[5m]))")
    assert slow is not None
    # The class of run times that 1.2 s lies in.
    assert 1.0 < slow <= 2.5


def test_what_else_is_told(watched: Watched) -> None:
    # A scrape that came too late leaves every series without a value until the next one.
    watched.wait_for('celery_task_wait_seconds{fleet="web"}', lambda value: value == 0)
    watched.wait_for('celery_autoscaler_desired_workers{fleet="web"}', lambda value: value == 1)
    watched.wait_for('celery_autoscaler_decisions_total{fleet="web",action="hold"}', lambda value: (value or 0) > 0)
    for action in ("up", "down", "bounds"):
        watched.wait_for(
            f'celery_autoscaler_decisions_total{{fleet="web",action="{action}"}}', lambda value: value is not None
        )
    watched.wait_for(
        'celery_autoscaler_observation_age_seconds{fleet="web"}', lambda value: value is not None and value < 3
    )
    watched.wait_for('celery_worker_memory_bytes{fleet="web"}', lambda value: (value or 0) > 1e7)
    watched.wait_for('celery_task_events_missed_total{fleet="web"}', lambda value: value == 0)
    watched.wait_for('sum(celery_autoscaler_metric_unknown{fleet="web"})', lambda value: value == 0)


def test_a_broker_that_is_gone_is_not_an_empty_queue(watched: Watched) -> None:
    host = watched.scaled.host
    host.run("systemctl", "stop", "redis-server")
    try:
        watched.wait_for('celery_autoscaler_metric_unknown{fleet="web",metric="queue_depth"}', lambda value: value == 1)
        assert watched.prometheus.ask('celery_queue_length{queue="web"}') == []
        watched.wait_for("sum(celery_autoscaler_events_connected)", lambda value: value == 0)
    finally:
        host.run("systemctl", "start", "redis-server")
    watched.wait_for('celery_queue_length{queue="web"}', lambda value: value == 0)
    watched.wait_for("sum(celery_autoscaler_events_connected)", lambda value: value == 1)
    watched.wait_for("sum(celery_autoscaler_event_gaps_total)", lambda value: (value or 0) >= 1)
