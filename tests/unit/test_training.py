# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/training.md is built as its reader is told, and its commands exist. That they do what it says, a soak shows."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.cli import parser
from ansible_collections.muejam.celery.plugins.module_utils.simulation.command_line import _add_simulate
from muejam_bed.exercises import AGAIN, PAGE, Exercise, Step, exercises
from muejam_bed.shell import CHECKOUT

SECTIONS = list(exercises())
TEXT = PAGE.read_text(encoding="utf-8")
# Without what stands in a file that they write.
COMMANDS = re.sub(
    r"(<<'?END'?\n).*?^END$", r"\1END", "".join(s.commands for e in SECTIONS for s in e.steps), flags=re.S | re.M
)
LINES = COMMANDS.replace("\\\n", "").splitlines()
UNITS = {"celery-worker-demo@*", "celery-autoscaler", "redis-server"}
PROGRAMS = {"cat", "celery-autoscaler", "journalctl", "ps", "systemctl", "systemd-run"}
"""That the host has."""


def read(path: str) -> str:
    return (CHECKOUT / path).read_text(encoding="utf-8")


def words(pattern: str) -> list[list[str]]:
    """What stands behind a command, up to where the next one begins."""
    return [list(_of_one_command(found)) for line in LINES for found in re.findall(rf"{pattern} (.*)", line)]


def _of_one_command(text: str) -> Iterator[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return itertools.takewhile(lambda word: not set(word) <= set(lexer.punctuation_chars), lexer)


def page(text: str, tmp_path: Path) -> list[Exercise]:
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    return list(exercises(path))


def test_there_are_seven_exercises_between_a_beginning_and_an_end() -> None:
    numbers = [section.title.partition(".")[0] for section in SECTIONS[1:-1]]
    assert numbers == ["1", "2", "3", "4", "5", "6", "7"]
    assert [SECTIONS[0].title, SECTIONS[-1].title] == ["Before you begin", "When you are done"]


@pytest.mark.parametrize("number", range(1, 8))
def test_an_exercise_has_all_its_parts(number: int) -> None:
    [text] = re.findall(rf"^## {number}\. .*?(?=^## )", TEXT, re.S | re.M)
    parts = ("\nGoal: ", "\n```console\n", "\n```text\n", "\n**Question.** ", "\n**Answer.** ", "\n**Put back**")
    places = [text.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)


def test_the_commands_are_good_shell() -> None:
    for section in SECTIONS:
        for step in section.steps:
            subprocess.run(["bash", "-n", "-c", step.commands], check=True)


def test_playbooks_exist_and_take_these_inputs() -> None:
    played = words("ansible-playbook")
    assert len(played) >= 5
    for option, inventory, playbook, *inputs in played:
        assert (option, inventory) == ("-i", "demo/inventory.yml")
        about = read(f"playbooks/{playbook.removeprefix('muejam.celery.')}.yml")
        assert set(inputs[::2]) <= {"-e"}
        for given in inputs[1::2]:
            assert given.startswith("@") or f"\n#   {given.partition('=')[0]} " in about, (playbook, given)


def test_the_autoscaler_has_these_verbs_and_options() -> None:
    taken = words("(?:on_host |bin/)celery-autoscaler")
    assert {arguments[0] for arguments in taken} >= {"check", "replay", "schedule", "simulate", "status"}
    for arguments in taken:
        # It ends the test where it does not know them.
        parser(_add_simulate, lambda *drawn: ()).parse_args(arguments)


def test_the_autoscaler_says_what_the_page_shows() -> None:
    said = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("decide", "autoscaler", "simulation")
        for path in (CHECKOUT / "plugins/module_utils" / folder).rglob("*.py")
    )
    for words_of_it in (
        "no problem found",
        "lines are no observations and were",
        "are raised to the floor of",
        "the fleet is left as it is",
        "none: no policy",
        "are below the floor of",
        "outside every window",
    ):
        assert words_of_it in TEXT
        assert words_of_it in said


def test_what_is_run_on_the_host_is_there() -> None:
    for program, *arguments in words("on_host"):
        assert program in PROGRAMS
        units = [one for one in arguments if one.startswith(("celery-", "redis-"))]
        if program in ("journalctl", "systemctl"):
            assert units or arguments[-1] == "$WORKER"
            assert set(units) <= UNITS


def test_what_is_run_as_the_application_is_there() -> None:
    for module, options in re.findall(r"python -m (celery_demo\.\w+) ([^|>\n]*)", COMMANDS):
        text = read(f"demo/app/{module.replace('.', '/')}.py")
        assert set(re.findall(r"--\w+", options)) <= set(re.findall(r'"(--\w+)"', text))
    tasks = re.findall(r"for TASK in ([\w ]+);", COMMANDS)[0].split()
    for module, names in re.findall(r"from (celery_demo\.\w+) import ([\w, ]+)$", COMMANDS, re.M):
        tasks += names.split(", ")
        assert set(tasks) == set(re.findall(r"^def (\w+)", read(f"demo/app/{module.replace('.', '/')}.py"), re.M))


def test_files_targets_and_variables_exist() -> None:
    for target in re.findall(r"(?:^|\s)make ([\w-]+)$", COMMANDS, re.M):
        assert f"\n{target}:" in read("Makefile")
    for path in re.findall(r"python (tests/\S+\.py)", COMMANDS):
        assert (CHECKOUT / path).is_file()
    for name in re.findall(r"demo/out/([\w.]+)", COMMANDS):
        assert f">demo/out/{name}" in COMMANDS or f'"{name}"' in read("demo/muejam_demo/report.py")
    for variable in re.findall(r"^(demo_\w+):", TEXT, re.M):
        assert variable in read("demo/inventory.yml")


def test_how_the_page_is_read(tmp_path: Path) -> None:
    first = "## B\n```console\na\n```\n```text\nx ... z\n```\n"
    second = f"and\n```console\nb    {AGAIN}\n```\n"
    written = f"# A\n{first}{second}## C\n```console\nc\n```\n"
    assert page(written, tmp_path) == [
        Exercise("B", [Step("a\n", "x ... z\n"), Step(f"b    {AGAIN}\n")]),
        Exercise("C", [Step("c\n")]),
    ]
    once, often = page(written, tmp_path)[0].steps
    assert [once.again, often.again] == [False, True]
    assert once.printed_by("x  y\nzz  z\n")
    assert not once.printed_by("x y\n")
    assert often.printed_by("whatever")


def test_an_output_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing prints"):
        page("## B\n```text\nx\n```\n", tmp_path)
