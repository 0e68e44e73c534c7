# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that is newer than the schemas there are is checked against the newest of these."""

from __future__ import annotations

import kubernetes_validate
import pytest
from kubernetes_validate.utils import VersionNotSupportedError

from ansible_collections.muejam.celery.plugins.filter.cluster import cluster_schema_version
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.schemas import schema_version

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "b"}}


@pytest.mark.parametrize(
    ("server", "version"),
    [
        ("v1.31.4", "1.31"),
        ("v1.33.0-eks-1234", "1.33"),
        ("v1.100.2+k3s1", "1.33"),
        ("1.9.0", "1.9"),
        ("v2.0.0", "1.33"),
        ("main", ""),
    ],
)
def test_it_is_the_cluster_s_own_or_the_newest(server: str, version: str) -> None:
    assert schema_version(server, ["1.9.0", "1.33.0", "1.31.0"]) == version


def test_without_schemas_it_is_left_to_what_checks() -> None:
    assert schema_version("v1.31.4", []) == ""


def test_the_library_takes_what_it_is_given_for_a_cluster_of_the_future() -> None:
    with pytest.raises(VersionNotSupportedError):
        kubernetes_validate.validate(CONFIG_MAP, "v1.99.0", strict=True)
    version = cluster_schema_version("v1.99.0")
    assert kubernetes_validate.validate(CONFIG_MAP, version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**CONFIG_MAP, "data": 5}, version, strict=True)
