# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a plan is carried out, on a systemd that is a list of states; the real one is in tests/host/scaling."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import unit_name
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd import scaling
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.scaling import ScaleRequest, scale
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.systemctl import Answer, Systemd
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.units import FleetState, Phase, Unit
from ansible_collections.muejam.celery.plugins.modules import scale as scale_module


class Fake(Systemd):
    """Workers that drain for so many looks."""

    def __init__(self, *units: Unit, looks: int = 3, result: str = "success") -> None:
        super().__init__()
        self.units = {unit.name: unit for unit in units}
        self.looks = looks
        self.result = result
        self.asked: list[tuple[str, list[str]]] = []

    def read_fleet(self, fleet: str) -> FleetState:
        self.looks -= 1
        if self.looks < 0:
            for name, unit in self.units.items():
                if unit.leaving:
                    self.units[name] = replace(unit, phase=Phase.DOWN, enabled=False, result=self.result)
        return FleetState(fleet, exists=True, units=tuple(self.units.values()))

    def disable(self, units: Sequence[str]) -> Answer:
        self.asked.append(("disable", list(units)))
        for name in units:
            self.units[name] = replace(self.units[name], enabled=False, enabled_for_good=False)
        return Answer(0, "", "")

    def stop_no_wait(self, units: Sequence[str]) -> Answer:
        self.asked.append(("stop", list(units)))
        for name in units:
            self.units[name] = replace(self.units[name], phase=Phase.DRAINING)
        return Answer(0, "", "")

    def reset_failed(self, units: Sequence[str]) -> None:
        pass


def unit(number: int, phase: Phase, enabled: bool = True) -> Unit:
    return Unit(unit_name("web", number), number, phase, enabled=enabled, enabled_for_good=enabled)


@pytest.fixture(autouse=True)
def no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def free(fleet: str, wait: float) -> Iterator[None]:
        yield

    monkeypatch.setattr(scaling, "fleet_lock", free)


@pytest.mark.parametrize("leaving", [unit(1, Phase.DRAINING, enabled=False), unit(1, Phase.ENDING, enabled=False)])
def test_a_fleet_of_none_waits_for_what_others_told_to_stop(leaving: Unit) -> None:
    systemd = Fake(leaving)
    result = scale(ScaleRequest("web", 0), systemd, check_mode=False)
    assert (result.before, result.after, result.stopped, result.draining) == (0, 0, [], [])
    assert systemd.asked == []


def test_a_fleet_of_none_that_still_drains_in_the_end_is_told() -> None:
    with pytest.raises(OperationError, match="1 of 1 stopped workers still drain") as caught:
        scale(ScaleRequest("web", 0, drain_timeout=0.1), Fake(unit(1, Phase.DRAINING), looks=99), check_mode=False)
    assert caught.value.details["draining"] == [unit_name("web", 1)]


def test_a_worker_that_was_killed_at_the_end_of_a_drain_that_others_began_is_told() -> None:
    with pytest.raises(OperationError, match="not all of them got to finish"):
        scale(ScaleRequest("web", 0), Fake(unit(1, Phase.DRAINING), result="timeout"), check_mode=False)


def test_a_fleet_that_keeps_workers_waits_only_for_those_that_it_stops() -> None:
    systemd = Fake(unit(1, Phase.RUNNING), unit(2, Phase.DRAINING, enabled=False), looks=99)
    assert scale(ScaleRequest("web", 1), systemd, check_mode=False).draining == [unit_name("web", 2)]


@pytest.mark.parametrize(
    ("keep", "sized", "done", "warns"),
    [
        (False, True, True, True),
        (True, True, True, False),
        (False, False, True, False),
        # In check mode, or where the number was right, nothing is undone.
        (False, True, False, False),
    ],
)
def test_a_number_set_by_hand_where_the_daemon_sizes_the_fleet_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, keep: bool, sized: bool, done: bool, warns: bool
) -> None:
    monkeypatch.setattr(scale_module, "daemon_sizes", lambda fleet: sized)
    told = list(scale_module.undone_by_the_daemon({"fleet": "web", "keep": keep}, done))
    assert bool(told) is warns
    assert all("celery_autoscaler_mode: advise" in warning for warning in told)
