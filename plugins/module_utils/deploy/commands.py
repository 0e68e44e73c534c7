# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program of the host while something is deployed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

PATIENCE = 60.0


def run(command: Sequence[str], patience: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever it ends with, and return what it said.

    :param patience: how many seconds it may take.
    :raises OSError: when it cannot be started, FileNotFoundError when it is not there.
    :raises OperationError: when it does not end in time. What it would have said is not known, so nothing may be taken
        for right.
    """
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=patience,
            # Nothing is imported from a directory of somebody else's.
            cwd="/",
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired:
        raise OperationError(
            f"run {command[0]}", f"it did not end within {patience:g} s", "See what it waits for."
        ) from None
