# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A ConfigMap that keeps the state of the service in a cluster.

It has room for a mebibyte, and a fleet takes some 4 KiB. So what is large is packed, to a tenth of that or less. It
stays one object: by its version one of two services knows that the other one has written.
"""

from __future__ import annotations

import base64
import gzip
import zlib
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
PACKED = "state.json.gz"
ASIDE = "unusable.json"
_AT_MOST = 1024 * 1024
"""Bytes that a ConfigMap has room for."""
_PLAIN_AT_MOST = 256 * 1024
"""Bytes that are kept as text, for people to read."""
_UNPACKED_AT_MOST = 64 * 1024 * 1024
"""Bytes. Who may write the object must not be able to take all memory."""
_GZIP = 31
"""To zlib: it is packed as by gzip."""
_ASIDE_AT_MOST = 128 * 1024
"""Bytes of a state that cannot be used."""


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
        try:
            text = _text_of(self._object)
            return {} if text is None else from_text(text)
        except ValueError as error:
            raise StateUnusable(
                f"use the state in {self._named}",
                error,
                "Without it every cooldown begins anew, and waits are unknown for a while.",
            ) from error

    def set_aside(self) -> str:
        """Keep the text that cannot be used under another key, from the next save on."""
        kept = self._object or _new(self._namespace)
        try:
            unusable = _text_of(kept) or ""
        except ValueError:
            # As it stands there, packed by whoever it was.
            unusable = str((kept.get("binaryData") or {}).get(PACKED) or "")
        aside = unusable.encode()[:_ASIDE_AT_MOST].decode(errors="ignore")
        self._object = _holding(kept, {**_others(kept), ASIDE: aside}, {})
        return f"{ASIDE} of {self._named}"

    def save(self, memories: Mapping[str, Remembered]) -> None:
        """Replace what the ConfigMap remembers."""
        kept = self._object or _new(self._namespace)
        wanted = self._wanted(kept, to_text(memories).encode())
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

    def _wanted(self, kept: Mapping[str, Any], text: bytes) -> dict[str, Any]:
        others = _others(kept)
        if len(text) <= _PLAIN_AT_MOST:
            return _holding(kept, {**others, KEY: text.decode()}, {})
        packed = gzip.compress(text, compresslevel=1, mtime=0)
        if len(packed) > _AT_MOST:
            raise OperationError(
                f"save the state in {self._named}",
                f"it takes {len(packed)} bytes even when it is packed, and a ConfigMap has room for {_AT_MOST}",
                "Spread the fleets over several namespaces, each with an autoscaler of its own.",
            )
        if len(packed) + sum(len(value.encode()) for value in others.values()) > _AT_MOST:
            others = {}
        return _holding(kept, others, {PACKED: base64.b64encode(packed).decode("ascii")})

    @property
    def _named(self) -> str:
        return f"ConfigMap {STATE_OBJECT} in namespace {self._namespace}"


def _text_of(found: Mapping[str, Any]) -> str | None:
    """Return what the object remembers, None where it has nothing.

    :raises ValueError: when that is packed and cannot be unpacked.
    """
    packed = (found.get("binaryData") or {}).get(PACKED)
    if packed is None:
        text = (found.get("data") or {}).get(KEY)
        return None if text is None else str(text)
    reader = zlib.decompressobj(wbits=_GZIP)
    try:
        text = reader.decompress(base64.b64decode(packed, validate=True), _UNPACKED_AT_MOST)
    except zlib.error as error:
        raise ValueError(f"{PACKED} cannot be unpacked: {error}") from error
    if not reader.eof:
        raise ValueError(f"{PACKED} is cut off, or is too much when it is unpacked")
    return text.decode()


def _others(found: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in (found.get("data") or {}).items() if key != KEY}


def _holding(found: Mapping[str, Any], data: Mapping[str, str], packed: Mapping[str, str]) -> dict[str, Any]:
    """Return the object with this in it, and nothing else."""
    plain = {key: value for key, value in found.items() if key not in ("data", "binaryData")}
    return {**plain, "data": dict(data), **({"binaryData": dict(packed)} if packed else {})}


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
