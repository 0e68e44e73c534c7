# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When tasks are said to time out: as many as the alert wants, and of all runs as many."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.worker import request
from gathered import NOW, failed, firing, gathered, printed, status, verdict
from kombu import Connection, Message

import documented
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.history import History
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import PROCESSED_TOTAL
from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose import timeouts


def of(found: dict[str, Any]) -> dict[str, Any]:
    return verdict("tasks_timing_out", found)


def journal(soft: int, hard: int = 0, both: int = 0, task: str = "shop.bill") -> dict[str, Any]:
    """What workers logged: so many runs that reached the soft limit, the hard one, and both."""
    kinds = ["Soft"] * soft + ["Hard"] * hard
    where = "[2026-01-05 07:59:00,000: WARNING/MainProcess]"
    lines = [f"{where} {kind} time limit (300s) exceeded for {task}[id-{number}]" for number, kind in enumerate(kinds)]
    for number in range(both):
        lines += [f"Soft time limit (300s) exceeded for {task}[both-{number}]"]
        lines += [f"Hard time limit (360.5s) exceeded for {task}[both-{number}]"]
    return {"rc": 0, "stdout": "\n".join(["-- Boot --", *lines]), "stderr": ""}


@pytest.mark.parametrize(
    ("soft", "hard", "both", "finished", "expected"),
    [
        (0, 0, 0, 500, "no"),
        (2, 0, 0, 10, "no"),
        (3, 0, 0, 10, "yes"),
        (1, 1, 1, 10, "yes"),
        # One run that reached both limits is one run.
        (1, 0, 1, 10, "no"),
        # 1 % of all may.
        (5, 0, 0, 500, "no"),
        (6, 0, 0, 500, "yes"),
        # Of how many is not known.
        (3, 0, 0, None, "cannot tell"),
        (2, 0, 0, None, "no"),
    ],
)
def test_as_many_as_the_alert_wants(soft: int, hard: int, both: int, finished: int | None, expected: str) -> None:
    counts = () if finished is None else (100.0, None, 100.0 + finished)
    told = of(gathered(journal=journal(soft, hard, both), finished=counts))
    assert told["verdict"] == expected, told
    if expected == "yes":
        assert f"{soft + hard + both} runs reached their time limit" in told["says"]
        assert any(line.startswith(f"shop.bill: {soft + hard + both} times (") for line in told["evidence"])


def test_a_count_that_begins_anew_is_none_below_zero() -> None:
    told = of(gathered(journal=journal(3), finished=(9000.0, 9100.0, 40.0)))
    assert told["verdict"] == "yes"
    assert told["evidence"][0] == "3 of 140 runs within the hour, 2.1%"


def test_limits_and_waits_are_told() -> None:
    busy = status(metrics={"wait_time": 400.0, "cpu": 99.0})
    told = of(gathered(journal=journal(2, 0, 2), fleet=busy, finished=(0.0, 10.0)))
    assert "shop.bill: 4 times (hard limit of 360.5 s, soft limit of 300 s)" in told["evidence"]
    assert any("waits does so for 7 min" in line for line in told["evidence"])
    assert "CPU is used up" in told["next_step"]
    assert "Compare p95" in of(gathered(journal=journal(4), finished=(0.0, 10.0)))["next_step"]


def test_nobody_can_tell() -> None:
    told = of(gathered(journal=failed("journalctl: unrecognized option '--grep=x'", 1)))
    assert told["verdict"] == "cannot tell"
    assert "unrecognized option" in told["says"]
    nothing = of(gathered(journal=failed("Failed to add filter for units: No data available", 1)))
    assert (nothing["verdict"], "nothing of its workers" in nothing["says"]) == ("cannot tell", True)
    assert of(gathered(journal={"rc": 1, "stdout": "", "stderr": ""}))["verdict"] == "no"
    assert of({**gathered(journal={}), "in_cluster": True})["verdict"] == "cannot tell"


def test_an_alert_that_fires_is_enough() -> None:
    fires = firing("CeleryTaskTimeouts")
    assert of({**gathered(journal={}, alerts=fires), "in_cluster": True})["verdict"] == "yes"
    assert of(gathered(alerts=fires))["verdict"] == "yes"


def test_its_numbers_are_those_of_the_alert() -> None:
    (rule,) = (rule for rule in documented.alerts() if rule["alert"] == timeouts.ALERT)
    assert re.findall(r"(>=?) ([\d.]+)", rule["expr"]) == [(">", f"{timeouts.SHARE:g}"), (">=", f"{timeouts.FEWEST}")]


def test_celery_writes_what_is_looked_for() -> None:
    text = Path(request.__file__).read_text(encoding="utf-8")
    for kind in ("Soft", "Hard"):
        assert f"'{kind} time limit (%ss) exceeded for %s[%s]'" in text


def nothing() -> None:
    pass


def celery_logs(caplog: pytest.LogCaptureFixture, *runs: tuple[str, str, bool, float]) -> str:
    """What a worker of Celery itself writes of runs that reach their limits.

    :param runs: of each its task, its id, whether the limit is the soft one, and the limit in seconds.
    """
    app = Celery("shop", broker="memory://", backend=None, set_as_current=False)
    app.conf.worker_send_task_events = False
    caplog.clear()
    with caplog.at_level(logging.WARNING), Connection("memory://") as connection:
        for name, task_id, soft, limit in runs:
            app.task(name=name)(nothing)
            message = Message(
                body="[[], {}, {}]",
                channel=connection.default_channel,
                content_type="application/json",
                content_encoding="utf-8",
                headers={"id": task_id, "task": name, "argsrepr": "('a secret',)"},
                delivery_tag="1",
            )
            app.finalize()
            request.Request(message, app=app, task=app.tasks[name], hostname="web-1@app1").on_timeout(soft, limit)
    form = logging.Formatter(app.conf.worker_log_format.replace("%(processName)s", "MainProcess"))
    return "\n".join(form.format(record) for record in caplog.records) + "\n"


def of_ansible(stdout: str) -> dict[str, Any]:
    """As the playbook registers the answer of journalctl, one of a loop over fleets."""
    return {
        "item": "web",
        "ansible_loop_var": "item",
        "changed": False,
        "cmd": ["journalctl", "--unit=celery-worker-web@*", "--since=-1h", "--grep=time limit .* exceeded"],
        "rc": 0,
        "stdout": stdout.rstrip("\n"),
        "stdout_lines": stdout.splitlines(),
        "stderr": "",
        "stderr_lines": [],
        "failed": False,
        "failed_when_result": False,
        "msg": "",
    }


def kept(finished: int) -> dict[str, Any]:
    """What the command history prints where so many tasks ended within the hour, a look each five seconds."""
    history = History()
    for look in range(721):
        done = {"queue_depth": 0.0, PROCESSED_TOTAL: 5000.0 + finished * look / 720}
        at = NOW - 3602 + 5 * look
        history.record({"interval": 5, "fleets": [status(at=at, metrics=done, worker_memory={})]})
    return printed({"last": "1h", "fleets": history.as_seen("1h")})


def test_what_celery_and_the_autoscaler_write_says_yes(caplog: pytest.LogCaptureFixture) -> None:
    lines = celery_logs(
        caplog,
        ("shop.tasks.bill", "0b7c", True, 300),
        ("shop.tasks.bill", "0b7c", False, 360),
        ("shop.tasks.bill", "5d1e", True, 300),
        ("shop.tasks.mail", "77aa", False, 12.5),
    )
    assert lines.count("exceeded for") == 4, lines
    told = of(gathered(journal=of_ansible(lines), history=kept(200)))
    assert (told["verdict"], told["says"]) == ("yes", "3 runs reached their time limit within the hour"), told
    numbers, *tasks = told["evidence"]
    assert re.fullmatch(r"3 of (19\d|200) runs within the hour, 1\.5%", numbers), told
    assert "shop.tasks.bill: 2 times (hard limit of 360 s, soft limit of 300 s)" in tasks
    assert "shop.tasks.mail: 1 time (hard limit of 12.5 s)" in tasks
    assert told["runbook"] == "docs/runbooks/tasks-timing-out.md"
    # The same among as many runs as 1 % of them may be.
    assert of(gathered(journal=of_ansible(lines), history=kept(400)))["verdict"] == "no"
