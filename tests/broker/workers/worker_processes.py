# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain Celery workers as processes of a test, without anything of ours in them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from task_sender import sender

from muejam_bed.shell import wait_until

HERE = Path(__file__).parent
START_SECONDS = 60.0


class Worker:
    """One worker. It can be frozen and thawed, told to stop, and killed."""

    def __init__(
        self,
        directory: Path,
        url: str,
        node: str,
        pool: str = "threads",
        arguments: Sequence[str] = (),
        settings: dict[str, Any] | None = None,
        answers: bool = True,
    ) -> None:
        """Start it.

        C(answers): whether commands reach it, which with some prefixes kombu does not manage.
        """
        self.url = url
        self.node = node
        self.settings = settings or {}
        self.answers = answers and self.settings.get("worker_enable_remote_control", True)
        self.log_file = directory / f"{node}.log"
        variables = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CELERY"))},
            "PYTHONPATH": str(HERE),
            "CELERY_BROKER_URL": url,
            "WORKER_SETTINGS": json.dumps(self.settings),
            "WORKER_JOURNAL": str(directory / "journal"),
            # Celery refuses pickle to root, which tests may well be.
            "C_FORCE_ROOT": "1",
        }
        command = [
            sys.executable, "-m", "celery", "-A", "worker_app", "worker", "-n", node, "--pool", pool, "-l", "INFO",
            "--without-mingle", "--without-gossip", *arguments,
        ]  # fmt: skip
        with self.log_file.open("wb") as log:
            # Its own process group, so that a failing test can end the pool's processes too.
            self.process = subprocess.Popen(
                command, env=variables, cwd=directory, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def wait_ready(self) -> None:
        """Return when it consumes and answers."""

        def ready() -> bool:
            assert self.process.poll() is None, f"{self.node} ended:\n{self.log}"
            return f"{self.node} ready." in self.log

        wait_until(ready, START_SECONDS, f"{self.node} is ready")
        if self.answers:
            # With Redis it subscribes to commands only after it has logged that it is ready.
            with sender(self.url, **self.settings) as app:
                wait_until(
                    lambda: app.control.ping([self.node], timeout=1.0, limit=1),
                    START_SECONDS,
                    f"{self.node} answers",
                )

    def freeze(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Stop it as systemd does, and wait until it is gone."""
        self.process.terminate()
        wait_until(lambda: self.process.poll() is not None, 30, f"{self.node} ends")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


class Workers:
    """The workers of one test and the tasks that they ran."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[Worker] = []

    def start(self, url: str, *nodes: str, **options: Any) -> list[Worker]:
        """Start workers together and return when all consume."""
        workers = [Worker(self.directory, url, node, **options) for node in nodes]
        self.started += workers
        for worker in workers:
            worker.wait_ready()
        return workers

    def start_pools(self, url: str, pools: dict[str, str], **options: Any) -> None:
        """Start one worker per node name and pool, together."""
        workers = [Worker(self.directory, url, node, pool=pool, **options) for node, pool in pools.items()]
        self.started += workers
        for worker in workers:
            worker.wait_ready()

    @property
    def done(self) -> list[int]:
        """The numbers of the tasks that ran, as often as they ran."""
        try:
            return sorted(int(line) for line in (self.directory / "journal").read_text().split())
        except FileNotFoundError:
            return []

    def close(self) -> None:
        for worker in self.started:
            worker.kill()
