# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module pause, run as Ansible runs it, on a fleet in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler import pausing
from ansible_collections.muejam.celery.plugins.module_utils.decide.pause import Pause
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import PauseUnusable
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform
from ansible_collections.muejam.celery.plugins.modules import pause, scale

LATER = "2999-12-05 06:00"
BERLIN = {"timezone": "Europe/Berlin"}
SHOWN = {"workers": 3, "until": "2999-12-05T06:00:00+01:00", "by": "alice"}

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform(1, 2)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, platform: FakePlatform, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the module with these options and returns its result."""
    monkeypatch.setattr(options, "open_platform", lambda *_place: platform)
    monkeypatch.setattr(pausing, "known_sized", lambda _daemon, _warn: frozenset({"web"}))

    def run_module(check: bool = False, **asked: Any) -> dict[str, Any]:
        given = {"fleet": "web", "_ansible_check_mode": check, "_ansible_diff": True, **asked}
        with patch_module_args(given), pytest.raises(SystemExit):
            pause.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run_module


def test_a_fleet_is_paused_once_and_lifted_once(run: Run, platform: FakePlatform) -> None:
    asked = {"workers": 3, "until": LATER, "by": "alice", **BERLIN}
    rehearsed = run(check=True, **asked)
    assert (rehearsed["changed"], rehearsed["before"], rehearsed["after"]) == (True, None, SHOWN)
    assert platform.pauses == {}
    done = run(**asked)
    assert {key: done[key] for key in ("changed", "before", "after", "sized_by")} == {
        "changed": True,
        "before": None,
        "after": SHOWN,
        "sized_by": "autoscaler",
    }
    assert done["diff"]["after"] == "paused at 3 until 2999-12-05T06:00:00+01:00 (by alice)\n"
    again = run(**{**asked, "by": "bob"})
    assert (again["changed"], again["after"]) == (False, SHOWN)
    other = run(workers=0)
    assert (other["changed"], other["after"]) == (True, {"workers": 0, "until": None})
    assert run(check=True, state="absent")["changed"] is True
    lifted = run(state="absent")
    assert (lifted["changed"], lifted["before"], lifted["after"]) == (True, {"workers": 0, "until": None}, None)
    assert (run(state="absent")["changed"], platform.pauses) == (False, {})


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "pause.workers is missing"),
        ({"workers": -1}, "pause.workers is -1"),
        ({"workers": 1, "until": "2020-01-01 10:00", **BERLIN}, "which is over: it is 20"),
        ({"workers": 1, "until": "tomorrow"}, "pause.until is 'tomorrow': no date"),
        ({"workers": 1, "timezone": "Europe/Nowhere"}, "'Europe/Nowhere' is no time zone"),
        ({"workers": 1, "fleet": "Web"}, "no name of a fleet"),
        ({"workers": 1, "fleet": "mail"}, "has no fleet mail; its fleets are: web"),
    ],
)
def test_what_makes_no_sense_changes_nothing(run: Run, platform: FakePlatform, asked: Any, says: str) -> None:
    result = run(**asked)
    assert result["failed"] is True
    assert says in result["msg"]
    assert platform.pauses == {}


def test_a_fleet_that_nobody_sizes_needs_none(
    run: Run, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(pausing, "known_sized", lambda _daemon, _warn: frozenset())
    monkeypatch.setattr(pausing, "default_path", lambda fleet: str(tmp_path / f"{fleet}.json"))
    said = run(workers=1)["msg"]
    assert "nothing autoscales it" in said
    assert "with the module or the playbook scale" in said
    assert platform.pauses == {}
    assert run(workers=1, scheduled=True)["sized_by"] == "scheduled runs"
    (tmp_path / "web.json").touch()
    assert run(workers=2)["sized_by"] == "scheduled runs"
    # To lift one needs nobody.
    monkeypatch.setattr(pausing, "default_path", lambda fleet: str(tmp_path / "other"))
    assert run(state="absent")["changed"] is True


class Damaged(FakePlatform):
    """A host on which something stands that is no pause."""

    def paused(self, fleet: str) -> Pause | None:
        if fleet in self.pauses:
            return self.pauses[fleet]
        raise PauseUnusable("read it", "it is no JSON", "Pause it anew.")


def test_a_daemon_of_which_nothing_is_known_may_size_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pausing, "known_sized", lambda _daemon, _warn: None)
    assert run(workers=1)["sized_by"] == "autoscaler"


def test_what_makes_no_sense_is_written_anew(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = Damaged(1)
    monkeypatch.setattr(options, "open_platform", lambda *_place: damaged)
    result = run(workers=1)
    assert (result["changed"], result["before"], damaged.pauses) == (True, None, {"web": Pause(1)})
    assert result["diff"]["before"] == "a pause that cannot be read\n"


def test_a_pause_that_is_over_is_none_to_keep(run: Run, platform: FakePlatform) -> None:
    platform.pause("web", Pause(1, time.time() - 60))
    assert run(workers=1)["changed"] is True
    assert platform.pauses["web"] == Pause(1)


def test_a_deployment_starts_nothing_of_a_fleet_that_is_held_at_none(platform: FakePlatform) -> None:
    now = 1000.0
    by_policy, by_hand = ({"fleet": "web", "workers": 2, "keep": keep} for keep in (True, False))
    assert scale.number_for(by_policy, platform, now) == 2
    platform.pause("web", Pause(0, now + 1))
    assert scale.number_for(by_policy, platform, now) == 0
    assert scale.number_for(by_hand, platform, now) == 2
    assert scale.number_for(by_policy, platform, now + 1) == 2
