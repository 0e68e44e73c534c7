# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks take empty inputs as not given, and leave their results behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from gathered import gathered

from ansible_collections.muejam.celery.plugins.filter import diagnose as diagnose_filters
from ansible_collections.muejam.celery.plugins.filter import fleets as fleet_filters

ROOT = Path(__file__).parents[3]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
VARIABLES = yaml.safe_load((ROOT / "playbooks/autoscale.yml").read_text())[0]["vars"]


def rendered(variable: str, **given: Any) -> Any:
    variables = {"autoscale_fleet": {"policy": {"target": {"wait_time": "30s"}}}, **given}
    return Templar(DataLoader(), variables=variables).template(trust_as_template(VARIABLES[variable]))


@pytest.mark.parametrize(
    ("given", "applies"),
    [
        ({}, True),
        ({"apply": ""}, True),
        ({"apply": None}, True),
        ({"apply": True}, True),
        ({"apply": "no"}, False),
        ({"apply": "false"}, False),
        ({"apply": False}, False),
        ({"apply": 0}, False),
        ({"apply": "0"}, False),
    ],
)
def test_a_cycle_is_applied_unless_told_otherwise(given: dict[str, Any], applies: bool) -> None:
    assert rendered("autoscale_applies", **given) is applies


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ({}, {"target": {"wait_time": "30s"}}),
        ({"policy": ""}, {"target": {"wait_time": "30s"}}),
        ({"policy": " "}, {"target": {"wait_time": "30s"}}),
        ({"policy": None}, {"target": {"wait_time": "30s"}}),
        ({"policy": {}}, {}),
        ({"policy": "limits: {max_workers: 4}"}, "limits: {max_workers: 4}"),
    ],
)
def test_the_fleets_policy_holds_unless_another_is_given(given: dict[str, Any], policy: object) -> None:
    assert rendered("autoscale_policy", **given) == policy


@pytest.mark.parametrize("known", [{"global_keyprefix": "app:", "visibility_timeout": 99}, {}, None])
@pytest.mark.parametrize("given", [{}, None, "", {"visibility_timeout": 7200}, '{"visibility_timeout": 7200}'])
def test_transport_options_are_laid_over_those_of_the_app(known: dict[str, Any] | None, given: object) -> None:
    given_over = {"visibility_timeout": 7200} if given else {}
    found = rendered(
        "autoscale_options", autoscale_reading={"transport_options": known}, autoscale_transport_options=given
    )
    assert found == {**(known or {}), **given_over}


def test_transport_options_that_nobody_sets() -> None:
    assert rendered("autoscale_options", autoscale_reading={}) == {}


@pytest.mark.parametrize(
    ("fleets", "told"),
    [
        ([{"name": "web", "app": "proj"}], True),
        ([{"name": "web", "app": "other"}], False),
        # What is known is of the app that it had before.
        ([{"name": "web", "command": ["/bin/x", "%i"]}], False),
        ([], False),
    ],
)
def test_the_status_speaks_of_the_app_that_the_fleet_has(fleets: list[dict[str, Any]], told: bool) -> None:
    here = {"celery_worker_fleets": fleets, "apps_here": {"web": {"app": "proj", "remote_control": False}}}
    shown = status([], **here)
    assert "web on a: 0 wanted" in shown
    assert ("worker_enable_remote_control off" in shown) is told


def test_the_status_shows_every_worker_in_its_phase() -> None:
    phases = ("consuming", "consuming", "starting", "ending", "draining", "down")
    workers = [
        {"name": f"web-{number}@a", "phase": phase, "state": "failed, exit-code" if phase == "down" else ""}
        for number, phase in enumerate(phases, 1)
    ]
    answer = {"name": "web-1@a", "state": "online", "active": 1, "concurrency": 4, "reserved": 0, "processed": 9}
    shown = status(workers, status_workers={"results": [{"item": "web", "workers": [answer]}]})
    assert "web on a: 5 wanted, 2 running, 1 starting, 1 draining" in shown
    rows = [line.split(maxsplit=7) for line in shown.splitlines() if line.startswith("  web-")]
    assert rows[0] == ["web-1@a", "running", "online", "1/4", "0", "9", "?"]
    assert [row[1] for row in rows] == ["running", "running", "starting", "ending", "draining", "down"]
    assert rows[-1][-1] == "failed, exit-code"


def test_the_status_of_workers_that_could_not_be_read() -> None:
    assert "web on a: its workers could not be read\n" in status(None)
    assert "web on a: systemd hangs" in status(None, "status_unread.txt.j2")
    result = json.loads(status(None, "status_result.json.j2"))["web"]
    assert {result[key] for key in ("wanted", "running", "starting", "draining", "workers", "queues")} == {None}


def test_the_result_of_the_status() -> None:
    phases = ("consuming", "down", "draining")
    result = json.loads(status([{"name": phase, "phase": phase} for phase in phases], "status_result.json.j2"))
    counts = {"wanted": 2, "running": 1, "starting": 0, "draining": 1}
    assert result == {"web": {"described": True, **counts, "workers": None, "queues": None}}


def status(workers: list[dict[str, Any]] | None, template: str = "status.txt.j2", **more: Any) -> str:
    """A template of the playbook status, for the host `a` with the fleet `web`."""
    here = {
        "celery_worker_fleets": [{"name": "web"}],
        "fleets_here": ["web"],
        "apps_here": {},
        "fleets_read": {"fleets": {"web": {"workers": workers, "problem": "systemd hangs" if workers is None else ""}}},
        "status_workers": {},
        "status_queues": {},
        **more,
    }
    hosts = {"ansible_play_hosts": ["a"], "ansible_play_hosts_all": ["a"], "hostvars": {"a": here}}
    return templated(template, {**here, **hosts, "status_described": here["celery_worker_fleets"]})


def templated(template: str, variables: dict[str, Any]) -> str:
    """The text that a template of a playbook makes."""
    templar = Templar(DataLoader(), variables=variables)
    environment = templar.environment if hasattr(templar, "environment") else templar._engine.environment
    for filters in (fleet_filters, diagnose_filters):
        for name, function in filters.FilterModule().filters().items():
            environment.filters[f"muejam.celery.{name}"] = function
    shown = templar.template(trust_as_template((ROOT / "playbooks/templates" / template).read_text()))
    return shown if isinstance(shown, str) else json.dumps(shown)


def diagnosis(**more: Any) -> dict[str, Any]:
    """What the playbook diagnose leaves behind of the host `a` with the fleet `web`, of which tasks wait."""
    found = gathered(5)
    results = {
        f"diagnose_{what}": {"results": [{"item": "web", **found[what]}]} for what in ("queues", "workers", "journal")
    }
    here = {
        "diagnose_autoscaler": {"results": [{"item": what, **found[what]} for what in ("status", "history")]},
        **{
            f"diagnose_{what}": {"results": [{"item": "web", "skipped": True}]}
            for what in ("alerts", "memory", "finished")
        },
        **results,
        "fleets_here": ["web"],
        "fleets_read": {"fleets": {"web": found["reading"]}},
        **more,
    }
    described = {"diagnose_described": [{"name": "web", "policy": {"limits": {"max_workers": 2}}}], "in_cluster": False}
    variables = {**here, **described, "inventory_hostname": "a", "hostvars": {"a": here}}
    return json.loads(templated("diagnose_result.json.j2", variables))


def test_the_diagnosis_of_what_was_gathered() -> None:
    found = diagnosis()["web"]
    assert list(found) == ["not_scaling_up", "scaling_too_aggressively", "tasks_timing_out", "memory_leak"]
    assert {each["verdict"] for each in found.values()} == {"no"}
    keys = {"title", "verdict", "says", "evidence", "next_step", "runbook"}
    assert all(each.keys() == keys for each in found.values())
    assert all((ROOT / each["runbook"]).is_file() for each in found.values())


def test_the_diagnosis_where_next_to_nothing_was_answered() -> None:
    skipped = {"results": [{"item": "web", "skipped": True}]}
    silent = {
        "results": [
            {"item": what, "rc": 2, "msg": "[Errno 2] No such file or directory"} for what in ("status", "history")
        ]
    }
    found = diagnosis(
        diagnose_queues=skipped, diagnose_workers=skipped, diagnose_journal=skipped, diagnose_autoscaler=silent
    )
    assert {each["verdict"] for each in found["web"].values()} == {"cannot tell"}
    assert diagnosis(fleets_here=[]) == {}


def test_a_diagnosis_is_told() -> None:
    yes = {"title": "memory leak", "verdict": "yes", "says": "it grows", "evidence": ["web-1@a: +9 MiB"]}
    yes |= {"next_step": "Restart.", "runbook": "docs/runbooks/memory-leak.md"}
    no = {**yes, "title": "tasks timing out", "verdict": "no", "says": "none", "evidence": [], "next_step": ""}
    hosts = {
        "a": {"celery_result": {"fleets": {"web": {"leak": yes, "timeouts": no}}}},
        "b": {"celery_result": {"fleets": {}}},
    }
    shown = templated("diagnose.txt.j2", {"ansible_play_hosts": ["a", "b"], "hostvars": hosts})
    assert shown.splitlines() == [
        "web on a:",
        "  memory leak: YES: it grows",
        "      web-1@a: +9 MiB",
        "    next: Restart.",
        "    runbook: docs/runbooks/memory-leak.md",
        "  tasks timing out: no: none",
        "no fleet on b",
    ]
    results = [{"item": "web", "status": -1, "msg": "refused"}, {"item": "mail", "skipped": True}]
    hosts = {
        "a": {"diagnose_alerts": {"results": results}, "diagnose_memory": {"results": [{"item": "web", "status": 200}]}}
    }
    among = {"ansible_play_hosts": ["a"], "ansible_play_hosts_all": ["a", "b"], "hostvars": hosts}
    unread = [line for line in templated("diagnose_unread.txt.j2", among).splitlines() if line]
    assert unread == ["b was not reached", "web on a, alerts of Prometheus: refused"]


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: str(path.stem))
def test_every_playbook_leaves_the_result_that_the_readme_tells(playbook: Path) -> None:
    *_others, last = yaml.safe_load(playbook.read_text())
    tasks = [*last["tasks"], *last.get("post_tasks", [])]
    [result] = [task for task in tasks if task.get("ansible.builtin.import_tasks") == "tasks/result.yml"]
    [row] = re.findall(
        rf"^\| `{playbook.stem}` \| .*$", (ROOT / "README.md").read_text().split("| Playbooks |")[1], re.M
    )
    told = row.rstrip(" |").rsplit("|", 1)[1]
    assert all(f"`{key}`" in told for key in result["vars"]["result"])


def of_pause(template: str, **given: Any) -> Any:
    """Render a text with the variables of the playbook pause."""
    play = yaml.safe_load((ROOT / "playbooks/pause.yml").read_text())[0]
    show = next(task for task in play["tasks"] if task["name"] == "Show")
    trusted = {name: trust_as_template(text) for name, text in {**play["vars"], **show["vars"]}.items()}
    here = {"hostvars": {"a": given}, "inventory_hostname": "a", "fleet": "web", "ansible_check_mode": False}
    message = show["ansible.builtin.debug"]["msg"]
    variables = {**trusted, **here, **given, "message": trust_as_template(message)}
    return Templar(DataLoader(), variables=variables).template(trust_as_template(template))


@pytest.mark.parametrize(
    ("paused", "check", "says"),
    [
        ({"after": None, "before": None, "changed": False}, False, "not paused"),
        ({"after": None, "before": {"workers": 1}, "changed": True}, False, "not paused any more"),
        ({"after": None, "before": {"workers": 1}, "changed": True}, True, "would be not paused any more"),
        (
            {"after": {"workers": 3, "until": None}, "before": None, "changed": True, "sized_by": "autoscaler"},
            True,
            "would be paused at 3 until it is lifted, for the autoscaler",
        ),
        (
            {
                "after": {"workers": 0, "until": "2026-12-05T06:00:00+01:00", "by": "alice"},
                "changed": False,
                "sized_by": "scheduled runs",
            },
            False,
            "paused at 0 until 2026-12-05T06:00:00+01:00 (by alice), for the scheduled runs",
        ),
        ({"skipped": True, "changed": False}, False, "not on this host"),
    ],
)
def test_a_pause_is_told(paused: dict[str, Any], check: bool, says: str) -> None:
    assert of_pause("{{ message }}", paused=paused, ansible_check_mode=check) == f"web on a: {says}"


DONE = {
    "before": 1,
    "after": 3,
    "started": ["web-2", "web-3"],
    "stopped": ["web-1"],
    "restarted": ["web-1"],
    "unchanged": [],
}


@pytest.mark.parametrize(
    ("playbook", "given", "done"),
    [
        ("scale", {"scaled": DONE}, "started, 1 {}drained and stopped"),
        ("drain", {"drained": {"results": [{**DONE, "item": "web"}]}}, "drained and stopped"),
        ("rolling_restart", {"restarted": DONE}, "restarted, 0 up to date"),
    ],
)
def test_a_rehearsal_does_not_say_that_it_is_done(playbook: str, given: dict[str, Any], done: str) -> None:
    *_others, play = yaml.safe_load((ROOT / f"playbooks/{playbook}.yml").read_text())
    [show] = [task for task in play["tasks"] if task["name"] == "Show"]
    trusted = {name: trust_as_template(text) for name, text in show.get("vars", {}).items()}
    for check, would in ((False, ""), (True, "would be ")):
        here = {"inventory_hostname": "a", "fleet": "web", "ansible_check_mode": check}
        message = trust_as_template(show["ansible.builtin.debug"]["msg"])
        told = Templar(DataLoader(), variables={**trusted, **here, **given}).template(message)
        assert would + done.format(would) in told
        assert ("would" in told) is check
