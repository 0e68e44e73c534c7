# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody holds the fleets of this host at: a file for each paused fleet, which only root may write.

Who sizes a fleet reads it each time: the autoscaler, the root helper that acts for it, and scheduled runs. So there is
nobody to be told, and nothing that a restart could forget.
"""

from __future__ import annotations

from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause, from_text, to_text
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.guarded_files import NotAPlainFile, read_plain_file
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import PauseUnusable
from ansible_collections.muejam.celery.plugins.module_utils.who_else_writes import who_else_writes
from ansible_collections.muejam.celery.plugins.module_utils.whole_files import write_whole

DIRECTORY = "/var/lib/celery-worker-pauses"
_MOST_BYTES = 4096


class Pauses:
    """The pauses of a host."""

    def __init__(self, directory: str = DIRECTORY) -> None:
        self._directory = Path(directory)

    def path(self, fleet: str) -> Path:
        """The file of a fleet. It is there while the fleet is paused, and perhaps longer."""
        return self._directory / f"{fleet}.json"

    def read(self, fleet: str) -> Pause | None:
        """Return what the fleet is held at, over or not; None where it is not.

        :raises PauseUnusable: when there is something and it cannot be used, or is not root's alone to write.
        """
        path = self.path(fleet)
        try:
            text = read_plain_file(path, _MOST_BYTES).decode("utf-8")
            others = who_else_writes(self._directory)
            if others:
                raise ValueError(f"others than root may write to {others}")
            return from_text(text)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, NotAPlainFile) as error:
            raise PauseUnusable(
                f"read whether fleet {fleet} is paused from {path}",
                error,
                "Pause it anew with the playbook muejam.celery.pause, or remove the file. Until then the autoscaler "
                "leaves the fleet as it is.",
            ) from error

    def write(self, fleet: str, pause: Pause | None) -> None:
        """Have the fleet held at this from now on; None lifts it.

        :raises OperationError: when that fails, or others than root may write there.
        """
        path = self.path(fleet)
        tried = f"{'lift the pause of' if pause is None else 'pause'} fleet {fleet} in {path}"
        try:
            if pause is None:
                path.unlink(missing_ok=True)
                return
            if not self._directory.exists():
                self._directory.mkdir()
                # Whatever the umask: the service reads it, and is not root.
                self._directory.chmod(0o755)
            others = who_else_writes(self._directory)
            if others:
                raise OperationError(
                    tried, f"others than root may write to {others}", "Nothing was changed. Let only root write there."
                )
            write_whole(path, to_text(pause) + "\n", 0o644)
        except OSError as error:
            raise OperationError(
                tried, error, "Nothing was changed. Run the task as root, and check that the disk has space."
            ) from error
