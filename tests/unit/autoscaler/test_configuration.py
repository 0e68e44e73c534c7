# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of the service: defaults, every fault at once, and no secret in what is shown of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
    load_configuration,
    read_configuration,
)
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

FLEET = {"name": "web", "broker_url": "redis://:not-a-real-password@localhost/0"}


def test_a_url_that_is_not_percent_encoded_is_refused_and_not_shown() -> None:
    with pytest.raises(OperationError, match="percent-encode it, as %23") as caught:
        read_configuration({"fleets": [{**FLEET, "broker_url": "redis://:123456#xxx@localhost/0"}]}, "test")
    assert "123456" not in str(caught.value)


def test_what_is_left_out_takes_its_default() -> None:
    found = read_configuration({"fleets": [FLEET]}, "test")
    assert (found.mode, found.interval) == ("advise", 5.0)
    assert found.metrics is not None
    assert found.metrics.port == 9541
    assert found.fleets[0].queues == ("celery",)
    assert found.fleets[0].policy is None
    assert found.fleet("web") is found.fleets[0]
    assert found.fleet("other") is None


def test_everything_can_be_said() -> None:
    fleet = {
        **FLEET,
        "queues": ["a", "b", "a"],
        "policy": {"target": {"wait_time": "30s"}},
        "stuck": {"after": "2m", "restart": True},
        "ssl": {"ca_certs": "/ca.pem"},
    }
    found = read_configuration({"mode": "act", "interval": "2s", "metrics": False, "fleets": [fleet]}, "test")
    assert (found.mode, found.interval, found.metrics) == ("act", 2.0, None)
    assert found.fleets[0].queues == ("a", "b")
    assert found.fleets[0].policy is not None
    assert (found.fleets[0].stuck.after, found.fleets[0].stuck.restart) == (120.0, True)


def test_every_fault_is_told_at_once_with_its_path() -> None:
    raw = {
        "mode": "play",
        "interval": "soon",
        "colour": "red",
        "metrics": {"port": 70000},
        "fleets": [
            {"name": "No Name", "queues": "celery"},
            {**FLEET, "policy": {"limits": {"min_workers": 2.5}, "scale_up": {"any": [{"metric": "noise"}]}}},
            FLEET,
        ],
    }
    with pytest.raises(OperationError) as refused:
        read_configuration(raw, "test")
    paths = {fault["path"] for fault in refused.value.details["faults"]}
    assert {
        "mode",
        "interval",
        "colour",
        "metrics.port",
        "fleets[0].name",
        "fleets[0].broker_url",
        "fleets[0].queues",
        "fleets[1].policy.limits.min_workers",
        "fleets[1].policy.scale_up.any[0].metric",
        "fleets",
    } <= paths


def test_a_password_is_not_shown() -> None:
    assert "not-a-real-password" not in repr(read_configuration({"fleets": [FLEET]}, "test"))


def test_it_is_read_from_json_and_yaml(tmp_path: Path) -> None:
    written = tmp_path / "config"
    written.write_text(json.dumps({"fleets": [FLEET]}), encoding="utf-8")
    assert load_configuration(str(written)).fleets[0].name == "web"
    written.write_text("mode: act\nfleets: []\n", encoding="utf-8")
    assert load_configuration(str(written)).mode == "act"
    written.write_text("mode: [", encoding="utf-8")
    with pytest.raises(OperationError, match="not YAML"):
        load_configuration(str(written))
    with pytest.raises(OperationError, match="No such file"):
        load_configuration(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    "text",
    ["fleets: [{name: a, name: b}]\n", '{"fleets": [{"name": "a", "name": "b"}]}', "mode: act\nfleets: [{a: 1, a: 2}]"],
)
def test_a_key_that_stands_twice_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    written = tmp_path / "autoscaler.yml"
    written.write_text(text, encoding="utf-8")
    with pytest.raises(OperationError, match=r"the key fleets\[0\]\.(name|a) stands there twice. Keep one"):
        load_configuration(str(written))
