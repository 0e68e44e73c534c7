# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runbooks are short, and their commands exist."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import celery
import pytest
import yaml

import documented
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.cli import parser
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings import defaults, variables
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names

TROUBLES = ("not-scaling-up", "scaling-too-aggressively", "tasks-timing-out", "memory-leak")
RUNBOOKS = sorted(documented.RUNBOOKS.iterdir())
UNITS = {"celery-autoscaler", "celery-autoscaler-scale.socket", "redis-server", "rabbitmq-server"}
KNOWN = {"ansible", "ansible-playbook", "bin/celery-autoscaler", "celery-autoscaler", "curl", "journalctl", "ls", "ps"}
SELECTORS = {names.selector_text("web"), f"{names.NAME_LABEL}={defaults.CLUSTER_NAME}"}
KNOWN |= {"rabbitmq-diagnostics", "redis-cli", "systemctl", "systemd-cgtop"}


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def commands(path: Path) -> list[str]:
    (block,) = re.findall(r"```console\n(.*?)```", text(path), re.S)
    return [re.sub(r"\s{2,}#.*", "", line) for line in block.splitlines()]


def in_a_cluster(path: Path) -> list[str]:
    """The commands for a fleet whose workers are pods."""
    blocks = re.findall(r"```shell\n(.*?)```", text(path), re.S)
    return [re.sub(r"\s{2,}#.*", "", line) for block in blocks for line in block.splitlines()]


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
    assert 15 <= len(text(path).splitlines()) <= 42
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


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_what_stands_there_for_hosts_stands_there_for_a_cluster(path: Path) -> None:
    found = in_a_cluster(path)
    assert 1 <= len(found) <= 3
    assert "In a cluster" in text(path).partition("```shell")[0]
    for command in found:
        words = shlex.split(command.partition(" | ")[0].partition(" > ")[0])
        assert words[0] == "kubectl", command
        if words[1] == "get" and "--raw" in words:
            continue
        assert words[1:3] == ["-n", "shop"], command
        options = words[3:]
        assert options[0] in {"auth", "describe", "exec", "get", "logs", "port-forward", "top"}, command
        assert all(one in SELECTORS for one in after(options, "-l")), command
        named = [word.partition("/")[2] for word in options if word.startswith("deployment")]
        named += after(options, "lease")
        assert set(named) <= {defaults.CLUSTER_NAME, names.object_name("web")}, command
        # Of several pods it shows ten lines of each otherwise.
        assert options[0] != "logs" or "-l" not in options or re.search("--tail=", command), command
        if options[0] == "exec":
            assert options[options.index("--") + 2] in verbs(), command
        assert options[0] != "port-forward" or options[-1] == str(variables.default("metrics_port")), command


def calls() -> Iterator[tuple[str, list[str]]]:
    """Each program that a runbook calls, those in its text included, with where that stands: its words."""
    for path in RUNBOOKS:
        inline = re.findall(r"`((?:ansible-playbook|celery-autoscaler) [^`]*)`", text(path))
        for command in [*commands(path), *(" ".join(one.split()) for one in inline)]:
            lexer = shlex.shlex(command, posix=True, punctuation_chars="|>")
            lexer.commenters, lexer.whitespace_split = "", True
            words: list[str] = []
            for word in [*lexer, "|"]:
                if word == "|":
                    yield f"{path.stem}: {command}", words
                    words = []
                else:
                    words.append(word)


CALLS = list(calls())


def of(*programs: str) -> list[tuple[str, list[str]]]:
    return [(where, words) for where, words in CALLS if words[0] in programs]


def after(words: list[str], *flags: str) -> list[str]:
    """What is given to a flag, each time."""
    return [given for flag, given in zip(words, words[1:]) if flag in flags]


def test_every_kind_of_call_is_looked_at() -> None:
    assert len(of("celery-autoscaler", "bin/celery-autoscaler")) > 15
    assert len(of("ansible-playbook")) > 10
    assert len(of("journalctl")) > 15
    assert len(of("grep")) > 8


def test_options_of_the_command_exist() -> None:
    for where, words in of("celery-autoscaler", "bin/celery-autoscaler"):
        asked = words[1 : words.index(">")] if ">" in words else words[1:]
        try:
            parser(lambda add: None, lambda *drawn: ()).parse_args(asked)
        except SystemExit:
            pytest.fail(where)


def test_inputs_of_playbooks_exist() -> None:
    for where, words in of("ansible-playbook"):
        (name,) = (word for word in words if word.startswith("muejam.celery."))
        playbook = (documented.CHECKOUT / f"playbooks/{name.rpartition('.')[2]}.yml").read_text(encoding="utf-8")
        inputs = set(re.findall(r"^#   (\w+) +(?:required|optional) ", playbook, re.M))
        assert {given.partition("=")[0] for given in after(words, "-e")} <= inputs, where
        flags = {word for word in words[1:] if word.startswith("-")}
        assert flags <= {"-i", "-e", "--check", "--limit"}, where


def test_options_of_modules_exist() -> None:
    fragments = "".join(
        path.read_text(encoding="utf-8") for path in (documented.CHECKOUT / "plugins/doc_fragments").glob("*.py")
    )
    shared = set(re.findall(r"^  (\w+):$", fragments, re.M))
    for where, words in of("ansible"):
        (name,) = after(words, "-m")
        module = importlib.import_module(f"ansible_collections.muejam.celery.plugins.modules.{name.rpartition('.')[2]}")
        options = set(yaml.safe_load(module.DOCUMENTATION).get("options", {})) | shared
        assert {given.partition("=")[0] for given in after(words, "-a")} <= options, where


def test_series_that_are_looked_for_exist() -> None:
    names = [name for family in documented.exported() for name in documented.series(family)]
    for where, words in of("grep"):
        found = re.fullmatch(r"\^(celery_\w*)(?:\\\((.*)\\\))?", words[-1])
        if found:
            endings = (found[2] or "").split(r"\|")
            assert all(any(name.startswith(found[1] + end) for name in names) for end in endings), where
    for where, words in of("curl"):
        assert f":{variables.default('metrics_port')}/metrics" in words[-1], where


def test_words_that_are_looked_for_in_logs_are_written_there() -> None:
    ours = documented.CHECKOUT / "plugins/module_utils/autoscaler"
    of_service = "".join(path.read_text(encoding="utf-8") for path in ours.rglob("*.py"))
    of_celery = "".join(path.read_text(encoding="utf-8") for path in Path(celery.__file__).parent.rglob("*.py"))
    of_pods = [command for path in RUNBOOKS for command in in_a_cluster(path) if " | grep -E " in command]
    assert len(of_pods) > 10
    for command in of_pods:
        written = of_service if "name=celery-autoscaler" in command else of_celery
        pattern = after(shlex.split(command), "-E")[0]
        # A line of the log is JSON.
        wanted = re.findall(r'"(\w+)"', pattern) or pattern.split("|")
        assert all(one in written for one in wanted), command
    for where, words in of("journalctl"):
        # What systemd and the kernel write is theirs.
        if "-k" in words or "Main process exited" in where:
            continue
        written = of_service if "celery-autoscaler" in after(words, "-u") else of_celery
        for pattern in after(words, "-g"):
            assert all(one in written for one in pattern.split("|")), where
