# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real workers with the lifecycle module, and a service manager that listens to them.

CELERY_TEST_PYTHON names another interpreter to run the workers with, e.g. of a virtualenv with an older Celery.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from muejam_bed.shell import wait_until

HERE = Path(__file__).parent
MODULE_DIRECTORY = HERE.parents[2] / "roles" / "worker" / "files"
PYTHON = os.environ.get("CELERY_TEST_PYTHON") or sys.executable
START_SECONDS = 60.0
# The command it is put before runs as process 1 of a PID namespace, as in a container, and ends with it.
FIRST = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--pid", "--fork", "--kill-child"]


class Manager:
    """The notification socket of a service manager.

    It is read all the time, as a service manager does: the kernel keeps eleven messages, and holds up who sends more.
    """

    def __init__(self, abstract: bool = False) -> None:
        # The path of a unix socket may not be longer than 107 bytes, and pytest's directories can be.
        self.path = f"/tmp/mj-notify-{uuid.uuid4().hex[:12]}"
        self.address = "@" + self.path if abstract else self.path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + self.path if abstract else self.path)
        # Of whole messages, each put in place at once.
        self.heard: list[tuple[float, list[str]]] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        while text := self.socket.recv(4096).decode():
            self.heard.append((time.monotonic(), text.split("\n")))

    def receive(self) -> list[str]:
        """Return all lines received so far."""
        return [line for _at, lines in list(self.heard) for line in lines]

    def pings(self, since: float = 0.0) -> int:
        """Return how many watchdog pings came since a time of the monotonic clock."""
        return sum("WATCHDOG=1" in lines for at, lines in list(self.heard) if at >= since)

    def said(self, text: str) -> bool:
        """Return whether a line with this text came."""
        return any(text in line for line in self.receive())

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.socket.getsockname())
        self.reader.join(10)
        self.socket.close()
        with contextlib.suppress(FileNotFoundError):
            Path(self.path).unlink()


class Worker:
    """One worker process, its files and its service manager."""

    def __init__(
        self,
        directory: Path,
        name: str,
        broker_url: str,
        arguments: tuple[str, ...] = (),
        *,
        settings: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
        watchdog: float = 1.5,
        abstract: bool = False,
        mingle: bool = False,
        fault: str = "",
        first: bool = False,
    ) -> None:
        self.directory = directory
        self.node = f"{name}@test"
        self.journal = directory / "journal"
        self.status_file = directory / f"{name}.json"
        self.log_file = directory / f"{name}.log"
        self.fault_file = directory / f"{name}.fault"
        if fault:
            self.fault_file.write_text(fault)
        if first and subprocess.run([*FIRST, "true"], capture_output=True, check=False).returncode:
            pytest.skip("this user may not make a PID namespace here")
        self.first = first
        self.manager = Manager(abstract)
        variables = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CELERY", "COV"))},
            "PYTHONPATH": f"{HERE}:{MODULE_DIRECTORY}",
            "CELERY_BROKER_URL": broker_url,
            "LIFECYCLE_JOURNAL": str(self.journal),
            "LIFECYCLE_FAULT": str(self.fault_file),
            "LIFECYCLE_SETTINGS": json.dumps(settings or {}),
            "CELERY_LIFECYCLE_STATUS_FILE": str(self.status_file),
            "CELERY_LIFECYCLE_CONFIG": "a-fingerprint",
            "NOTIFY_SOCKET": self.manager.address,
            "WATCHDOG_USEC": str(int(watchdog * 1e6)),
            **(environment or {}),
        }
        command = [
            *(FIRST if first else []),
            PYTHON, "-m", "celery", "-A", "lifecycle_app", "worker", "--loglevel", "INFO", "--hostname", self.node,
            "--include", "muejam_celery_lifecycle,lifecycle_faults",
            *([] if mingle else ["--without-mingle", "--without-gossip"]), *arguments,
        ]  # fmt: skip
        with self.log_file.open("wb") as log:
            # Its own process group, so that a failing test can end the pool processes too.
            self.process = subprocess.Popen(
                command, env=variables, cwd=directory, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def wait(self, condition: Any, seconds: float, what: str, alive: bool = True) -> Any:
        """Poll; on failure show the worker's log and what the manager heard."""

        def evidence() -> str:
            heard = "\n".join(self.manager.receive()[-20:])
            return f"--- manager heard\n{heard}\n--- worker's log\n{self.log[-6000:]}\n--- {what}"

        def checked() -> Any:
            met = condition()
            assert met or not alive or self.process.poll() is None, f"{evidence()}: the worker ended"
            return met

        return wait_until(checked, seconds, evidence, every=0.02)

    def wait_said(self, text: str) -> None:
        """Wait until the manager has heard a line with this text, of a worker that may have ended."""
        self.wait(lambda: self.manager.said(text), 5, text, alive=False)

    def wait_ready(self) -> None:
        self.wait(lambda: "READY=1" in self.manager.receive(), START_SECONDS, "READY=1")

    def status(self) -> dict[str, Any]:
        """Return the status file's content, empty when there is none."""
        try:
            content: dict[str, Any] = json.loads(self.status_file.read_text())
        except FileNotFoundError:
            return {}
        return content

    def age(self) -> float:
        """Return the age of the status file's content in seconds."""
        return time.monotonic() - float(self.status()["monotonic"])

    def wait_state(self, state: str, seconds: float = 10.0) -> None:
        self.wait(lambda: self.status().get("state") == state, seconds, f"state {state}")

    def order(self, command: Callable[..., Any], argument: str) -> None:
        """Give a command of app.control; return when the worker has obeyed."""
        # A broadcast on Redis reaches those alone who have subscribed, which a worker may do after it consumes.
        given = partial(command, argument, destination=[self.node], reply=True, timeout=2, limit=1)
        self.wait(given, 20, "the worker answers")

    def wait_asked_to_drain(self) -> None:
        """Wait until the worker has heeded a signal; it may be through with it all by then."""
        self.wait(lambda: "Stop requested" in self.log, 10, "it drains", alive=False)

    def term(self) -> None:
        if self.first:
            # unshare waits for the worker, and does not pass signals on.
            psutil.Process(self.process.pid).children()[0].terminate()
        else:
            self.process.send_signal(signal.SIGTERM)

    def wait_exit(self, seconds: float = 30.0) -> int:
        self.wait(lambda: self.process.poll() is not None, seconds, "the worker's end", alive=False)
        return int(self.process.returncode)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self.manager.close()


class Workers:
    """The workers of one test, all on one broker, and what their tasks did."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running: list[Worker] = []
        self.numbers = itertools.count(1)

    def start(self, broker_url: str, *arguments: str, **options: Any) -> Worker:
        """Start a worker and return at once."""
        worker = Worker(self.directory, f"w{next(self.numbers)}", broker_url, arguments, **options)
        self.running.append(worker)
        return worker

    def start_ready(self, broker_url: str, *arguments: str, **options: Any) -> Worker:
        """Start a worker and return when it is ready."""
        worker = self.start(broker_url, *arguments, **options)
        worker.wait_ready()
        return worker

    def journal(self, word: str = "done") -> list[str]:
        """Return what the tasks wrote after C(word), in order."""
        try:
            lines = (self.directory / "journal").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [line.split(" ", 1)[1] for line in lines if line.startswith(word + " ")]

    def counted(self) -> collections.Counter[int]:
        """Return how often each task began."""
        return collections.Counter(int(number) for number in self.journal("begun"))

    def close(self) -> None:
        for worker in self.running:
            worker.close()
