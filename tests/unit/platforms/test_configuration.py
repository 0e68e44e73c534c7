# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telling an old configuration from the present one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import Phase, Unit
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd import configuration
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.configuration import (
    VARIABLE,
    newest_change,
    outdated_reason,
    parse_environ,
    process_environment,
    wanted_fingerprint,
    wanted_fingerprint_on_disk,
)


def worker(pid: int = 0, **given: object) -> Unit:
    """A worker that runs as this process."""
    return Unit("celery-worker-web@1.service", 1, Phase.RUNNING, main_pid=pid, **given)  # type: ignore[arg-type]


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[int]:
    """A process with the environment that the test asks for by its parameter."""
    child = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], **request.param},
    )
    assert child.stdout is not None
    # Its first line shows that it runs its own program, not a copy of this one.
    child.stdout.readline()
    yield child.pid
    child.communicate(b"\n", timeout=30)


@pytest.mark.parametrize("process", [{"INVOCATION_ID": "1", VARIABLE: "new"}], indirect=True)
def test_same_fingerprint_is_up_to_date(process: int) -> None:
    assert outdated_reason("web", worker(process), "new") is None


@pytest.mark.parametrize("process", [{"INVOCATION_ID": "1", VARIABLE: "old"}, {"INVOCATION_ID": "1"}], indirect=True)
def test_other_or_missing_fingerprint_is_outdated(process: int) -> None:
    assert outdated_reason("web", worker(process), "new") == "it was started with another configuration"


def status_file(directory: Path, pid: int, config: str) -> str:
    """A status file that says `config` of the process."""
    path = directory / "status.json"
    values = {"version": 1, "pid": pid, "state": "consuming", "active": 0, "reserved": 0, "monotonic": 1.0}
    path.write_text(json.dumps({**values, "config": config}), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(("says", "outdated"), [("new", False), ("old", True)])
@pytest.mark.parametrize("process", [{"OVERWRITTEN": "1"}], indirect=True)
def test_overwritten_environment_leaves_the_status_file(
    process: int, says: str, outdated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = status_file(tmp_path, process, says)
    monkeypatch.setattr(configuration, "status_path", lambda fleet, number: path)
    assert (outdated_reason("web", worker(process), "new") is not None) is outdated


@pytest.mark.parametrize("process", [{"OVERWRITTEN": "1"}], indirect=True)
def test_without_any_fingerprint_the_files_decide(process: int, tmp_path: Path) -> None:
    unit_file = tmp_path / "unit"
    unit_file.write_text("")
    now = int(time.monotonic() * 1e6)
    before = worker(process, files=(str(unit_file),), main_start_at=now - 60_000_000)
    after = worker(process, files=(str(unit_file),), main_start_at=now + 60_000_000)
    for wanted in (None, "new"):
        assert outdated_reason("web", before, wanted) == "the unit's files were changed after it was started"
        assert outdated_reason("web", after, wanted) is None


def test_nothing_to_tell_by_counts_as_outdated() -> None:
    assert outdated_reason("web", worker(), None) == "it cannot be told which configuration it was started with"


def test_wanted_comes_from_the_environment_files_first(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(f'# a comment\n{VARIABLE}="from first"\nOTHER=1\n', encoding="utf-8")
    second.write_text("OTHER=2\n", encoding="utf-8")
    given = {VARIABLE: "from unit"}
    assert wanted_fingerprint(worker(environment=given)) == "from unit"
    files = (str(first), str(second), str(tmp_path / "missing"))
    assert wanted_fingerprint(worker(environment=given, environment_files=files)) == "from first"
    assert wanted_fingerprint(worker()) is None


def test_an_environment_file_that_nobody_may_wait_for(tmp_path: Path) -> None:
    fifo, endless = tmp_path / "fifo", tmp_path / "endless"
    os.mkfifo(fifo)
    endless.symlink_to("/dev/zero")
    given = {"CELERY_LIFECYCLE_CONFIG": "from unit"}
    assert wanted_fingerprint(worker(environment=given, environment_files=(str(fifo), str(endless)))) == "from unit"


def test_wanted_on_disk() -> None:
    text = (
        "# /etc/systemd/system/celery-worker-web@.service\n[Service]\n"
        f'Environment=A=1 "{VARIABLE}=old one"\n\n# /etc/systemd/system/celery-worker-web@.service.d/x.conf\n'
        f"[Service]\nEnvironment={VARIABLE}=newer B=2\nEnvironment=C=3\n"
    )
    assert wanted_fingerprint_on_disk(worker(), text) == "newer"
    assert wanted_fingerprint_on_disk(worker(), text + "Environment=\n") is None
    assert wanted_fingerprint_on_disk(worker(), "[Service]\n") is None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("{}=1", "1"),
        (" {}=1 \r", "1"),
        ("{} = no", None),
        ("export {}='x y'", "x y"),
        ("; {}=1", None),
        ("#{}=1", None),
        ('{}="q"', "q"),
        ('{}="', '"'),
        ("{}= 1", "1"),
        ("{}=a=b", "a=b"),
        ("{}=", ""),
        ("MY_{}=1", None),
        ("{}_TOO=1", None),
        ("{0}=1\n{0}=2", "2"),
    ],
)
def test_environment_file_forms(tmp_path: Path, line: str, value: str | None) -> None:
    path = tmp_path / "web.env"
    path.write_text(f"A=1\n{line.format(VARIABLE)}\nexport B='{VARIABLE}=3'\nLAST=\n", encoding="utf-8")
    assert wanted_fingerprint(worker(environment_files=(str(path),))) == value


def test_environ_of_a_process() -> None:
    assert parse_environ(b"A=1\0B=x=y\0junk\0\xff=z\0") == {"A": "1", "B": "x=y", "\ufffd": "z"}
    assert process_environment(0) == {}
    assert process_environment(2**22 + 1) == {}
    assert process_environment(os.getpid())


def test_newest_change_is_on_the_monotonic_clock(tmp_path: Path) -> None:
    path = tmp_path / "unit"
    path.write_text("")
    os.utime(path, (time.time() - 100, time.time() - 100))
    changed = newest_change(worker(files=(str(path), str(tmp_path / "missing"))))
    assert changed == pytest.approx(time.monotonic() - 100, abs=1)
    assert newest_change(worker()) is None
