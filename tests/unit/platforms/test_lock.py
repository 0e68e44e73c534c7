# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One scaling at a time."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.lock import LOCK_DIRECTORY, fleet_lock


def test_second_one_is_told_who_holds_it(tmp_path: Path) -> None:
    with fleet_lock("web", directory=str(tmp_path)):
        with (
            pytest.raises(OperationError, match=rf"another scaling .* is running \(process {os.getpid()}\)"),
            fleet_lock("web", wait=0.2, directory=str(tmp_path)),
        ):
            pytest.fail("two held the lock at once")
        with fleet_lock("api", wait=0, directory=str(tmp_path)):
            pass
    with fleet_lock("web", wait=0, directory=str(tmp_path)):
        pass


def test_second_one_waits_for_the_first(tmp_path: Path) -> None:
    held = threading.Event()
    release = threading.Event()

    def hold() -> None:
        with fleet_lock("web", directory=str(tmp_path)):
            held.set()
            release.wait(30)

    first = threading.Thread(target=hold)
    first.start()
    assert held.wait(30)
    threading.Timer(0.2, release.set).start()
    with fleet_lock("web", wait=30, directory=str(tmp_path)):
        assert release.is_set()
    first.join()


def test_link_in_its_place_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "celery-worker-web.lock").symlink_to(target)
    with pytest.raises(OperationError, match="lock fleet web"), fleet_lock("web", directory=str(tmp_path)):
        pytest.fail("a link was taken for a lock")
    assert target.read_text() == "precious"


def test_fifo_in_its_place_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "celery-worker-web.lock")
    with pytest.raises(OperationError, match="no plain file"), fleet_lock("web", directory=str(tmp_path)):
        pytest.fail("a FIFO was taken for a lock")


def test_the_directory_is_made_for_root_alone(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    with fleet_lock("web", directory=str(locks)):
        assert locks.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o1777, 0o702])
def test_a_directory_that_others_write_to_holds_no_lock(tmp_path: Path, mode: int) -> None:
    locks = tmp_path / "locks"
    locks.mkdir()
    locks.chmod(mode)
    with pytest.raises(OperationError, match=f"may write to {locks}"), fleet_lock("web", directory=str(locks)):
        pytest.fail("anybody could hold this lock")


def test_locks_are_in_a_directory_of_roots() -> None:
    # Its parent is root's on every system; /run/lock, /tmp and /var/tmp are everybody's.
    assert Path(LOCK_DIRECTORY).parent == Path("/run")
    assert Path(LOCK_DIRECTORY) != Path("/run/lock")
