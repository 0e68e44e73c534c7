# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module fleet_info says of each fleet."""

from __future__ import annotations

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import FleetReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform
from ansible_collections.muejam.celery.plugins.modules import fleet_info


def test_a_fleet_that_no_daemon_sizes() -> None:
    warnings: list[str] = []
    found = fleet_info.reading_of(FakePlatform(1, 2), "web", lambda: False, warnings.append)
    assert (found["exists"], found["owned_by_daemon"], warnings) == (True, False, [])
    assert [worker["name"] for worker in found["workers"]] == ["web-1@fake", "web-2@fake"]


def test_a_daemon_whose_configuration_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(fleet: str, runs: object) -> bool:
        raise OperationError("read the configuration", "it is gone", "Deploy it.")

    monkeypatch.setattr(fleet_info, "daemon_sizes", unreadable)
    warnings: list[str] = []
    found = fleet_info.reading_of(FakePlatform(1), "web", lambda: True, warnings.append)
    assert found["owned_by_daemon"] is None
    assert "not known whether the daemon celery-autoscaler sizes fleet web here" in warnings[0]


def test_no_name_is_every_fleet_and_an_odd_one_is_a_fault() -> None:
    assert list(options.faults({"fleet": None})) == []
    assert list(options.faults({"fleet": ""}))
    assert list(options.faults({"fleet": "Web"}))


class Unread(FakePlatform):
    """A host whose fleets are only to be named."""

    def read(self, fleet: str) -> FleetReading:
        raise AssertionError("nobody asked for the workers")


def test_fleets_are_named_without_their_workers() -> None:
    def asked() -> bool:
        raise AssertionError("nobody asked who sizes them")

    assert fleet_info.fleets_of(Unread(1), False, asked, print) == {"web": {}}
    found = fleet_info.fleets_of(FakePlatform(1), True, lambda: False, print)
    assert [len(reading["workers"]) for reading in found.values()] == [1]
