# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemd host in a container, for tests and benchmarks, and Ansible to use it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from . import container, inside, reach
from .collection import collections_path
from .shell import CHECKOUT, BedError

AS_JSON = {"ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
"""Variables that let Ansible print its results as JSON."""


def ansible(
    program: str, *arguments: str, cwd: Path, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program of Ansible with this checkout as the collection.

    Raises BedError with its output when it fails and check is set.
    """
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=cwd,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
            "ANSIBLE_DEPRECATION_WARNINGS": "1",
            "ANSIBLE_NOCOLOR": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode != 0:
        raise BedError(f"{program} {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


@dataclass(frozen=True)
class SystemdHost:
    """A running systemd host that Ansible and the test can use."""

    name: str
    scratch: Path

    @property
    def address(self) -> str:
        """The host's IP address, reachable from the test."""
        return container.address(self.name)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on the host as root. Raises BedError with its output when it fails and check is set."""
        done = inside.run(self.name, command)
        if check and done.returncode != 0:
            raise BedError(
                f"'{shlex.join(command)}' ended with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip()
            )
        return done

    def output(self, *command: str) -> str:
        """Run a command on the host as root and return what it printed, stripped."""
        return self.run(*command).stdout.strip()

    def put(self, path: str, text: str) -> None:
        """Write a file on the host."""
        done = inside.run(self.name, ["tee", path], stdin=text)
        if done.returncode != 0:
            raise BedError(f"{path} could not be written: {done.stderr}")

    def journal(self, pattern: str = "celery-worker-*") -> str:
        """Return what the matching units logged last."""
        return container.journal(self.name, pattern)

    def cut_power(self) -> None:
        """Have it off from one moment to the next, as when its power fails."""
        container.cut_power(self.name)
        inside.leave(self.name)

    def power_on(self) -> None:
        """Boot it again. Raises BedError when it does not boot."""
        container.power_on(self.name)

    def reached_by(self) -> dict[str, Any]:
        """Return the variables by which Ansible reaches this host."""
        return reach.variables(self.name)

    def inventory(self) -> Path:
        """Return an inventory file in which this host is in the groups celery_broker and celery_workers."""
        path = self.scratch / "inventory.yml"
        # Several threads of a test may run Ansible, and none may read it half written.
        draft = path.with_name(f"{path.name}.{threading.get_ident()}")
        draft.write_text(reach.inventory(self.name, self.reached_by()), encoding="utf-8")
        draft.replace(path)
        return path

    def playbook(
        self,
        playbook: str | Path | list[dict[str, Any]],
        *arguments: str,
        extra_vars: dict[str, Any] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run ansible-playbook against this host.

        playbook is a file, or plays as data. Extra variables go through a file, so that secrets are in no
        process list. Raises BedError with Ansible's output when it fails and check is set.
        """
        if isinstance(playbook, list):
            path = self.scratch / "playbook.yml"
            path.write_text(yaml.safe_dump(playbook, sort_keys=False), encoding="utf-8")
        else:
            path = CHECKOUT / playbook
        extra: list[str] = []
        if extra_vars:
            variables = self.scratch / "variables.json"
            variables.write_text(json.dumps(extra_vars), encoding="utf-8")
            variables.chmod(0o600)
            extra = ["--extra-vars", f"@{variables}"]
        inventory = str(self.inventory())
        return ansible(
            "ansible-playbook", "-i", inventory, str(path), *extra, *arguments, cwd=self.scratch, check=check
        )

    def module(
        self, name: str, arguments: dict[str, Any], *flags: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run one module against this host by way of the ansible command; its result is in stdout, as JSON."""
        # Ansible takes {} for a text of arguments, not for none.
        given = ["-a", json.dumps(arguments)] if arguments else []
        command = ["-i", str(self.inventory()), self.name, "-m", name, *given, *flags]
        return ansible("ansible", *command, cwd=self.scratch, check=check, **AS_JSON)

    def result(self, name: str, arguments: dict[str, Any], *flags: str, check: bool = True) -> dict[str, Any]:
        """Run one module against this host and return its result."""
        printed = json.loads(self.module(name, arguments, *flags, check=check).stdout)
        result: dict[str, Any] = printed["plays"][0]["tasks"][0]["hosts"][self.name]
        return result
