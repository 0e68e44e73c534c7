# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker with the lifecycle module tells the probes of its pod or container."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import psutil
import pytest
from broker_servers import RedisServer
from lifecycle_worker import Worker, Workers
from task_sender import sender

from muejam_bed.ports import free_port

POOLS = {
    "prefork": ("--pool", "prefork", "--concurrency", "2"),
    "gevent": ("--pool", "gevent", "--concurrency", "4"),
    "solo": ("--pool", "solo"),
}
NO_SERVICE_MANAGER = {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "", "CELERY_LIFECYCLE_STATUS_FILE": ""}


def get(port: int, path: str) -> tuple[int, str]:
    """Return the answer to a probe, (0, "") while there is none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as found:
            return found.status, found.read().decode().strip()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode().strip()
    except (urllib.error.URLError, ConnectionError):
        return 0, ""


def wait_for(worker: Worker, port: int, path: str, code: int, seconds: float = 30.0) -> str:
    """Wait until a probe is answered so; return the text."""
    texts: list[str] = []

    def answered() -> bool:
        found, text = get(port, path)
        texts.append(text)
        return found == code

    worker.wait(answered, seconds, f"{path} is answered {code}")
    return texts[-1]


def listeners(process: psutil.Process, port: int) -> int:
    """Return how many sockets a process has that listen on the port."""
    return sum(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in process.net_connections())


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_from_start_to_stop(workers: Workers, redis_server: RedisServer, pool: str) -> None:
    """Without a service manager and a status file, as in a pod. A task of the solo pool runs in the worker's loop."""
    port = free_port()
    environment = {**NO_SERVICE_MANAGER, "CELERY_LIFECYCLE_HTTP": str(port)}
    worker = workers.start(redis_server.url, *POOLS[pool], environment=environment, fault="slow")
    assert wait_for(worker, port, "/ready", 503) == "starting: connecting to the broker"
    assert get(port, "/alive") == (200, "alive: starting")
    worker.fault_file.unlink()
    assert wait_for(worker, port, "/ready", 200) == "consuming celery: 0 running, 0 done"
    assert get(port, "/alive") == (200, "alive: consuming")

    code, text = get(port, "/status")
    assert (code, json.loads(text)["state"], json.loads(text)["node"]) == (200, "consuming", worker.node)
    processes = psutil.Process(worker.process.pid).children(recursive=True)
    assert len(processes) == (2 if pool == "prefork" else 0)
    assert [listeners(each, port) for each in (psutil.Process(worker.process.pid), *processes)] == [
        1,
        *[0 for _ in processes],
    ]

    with sender(redis_server.url) as app:
        app.send_task("work", [1, 10.0])
        worker.wait(lambda: workers.journal("begun") == ["1"], 20, "the task runs")
        worker.term()
        assert wait_for(worker, port, "/ready", 503).startswith("draining: 1 running")
        since = time.monotonic()
        # Longer than a loop may stand still.
        while time.monotonic() - since < 4.0:
            assert get(port, "/alive") == (200, "alive: draining")
            assert get(port, "/ready")[0] == 503
            time.sleep(0.25)
        assert workers.journal() == []
    assert worker.wait_exit(30) == 0, worker.log
    assert workers.journal() == ["1"]
    assert get(port, "/alive") == (0, "")
    assert "muejam_celery_lifecycle:" not in worker.log, worker.log


def test_a_stuck_loop_is_neither_alive_nor_ready(workers: Workers, redis_server: RedisServer) -> None:
    """The answer comes though nothing runs any more that gevent has patched."""
    port = free_port()
    environment = {**NO_SERVICE_MANAGER, "CELERY_LIFECYCLE_HTTP": str(port), "CELERY_LIFECYCLE_ALIVE_WITHIN": "4"}
    worker = workers.start(redis_server.url, *POOLS["gevent"], environment=environment)
    wait_for(worker, port, "/ready", 200, 60)
    worker.fault_file.write_text("stuck")
    text = wait_for(worker, port, "/alive", 503, 20)
    assert re.fullmatch(r"the worker's loop has not turned for \d+\.\d seconds; 4 are allowed", text)
    assert get(port, "/ready")[0] == 503
    worker.fault_file.unlink()
    wait_for(worker, port, "/alive", 200, 20)
    assert get(port, "/ready")[0] == 200


def test_a_lost_broker_is_no_dead_worker(workers: Workers, start_redis: Callable[..., RedisServer]) -> None:
    port, server = free_port(), start_redis()
    environment = {**NO_SERVICE_MANAGER, "CELERY_LIFECYCLE_HTTP": str(port)}
    worker = workers.start(server.url, *POOLS["prefork"], environment=environment)
    wait_for(worker, port, "/ready", 200, 60)
    server.kill()
    assert wait_for(worker, port, "/ready", 503).startswith("reconnecting")
    since = time.monotonic()
    while time.monotonic() - since < 4.0:
        assert get(port, "/alive")[0] == 200
        time.sleep(0.25)
    start_redis(settings={"port": str(server.port)})
    wait_for(worker, port, "/ready", 200, 60)


def test_a_port_in_use_is_told_once_and_the_worker_goes_on(workers: Workers, redis_server: RedisServer) -> None:
    port = free_port()
    environment = {"CELERY_LIFECYCLE_HTTP": str(port)}
    first = workers.start_ready(redis_server.url, *POOLS["solo"], environment=environment)
    second = workers.start_ready(redis_server.url, *POOLS["solo"], environment=environment)
    fault = f"listening on port {port} (CELERY_LIFECYCLE_HTTP) failed"
    assert (fault in first.log, second.log.count(fault)) == (False, 1)
    assert json.loads(get(port, "/status")[1])["node"] == first.node
    second.term()
    assert second.wait_exit() == 0
