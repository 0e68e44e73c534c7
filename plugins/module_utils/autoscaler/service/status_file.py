# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the service last saw and decided, in a file for whoever asks how it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

VERSION = 1


def write_status(path: str, status: Mapping[str, Any]) -> None:
    """Replace the status file. Everybody may read it: there is no secret in it.

    :raises OSError: when it cannot be written.
    """
    draft = Path(f"{path}.new")
    draft.write_text(json.dumps({"version": VERSION, **status}), encoding="utf-8")
    draft.chmod(0o644)
    draft.replace(path)


def read_status(path: str) -> dict[str, Any]:
    """Return what the service wrote last.

    :raises OperationError: when there is nothing, or nothing that makes sense.
    """
    tried = "read the status of the autoscaler"
    try:
        status = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise OperationError(
            tried, f"there is no {path}: it does not run", "See systemctl status celery-autoscaler."
        ) from error
    except (OSError, ValueError) as error:
        raise OperationError(tried, f"{path}: {error}", "See systemctl status celery-autoscaler.") from error
    if not isinstance(status, dict) or status.get("version") != VERSION:
        raise OperationError(
            tried, f"{path} was written by another version", "Use the program of the version that runs."
        )
    return status
