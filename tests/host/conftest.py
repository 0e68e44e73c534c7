# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real systemd hosts, in containers, for the tests here. A failed test shows the journals of its workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from muejam_bed import container, inside
from muejam_bed.engine import ensure_engine
from muejam_bed.image import RELEASES
from muejam_bed.prepared import ensure_prepared
from muejam_bed.shell import checkout_key
from muejam_bed.systemd_host import SystemdHost


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
        inside.leave(name)
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
