# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that is too full is told by its own name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "roles/worker/files/room_for.py"


def told(mebibytes: int, *paths: str) -> str:
    command = [sys.executable, str(SCRIPT), str(mebibytes), *paths]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_room_is_compared_on_the_file_system_that_a_path_will_be_on(tmp_path: Path) -> None:
    assert told(0, str(tmp_path / "not/there/yet")) == ""
    assert "/not/there/yet: its file system has " in told(10**9, str(tmp_path / "not/there/yet"))
