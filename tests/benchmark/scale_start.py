# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do workers start together? Scale a real fleet from 2 to 10 and compare with the slowest unit's own start.

Brings up a systemd host, deploys Redis and a fleet to it, scales it, and takes the host down again. Ends with 1 when
the task, as Ansible timed it, took more than LIMIT times of the slowest start, as systemd timed it in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests" / "bed"))

from muejam_bed import container  # noqa: E402
from muejam_bed.collection import collections_path  # noqa: E402
from muejam_bed.engine import ensure_engine  # noqa: E402
from muejam_bed.shell import BedError, checkout_key, say  # noqa: E402

LIMIT = 1.3
FEW, MANY = 2, 10


def ansible(program: str, *arguments: str, json_output: bool = False) -> str:
    """Run a program of Ansible with this checkout as the collection. Raises BedError when it fails."""
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collections_path()), "ANSIBLE_NOCOLOR": "1"}
    if json_output:
        environment |= {"ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BedError(f"{program} {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def scale(inventory: Path, workers: int) -> tuple[float, dict[str, Any]]:
    """Scale the fleet; return how many seconds the task took, and its result."""
    options = json.dumps({"fleet": "web", "workers": workers})
    arguments = ["-i", str(inventory), "celery_workers", "-m", "muejam.celery.scale", "-a", options]
    task = json.loads(ansible("ansible", *arguments, json_output=True))["plays"][0]["tasks"][0]
    times = [datetime.fromisoformat(task["task"]["duration"][edge]) for edge in ("start", "end")]
    result: dict[str, Any] = next(iter(task["hosts"].values()))
    return (times[1] - times[0]).total_seconds(), result


def measure(name: str, rounds: int, scratch: Path) -> list[float]:
    """Deploy, then scale as often as asked for, and return the ratios."""
    container.up(name, fresh=True)
    inventory = scratch / "inventory.yml"
    inventory.write_text(container.inventory(name), encoding="utf-8")
    say("deploying the broker and the fleet")
    fleet = CHECKOUT / "tests" / "host" / "scaling" / "fleet.yml"
    ansible("ansible-playbook", "-i", str(inventory), str(fleet), "-e", f"scale_workers={FEW}")
    ratios = []
    for round_number in range(1, rounds + 1):
        scale(inventory, FEW)
        seconds, result = scale(inventory, MANY)
        unchanged, _same = scale(inventory, MANY)
        slowest = max(result["start_seconds"].values())
        ratios.append(seconds / slowest)
        print(
            f"{round_number}: {FEW} -> {result['after']} workers in {seconds:.2f} s, slowest of "
            f"{len(result['start_seconds'])} starts {slowest:.2f} s: ratio {ratios[-1]:.2f} "
            f"(a run that changes nothing takes {unchanged:.2f} s)",
            flush=True,
        )
    return ratios


def main() -> int:
    """Measure and judge."""
    commands = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands.add_argument("--rounds", type=int, default=3)
    rounds = commands.parse_args().rounds
    name = f"muejam-{checkout_key()}-scale-start"
    try:
        ensure_engine()
        with tempfile.TemporaryDirectory(prefix="muejam-benchmark-") as scratch:
            try:
                ratios = measure(name, rounds, Path(scratch))
            finally:
                container.down(name)
    except BedError as error:
        print(f"scale_start: {error}", file=sys.stderr)
        return 2
    worst = max(ratios)
    kept = worst <= LIMIT
    print(f"worst ratio {worst:.2f}, allowed {LIMIT}: {'kept' if kept else 'BROKEN'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
