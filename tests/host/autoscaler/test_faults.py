# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service while things break around it: nothing lost, no scale-in on ignorance, every event in the log."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from load import Load

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.replay import replay
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from muejam_bed import demo_app
from muejam_bed.shell import wait_until
from muejam_bed.systemd_host import SystemdHost

SERVICE = "celery-autoscaler.service"
STATE = "/var/lib/celery-autoscaler/state.json"
COOLDOWN_UP, COOLDOWN_DOWN = 3.0, 4.0
CALM = 2.0
FLOOR, CEILING = 1, 4
BURST = 120
LENGTH = 8.0
OUTAGE = 60.0
KILLS = 20
BROKERS = {
    "redis": ("redis://:not-a-real-password@127.0.0.1:6379/0", "redis-server.service"),
    "rabbitmq": ("amqp://celery:not-a-real-password@127.0.0.1:5672/celery", "rabbitmq-server.service"),
}
POLICY = {
    "limits": {
        "min_workers": FLOOR,
        "max_workers": CEILING,
        "cooldown_up": COOLDOWN_UP,
        "cooldown_down": COOLDOWN_DOWN,
        "scale_up_max": 1,
        "scale_down_max": 1,
    },
    "scale_up": {"any": [{"metric": "queue_depth", "above": 5}], "add": {"workers": 1}},
    "scale_down": {"all": [{"metric": "queue_depth", "below": 1, "for": CALM}], "remove": {"workers": 1}},
}


class Autoscaled:
    """A host with a fleet that scales itself within seconds."""

    def __init__(self, host: SystemdHost, broker: str) -> None:
        self.host = host
        self.url, self.broker_unit = BROKERS[broker]
        self.load = Load(host, "web", self.url)

    def log(self, since: str = "") -> list[dict[str, Any]]:
        """What the service wrote down, from a cursor of the journal on."""
        after = [f"--after-cursor={since}"] if since else []
        text = self.host.output("journalctl", "-u", SERVICE, "--output=cat", "--no-pager", *after)
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def cursor(self) -> str:
        """Where the journal ends now."""
        shown = self.host.output("journalctl", "-u", SERVICE, "--lines=0", "--show-cursor", "--no-pager")
        return shown.rpartition("cursor: ")[2].strip()

    def last(self) -> dict[str, Any]:
        """The last cycle, as the status file shows it."""
        status: dict[str, Any] = json.loads(self.host.output("cat", "/run/celery-autoscaler/status.json"))
        fleet: dict[str, Any] = status["fleets"][0]
        return fleet

    def workers(self) -> int | None:
        """How many workers the service counted last; None while it does not say."""
        try:
            count: int | None = self.last().get("workers")
        except Exception:  # the file is being replaced, or the service is down
            return None
        return count

    def wait_for_workers(self, count: int, seconds: float = 90) -> None:
        wait_until(lambda: self.workers() == count, seconds, lambda: self.log()[-5:])

    def wait_for_growth(self, seconds: float = 90) -> None:
        """Wait until the fleet is above its floor."""
        wait_until(lambda: (self.workers() or 0) > FLOOR, seconds, lambda: self.log()[-5:])

    def all_in_the_middle(self, workers: int) -> bool:
        """Whether so many workers each have fetched a task of C(LENGTH) seconds, and none is about to fetch the next.

        Only with such tasks, of which each worker has done one.
        """
        ended = {run["node"]: run["ended"] for run in self.load.runs()}
        since = [time.time() - at for at in ended.values()]
        return len(since) == workers and all(0.5 < seconds < LENGTH - 1.0 for seconds in since)

    def wait_for_event(self, event: str, since: str, seconds: float = 40) -> dict[str, Any]:
        """Wait until an event was written down, and return it."""
        found: list[dict[str, Any]] = []

        def seen() -> bool:
            found.extend(line for line in self.log(since) if line.get("event") == event)
            return bool(found)

        wait_until(seen, seconds, lambda: self.log(since)[-5:], every=0.5)
        return found[0]


@pytest.fixture(scope="module", params=list(BROKERS))
def autoscaled(
    request: pytest.FixtureRequest, host_for: Callable[[ExitStack, str], SystemdHost]
) -> Iterator[Autoscaled]:
    """A host with one of the brokers."""
    with ExitStack() as hosts:
        host = host_for(hosts, f"faults-{request.param}")
        demo_app.bring(host.name)
        fleet = {
            "name": "web",
            "app": "celery_demo",
            "workers": FLOOR,
            "queues": ["web"],
            "working_directory": "/opt/celery-demo",
            "virtualenv": "/opt/celery-demo/venv",
            "packages": ["celery[redis]==5.7.0"],
            "broker_url": BROKERS[request.param][0],
            "concurrency": 1,
            "prefetch_multiplier": 1,
            "acks_late": True,
            "drain_timeout": 20,
            # Longer than a status file is believed, so that there is a time in which nobody knows.
            "watchdog": 30,
            "environment": {"DEMO_LEDGER": "/var/lib/celery-demo/web.jsonl"},
            "read_write_paths": ["/var/lib/celery-demo"],
            "policy": POLICY,
        }
        if request.param == "redis":
            # A clock that is set by an hour must not make Redis take a running task for one that was lost.
            fleet["visibility_timeout"] = 4 * 3600
        variables = {
            "celery_broker_type": request.param,
            "celery_broker_password": "not-a-real-password",
            "celery_worker_fleets": [fleet],
            "celery_autoscaler_interval": "1s",
        }
        host.playbook("playbooks/deploy.yml", extra_vars=variables)
        # Killed twenty times in a row it is to be there again at once.
        override = "/etc/systemd/system/celery-autoscaler.service.d/test.conf"
        host.run("sh", "-c", f"mkdir -p {Path(override).parent}; printf '[Service]\\nRestartSec=100ms\\n' > {override}")
        host.run("systemctl", "daemon-reload")
        yield Autoscaled(host, request.param)


# For what has nothing to do with the broker.
on_redis = pytest.mark.parametrize("autoscaled", ["redis"], indirect=True)


@pytest.fixture
def calm(autoscaled: Autoscaled) -> Autoscaled:
    """The same, at its floor, and with tasks of the test's own."""
    autoscaled.wait_for_workers(FLOOR)
    autoscaled.load = Load(autoscaled.host, "web", autoscaled.url)
    return autoscaled


# Python's clock, with what a file says on top of it. The clock of a container is its machine's, and not ours to set.
CLOCK = """
import time
true = time.time
def shown():
    try:
        with open("/etc/clock-is-off-by") as file:
            return true() + float(file.read())
    except (OSError, ValueError):  # there is none, or it is being written
        return true()
time.time = shown
"""


@pytest.fixture
def set_clock(calm: Autoscaled) -> Iterator[Callable[[int], None]]:
    """Set the clock of the workers and of the service, all at once, to so many seconds from the true time.

    What measures how much time went by is left alone, as it is where a true clock is set.
    """
    host = calm.host
    places = host.output("sh", "-c", "ls -d /opt/celery-demo/venv/lib/*/site-packages /opt/*/venv/lib/*/site-packages")
    files = [f"{place}/a_clock_that_is_set.{kind}" for place in set(places.split()) for kind in ("py", "pth")]

    def set_to(seconds: int) -> None:
        host.run("sh", "-c", f"echo {seconds} > /etc/clock-is-off-by")

    def restart() -> None:
        since = calm.cursor()
        # In this order: it would take a worker that restarts for one that is missing.
        host.run("systemctl", "stop", SERVICE)
        host.run("systemctl", "restart", "celery-worker-web@*.service")
        host.run("systemctl", "start", SERVICE)
        calm.wait_for_event("started", since)
        calm.wait_for_workers(FLOOR)

    for file in files:
        text = CLOCK if file.endswith(".py") else "import a_clock_that_is_set\n"
        host.put(file, text)
    restart()
    try:
        yield set_to
    finally:
        set_to(0)
        host.run("rm", *files)
        restart()


def test_a_burst_grows_the_fleet_and_calm_shrinks_it(calm: Autoscaled) -> None:
    since = calm.cursor()
    calm.load.send(BURST, 0.4, 0.6)
    calm.wait_for_workers(CEILING)
    calm.wait_for_workers(FLOOR)
    assert calm.load.left() == 0
    assert len({run["id"] for run in calm.load.runs()}) == len(calm.load.runs())
    reasons = [line["reasons"] for line in calm.log(since) if line.get("action") == "up"]
    assert all("queue_depth" in text and "is above 5" in text for text, *_more in reasons), reasons


@on_redis
def test_killed_at_random_moments_it_loses_nothing_and_keeps_its_cooldowns(calm: Autoscaled) -> None:
    chance = random.Random(20)
    since = cursor = calm.cursor()
    calm.load.send(120, 0.2, 0.8)
    for kill in range(KILLS):
        # One of four while it starts; the others at once, in the middle of a cycle, or after some.
        if kill % 4:
            calm.wait_for_event("started", cursor, 60)
        time.sleep(chance.uniform(0.0, 2.5))
        cursor = calm.cursor()
        calm.host.run("systemctl", "kill", "--signal=KILL", SERVICE, check=False)
        if kill == KILLS // 2:
            calm.load.send(60, 0.2, 0.8)
    wait_until(lambda: calm.load.left() == 0, 120, lambda: calm.log()[-3:])
    calm.wait_for_workers(FLOOR)
    runs = [run["id"] for run in calm.load.runs()]
    assert sorted(runs) == sorted(set(runs))
    assert set(calm.load.sent) <= set(runs)
    lines = calm.log(since)
    assert sum(line.get("event") == "started" for line in lines) >= KILLS // 2, lines[-1]
    cycles = [line for line in lines if "action" in line]
    assert all(FLOOR <= line["workers"] <= CEILING for line in cycles if line["workers"] is not None)
    # Killed between writing a decision down and remembering it, it has not carried it out, and decides anew. So it
    # does when the scaler refused, which still had to do with what was decided before.
    carried_out = [
        cycle
        for cycle, later in itertools.pairwise(cycles)
        if not (later.get("withdrawn") or (later.get("restarted") and later["workers"] == cycle["from"]))
    ]
    for action, cooldown in (("up", COOLDOWN_UP), ("down", COOLDOWN_DOWN)):
        at = [line["at"] for line in carried_out if line["action"] == action]
        assert all(later - earlier >= cooldown - 0.01 for earlier, later in zip(at, at[1:])), (action, at)


def test_a_broker_that_is_gone_shrinks_nothing(calm: Autoscaled) -> None:
    calm.load.send(30, LENGTH, LENGTH)
    calm.wait_for_workers(CEILING)
    since = calm.cursor()
    # Redis forgets a task that Celery is fetching in the very moment in which it ends.
    wait_until(lambda: calm.all_in_the_middle(CEILING), 60, calm.load.runs)
    calm.host.run("systemctl", "stop", calm.broker_unit)
    gone = time.monotonic()
    try:
        wait_until(lambda: "queue_depth" in calm.last().get("unknown", {}), 20, calm.last)
        before = calm.workers()
        while time.monotonic() < gone + OUTAGE:
            last = calm.last()
            assert last["workers"] == before, last
            assert last["action"] in ("hold", "bounds"), last
            time.sleep(1)
        assert "Could not" in calm.last()["unknown"]["queue_depth"]
    finally:
        calm.host.run("systemctl", "start", calm.broker_unit)
    wait_until(lambda: "queue_depth" in calm.last().get("metrics", {}), 60, lambda: calm.log(since)[-3:])
    wait_until(lambda: calm.load.left() == 0, 120, calm.last)
    calm.wait_for_workers(FLOOR)
    assert set(calm.load.sent) <= {run["id"] for run in calm.load.runs()}


def test_a_worker_that_somebody_else_ended_is_started_again(calm: Autoscaled) -> None:
    running = ["systemctl", "list-units", "--plain", "--no-legend", "--state=active", "celery-worker-web@*"]
    unit = calm.host.output(*running).split()[0]
    since = calm.cursor()
    # Not by systemd, and with exit code 0, as Flower's shutdown button does: systemd leaves it at that.
    calm.host.run("systemctl", "kill", "--kill-whom=main", "--signal=TERM", unit)
    assert len(calm.wait_for_event("workers_ended", since, 60)["workers"]) == 1
    (why,) = calm.wait_for_event("started_again", since, 60)["workers"].values()
    assert why == "dead, success"
    wait_until(lambda: unit in calm.host.output(*running), 60)
    calm.wait_for_workers(FLOOR)


def test_a_frozen_worker_is_told_of_and_nothing_shrinks_meanwhile(calm: Autoscaled) -> None:
    # The one that is left at the floor may have any number.
    running = ["systemctl", "list-units", "--plain", "--no-legend", "--state=active", "celery-worker-web@*"]
    unit = calm.host.output(*running).split()[0]
    number = unit.partition("@")[2].partition(".")[0]
    pid = calm.host.output("systemctl", "show", "--property=MainPID", "--value", unit)
    assert int(pid) > 0
    calm.host.run("kill", "-STOP", pid)
    wait_until(lambda: f"web-{number}@" in calm.last()["unknown"].get("running", ""), 20, calm.last)
    assert calm.last()["action"] in ("hold", "bounds")
    # systemd's watchdog ends it, by force after the drain timeout as it cannot hear, and starts it again.
    wait_until(lambda: calm.host.run("test", "-e", f"/proc/{pid}", check=False).returncode != 0, 120)
    wait_until(lambda: "running" in calm.last()["metrics"], 60, calm.last)


@on_redis
@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_is_set_makes_nothing_happen_sooner_or_later(
    calm: Autoscaled, set_clock: Callable[[int], None], seconds: int
) -> None:
    since = calm.cursor()
    calm.load.send(BURST, 0.4, 0.6)
    calm.wait_for_growth()
    set_clock(seconds)
    event = calm.wait_for_event("clock_stepped", since)
    assert event["seconds"] == pytest.approx(seconds, abs=1)
    calm.wait_for_workers(CEILING)
    wait_until(lambda: calm.load.left() == 0, 60, calm.last)
    calm.wait_for_workers(FLOOR)
    runs = [run["id"] for run in calm.load.runs()]
    assert sorted(runs) == sorted(set(runs))
    cycles = [line for line in calm.log(since) if "action" in line]
    assert not any(cycle["unknown"] for cycle in cycles if cycle.get("clock_stepped")), cycles
    decided = [{key: cycle[key] for key in ("at", "action", "from", "to", "reasons")} for cycle in cycles]
    again = [json.loads(line) for line in replay(parse_policy(POLICY), map(json.dumps, cycles))]
    # What was remembered of the time before is not in this part of the log; since the first step nothing of it counts.
    grown = [cycle["action"] for cycle in decided].index("up")
    assert decided[grown:] == again[grown:]
    # In the time that truly went by.
    off, at = 0.0, {"up": [], "down": [], "long": []}
    for cycle in cycles:
        off += cycle.get("clock_stepped", 0.0)
        at.get(cycle["action"], []).append(cycle["at"] - off)
        if cycle["metrics"].get("queue_depth", 0) >= 1:
            at["long"].append(cycle["at"] - off)
    for action, cooldown in (("up", COOLDOWN_UP), ("down", COOLDOWN_DOWN)):
        between = [later - earlier for earlier, later in itertools.pairwise(at[action])]
        assert between
        assert all(cooldown - 0.01 <= seconds <= cooldown + 30 for seconds in between), (action, between)
    assert at["down"][0] - at["long"][-1] >= CALM


@on_redis
@pytest.mark.parametrize("damage", ["truncate --size=40", "chmod 0", "cp /etc/hostname"])
def test_a_damaged_state_is_set_aside(calm: Autoscaled, damage: str) -> None:
    since = calm.cursor()
    calm.host.run("systemctl", "stop", SERVICE)
    calm.host.run(*damage.split(), STATE)
    calm.host.run("systemctl", "start", SERVICE)
    event = calm.wait_for_event("state_unusable", since)
    assert event["set_aside"]
    calm.load.send(20, 0.1, 0.2)
    wait_until(lambda: calm.load.left() == 0, 60)
    calm.host.run("find", "/var/lib/celery-autoscaler", "-name", "*.unusable-*", "-delete")


@on_redis
def test_a_full_disk_is_told_of_and_scaling_goes_on(calm: Autoscaled) -> None:
    folder = "/var/lib/celery-autoscaler"
    since = calm.cursor()
    calm.host.run("systemctl", "stop", SERVICE)
    calm.host.run("mount", "-t", "tmpfs", "-o", "size=16k,mode=0750,uid=celery-autoscaler", "tmpfs", folder)
    try:
        calm.host.run("sh", "-c", f"dd if=/dev/zero of={folder}/full bs=4k 2>/dev/null || true")
        calm.host.run("systemctl", "start", SERVICE)
        assert "space" in calm.wait_for_event("state_not_saved", since)["error"]
        calm.load.send(40, 0.4, 0.6)
        calm.wait_for_growth()
        calm.host.run("rm", f"{folder}/full")
        calm.wait_for_event("state_not_saved_any_more", since)
    finally:
        calm.host.run("systemctl", "stop", SERVICE)
        calm.host.run("umount", folder)
        calm.host.run("systemctl", "start", SERVICE)
    wait_until(lambda: calm.load.left() == 0, 60)
    calm.wait_for_workers(FLOOR)


@on_redis
def test_a_bad_configuration_is_refused_by_a_reload(calm: Autoscaled) -> None:
    path = "/etc/celery-autoscaler/config.json"
    since = calm.cursor()
    calm.host.run("cp", "-p", path, f"{path}.good")
    try:
        calm.host.run("sh", "-c", f"echo '{{' > {path}")
        calm.host.run("systemctl", "reload", SERVICE)
        calm.wait_for_event("reload_refused", since)
        wait_until(lambda: calm.last().get("action") == "hold", 10)
    finally:
        calm.host.run("mv", f"{path}.good", path)
    calm.host.run("systemctl", "reload", SERVICE)
    calm.wait_for_event("reloaded", since)
