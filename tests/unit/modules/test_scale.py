# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module scale, run as Ansible runs it, on a fleet in memory; how it scales is in tests/unit/platforms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform
from ansible_collections.muejam.celery.plugins.modules import scale


def run(capsys: pytest.CaptureFixture[str], **asked: Any) -> dict[str, Any]:
    with patch_module_args({"fleet": "web", **asked}), pytest.raises(SystemExit):
        scale.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_workers_with_an_old_configuration_are_told_where_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    platform = FakePlatform(1, 2)
    monkeypatch.setattr(options, "open_platform", lambda *_place: platform)
    assert "outdated" not in run(capsys, workers=2)
    assert run(capsys, workers=2, tell_outdated=True)["outdated"] == []
    platform.manager.outdated = {1}
    # One that was started just now has the present configuration.
    told = run(capsys, workers=3, tell_outdated=True)
    assert (told["started"], told["outdated"]) == (["web-3"], ["web-1"])
    assert not [call for call in platform.manager.calls if call[0] == "restart"]


def test_that_it_cannot_be_told_is_a_failure_that_says_what_was_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    platform = FakePlatform(1)
    monkeypatch.setattr(options, "open_platform", lambda *_place: platform)

    def refuse(*_asked: Any, **_how: Any) -> None:
        raise OperationError("restart the workers of fleet web", "systemd does not answer", "Look at it.")

    monkeypatch.setattr(platform, "roll", refuse)
    told = run(capsys, workers=2, tell_outdated=True)
    assert (told["failed"], told["changed"], told["started"]) == (True, True, ["web-2"])
    assert "systemd does not answer" in told["msg"]
