# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's playbooks, run as a user runs them, with what they say as they go."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from muejam_bed.collection import collections_path
from muejam_bed.shell import cache_dir

INVENTORY = Path(__file__).resolve().parents[1] / "inventory.yml"
_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?:[a-z_]+\.[a-z_]+\.)?(.*)\]")
_MESSAGE = re.compile(r'^ +"msg": "(.*)"$')
_TABLE_LINE = re.compile(r'^ {8}"(.*?)",?$')


class PlaybookError(Exception):
    """A playbook failed; the message has the end of its output."""


def program(name: str) -> str:
    """Return the path of one of Ansible's programs, of the environment that this runs in."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def command_line(playbook: str, inventory: Path = INVENTORY, **inputs: object) -> list[str]:
    """Return the command that runs a playbook of the collection."""
    values = [text for key, value in inputs.items() for text in ("-e", f"{key}={value}")]
    return ["ansible-playbook", "-i", str(inventory), f"muejam.celery.{playbook}", *values]


def play(
    playbook: str,
    on_task: Callable[[str], None] = lambda name: None,
    inventory: Path = INVENTORY,
    variables: Mapping[str, str] | None = None,
    **inputs: object,
) -> list[str]:
    """Run a playbook of the collection and return the messages it showed.

    :param variables: of the environment, beside those of this process.
    Raises PlaybookError when it fails. Everything it printed is in a log in the user's cache.
    """
    command = command_line(playbook, inventory, **inputs)
    log = cache_dir("demo") / f"{playbook}.log"
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
        **(variables or {}),
    }
    output: list[str] = []
    with subprocess.Popen(
        [program(command[0]), *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as process:
        try:
            for line in process.stdout or ():
                output.append(line.rstrip("\n"))
                task = _TASK.match(line)
                if task:
                    on_task(task[1])
        except BaseException:
            process.terminate()
            raise
    log.write_text("\n".join(output) + "\n", encoding="utf-8")
    if process.returncode != 0:
        raise PlaybookError(f"the playbook {playbook} failed ({log}):\n" + "\n".join(output[-40:]))
    return messages(output)


def messages(output: list[str]) -> list[str]:
    """Return what debug tasks showed, out of a playbook's output."""
    found = []
    for line in output:
        match = _MESSAGE.match(line) or _TABLE_LINE.match(line)
        if match:
            found.append(match[1])
    return found
