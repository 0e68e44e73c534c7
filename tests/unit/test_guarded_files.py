# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What another user can put in the place of a file neither holds up nor misleads who reads it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.guarded_files import (
    NotAPlainFile,
    read_plain_file,
)


def test_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"four")
    assert read_plain_file(tmp_path / "file", 4) == b"four"
    with pytest.raises(FileNotFoundError):
        read_plain_file(tmp_path / "other", 4)


def test_what_is_put_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"four")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "nowhere").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "fifo")
    for name, why in (("link", "a link"), ("nowhere", "a link"), ("fifo", "no plain file"), (".", "no plain file")):
        with pytest.raises(NotAPlainFile, match=why):
            read_plain_file(tmp_path / name, 4)
    with pytest.raises(NotAPlainFile, match="no plain file"):
        read_plain_file("/dev/zero", 4)
    with pytest.raises(NotAPlainFile, match="larger than 3 bytes"):
        read_plain_file(tmp_path / "file", 3)


def test_a_file_whose_size_says_nothing_is_bounded_too() -> None:
    # Such files tell a size of 0, whatever is in them.
    with pytest.raises(NotAPlainFile, match="larger than 10 bytes"):
        read_plain_file("/proc/self/maps", 10)
