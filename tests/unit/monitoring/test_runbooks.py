# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runbooks are short, and their commands exist."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

import documented
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.cli import parser

TROUBLES = ("not-scaling-up", "scaling-too-aggressively", "tasks-timing-out", "memory-leak")
RUNBOOKS = sorted(documented.RUNBOOKS.iterdir())
UNITS = {"celery-autoscaler", "celery-autoscaler-scale.socket", "redis-server", "rabbitmq-server"}
KNOWN = {"ansible", "ansible-playbook", "bin/celery-autoscaler", "celery-autoscaler", "curl", "journalctl", "ls", "ps"}
KNOWN |= {"rabbitmq-diagnostics", "redis-cli", "systemctl", "systemd-cgtop"}


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def commands(path: Path) -> list[str]:
    (block,) = re.findall(r"```console\n(.*?)```", text(path), re.S)
    return [re.sub(r"\s{2,}#.*", "", line) for line in block.splitlines()]


def verbs() -> set[str]:
    whole = parser(lambda add: None, lambda *drawn: ())
    (actions,) = (action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    return set(actions.choices)


def test_each_alert_and_each_trouble_has_one_and_nobody_else() -> None:
    wanted = [documented.runbook(rule["alert"]) for rule in documented.alerts()]
    wanted += [documented.RUNBOOKS / f"{trouble}.md" for trouble in TROUBLES]
    assert sorted(wanted) == RUNBOOKS
    for rule in documented.alerts():
        assert text(documented.runbook(rule["alert"])).startswith(f"# {rule['alert']}\n")


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_says_which_cause_it_is_and_what_to_do(path: Path) -> None:
    assert 15 <= len(text(path).splitlines()) <= 35
    assert len(commands(path)) == 3
    assert [part in text(path) for part in ("| It shows | Cause |", "**Do**", "**Do not**")] == [True] * 3


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_what_it_names_exists(path: Path) -> None:
    for name in re.findall(r"muejam\.celery\.(\w+)", text(path)):
        kinds = (f"playbooks/{name}.yml", f"plugins/modules/{name}.py")
        assert any((documented.CHECKOUT / kind).is_file() for kind in kinds), name
    for verb in re.findall(r"celery-autoscaler ([a-z]+) --", text(path)):
        assert verb in verbs()
    for link, _anchor in re.findall(r"\]\(([^)#]+)(#[^)]*)?\)", text(path)):
        assert (path.parent / link).is_file(), link
    exported = {name for family in documented.exported() for name in documented.series(family)}
    for metric in re.findall(r"`(celery_(?:autoscaler_events|workers?|tasks?)_\w+)", text(path)):
        assert metric in exported, metric


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_its_commands_are_known(path: Path) -> None:
    for command in commands(path):
        program, *words = command.split()
        assert program in KNOWN, command
        if program in ("systemctl", "journalctl"):
            units = [
                word.strip("'") for word in words if word.startswith(("celery-", "'celery-", "redis-", "rabbitmq-"))
            ]
            assert all(unit in UNITS or unit.startswith("celery-worker-web@") for unit in units), command
        if program == "celery-autoscaler":
            assert words[0] in verbs()
