# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module policy_info, and it and the playbook policy run by Ansible as a user runs them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible.module_utils import basic

from ansible_collections.muejam.celery.plugins.modules import policy_info

COLLECTION = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0"}
SCHEDULE = {
    "timezone": "Europe/Berlin",
    "windows": [{"name": "peak", "time": "08:00-18:00", "min_workers": 5}],
}


def run(arguments: dict[str, Any]) -> tuple[bool, dict[str, Any], str]:
    """Return whether the module succeeded, its result, and all that it printed."""
    given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    with (
        mock.patch.object(basic, "_ANSIBLE_ARGS", given),
        # ansible-core before 2.19 has none.
        mock.patch.object(basic, "_ANSIBLE_PROFILE", "legacy", create=True),
        redirect_stdout(io.StringIO()) as printed,
        pytest.raises(SystemExit) as ended,
    ):
        policy_info.main()
    return not ended.value.code, json.loads(printed.getvalue()), printed.getvalue()


def run_by_ansible(arguments: dict[str, Any], *options: str) -> tuple[bool, dict[str, Any], str]:
    """Return whether the module succeeded, its result, and all that Ansible printed."""
    done = subprocess.run(
        [
            sys.executable, "-m", "ansible", "adhoc", "localhost", "--connection", "local",
            "--module-name", "muejam.celery.policy_info", "--args", json.dumps(arguments),
            "--extra-vars", json.dumps({"ansible_python_interpreter": sys.executable}), *options,
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=ENVIRONMENT,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert "=> {" in done.stdout, output
    start = done.stdout.index("=> {") + 3
    result, _end = json.JSONDecoder().raw_decode(done.stdout[start:])
    return done.returncode == 0, result, output


def test_a_window_that_comes_once_is_told_and_translated() -> None:
    once = {"name": "move", "from": "2026-12-05 01:00", "until": "2026-12-05T02:00:00Z", "max_workers": 3}
    schedule = {**SCHEDULE, "windows": [*SCHEDULE["windows"], once]}
    succeeded, result, output = run({"policy": {"schedule": schedule}, "at": "2026-12-04T23:00:00Z", "days": 1})
    assert succeeded, output
    assert [(each["from"], each["window"]) for each in result["windows"]] == [
        ("2026-12-05T00:00:00+01:00", None),
        ("2026-12-05T01:00:00+01:00", "move"),
        ("2026-12-05T03:00:00+01:00", None),
        ("2026-12-05T08:00:00+01:00", "peak"),
        ("2026-12-05T18:00:00+01:00", None),
    ]
    assert result["policy"]["schedule"]["windows"][1]["until"] == "2026-12-05T03:00:00+01:00"
    assert {"schedule": "0 1 5 12 *", "min_workers": 2, "max_workers": 3, "year": 2026} in result["schedule_entries"][
        "cron"
    ]
    kept = {language: [each["kept"] for each in told] for language, told in result["schedule_fidelity"].items()}
    assert kept == {
        "systemd": ["exact"] * 2,
        "cron": ["exact", "approximated"],
        "kubernetes": ["exact", "approximated"],
    }


def test_a_sound_policy_is_explained() -> None:
    arguments = {"policy": {"limits": {"cooldown_down": 0}, "schedule": SCHEDULE}, "at": "2026-03-28T12:00:00Z"}
    succeeded, result, output = run_by_ansible({**arguments, "days": 2}, "--check", "--diff")
    assert succeeded, output
    assert (result["changed"], result["problems"]) == (False, [])
    assert [each["path"] for each in result["advice"]] == ["limits.cooldown_down"]
    assert [(each["from"], each["window"]) for each in result["windows"]] == [
        ("2026-03-28T13:00:00+01:00", "peak"),
        ("2026-03-28T18:00:00+01:00", None),
        ("2026-03-29T08:00:00+02:00", "peak"),
        ("2026-03-29T18:00:00+02:00", None),
        ("2026-03-30T08:00:00+02:00", "peak"),
    ]
    assert result["windows"][-1]["to"] == "2026-03-30T14:00:00+02:00"
    assert result["policy"]["limits"]["max_workers"] == 20
    assert result["policy"]["scale_up"]["any"][0] == {"metric": "queue_depth", "above": 100, "for": "1m"}
    assert {each["kept"] for each in result["fidelity"]} == {"exact"}
    again, whole, output = run({"policy": result["policy"]})
    assert again, output
    assert whole["policy"] == result["policy"]


def test_a_policy_is_translated() -> None:
    options = {"workload": "web", "broker_url": "redis://:s3cr3t@redis:6379/0", "ssl": {"cert_reqs": "none"}}
    arguments = {"policy": {"schedule": SCHEDULE}, "autoscaler": "keda", "manifest_options": options}
    succeeded, result, output = run_by_ansible({**arguments, "at": "2026-03-28T12:00:00Z"}, "-vvv")
    assert succeeded, output
    assert "s3cr3t" not in output
    login, scaled, *jobs = result["manifests"]
    assert (login["kind"], scaled["kind"]) == ("TriggerAuthentication", "ScaledObject")
    assert {each["kind"] for each in jobs} == {"ServiceAccount", "Role", "RoleBinding", "CronJob"}
    assert scaled["spec"]["triggers"][0]["metadata"]["unsafeSsl"] == "true"
    assert {each["kept"] for each in result["fidelity"]} == {"exact", "approximated", "dropped"}
    assert result["schedule_entries"]["kubernetes"][0] == {
        "schedule": "0 8 * * *", "time_zone": "Europe/Berlin", "min_workers": 5, "max_workers": 20,
    }  # fmt: skip


def test_every_fault_of_the_options_is_told_at_once() -> None:
    options = {"workload": "Web", "lists": "all", "list_length": 0, "queues": [], "broker_url": "redis://:a/b@redis"}
    succeeded, result, output = run({"policy": {}, "autoscaler": "keda", "manifest_options": options})
    assert not succeeded
    assert "a/b" not in output
    for part in ("workload must be", "list_length must be 1", "queues must name", "broker_url holds '/'"):
        assert part in result["msg"]


def test_every_fault_of_a_policy_is_an_answer() -> None:
    policy = {"limits": {"min_workers": 9, "max_workers": 8, "extra": 1}, "target": {}}
    succeeded, result, output = run({"policy": policy})
    assert succeeded, output
    assert {each["path"] for each in result["problems"]} == {
        "limits.extra",
        "limits.min_workers",
        "target.wait_time",
    }
    assert "windows" not in result


def test_it_fails_on_problems_where_that_is_wanted() -> None:
    succeeded, result, _output = run({"policy": {"limits": {"min_workers": True}}, "fail_on_problems": True})
    assert not succeeded
    assert "limits.min_workers: is True, not a whole number of workers" in result["msg"]
    assert [each["path"] for each in result["problems"]] == ["limits.min_workers"]


@pytest.mark.parametrize(
    ("options", "words"), [({"at": "noon"}, "at is 'noon'"), ({"days": 0}, "days must be 1 to 366")]
)
def test_wrong_options_are_named(options: dict[str, Any], words: str) -> None:
    succeeded, result, _output = run({"policy": {}, **options})
    assert not succeeded
    assert words in result["msg"]


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventory.json"
    fleets = [
        {"name": "web", "app": "a", "broker_url": "redis://:not-a-real-password@b/0", "policy": {"schedule": SCHEDULE}},
        {"name": "mail", "app": "a", "policy": {"limits": {"min_workers": 21}}},
        {"name": "plain", "app": "a"},
    ]
    group = {"hosts": {"one": {}, "two": {}}, "vars": {"celery_worker_fleets": fleets}}
    path.write_text(json.dumps({"celery_workers": group}), encoding="utf-8")
    return path


def play(inventory: Path, *options: str) -> tuple[bool, str]:
    command = [
        sys.executable, "-m", "ansible", "playbook", "-i", str(inventory),
        str(COLLECTION / "playbooks" / "policy.yml"), *options,
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
    assert "not-a-real-password" not in done.stdout + done.stderr
    return done.returncode == 0, done.stdout + done.stderr


def test_the_playbook_tells_what_a_person_wants_to_know(inventory: Path) -> None:
    succeeded, output = play(inventory, "-e", "at=2026-03-28T12:00:00Z", "-e", "fleet=web", "--check")
    assert succeeded, output
    assert output.count("web on one, two: its policy can be used") == 1
    assert "2026-03-29 08:00  2026-03-29 18:00  5 to 20       peak" in output
    assert "mail" not in output


def test_the_playbook_fails_after_it_told_every_fault(inventory: Path) -> None:
    succeeded, output = play(inventory, "-vv")
    assert not succeeded
    assert "problem: limits.min_workers: a floor of 21 is above the ceiling of 20" in output
    assert "web on one, two" in output


def test_a_fleet_without_policy_is_said_to_have_none(inventory: Path) -> None:
    succeeded, output = play(inventory, "-e", "fleet=plain")
    assert succeeded, output
    assert "no fleet plain of this inventory has a policy" in output
