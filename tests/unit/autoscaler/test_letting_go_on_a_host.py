# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet is taken out of the daemon's hands before somebody else sizes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.by_the_clock import places, removing
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.host import HostAutoscaler
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.schedules import end_schedules
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

CONFIGURATION: dict[str, Any] = {
    "mode": "act",
    "fleets": [{"name": "web", "policy": {}}, {"name": "mail", "policy": {}}, {"name": "plain"}],
}


@pytest.fixture
def hands(tmp_path: Path) -> HostAutoscaler:
    """A daemon that does not run, and has a configuration."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIGURATION))
    (tmp_path / "in-force.json").write_text(json.dumps({"program": "1", "configuration": "2"}))
    return HostAutoscaler(str(tmp_path / "config.json"), str(tmp_path / "in-force.json"), runs=lambda: False)


def scaled(hands: HostAutoscaler) -> list[str]:
    configured = json.loads(Path(hands.configuration).read_text())
    return [fleet["name"] for fleet in configured["fleets"] if "policy" in fleet]


def test_fleets_that_are_named(hands: HostAutoscaler) -> None:
    assert hands.let_go(["mail", "plain", "unheard-of"], [], check=False) == ["mail"]
    assert scaled(hands) == ["web"]
    # The next deployment has the daemon read its configuration again, and does not restart it.
    assert json.loads(Path(hands.in_force).read_text()) == {"program": "1"}
    assert hands.let_go(["mail"], [], check=False) == []


def test_all_but_those_to_keep(hands: HostAutoscaler) -> None:
    assert hands.let_go(None, ["web", "mail"], check=False) == []
    assert Path(hands.in_force).exists()
    assert hands.let_go(None, ["web"], check=True) == ["mail"]
    assert scaled(hands) == ["web", "mail"]
    assert hands.let_go(None, ["web"], check=False) == ["mail"]
    assert scaled(hands) == ["web"]


@pytest.mark.parametrize("noted", ["", "[]", "{"])
def test_a_note_that_tells_nothing_goes(hands: HostAutoscaler, noted: str) -> None:
    Path(hands.in_force).write_text(noted)
    assert hands.let_go(["mail"], [], check=False) == ["mail"]
    assert not Path(hands.in_force).exists()


def test_without_a_daemon_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert HostAutoscaler(str(tmp_path / "none")).let_go(["web"], [], check=False) == []


def test_a_broken_configuration_is_told(hands: HostAutoscaler) -> None:
    Path(hands.configuration).write_text("{")
    with pytest.raises(OperationError, match="which fleets the autoscaler scales"):
        hands.let_go(["web"], [], check=False)


@pytest.mark.parametrize(
    ("names", "keep", "gone"),
    [
        (None, [], ["mail", "web"]),
        (None, ["web"], ["mail"]),
        (["web", "unheard-of"], [], ["web"]),
        ([], [], []),
    ],
)
def test_schedules_end_with_their_fleets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str] | None, keep: list[str], gone: list[str]
) -> None:
    ended: list[str] = []
    for name in ("web.json", "mail.json", "Not-a-fleet.json", "web.timer"):
        (tmp_path / name).write_text("{}")
    monkeypatch.setattr(places, "CONFIGURATION", str(tmp_path))
    monkeypatch.setattr(removing, "remove", lambda fleet, _wait, check: ended.append(f"{fleet} {check}"))
    assert end_schedules(names, keep, check=True) == gone
    assert ended == [f"{fleet} True" for fleet in gone]
