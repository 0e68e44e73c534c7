# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are put in place once, mended when somebody changed them, and not written where a check refuses one."""

from __future__ import annotations

import getpass
import grp
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.deploy import writing
from ansible_collections.muejam.celery.plugins.module_utils.deploy.commands import run
from ansible_collections.muejam.celery.plugins.module_utils.deploy.writing import File, Place, Written, put
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

ME = (getpass.getuser(), grp.getgrgid(os.getgid()).gr_name)


def file(path: Path, text: str, mode: int = 0o640, **more: Any) -> File:
    return File(str(path), *ME, mode, text=text, label=path.name, **more)


def place(path: Path, mode: int = 0o750) -> Place:
    return Place(str(path), *ME, mode)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class Wanted:
    """A directory, a tree and two files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directories = [place(root / "etc")]
        self.trees: Mapping[str, Mapping[str, str]] = {str(root / "lib"): {"a.py": "a\n", "b/c.py": "c\n"}}
        self.files = [file(root / "etc/plain", "plain\n"), file(root / "etc/hidden", "pass\n", 0o600, secret=True)]

    def put(self, check: bool = False, files: Sequence[File] = ()) -> Written:
        return put(self.directories, self.trees, [*self.files, *files], check)


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    """What is to be put into an empty directory."""
    return Wanted(tmp_path)


def test_a_second_run_changes_nothing(wanted: Wanted) -> None:
    root = wanted.root
    assert wanted.put().paths == [str(root / "etc"), str(root / "lib"), *(one.path for one in wanted.files)]
    assert wanted.put().paths == []
    assert (root / "etc/plain").read_text() == "plain\n"
    assert (root / "lib/b/c.py").read_text() == "c\n"
    assert [mode_of(root / path) for path in ("etc", "etc/plain", "etc/hidden", "lib/a.py")] == [
        0o750,
        0o640,
        0o600,
        0o644,
    ]


def test_a_rehearsal_says_the_same_and_writes_nothing(wanted: Wanted) -> None:
    rehearsed = wanted.put(check=True)
    assert list(wanted.root.iterdir()) == []
    assert rehearsed == wanted.put()


def test_what_somebody_changed_is_mended(wanted: Wanted) -> None:
    root = wanted.root
    wanted.put()
    (root / "etc/plain").write_text("edited\n")
    (root / "etc/hidden").chmod(0o644)
    (root / "etc").chmod(0o777)
    (root / "lib/a.py").unlink()
    (root / "lib/more.py").write_text("more\n")
    (root / "lib/b/c.pyc").write_text("compiled\n")
    assert wanted.put().paths == [
        str(root / "etc"),
        str(root / "lib"),
        str(root / "etc/plain"),
        str(root / "etc/hidden"),
    ]
    assert sorted(path.name for path in (root / "lib").rglob("*.py*")) == ["a.py", "c.py", "c.pyc"]
    assert wanted.put().paths == []


def test_a_link_is_replaced_and_what_it_points_to_left_alone(wanted: Wanted) -> None:
    root = wanted.root
    wanted.put()
    (root / "other").write_text("mine\n")
    (root / "etc/plain").unlink()
    (root / "etc/plain").symlink_to(root / "other")
    wanted.put()
    assert not (root / "etc/plain").is_symlink()
    assert (root / "other").read_text() == "mine\n"


def test_a_diff_shows_no_secret(wanted: Wanted) -> None:
    wanted.put()
    (wanted.root / "etc/hidden").write_text("old pass\n")
    (wanted.root / "etc/plain").write_text("edited\n")
    shown = wanted.put().diff
    assert (shown[0]["before"], shown[0]["after"]) == ("edited\n", "plain\n")
    assert "pass" not in str(shown)
    assert shown[1]["before"] != shown[1]["after"]


def test_nothing_is_written_where_one_is_refused(wanted: Wanted) -> None:
    refused = [
        file(wanted.root / "etc/bad", "bad\n", validate=["sh", "-c", "cat >&2; exit 1", "%s"]),
        file(wanted.root / "etc/worse", "worse\n", validate=["grep", "-q", "better", "%s"]),
        file(wanted.root / "etc/good", "good\n", validate=["grep", "-q", "good", "%s"]),
    ]
    with pytest.raises(OperationError) as caught:
        wanted.put(files=refused)
    assert [one.partition(":")[0] for one in caught.value.details["refused"]] == ["bad", "worse"]
    assert list(wanted.root.iterdir()) == []


def test_the_reason_of_a_refusal_is_told_wherever_the_program_says_it(wanted: Wanted) -> None:
    said = "echo 'no such key' && echo 'amtool: error: 1 file' >&2; exit 1"
    with pytest.raises(OperationError) as caught:
        wanted.put(files=[file(wanted.root / "etc/bad", "bad\n", validate=["sh", "-c", said])])
    assert caught.value.details["refused"] == ["bad: no such key\namtool: error: 1 file"]


def test_a_check_by_a_program_is_left_out_of_a_rehearsal(wanted: Wanted) -> None:
    one = file(wanted.root / "etc/x", "x", validate=["/no/such/program", "%s"])
    assert str(wanted.root / "etc/x") in wanted.put(check=True, files=[one]).paths
    with pytest.raises(OperationError, match="no program"):
        wanted.put(files=[one])


@pytest.mark.parametrize(
    ("analyze", "said"),
    [("", "comes with the package systemd"), ("exec sleep 60", "did not end within")],
    ids=["missing", "hanging"],
)
def test_units_that_could_not_be_checked_are_not_written(
    wanted: Wanted, analyze: str, said: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path_factory.mktemp("programs")
    if analyze:
        (programs / "systemd-analyze").write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin {analyze}\n")
        (programs / "systemd-analyze").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(writing, "run", lambda command: run(command, patience=0.5))
    with pytest.raises(OperationError, match=said):
        wanted.put(files=[file(wanted.root / "etc/x.service", "[Service]\n", unit="x.service")])
    assert list(wanted.root.iterdir()) == []


def test_what_systemd_only_warns_of_is_refused_with_its_reason(
    wanted: Wanted, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path_factory.mktemp("programs")
    warns = "echo \"$2:2: Unknown key name 'Mispelt' in section 'Service', ignoring.\" >&2"
    (programs / "systemd-analyze").write_text(f"#!/bin/sh\n{warns}\n")
    (programs / "systemd-analyze").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(OperationError, match="line 2: Unknown key name 'Mispelt'"):
        wanted.put(files=[file(wanted.root / "etc/x.service", "[Service]\nMispelt=1\n", unit="x.service")])
    assert list(wanted.root.iterdir()) == []


def test_an_owner_who_is_not_there_yet_is_no_fault_in_a_rehearsal_alone(tmp_path: Path) -> None:
    somebody = Place(str(tmp_path), "nobody-of-us", "nobody-of-us", 0o755)
    assert put([somebody], {}, [], check=True).paths == []
    with pytest.raises(OperationError, match="Create the user"):
        put([somebody], {}, [], check=False)
