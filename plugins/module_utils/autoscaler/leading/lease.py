# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of an election as a Lease of a cluster, which knows who has seen its last version."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.election import Record
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import CLUSTER_NAME
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import (
    MANAGER,
    MANAGER_LABEL,
    NAME_LABEL,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused

SIZES = "muejam.celery/sizes"
"""Annotation: the fleets that whoever holds the Lease sizes, with commas between them."""


class LeaseObject:
    """The Lease of a namespace. Every call raises Refused when it is not done."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._object: dict[str, Any] | None = None

    def read(self) -> Record | None:
        """Return what stands in it, None where there is none."""
        try:
            self._object = self._api.get(f"{self._leases}/{CLUSTER_NAME}")
        except Refused as error:
            if error.status != 404 or error.no_such_api:
                raise
            self._object = None
            return None
        spec = self._object.get("spec") or {}
        noted = (self._object["metadata"].get("annotations") or {}).get(SIZES)
        return Record(
            spec.get("holderIdentity") or "",
            float(spec.get("leaseDurationSeconds") or 0),
            spec.get("acquireTime") or "",
            spec.get("renewTime") or "",
            int(spec.get("leaseTransitions") or 0),
            None if noted is None else tuple(filter(None, noted.split(","))),
        )

    def write(self, record: Record) -> None:
        """Put this in the place of what was read or written last.

        :raises Refused: with status 409 when somebody else has written since.
        """
        spec = {
            **((self._object or {}).get("spec") or {}),
            "holderIdentity": record.holder,
            "leaseDurationSeconds": int(record.lasts),
            "acquireTime": record.acquired,
            "renewTime": record.renewed,
            "leaseTransitions": record.transitions,
        }
        found = self._object or _new(self._namespace)
        metadata = dict(found["metadata"])
        if record.fleets is not None:
            metadata["annotations"] = {**(metadata.get("annotations") or {}), SIZES: ",".join(record.fleets)}
        wanted = {**found, "metadata": metadata, "spec": spec}
        if self._object is None:
            self._object = self._api.post(self._leases, wanted)
        else:
            # With the version that was read in it: the server refuses any other one.
            self._object = self._api.put(f"{self._leases}/{CLUSTER_NAME}", wanted)


def written(at: float) -> str:
    """Return seconds since the epoch as a Lease has them."""
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _new(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": CLUSTER_NAME,
            "namespace": namespace,
            "labels": {NAME_LABEL: CLUSTER_NAME, MANAGER_LABEL: MANAGER},
        },
    }
