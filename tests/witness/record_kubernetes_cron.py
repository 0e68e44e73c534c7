# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the cron library of Kubernetes when the CronJobs of schedules come, and record where that is not as meant.

Needs Go, which fetches the library by its sum. The unit tests read the record, kubernetes_cron.json:

    PYTHONPATH="$(python tests/bed/collections_path.py)" python tests/witness/record_kubernetes_cron.py
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import witnessed
from ansible_collections.muejam.celery.plugins.module_utils.decide.translation.schedules import entries

RECORD = Path(__file__).parent / "kubernetes_cron.json"


def lines() -> list[tuple[str, str]]:
    """Every line of the schedules, with its zone."""
    found = {
        (entry["schedule"], zone): None
        for zone in witnessed.ZONES
        for name in witnessed.SCHEDULES
        for entry in entries(witnessed.policy(name, zone), witnessed.START)["kubernetes"]
    }
    return list(found)


def asked() -> list[list[int]]:
    """When the library says that each line comes, in seconds since the epoch."""
    jobs = [{"schedule": line, "time_zone": zone} for line, zone in lines()]
    question = {"after": int(witnessed.START), "until": int(witnessed.END), "jobs": jobs}
    done = subprocess.run(
        [shutil.which("go") or "/usr/local/go/bin/go", "run", "."],
        cwd=Path(__file__).parent / "kubernetes_cron",
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: list[list[int]] = json.loads(done.stdout)
    return found


def record() -> dict[str, Any]:
    """By zone and line the instants that are missing, and those that are too many; the others are as they are meant."""
    found: dict[str, dict[str, Any]] = {zone: {} for zone in witnessed.ZONES}
    for (line, zone), instants in zip(lines(), asked()):
        wanted = set(witnessed.meant(line, zone))
        missing, extra = sorted(wanted - set(instants)), sorted(set(instants) - wanted)
        found[zone][line] = {"missing": [int(each) for each in missing], "extra": extra}
    return found


if __name__ == "__main__":
    RECORD.write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")
