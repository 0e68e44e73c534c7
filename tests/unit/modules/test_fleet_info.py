# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module fleet_info says of each fleet."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import FleetReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform
from ansible_collections.muejam.celery.plugins.modules import fleet_info


class Daemon:
    """A daemon that sizes these fleets, or one of which that is not known."""

    where = "on this host"

    def __init__(self, *sized: str, problem: str = "") -> None:
        self._sized = frozenset(sized)
        self._problem = problem
        self.asked = 0

    def sized(self) -> frozenset[str]:
        self.asked += 1
        if self._problem:
            raise OperationError("read the configuration", self._problem, "Deploy it.")
        return self._sized

    def let_go(self, names: Sequence[str] | None, keep: Sequence[str], check: bool) -> list[str]:
        raise AssertionError("it is only looked at")


def test_whether_the_autoscaler_sizes_a_fleet() -> None:
    found = fleet_info.reading_of(FakePlatform(1, 2).read, "web", {"web"})
    assert (found["exists"], found["owned_by_daemon"]) == (True, True)
    assert [worker["name"] for worker in found["workers"]] == ["web-1@fake", "web-2@fake"]
    assert fleet_info.reading_of(FakePlatform(1).read, "web", set())["owned_by_daemon"] is False


def test_a_daemon_whose_configuration_cannot_be_read() -> None:
    warnings: list[str] = []
    found = fleet_info.fleets_of(FakePlatform(1), True, Daemon(problem="it is gone"), warnings.append)
    assert found["web"]["owned_by_daemon"] is None
    [warning] = warnings
    assert "not known which fleets the autoscaler sizes on this host" in warning


def test_no_name_is_every_fleet_and_an_odd_one_is_a_fault() -> None:
    assert list(options.faults({"fleet": None})) == []
    assert list(options.faults({"fleet": ""}))
    assert list(options.faults({"fleet": "Web"}))


class Unread(FakePlatform):
    """A host whose fleets are only to be named."""

    def read(self, fleet: str) -> FleetReading:
        raise AssertionError("nobody asked for the workers")


def test_fleets_are_named_without_their_workers() -> None:
    daemon = Daemon("web")
    assert fleet_info.fleets_of(Unread(1), False, daemon, print) == {"web": {}}
    assert daemon.asked == 0, "nobody asked who sizes them"
    found = fleet_info.fleets_of(FakePlatform(1), True, daemon, print)
    assert [len(reading["workers"]) for reading in found.values()] == [1]
    assert found["web"]["owned_by_daemon"] is True
