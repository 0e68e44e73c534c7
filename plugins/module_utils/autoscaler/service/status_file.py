# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the autoscaler last saw and decided, in a file for whoever asks how it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.guarded_files import NotAPlainFile, read_plain_file
from ansible_collections.muejam.celery.plugins.module_utils.whole_files import write_whole

VERSION = 1

MOST_BYTES = 8 * 1024 * 1024
"""A fleet takes about two thousand, and each of its workers seventy."""


def write_status(path: str, status: Mapping[str, Any]) -> None:
    """Replace the status file. Everybody may read it: there is no secret in it.

    :raises OSError: when it cannot be written.
    """
    write_whole(path, json.dumps({"version": VERSION, **status}), 0o644)


def read_status(path: str) -> dict[str, Any]:
    """Return what the autoscaler wrote last. Its user could have written anything: only its version is certain.

    :raises OperationError: when there is nothing, or nothing that makes sense.
    """
    try:
        status = json.loads(read_plain_file(path, MOST_BYTES))
    except FileNotFoundError as error:
        raise unusable(f"there is no {path}: the autoscaler does not run") from error
    except RecursionError as error:
        raise unusable(f"{path}: it is nested too deeply") from error
    except (OSError, ValueError, NotAPlainFile) as error:
        raise unusable(f"{path}: {error}") from error
    if not isinstance(status, dict) or status.get("version") != VERSION:
        raise OperationError(
            _TRIED, f"{path} was written by another version", "Use the program of the version that runs."
        )
    return status


def unusable(why: str) -> OperationError:
    """Return the error for a status that cannot be used."""
    return OperationError(_TRIED, why, "See systemctl status celery-autoscaler.")


_TRIED = "read the status of the autoscaler"
