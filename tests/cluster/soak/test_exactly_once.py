# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing lost and nothing twice, while pods come, go and are replaced under load."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from muejam_cluster.deployed import Deployed, Load
from muejam_cluster.waiting import wait_until

TASKS = 2000
SMALL, LARGE = 2, 8
STEPS = [LARGE, SMALL] * 3
SHARES = [TASKS // len(STEPS) + (step < TASKS % len(STEPS)) for step in range(len(STEPS))]
ROLLED = 4
LEFT_BEFORE_A_STEP = 100
SECONDS = 600.0
FLEETS = ("early", "late")

pytestmark = pytest.mark.soak


def deploy(deployed: Deployed, workers: int, log_level: str = "INFO") -> None:
    """Put there a fleet that acknowledges early and one that does it late, of pods that fit on two cores."""
    pods = {"workers": workers, "concurrency": 4, "prefetch_multiplier": 4, "log_level": log_level}
    deployed.deploy(*({"name": fleet, "acks_late": fleet == "late", **pods} for fleet in FLEETS))


def evidence(deployed: Deployed, load: Load) -> str:
    """What an operator would want to see where tasks do not end."""
    held = deployed.broker.cli("HLEN", "unacked")
    return f"{load.left()} tasks of {load.fleet} are left, {held} are held by workers: {deployed.workers(load.fleet)}"


def scale_out_and_in(deployed: Deployed, load: Load) -> None:
    """Scale a fleet to and fro. A share of the tasks is sent before each step, so that each is under load."""
    for workers, share in zip(STEPS, SHARES):
        load.send(share, 0.05, 2)
        deployed.scale(load.fleet, workers)
        wait_until(lambda: load.left() <= LEFT_BEFORE_A_STEP, SECONDS, lambda: evidence(deployed, load))


def require_exactly_once(deployed: Deployed, load: Load) -> None:
    """Wait until all tasks are done and all workers gone, and look what ran."""
    wait_until(lambda: load.left() <= 0, SECONDS, lambda: evidence(deployed, load))
    # What still runs or is yet to be delivered again shows up, at the latest, when the workers go.
    deployed.scale(load.fleet, 0)
    ran = {one["id"] for one in load.runs()}
    lost, unknown = set(load.sent) - ran, ran - set(load.sent)
    assert (len(load.sent), lost, load.twice(), unknown) == (TASKS, set(), {}, set()), load.fleet


def test_every_task_runs_exactly_once_while_the_fleet_goes_to_and_fro(deployed: Deployed) -> None:
    deploy(deployed, SMALL)
    loads = [deployed.load(fleet) for fleet in FLEETS]
    with ThreadPoolExecutor(len(loads)) as both:
        list(both.map(lambda load: scale_out_and_in(deployed, load), loads))
    for load in loads:
        require_exactly_once(deployed, load)
    assert deployed.broker.cli("HLEN", "unacked") == "0"


def test_every_task_runs_exactly_once_in_a_rolling_update(deployed: Deployed) -> None:
    deploy(deployed, ROLLED)
    loads = [deployed.load(fleet) for fleet in FLEETS]
    before = {fleet: set(deployed.consuming(fleet)) for fleet in FLEETS}
    for load in loads:
        load.send(TASKS, 0.05, 2)
    deploy(deployed, ROLLED, "WARNING")
    left = {load.fleet: load.left() for load in loads}
    assert all(left.values()), f"the pods were replaced in the middle of it: {left}"
    for fleet in FLEETS:
        now = set(deployed.consuming(fleet))
        assert len(now) == ROLLED
        assert not now & before[fleet]
    for load in loads:
        require_exactly_once(deployed, load)
    assert deployed.broker.cli("HLEN", "unacked") == "0"
