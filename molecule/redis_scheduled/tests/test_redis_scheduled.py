# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that follows its schedule: two workers, five, two, and nobody but a timer to see to it."""

from __future__ import annotations

from collections.abc import Callable

from testinfra.host import Host

from muejam_bed.shell import wait_until
from probed import Fleet


def log(host: Host) -> str:
    """What the runs of the schedule said."""
    return host.check_output("journalctl --unit=celery-schedule-web --output=cat --no-pager")


def test_it_went_over_both_edges(host: Host, fleet: Callable[[str], Fleet]) -> None:
    wait_until(lambda: "window off_peak holds, 2 to 10 workers: 5 -> 2" in log(host), 60, lambda: log(host))
    assert "window peak holds, 5 to 20 workers: 2 -> 5" in log(host)
    wait_until(lambda: len(fleet("web").units()) == 2, 60)
    assert fleet("web").enabled() == fleet("web").units()


def test_it_comes_back_after_a_reboot_and_there_is_no_daemon(host: Host) -> None:
    timer = host.service("celery-schedule-web.timer")
    assert timer.is_running
    assert timer.is_enabled
    assert not host.file("/etc/celery-autoscaler").exists
    assert not host.service("celery-autoscaler").is_running


def test_nothing_failed_on_the_way(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""
    assert host.check_output("systemctl show --property=Result --value celery-schedule-web.service") == "success"
