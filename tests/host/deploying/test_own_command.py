# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet whose application starts its workers by a program of its own: deployed, limited, scaled, and removed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from deployment import BROKER_URL, PASSWORD
from load import Load
from playing import recap

from muejam_bed import demo_app
from muejam_bed.shell import wait_until
from muejam_bed.systemd_host import SystemdHost

PROGRAM = "/usr/local/bin/shop"
# It takes no argument of `celery worker`, and does not know of this collection.
SOURCE = f"""#!{demo_app.APP}/venv/bin/python
import sys
from celery_demo.app import app
assert sys.argv[1] == "run-worker"
# A worker that has a task must not take the other one's too.
app.conf.task_acks_late = True
app.worker_main(["worker", "-n", sys.argv[2], "-Q", "own", "-c", "1", "--prefetch-multiplier", "1"])
"""
FLEET: dict[str, Any] = {
    "name": "own",
    "workers": 2,
    "command": [PROGRAM, "run-worker", "own-%i@%H"],
    "virtualenv": f"{demo_app.APP}/venv",
    "packages": ["celery[redis]==5.7.0"],
    "broker_url": BROKER_URL,
    "queues": ["own"],
    "environment": {"DEMO_LEDGER": f"{demo_app.LEDGERS}/own.jsonl", "PYTHONPATH": demo_app.APP},
    "read_write_paths": [demo_app.LEDGERS],
    "drain_timeout": 300,
    "memory_max": "300M",
    "cpu_quota": "50%",
}
SECONDS = 120.0  # longer than it takes until workers are told to stop, and shorter than a drain may take
TRACES = ("/etc/systemd/system/celery-worker-own@.service", "/etc/celery-worker/own.env", "/var/lib/celery-worker/own")


@dataclass(frozen=True)
class Shop:
    """The host, and how its fleet is deployed, scaled and kept busy."""

    host: SystemdHost

    def deploy(self, **changes: Any) -> dict[str, int]:
        """Run the playbook deploy with other settings for the fleet, and return the counts of its recap."""
        done = self.try_to_deploy(**changes)
        assert done.returncode == 0, done.stdout
        return recap(done)

    def try_to_deploy(self, **changes: Any) -> subprocess.CompletedProcess[str]:
        """The same, whatever becomes of it."""
        return self.host.playbook("playbooks/deploy.yml", extra_vars=self._variables(changes), check=False)

    def remove(self) -> dict[str, int]:
        """Run the role of the workers alone: the whole playbook may last longer than a task."""
        play = [{"hosts": "celery_workers", "become": True, "roles": ["muejam.celery.worker"]}]
        return recap(self.host.playbook(play, extra_vars=self._variables({"state": "absent"})))

    def _variables(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "celery_broker_type": "redis",
            "celery_broker_password": PASSWORD,
            "celery_worker_fleets": [{**FLEET, **changes}],
        }

    def running(self) -> list[str]:
        """The units whose workers run."""
        listed = self.host.output(
            "systemctl", "list-units", "--plain", "--no-legend", "--state=active", "celery-worker-own@*"
        )
        return [line.split()[0] for line in listed.splitlines()]

    def told(self) -> dict[str, Any]:
        """What the workers say of themselves: with half a processor each, not always in time."""
        return self.host.result("muejam.celery.worker_info", {"broker_url": BROKER_URL}, check=False)

    def active(self) -> int:
        """How many tasks they are known to run."""
        return sum(worker["active"] or 0 for worker in self.told().get("workers", []))

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Have both workers in the middle of a task; at the end both were done, once, and after the stop began."""
        load = Load(self.host, "own", BROKER_URL)
        load.send(2, SECONDS, SECONDS)
        wait_until(lambda: self.active() == 2, 45, self.told)
        yield
        wait_until(lambda: load.left() == 0, 360, load.evidence)
        assert sorted(run["id"] for run in load.runs()) == sorted(load.sent)
        stopped = self.host.output(
            "sh", "-c", "journalctl -u 'celery-worker-own@*' -o short-unix | grep Stopping | tail -n 1 | cut -d' ' -f1"
        )
        assert min(run["ended"] for run in load.runs()) > float(stopped)


@pytest.fixture(scope="module")
def shop(systemd_host: SystemdHost) -> Shop:
    """A host on which the fleet was deployed."""
    demo_app.bring(systemd_host.name)
    systemd_host.put(PROGRAM, SOURCE)
    systemd_host.run("chmod", "0755", PROGRAM)
    shop = Shop(systemd_host)
    shop.deploy()
    return shop


def test_a_second_run_changes_nothing(shop: Shop) -> None:
    assert shop.deploy() == {"changed": 0, "unreachable": 0, "failed": 0}


def test_its_workers_are_known_by_the_number_in_their_command(shop: Shop) -> None:
    def online() -> bool:
        states = [(worker["name"].partition("@")[0], worker["state"]) for worker in shop.told().get("workers", [])]
        return sorted(states) == [("own-1", "online"), ("own-2", "online")]

    wait_until(online, 30, shop.told)


def test_its_limits_are_those_of_the_kernel(shop: Shop) -> None:
    group = shop.host.output("systemctl", "show", "--property=ControlGroup", "--value", "celery-worker-own@1.service")

    def limit(*files: str) -> list[str]:
        # Version 1 of the control groups has a tree for each controller, version 2 has one.
        return shop.host.run("cat", *(f"/sys/fs/cgroup/{file}" for file in files), check=False).stdout.split()

    memory = limit(f"memory{group}/memory.limit_in_bytes", f"{group}/memory.max")
    assert memory == [str(300 * 1024**2)]
    quota, period = limit(f"cpu{group}/cpu.cfs_quota_us", f"cpu{group}/cpu.cfs_period_us", f"{group}/cpu.max")
    assert int(quota) / int(period) == 0.5


def test_scaling_in_waits_for_its_tasks(shop: Shop) -> None:
    with shop.busy():
        scaled = shop.host.result("muejam.celery.scale", {"fleet": "own", "workers": 1})
        assert (scaled["before"], scaled["after"], scaled["draining"]) == (2, 1, [])
    assert len(shop.running()) == 1
    assert shop.host.result("muejam.celery.scale", {"fleet": "own", "workers": 2})["after"] == 2


def test_a_command_that_dies_at_once_is_noticed_at_once(shop: Shop) -> None:
    began = time.monotonic()
    wrong = shop.try_to_deploy(command=[PROGRAM, "nonsense", "own-%i@%H"], start_timeout=1800)
    assert wrong.returncode != 0
    assert time.monotonic() - began < 900
    # The last lines of what it said, and what the hook says of it.
    assert "AssertionError" in wrong.stdout, wrong.stdout
    assert "its process has ended before it consumed" in wrong.stdout
    shop.deploy()


def test_it_goes_when_its_tasks_are_done_and_leaves_nothing(shop: Shop) -> None:
    with shop.busy():
        assert shop.remove()["changed"] > 0
    assert shop.running() == []
    for trace in TRACES:
        assert shop.host.run("test", "-e", trace, check=False).returncode != 0, trace
    assert "celery-worker-own" not in shop.host.output("systemctl", "list-unit-files", "--no-legend")
    assert shop.deploy(state="absent") == {"changed": 0, "unreachable": 0, "failed": 0}
