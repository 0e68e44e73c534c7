# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host keeps for the schedule of a fleet: the schedule itself, and what was set last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock.applying import Applied
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.json_values import from_json, to_json
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError, parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.whole_files import write_whole


def schedule_text(written: Mapping[str, Any]) -> str:
    """Return a policy's limits and schedule, as they were written, as the text of the file that keeps them."""
    return json.dumps(written, indent=4, sort_keys=True) + "\n"


def load_schedule(path: Path) -> Policy:
    """Return the policy that a file keeps.

    :raises OperationError: when it cannot be read, or says something that a policy may not say.
    """
    try:
        return parse_policy(json.loads(path.read_text(encoding="utf-8")))
    except PolicyError as error:
        why: object = "; ".join(map(str, error.faults))
    except (OSError, ValueError) as error:
        why = error
    raise OperationError(f"read the schedule {path}", why, "Deploy again with the role muejam.celery.schedule.")


def load_applied(path: Path) -> Applied | None:
    """Return what was set last; None where nothing was, or nobody can tell."""
    try:
        return from_json(Applied, json.loads(path.read_text(encoding="utf-8")), "applied")
    except (OSError, ValueError, TypeError):
        # The floor of what holds now is then set anew, which is never wrong.
        return None


def save_applied(path: Path, applied: Applied) -> None:
    """Keep what was set last.

    :raises OperationError: when that fails.
    """
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_whole(path, json.dumps(to_json(applied)) + "\n", 0o644)
    except OSError as error:
        raise OperationError(
            f"note in {path} what was set",
            error,
            "Check that its disk has space. Until then each run sets the fleet to its floor anew.",
        ) from None
