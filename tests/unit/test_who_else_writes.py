# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever could change what root opens or runs is found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.who_else_writes import place_of_others, who_else_writes


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """Whoever runs the tests may have one that lets the group write."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_who_else_writes_to_a_directory(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    assert who_else_writes(inner) == ""
    for mode, told in ((0o755, ""), (0o1777, ""), (0o777, str(tmp_path / "outer"))):
        inner.parent.chmod(mode)
        assert who_else_writes(inner) == told
    inner.parent.chmod(0o755)
    for mode in (0o777, 0o1777):
        inner.chmod(mode)
        assert who_else_writes(inner) == str(inner)


def test_a_directory_on_the_way_of_another_user_is_told(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory of another user")
    (tmp_path / "his" / "mine").mkdir(parents=True)
    os.chown(tmp_path / "his", 65534, 65534)
    (tmp_path / "way").symlink_to(tmp_path / "his" / "mine")
    assert who_else_writes(tmp_path / "way") == str(tmp_path / "his")


@pytest.mark.parametrize("target", ["../mine", ".", "{top}/mine", "../theirs/../mine"])
def test_a_link_that_others_can_put_elsewhere_is_told(tmp_path: Path, target: str) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (tmp_path / "mine").mkdir()
    (theirs / "way").symlink_to(target.format(top=tmp_path))
    (tmp_path / "first").symlink_to("theirs/way")
    assert who_else_writes(tmp_path / "first") == ""
    theirs.chmod(0o777)
    assert who_else_writes(tmp_path / "first") == str(theirs)
    # Others cannot touch a link of ours there.
    theirs.chmod(0o1777)
    assert who_else_writes(tmp_path / "first") == (str(theirs) if target == "." else "")


def test_a_link_of_another_user_is_told(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a link of another user")
    (tmp_path / "way").symlink_to("/usr")
    os.chown(tmp_path / "way", 65534, 65534, follow_symlinks=False)
    assert who_else_writes(tmp_path / "way") == str(tmp_path / "way")


def test_the_way_goes_as_the_kernel_does(tmp_path: Path) -> None:
    (tmp_path / "far" / "inner").mkdir(parents=True)
    (tmp_path / "far").chmod(0o1777)
    (tmp_path / "way").symlink_to("far/inner")
    assert who_else_writes(tmp_path / "way" / "..") == str(tmp_path / "far")


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "open").symlink_to("nothing")
    for name in ("round", "open"):
        with pytest.raises(OSError, match=name if name == "round" else "nothing"):
            who_else_writes(tmp_path / name)
        assert place_of_others(tmp_path / name) == ""
    (tmp_path / "file").touch()
    assert place_of_others(tmp_path / "file" / "venv") == ""
    (tmp_path / "open").unlink()
    (tmp_path / "open").symlink_to("/tmp/nothing-is-here")
    assert place_of_others(tmp_path / "open") == "/tmp"


def test_a_virtualenv_that_is_not_there_yet(tmp_path: Path) -> None:
    assert place_of_others(tmp_path / "new" / "venv") == ""
    tmp_path.chmod(0o777)
    assert place_of_others(tmp_path / "new" / "venv") == str(tmp_path)


def test_programs_in_a_virtualenv(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("/usr/bin/env")
    pip = tmp_path / "bin" / "pip"
    pip.touch(0o755)
    assert place_of_others(tmp_path) == ""
    pip.chmod(0o777)
    assert place_of_others(tmp_path) == str(pip)


@pytest.mark.parametrize("where", ["/tmp", "/var/tmp", "/dev/shm"])
def test_directories_of_everybody(where: str) -> None:
    assert place_of_others(Path(where, "celery-venv-that-is-not-there")) in (where, os.path.realpath(where))
