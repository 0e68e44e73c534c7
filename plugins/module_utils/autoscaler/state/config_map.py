# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A ConfigMap that keeps the state of the service in a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import (
    CLUSTER_NAME,
    STATE_OBJECT,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.remembered import (
    Remembered,
    StateUnusable,
    from_text,
    to_text,
)
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import (
    MANAGER,
    MANAGER_LABEL,
    NAME_LABEL,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused

KEY = "state.json"
ASIDE = "unusable.json"
_ASIDE_AT_MOST = 256 * 1024
"""Characters: a ConfigMap has room for a mebibyte."""


class ConfigMapStore:
    """Replaces the object in the version that this process has read or written last, and no other one.

    So of two services that take themselves for the leader one alone can note what it is about to do.
    """

    acts_unsaved = False

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._maps = f"/api/v1/namespaces/{namespace}/configmaps"
        self._object: dict[str, Any] | None = None

    def load(self) -> dict[str, Remembered]:
        """Return what the ConfigMap remembers; one that is not there, or empty, remembers nothing."""
        try:
            self._object = self._api.get(f"{self._maps}/{STATE_OBJECT}")
        except Refused as error:
            if error.status != 404:
                raise
            self._object = None
            return {}
        text = (self._object.get("data") or {}).get(KEY)
        try:
            return {} if text is None else from_text(text)
        except ValueError as error:
            raise StateUnusable(
                f"use the state in {self._named}",
                error,
                "Set it aside; without it every cooldown begins anew, and waits are unknown for a while.",
            ) from error

    def set_aside(self) -> str:
        """Keep the text that cannot be used under another key, from the next save on."""
        data = dict((self._object or {}).get("data") or {})
        data[ASIDE] = str(data.pop(KEY, ""))[:_ASIDE_AT_MOST]
        self._object = {**(self._object or _new(self._namespace)), "data": data}
        return f"{ASIDE} of {self._named}"

    def save(self, memories: Mapping[str, Remembered]) -> None:
        """Replace what the ConfigMap remembers."""
        kept = self._object or _new(self._namespace)
        wanted = {**kept, "data": {**(kept.get("data") or {}), KEY: to_text(memories)}}
        try:
            if "resourceVersion" in kept["metadata"]:
                self._object = self._api.put(f"{self._maps}/{STATE_OBJECT}", wanted)
            else:
                self._object = self._api.post(self._maps, wanted)
        except Refused as error:
            # Whoever removed it has seen to it as well.
            gone = error.status == 404 and "resourceVersion" in kept["metadata"]
            if error.status != 409 and not gone:
                raise
            raise OperationError(
                f"save the state in {self._named}",
                error.why,
                "Somebody else has changed it since, so it is read again before anything is done.",
                conflict=True,
            ) from error

    @property
    def _named(self) -> str:
        return f"ConfigMap {STATE_OBJECT} in namespace {self._namespace}"


def _new(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": STATE_OBJECT,
            "namespace": namespace,
            "labels": {NAME_LABEL: CLUSTER_NAME, MANAGER_LABEL: MANAGER},
        },
    }
