# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With -vvv Ansible shows what a module was given. Of objects of a cluster, what is in their Secrets is not shown."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import ModuleType

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.muejam.celery.plugins.modules import access_info, hand_over

PASSWORD = "not-a-real-password-9876543210"


@pytest.mark.parametrize("module", [access_info, hand_over], ids=["access_info", "hand_over"])
def test_what_is_in_secrets_is_not_shown(
    module: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = base64.b64encode(PASSWORD.encode()).decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "celery-worker-web"}, "data": {"u": written}}
    given = {"objects": [secret], "kubeconfig": str(tmp_path / "none"), "namespace": "shop"}
    if module is hand_over:
        given["owners"] = {"web": "keda"}
    with patch_module_args(given), pytest.raises(SystemExit):
        module.main()
    told = capsys.readouterr().out
    shown = json.loads(told)["invocation"]["module_args"]["objects"]
    assert shown[0]["metadata"] == secret["metadata"]
    assert shown[0]["data"] == {"u": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"}
    assert PASSWORD not in told
    assert written not in told
