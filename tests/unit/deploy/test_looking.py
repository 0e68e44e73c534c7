# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role asks about a host before it does anything."""

from __future__ import annotations

import getpass
import os
import re
import sys
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.deploy import looking
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError


def test_room_is_compared_on_the_file_system_that_a_path_will_be_on(tmp_path: Path) -> None:
    assert looking.lacks_room(str(tmp_path / "not/there/yet"), 0) == ""
    told = looking.lacks_room(str(tmp_path / "not/there/yet"), 10**9)
    assert re.search(r"/not/there/yet: its file system has \d+ MiB left, and 1000000000 are needed$", told)


def test_what_is_at_a_path_is_looked_at_through_links(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "link").symlink_to(program)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "fifo")
    kinds = {name: looking.path_facts(str(tmp_path / name)) for name in ("", "link", "loop", "fifo", "none")}
    assert {name: facts["kind"] for name, facts in kinds.items()} == {
        "": "directory",
        "link": "file",
        "loop": "other",
        "fifo": "other",
        "none": "",
    }
    assert [name for name, facts in kinds.items() if facts["executable"]] == ["link"]
    assert len(kinds["link"]["checksum"]) == 64


def test_a_text_that_is_not_there_is_none_and_one_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("ä")
    assert looking.text_of(str(tmp_path / "text")) == "ä"
    assert looking.text_of(str(tmp_path / "none")) is None
    with pytest.raises(OperationError, match="Could not read"):
        looking.text_of(str(tmp_path))


def test_a_python_tells_its_version_or_what_is_wrong_with_it() -> None:
    assert looking.python_facts(sys.executable) == {
        "version": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "problem": "",
    }
    assert "no-such-python" in looking.python_facts("/no-such-python")["problem"]


def test_accounts_that_are_missing() -> None:
    me = getpass.getuser()
    assert looking.missing_users([me, "nobody-of-us"]) == ["nobody-of-us"]
    assert looking.missing_groups(["nobody-of-us"]) == ["nobody-of-us"]


def test_packages_that_are_missing() -> None:
    assert looking.missing_packages(["no-such-package-anywhere"]) == ["no-such-package-anywhere"]
