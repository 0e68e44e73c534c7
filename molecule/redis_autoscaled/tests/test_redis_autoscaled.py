# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that scales itself: more workers while tasks wait, as few as before when none do, and it says why."""

from __future__ import annotations

import json
from collections.abc import Callable

from testinfra.host import Host

from muejam_bed.shell import wait_until
from probed import Fleet

MOST, FEWEST = 3, 1


def test_the_service_runs_and_comes_back_after_a_reboot(host: Host) -> None:
    service = host.service("celery-autoscaler")
    assert service.is_running
    assert service.is_enabled
    assert host.check_output("systemctl show --property=User --value celery-autoscaler") == "celery-autoscaler"


def test_load_grows_the_fleet_and_calm_shrinks_it(host: Host, fleet: Callable[[str], Fleet]) -> None:
    web = fleet("web")
    answers = web.look("web", count=110, seconds=0.5)
    assert len(answers) == 110
    assert len({one["node"] for one in answers}) == MOST
    wait_until(lambda: len(web.units()) == FEWEST, 60)
    assert web.enabled() == web.units()
    lines = host.check_output("journalctl --unit=celery-autoscaler --output=cat --no-pager").splitlines()
    turns = [json.loads(line) for line in lines if line.startswith("{")]
    grown = [turn for turn in turns if turn.get("action") == "up"]
    assert grown
    assert all("above 3" in turn["reasons"][0] for turn in grown)


def test_metrics_are_served(host: Host) -> None:
    told = host.check_output(
        "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:9541/metrics\").read().decode())'"
    )
    assert 'celery_autoscaler_decisions_total{action="up",fleet="web"}' in told
    assert 'queue="web"' in told
    assert "not-a-real-password" not in told


def test_nothing_failed_on_the_way(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""
