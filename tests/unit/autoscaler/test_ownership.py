# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the daemon sizes a fleet on this host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.base import second_owner
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.host import HostAutoscaler
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd import services


def configuration(tmp_path: Path, mode: str = "act", **fleet: object) -> str:
    path = tmp_path / "config.json"
    url = "redis://:not-a-real-password@127.0.0.1/0"
    path.write_text(json.dumps({"mode": mode, "fleets": [{"name": "web", "broker_url": url, **fleet}]}))
    return str(path)


@pytest.mark.parametrize(
    ("mode", "policy", "fleet", "sizes"),
    [
        ("act", {"policy": {}}, "web", True),
        ("act", {"policy": {}}, "other", False),
        ("act", {}, "web", False),
        ("advise", {"policy": {}}, "web", False),
        ("observe", {"policy": {}}, "web", False),
    ],
)
def test_it_does_in_mode_act_with_a_policy(
    tmp_path: Path, mode: str, policy: dict[str, object], fleet: str, sizes: bool
) -> None:
    path = configuration(tmp_path, mode, **policy)
    assert (fleet in HostAutoscaler(path, runs=lambda: True).sized()) is sizes
    assert HostAutoscaler(path, runs=lambda: False).sized() == set()


def test_a_configuration_that_cannot_be_read_is_no_permission(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="there"):
        HostAutoscaler(str(tmp_path / "there"), runs=lambda: True).sized()
    assert not HostAutoscaler(str(tmp_path / "there"), runs=lambda: False).sized()


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"mode": "act", "fleets": 5}', '{"mode": "act", "fleets": [{"policy": {}}]}']
)
def test_what_is_no_configuration_is_no_permission(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(OperationError, match=r"config\.json"):
        HostAutoscaler(str(path), runs=lambda: True).sized()


def test_a_service_that_nobody_has_does_not_run() -> None:
    assert not services.runs("muejam-celery-no-such.service")
    with pytest.raises(OperationError, match=r"have muejam-celery-no-such\.service read its configuration"):
        services.reload("muejam-celery-no-such.service")


def test_the_refusal_says_what_to_do() -> None:
    said = str(second_owner("web", "on app1, app2"))
    assert "app1, app2" in said
    assert "celery_autoscaler_mode: advise" in said
