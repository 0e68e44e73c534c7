# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that say where workers run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.ownership.base import autoscaler_of
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import PLATFORMS
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options
from ansible_collections.muejam.celery.plugins.module_utils.platforms.registry import open_platform


def params(**values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(options.FLEET_ARGUMENTS), "fleet": "web", "platform": "systemd", **values}


def test_the_options_of_clusters_are_for_clusters() -> None:
    assert not list(options.faults(params()))
    assert not list(options.faults(params(platform="kubernetes", namespace="muejam")))
    assert list(options.faults(params(namespace="muejam", context="one"))) == [
        "context, namespace: not for platform systemd; leave out, or set platform: kubernetes"
    ]


def test_a_platform_that_is_none_of_hosts_is_elsewhere() -> None:
    assert [options.runs_here(params(platform=name)) for name in (*PLATFORMS, "another")] == [True, False, False]
    assert options.runs_here({})
    with pytest.raises(KeyError):
        autoscaler_of(params(platform="another"))


def test_every_platform_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "{current-context: c, contexts: [{name: c, context: {cluster: k, namespace: muejam}}],"
        " clusters: [{name: k, cluster: {server: 'https://cluster.example.com'}}]}",
        encoding="utf-8",
    )
    places = {name: options.open_from(params(platform=name, kubeconfig=str(kubeconfig))).place for name in PLATFORMS}
    assert places == {"systemd": "this host", "kubernetes": "namespace muejam of https://cluster.example.com"}
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", str(tmp_path / "missing"))
    with pytest.raises(OperationError, match="there is no such file"):
        options.open_from(params(platform="kubernetes"))
    with pytest.raises(KeyError):
        open_platform("mainframe")
