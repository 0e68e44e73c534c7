# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command of the host, and say how it ended."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from ansible_collections.muejam.celery.plugins.module_utils.platforms.host.manager import Answer

_PLAIN = {"LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_URLIFY": "0", "SYSTEMD_LOG_LEVEL": "info"}
"""Whatever the caller's environment says, output is what is read here. The level is systemd's own default."""


class Command:
    """A command on its way."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.problem = ""
        # Not found, or no process to be had, is an answer like others: it is met where the answer is looked at.
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **_PLAIN},
                encoding="utf-8",
                errors="replace",
            )
        except FileNotFoundError:
            self.problem = f"the command {command[0]} is not installed"
        except OSError as error:
            self.problem = f"the command {command[0]} could not be started: {error}"

    def end(self, timeout: float) -> Answer:
        """Wait for its end; after `timeout` seconds end it and say so."""
        if self.process is None:
            return Answer(127, "", self.problem)
        try:
            output, error = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            return Answer(None)
        return Answer(self.process.returncode, output, error)
