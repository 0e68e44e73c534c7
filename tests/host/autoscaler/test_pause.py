# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet on a real host that somebody holds at a number: no burst scales it, no restart forgets it."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from autoscaled_host import PASSWORD, Scaled, variables
from load import Load

import documented
from muejam_bed.shell import wait_until

URL = f"redis://:{PASSWORD}@127.0.0.1:6379/0"
POLICY: dict[str, Any] = {
    "limits": {"min_workers": 1, "max_workers": 4, "cooldown_up": "1s", "cooldown_down": "1s"},
    "scale_up": {"any": [{"metric": "queue_depth", "above": 5}], "add": {"workers": 1}},
    "scale_down": {"all": [{"metric": "queue_depth", "below": 1, "for": "5s"}], "remove": {"workers": 2}},
}
PAUSE_FILE = "/var/lib/celery-worker-pauses/web.json"
METRICS = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9541/metrics', timeout=30).read().decode())"


@pytest.fixture(scope="module")
def paused(bare: Scaled) -> Scaled:
    """A host whose fleet grows within seconds, and shrinks when its queue is empty."""
    ledger = {"environment": {"DEMO_LEDGER": "/var/lib/celery-demo/web.jsonl"}}
    bare.deploy(policy=POLICY, read_write_paths=["/var/lib/celery-demo"], **ledger)
    return bare


def status(scaled: Scaled) -> dict[str, Any]:
    """What the service last saw of the fleet."""
    shown = json.loads(scaled.host.output("celery-autoscaler", "status", "--json"))
    found: dict[str, Any] = next(each for each in shown["fleets"] if each["fleet"] == "web")
    return found


def play(scaled: Scaled, *flags: str, check: bool = True, **inputs: Any) -> tuple[str, dict[str, Any]]:
    """Run the playbook pause; return what it printed, and the result that it left behind."""
    done = scaled.host.playbook(
        "playbooks/pause.yml", *flags, extra_vars={**variables(policy=POLICY), "fleet": "web", **inputs}, check=check
    )
    return done.stdout + done.stderr, {"changed": "changed=1" in done.stdout, "code": done.returncode}


def wait_for(scaled: Scaled, workers: int, paused_at: int | None, seconds: float = 60) -> None:
    def there() -> bool:
        seen = status(scaled)
        pause = seen.get("pause")
        return seen["workers"] == workers and (pause["workers"] if pause else None) == paused_at

    wait_until(there, seconds, lambda: scaled.host.journal("celery-autoscaler*")[-3000:])


def looks(scaled: Scaled) -> list[dict[str, Any]]:
    """The cycles of the fleet, as the service has logged them."""
    text = scaled.host.output("journalctl", "-u", "celery-autoscaler.service", "--output=cat", "--no-pager")
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if "action" in line and line["fleet"] == "web"]


def test_a_fleet_is_held_over_a_burst_and_a_restart_and_goes_on_when_that_is_lifted(paused: Scaled) -> None:
    wait_for(paused, 1, None)
    until = datetime.fromtimestamp(time.time() + 1800, timezone.utc).isoformat(timespec="seconds")
    asked = {"workers": 3, "until": until, "by": "alice"}
    text, rehearsed = play(paused, "--check", **asked)
    assert rehearsed["changed"], text
    assert paused.host.run("test", "-e", PAUSE_FILE, check=False).returncode == 1
    text, done = play(paused, **asked)
    assert done["changed"], text
    assert f"paused at 3 until {until} (by alice), for the autoscaler" in text
    assert not play(paused, **asked)[1]["changed"]
    assert paused.host.output("stat", "-c", "%U %a", PAUSE_FILE) == "root 644"
    wait_for(paused, 3, 3)

    load = Load(paused.host, "web", URL)
    load.send(60, 1.0, 1.0)
    wait_until(lambda: status(paused)["metrics"].get("queue_depth", 0) > 5, 20, "the burst is seen")
    seen = len(looks(paused))
    wait_until(lambda: len(looks(paused)) >= seen + 5, 30, "it looks")
    paused.host.run("systemctl", "restart", "celery-autoscaler.service")
    seen = len(looks(paused))
    wait_until(lambda: len(looks(paused)) >= seen + 5, 30, "it looks again")
    held = looks(paused)[-10:]
    assert {line["to"] for line in held} == {3}, held
    assert {line["reasons"][0] for line in held} == {f"paused at 3 until {until} (by alice)"}
    assert paused.workers("web") == [1, 2, 3]
    assert f"web: paused at 3 until {until} (by alice)" in paused.host.output("celery-autoscaler", "status")
    assert "3-3 paused" in paused.host.output("celery-autoscaler", "schedule")
    metrics = paused.host.output("python3", "-c", METRICS)
    assert 'celery_autoscaler_paused{fleet="web"} 1.0' in metrics
    assert 'celery_autoscaler_max_workers{fleet="web"} 3.0' in metrics
    info = paused.host.result("muejam.celery.fleet_info", {"fleet": "web"})
    assert info["pause"]["by"] == "alice"

    load.send(60, 1.0, 1.0)
    text, lifted = play(paused, state="absent")
    assert lifted["changed"], text
    assert "not paused any more" in text
    wait_for(paused, 4, None)
    wait_until(lambda: load.left() == 0, 120, load.evidence)
    wait_for(paused, 1, None)
    assert not play(paused, state="absent")[1]["changed"]


def test_what_holds_it_is_diagnosed(paused: Scaled) -> None:
    wait_for(paused, 1, None)
    play(paused, workers=1, by="alice")
    wait_for(paused, 1, 1)
    load = Load(paused.host, "web", URL)
    # Some wait still when the pause is lifted, after two runs of Ansible on a busy machine.
    load.send(90, 1.0, 1.0)
    wait_until(lambda: status(paused)["metrics"].get("queue_depth", 0) > 5, 20, "the burst is seen")
    asked = {**variables(policy=POLICY), "fleet": "web"}
    done = paused.host.playbook("playbooks/diagnose.yml", extra_vars=asked)
    assert "not scaling up: YES: it is paused at 1 (by alice)" in done.stdout
    assert "runbook: docs/runbooks/celery-at-ceiling.md" in done.stdout
    assert "tasks timing out: no: no run reached its time limit" in done.stdout
    assert "memory leak: cannot tell: " in done.stdout
    assert "changed=0" in done.stdout
    play(paused, state="absent")
    wait_until(lambda: load.left() == 0, 90, load.evidence)
    # It is saved when the service ends.
    paused.host.run("systemctl", "restart", "celery-autoscaler.service")
    kept = json.loads(paused.host.output("celery-autoscaler", "history"))["fleets"]["web"]
    assert "up" in [each["action"] for each in kept["decisions"]]
    assert all(each["samples"] for each in kept["memory"].values())
    done = paused.host.playbook("playbooks/diagnose.yml", extra_vars=asked)
    assert "not scaling up: no: no task waits" in done.stdout
    assert "scaling too aggressively: cannot tell: it was watched for" in done.stdout
    wait_for(paused, 1, None)


def test_commands_of_runbooks_are_understood(paused: Scaled) -> None:
    blocks = [re.findall(r"```console\n(.*?)```", path.read_text(), re.S)[0] for path in documented.RUNBOOKS.iterdir()]
    lines = sorted({re.sub(r"\s{2,}#.*", "", line) for block in blocks for line in block.splitlines()})
    # Those of the controller, of a broker of another kind, and of a program that this host lacks.
    elsewhere = ("ansible", "bin/", "rabbitmq", "redis-cli", "curl")
    tried = [line for line in lines if not line.startswith(elsewhere)]
    assert len(tried) > 20
    for line in tried:
        done = paused.host.run("sh", "-c", f"cd /tmp; {line}", check=False)
        # Nothing found, nothing running, a unit that is not there.
        assert done.returncode in (0, 1, 3, 4), (line, done.stdout, done.stderr)
        assert not re.search(
            r"[Uu]nrecognized|[Ii]nvalid|[Uu]nknown op|[Ff]ailed to (parse|compile)|rror:", done.stderr
        ), line


def test_it_is_held_outside_of_its_limits_and_ends_by_itself(paused: Scaled) -> None:
    wait_for(paused, 1, None)
    until = datetime.fromtimestamp(time.time() + 90, timezone.utc).isoformat(timespec="seconds")
    play(paused, workers=0, until=until)
    wait_for(paused, 0, 0)
    assert paused.workers("web") == []
    wait_for(paused, 1, None, 150)
    ended = next(line for line in looks(paused) if line["action"] == "bounds" and line["from"] == 0)
    assert ended["at"] >= datetime.fromisoformat(until).timestamp()
    play(paused, workers=5)
    wait_for(paused, 5, 5)
    play(paused, state="absent")
    wait_for(paused, 4, None, 30)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"workers": 1, "until": "2020-01-01 10:00"}, "which is over"),
        ({"workers": "-1"}, "Pass the fleet and how many workers each host is held at"),
        ({}, "Pass the fleet and how many workers each host is held at"),
        ({"workers": 1, "fleet": "nosuch"}, "There are: bulk, web"),
        ({"workers": 1, "fleet": "bulk"}, "nothing autoscales it"),
    ],
)
def test_what_makes_no_sense_is_refused(paused: Scaled, inputs: dict[str, Any], says: str) -> None:
    text, done = play(paused, check=False, **inputs)
    assert done["code"] != 0
    assert says in " ".join(text.split())


def test_what_others_could_have_written_sizes_nothing(paused: Scaled) -> None:
    paused.host.run("sh", "-c", f"mkdir -p {Path(PAUSE_FILE).parent} && echo nonsense > {PAUSE_FILE}")
    wait_until(lambda: status(paused)["workers"] is None, 20, lambda: status(paused))
    assert "remove the file" in json.dumps(status(paused))
    before = len(looks(paused))
    wait_until(lambda: len(looks(paused)) >= before + 3, 20, "it looks")
    assert {line["to"] for line in looks(paused)[-3:]} == {None}
    assert play(paused, state="absent")[1]["changed"]
    wait_until(lambda: status(paused)["workers"] is not None, 20, lambda: status(paused))


def test_scheduled_runs_obey_too(paused: Scaled) -> None:
    cycle = {"fleet": "bulk", "broker_url": URL, "queues": ["bulk"], "policy": POLICY}
    assert paused.host.result("muejam.celery.autoscale", cycle)["decision"]["to"] == 1
    play(paused, fleet="bulk", workers=2, by="alice")
    done = paused.host.result("muejam.celery.autoscale", cycle)
    assert (done["decision"]["action"], done["decision"]["to"]) == ("bounds", 2)
    assert done["decision"]["reasons"] == ["paused at 2 until it is lifted (by alice)"]
    assert len(done["started"]) == 1
    assert paused.host.result("muejam.celery.autoscale", cycle)["changed"] is False
    play(paused, fleet="bulk", state="absent")
    assert "paused" not in str(paused.host.result("muejam.celery.autoscale", cycle)["decision"]["reasons"])
