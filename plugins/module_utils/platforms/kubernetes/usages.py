# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods use, by the cluster's metrics API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import CONTAINER, OURS
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.quantities import quantity
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused

NOT_YET = "the metrics API has not measured it yet"


@dataclass(frozen=True)
class Usage:
    """What one worker uses.

    :ivar cores: CPU seconds in a second, over the last quarter of a minute or so.
    :ivar memory: bytes.
    """

    cores: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class Usages:
    """What workers use, by the name of their pods, and why that is not known of others."""

    by_pod: Mapping[str, Usage]
    why: str = NOT_YET


def read_usages(api: Api, namespace: str) -> Usages:
    """Read what all workers of a namespace use, in one list; what came in the way is part of the answer."""
    try:
        found = api.list(f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods", OURS)
    except Refused as error:
        if error.no_such_api or error.status == 503:
            return Usages({}, "this cluster has no metrics API; install metrics-server")
        return Usages({}, str(error))
    except OperationError as error:
        return Usages({}, str(error))
    return Usages({str((each.get("metadata") or {}).get("name")): _usage(each) for each in found})


def _usage(values: Mapping[str, Any]) -> Usage:
    for container in values.get("containers") or ():
        if container.get("name") == CONTAINER:
            used = container.get("usage") or {}
            return Usage(quantity(used.get("cpu")), quantity(used.get("memory")))
    return Usage()
