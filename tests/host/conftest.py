# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real systemd hosts, in containers, for the tests here. A failed test shows the journals of its workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from muejam_bed import container
from muejam_bed.engine import ensure_engine
from muejam_bed.image import RELEASES
from muejam_bed.prepared import ensure_prepared
from muejam_bed.shell import CHECKOUT, checkout_key


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
        return container.execute(self.name, command, check=check)

    def output(self, *command: str) -> str:
        """Run a command on the host as root and return what it printed, stripped."""
        return self.run(*command).stdout.strip()

    def journal(self, pattern: str = "celery-worker-*") -> str:
        """Return what the matching units logged last."""
        return container.journal(self.name, pattern)

    def inventory(self) -> Path:
        """Return an inventory file in which this host is in the groups celery_broker and celery_workers."""
        path = self.scratch / "inventory.yml"
        # Several threads of a test may run Ansible, and none may read it half written.
        draft = path.with_name(f"{path.name}.{threading.get_ident()}")
        draft.write_text(container.inventory(self.name), encoding="utf-8")
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
        process list. Raises AssertionError with Ansible's output when it fails and check is set.
        """
        if isinstance(playbook, list):
            path = self.scratch / "playbook.yml"
            path.write_text(yaml.safe_dump(playbook, sort_keys=False), encoding="utf-8")
        else:
            path = CHECKOUT / playbook
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory()), str(path)]
        if extra_vars:
            variables = self.scratch / "variables.json"
            variables.write_text(json.dumps(extra_vars), encoding="utf-8")
            variables.chmod(0o600)
            command += ["--extra-vars", f"@{variables}"]
        done = subprocess.run(
            [*command, *arguments],
            cwd=self.scratch,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_DEPRECATION_WARNINGS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"ansible-playbook {path} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def module(
        self, name: str, arguments: dict[str, Any], *flags: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run one module against this host by way of the ansible command; its result is in stdout, as JSON."""
        command = [str(Path(sys.executable).with_name("ansible")), "-i", str(self.inventory()), self.name]
        done = subprocess.run(
            [*command, "-m", name, "-a", json.dumps(arguments), *flags],
            cwd=self.scratch,
            env={
                **os.environ,
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
                "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"module {name} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def result(self, name: str, arguments: dict[str, Any], *flags: str, check: bool = True) -> dict[str, Any]:
        """Run one module against this host and return its result."""
        printed = json.loads(self.module(name, arguments, *flags, check=check).stdout)
        result: dict[str, Any] = printed["plays"][0]["tasks"][0]["hosts"][self.name]
        return result


def _release() -> str:
    release = os.environ.get("MUEJAM_HOST_RELEASE", "bookworm")
    if release not in RELEASES:
        raise pytest.UsageError(f"MUEJAM_HOST_RELEASE={release}: choose one of {', '.join(RELEASES)}")
    return release


def _host(purpose: str, scratch: Path, *, bare: bool = False) -> Iterator[SystemdHost]:
    # Several processes of pytest may want a host for the same purpose.
    process = os.environ.get("PYTEST_XDIST_WORKER", "")
    name = "-".join(filter(None, ("muejam", checkout_key(), purpose, process)))
    ensure_engine()
    release = _release()
    container.up(name, release, fresh=True, image=None if bare else ensure_prepared(release))
    yield SystemdHost(name, scratch)
    if "MUEJAM_KEEP_HOSTS" in os.environ:
        print(f"host {name} is left up: docker exec -it {name} bash", file=sys.stderr)
    else:
        container.down(name)


@pytest.fixture(scope="session")
def shared_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdHost]:
    """A systemd host for the whole run. Tests that use it leave it as they found it, or use names of their own."""
    yield from _host("shared", tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def systemd_host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdHost]:
    """A systemd host that the tests of one file share, new for each file."""
    purpose = request.path.stem.removeprefix("test_").replace("_", "-")
    yield from _host(purpose, tmp_path_factory.mktemp(purpose))


@pytest.fixture(scope="module")
def bare_host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdHost]:
    """The same without the packages and the virtual environments that others begin with, for tests of installing."""
    purpose = request.path.stem.removeprefix("test_").replace("_", "-")
    yield from _host(purpose, tmp_path_factory.mktemp(purpose), bare=True)


@pytest.fixture(scope="session")
def host_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[ExitStack, str], SystemdHost]:
    """Bring up a host for a purpose that the test names; it goes when the stack does."""

    def up(stack: ExitStack, purpose: str) -> SystemdHost:
        return stack.enter_context(contextmanager(_host)(purpose, tmp_path_factory.mktemp(purpose)))

    return up


@pytest.fixture
def fresh_host(tmp_path: Path) -> Iterator[SystemdHost]:
    """A bare systemd host for one test."""
    yield from _host("fresh", tmp_path, bare=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the journals of the worker units to the report of a test that failed."""
    report = yield
    if report.failed:
        for given in getattr(item, "funcargs", {}).values():
            # Some fixtures wrap the host that they prepared.
            value = getattr(given, "host", given)
            if isinstance(value, SystemdHost) and container.is_running(value.name):
                units = container.execute(
                    value.name, ["systemctl", "list-units", "--all", "--no-pager", "celery-worker-*"], check=False
                )
                report.sections.append((f"worker units on {value.name}", units.stdout))
                report.sections.append((f"worker journals on {value.name}", value.journal()))
    return report
