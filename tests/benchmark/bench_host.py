# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemd host for a benchmark, and Ansible to use it."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests" / "bed"))

from muejam_bed import container, demo_app, reach  # noqa: E402
from muejam_bed.demo_app import APP, LEDGERS  # noqa: E402
from muejam_bed.engine import ensure_engine  # noqa: E402
from muejam_bed.shell import BedError, checkout_key, say  # noqa: E402
from muejam_bed.systemd_host import SystemdHost  # noqa: E402

PASSWORD = "not-a-real-password"
URL = f"redis://:{PASSWORD}@127.0.0.1:6379/0"
LEDGER = f"{LEDGERS}/ledger.jsonl"


class BenchHost(SystemdHost):
    """A host that is up, with Redis and fleets of the demo's application once they are deployed."""

    def reached_by(self) -> dict[str, Any]:
        """Return the variables of the way by which the limits were found: runs of Ansible are compared with others."""
        return reach.by_the_engine()

    def deploy(self, fleet: dict[str, Any], **variables: Any) -> str:
        """Deploy Redis, one fleet of the demo's application, and its autoscaler where it has a policy.

        Returns what Ansible printed.
        """
        say("deploying")
        demo_app.bring(self.name)
        whole = {
            "app": "celery_demo",
            "working_directory": APP,
            "virtualenv": f"{APP}/venv",
            "packages": ["celery[redis]==5.7.0"],
            "broker_url": URL,
            "environment": {"DEMO_LEDGER": LEDGER},
            "read_write_paths": [LEDGERS],
            **fleet,
        }
        given = {
            "celery_broker_type": "redis",
            "celery_broker_password": PASSWORD,
            "celery_worker_fleets": [whole],
            **variables,
        }
        return self.playbook("playbooks/deploy.yml", extra_vars=given).stdout

    def send(self, count: int, seconds: float, queue: str) -> list[dict[str, Any]]:
        """Publish tasks of one length at once, and return them."""
        told = self.output(
            *("env", f"--chdir={APP}", f"CELERY_BROKER_URL={URL}", f"{APP}/venv/bin/python", "-m", "celery_demo.send"),
            *("--count", str(count), "--min", str(seconds), "--max", str(seconds), "--queue", queue),
        )
        return [json.loads(line) for line in told.splitlines()]

    def finished(self) -> list[dict[str, Any]]:
        """Return what ran so far."""
        return [json.loads(line) for line in self.run("cat", LEDGER, check=False).stdout.splitlines()]

    def log(self) -> list[dict[str, Any]]:
        """Return what the autoscaler wrote down."""
        text = self.output("journalctl", "-u", "celery-autoscaler", "--output=cat", "--no-pager")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@contextmanager
def bench_host(purpose: str) -> Iterator[BenchHost]:
    """Bring up a host for as long as the block lasts. Raises BedError when that fails."""
    name = f"muejam-{checkout_key()}-{purpose}"
    ensure_engine()
    with tempfile.TemporaryDirectory(prefix="muejam-benchmark-") as scratch:
        try:
            container.up(name, fresh=True)
            yield BenchHost(name, Path(scratch))
        finally:
            container.down(name)


def judged(measure: Callable[[BenchHost, int], list[float]], purpose: str, limit: float, about: str) -> int:
    """Measure ratios on a host of its own, in as many rounds as asked for, and say whether the worst keeps the limit.

    Returns what the program ends with: 0 kept, 1 broken, 2 not measured.
    """
    commands = argparse.ArgumentParser(description=about.splitlines()[0])
    commands.add_argument("--rounds", type=int, default=3)
    rounds = commands.parse_args().rounds
    try:
        with bench_host(purpose) as host:
            worst = max(measure(host, rounds))
    except BedError as error:
        print(f"{purpose}: {error}", file=sys.stderr)
        return 2
    kept = worst <= limit
    print(f"ratio {worst:.2f}, allowed {limit}: {'kept' if kept else 'BROKEN'}")
    return 0 if kept else 1
