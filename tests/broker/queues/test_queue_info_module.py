# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module queue_info, run by Ansible as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from broker_servers import RabbitServer, RedisServer
from broker_traffic import traffic

PASSWORD = "not-a-real-password"


def run(arguments: dict[str, Any], *options: str, python: str = sys.executable) -> tuple[bool, dict[str, Any], str]:
    """Return whether the module succeeded, its result, and all that Ansible printed."""
    done = subprocess.run(
        [
            sys.executable, "-m", "ansible", "adhoc", "localhost", "--connection", "local",
            "--module-name", "muejam.celery.queue_info", "--args", json.dumps(arguments),
            "--extra-vars", json.dumps({"ansible_python_interpreter": python}), *options,
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0"},
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert "=> {" in done.stdout, output
    start = done.stdout.index("=> {") + 3
    result, _end = json.JSONDecoder().raw_decode(done.stdout[start:])
    return done.returncode == 0, result, output


@pytest.fixture
def broker(start_redis: Callable[..., RedisServer]) -> RedisServer:
    server = start_redis(password=PASSWORD)
    with traffic(server.url) as app:
        queue = app.declare("celery")
        app.send(queue, 3, 0)
        app.send(queue, 36, 6)
        app.take(queue, 1)
    return server


@pytest.mark.parametrize("options", [[], ["--check"], ["--check", "--diff"]])
def test_result(broker: RedisServer, options: list[str]) -> None:
    arguments = {
        "broker_url": broker.url,
        "queues": ["celery", "mistyped"],
        # Each of these numbers must stay readable in the result, although the option is kept out of the logs.
        "transport_options": {"priority_steps": [0, 3, 6, 9], "visibility_timeout": 3600},
    }
    succeeded, result, output = run(arguments, "-vvv", *options)
    assert succeeded, output
    assert result["changed"] is False
    assert result["queues"] == [
        {
            "name": "celery",
            "exists": True,
            "waiting": 38,
            "waiting_by_priority": {"0": 2, "3": 0, "6": 36, "9": 0},
            "unacknowledged": 1,
            "consumers": None,
        },
        {
            "name": "mistyped",
            "exists": False,
            "waiting": 0,
            "waiting_by_priority": {"0": 0, "3": 0, "6": 0, "9": 0},
            "unacknowledged": 0,
            "consumers": None,
        },
    ]
    assert PASSWORD not in output


def test_all_queues_and_limits_of_the_reading_as_warnings(broker: RedisServer) -> None:
    broker.client().hset("unacked", "tag", "not of kombu")
    succeeded, result, output = run({"broker_url": broker.url})
    assert succeeded, output
    assert [queue["name"] for queue in result["queues"]] == ["celery"]
    assert result["queues"][0]["unacknowledged"] is None
    assert "Unacknowledged messages are unknown" in output


def test_in_the_interpreter_of_the_tools(broker: RedisServer, tmp_path: Path) -> None:
    """The interpreter that Ansible chose has none of the libraries; the module goes on in another that has."""
    venv.create(tmp_path / "bare", symlinks=True)
    bare = str(tmp_path / "bare" / "bin" / "python")
    arguments = {"broker_url": broker.url, "queues": ["celery"], "tools_python": sys.executable}
    succeeded, result, output = run(arguments, python=bare)
    assert succeeded, output
    assert result["queues"][0]["waiting"] == 38
    succeeded, result, output = run({**arguments, "tools_python": str(tmp_path / "none")}, "-vvv", python=bare)
    assert not succeeded
    assert "Failed to import the required Python library (celery)" in result["msg"]
    assert "tools_python" in result["msg"]
    assert PASSWORD not in json.dumps(result)


def test_failure(broker: RedisServer) -> None:
    url = broker.url.replace(PASSWORD, "wrong-password")
    succeeded, result, output = run({"broker_url": url}, "-vvv")
    assert not succeeded
    assert result["msg"].startswith(f"Could not connect to the broker redis://:********@127.0.0.1:{broker.port}/0: ")
    assert "Check the user and the password" in result["msg"]
    # Not in all of the output: of a task given on the command line Ansible repeats the source.
    assert "wrong-password" not in json.dumps(result)
    assert "Traceback" not in output
    broker.kill()
    succeeded, result, output = run({"broker_url": f"redis://127.0.0.1:{broker.port}/0"})
    assert not succeeded
    assert f"redis://127.0.0.1:{broker.port}/0" in result["msg"]
    assert "Nothing listens there" in result["msg"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"timeout": 0}, "timeout must be more than 0"),
        ({"queues": [""]}, "must not contain an empty name"),
        ({"broker": "x"}, "Unsupported parameters"),
        ({"ssl": "perhaps"}, "ssl is true, false or a dictionary"),
    ],
)
def test_bad_input(arguments: dict[str, Any], says: str) -> None:
    succeeded, result, _output = run({"broker_url": f"redis://:{PASSWORD}@127.0.0.1:1/0", **arguments})
    assert not succeeded
    assert says in result["msg"]


def test_rabbitmq(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    with traffic(rabbitmq_vhost) as app:
        app.send(app.declare("celery"), 2)
    arguments = {
        "broker_url": rabbitmq_vhost,
        "queues": ["celery", "mistyped"],
        "management_url": rabbitmq_server.management_url,
    }
    succeeded, result, output = run(arguments, "-vvv")
    assert succeeded, output
    assert [queue["exists"] for queue in result["queues"]] == [True, False]
    assert [queue["consumers"] for queue in result["queues"]] == [0, None]
    assert "guest:guest" not in output
