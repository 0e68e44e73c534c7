# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speak to the API server of a cluster: JSON over HTTP, and every failure as an error for an operator.

The client library `kubernetes` is left out: to import it costs 33 MB, more than half of what the autoscaler may use.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import (
    Attempt,
    Refused,
    refused,
    unreachable,
)

if TYPE_CHECKING:
    from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.connection import Connection

try:
    import urllib3
except ImportError:
    urllib3 = None

TIMEOUT = 10.0
"""Seconds that the API server has for an answer."""

PAGE = 500
"""Objects of a list that are asked for at once."""

PATCHES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
"""Kinds of patches by their content type. JSON is YAML, so `apply` takes it as well."""

MOST_TEXT = 64 * 1024

Json = dict[str, Any]


class Api(Protocol):
    """What is asked of an API server. Every call raises `Refused`, an OperationError, when it is not done.

    Paths are such as `/api/v1/namespaces/muejam/pods`; C(query) has the API's own names, such as C(dryRun).
    """

    server: str
    namespace: str

    def get(self, path: str, **query: str) -> Json:
        """Return one object."""

    def list(self, path: str, label_selector: str = "", **query: str) -> list[Json]:
        """Return all objects of a list, however many pages they are."""

    def post(self, path: str, body: Mapping[str, Any], **query: str) -> Json:
        """Make an object, and return it."""

    def put(self, path: str, body: Mapping[str, Any], **query: str) -> Json:
        """Replace an object, and return it."""

    def patch(self, path: str, body: Mapping[str, Any] | Sequence[Any], kind: str = "merge", **query: str) -> Json:
        """Change an object, and return it.

        :param kind: one of C(PATCHES).
        """

    def delete(self, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Json:
        """Have an object deleted; it may be there for a while."""

    def text(self, path: str, most: int = MOST_TEXT, timeout: float | None = None, **query: str) -> bytes:
        """Return what is no object, such as a log.

        :param most: bytes; what is beyond them is cut off.
        :param timeout: seconds, None for as long as anything may take.
        """


class HttpApi:
    """An API server that is spoken to over HTTP."""

    def __init__(self, connection: Connection, timeout: float = TIMEOUT) -> None:
        """Prepare to ask, and connect at the first call."""
        self._connection = connection
        self._timeout = timeout
        self.server = connection.server
        self.namespace = connection.namespace

    def get(self, path: str, **query: str) -> Json:
        return self._json("GET", path, query)

    def list(self, path: str, label_selector: str = "", **query: str) -> list[Json]:
        asked = {"limit": str(PAGE), **query}
        if label_selector:
            asked["labelSelector"] = label_selector
        try:
            return list(self._pages(path, asked))
        except Refused as error:
            if error.status != 410:
                raise
        # A list that changes fast is forgotten between two of its pages. What begins anew is right, and once is enough
        # where it does not take minutes.
        return list(self._pages(path, asked))

    def post(self, path: str, body: Mapping[str, Any], **query: str) -> Json:
        return self._json("POST", path, query, body)

    def put(self, path: str, body: Mapping[str, Any], **query: str) -> Json:
        return self._json("PUT", path, query, body)

    def patch(self, path: str, body: Mapping[str, Any] | Sequence[Any], kind: str = "merge", **query: str) -> Json:
        return self._json("PATCH", path, query, body, PATCHES[kind])

    def delete(self, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Json:
        return self._json("DELETE", path, query, body)

    def text(self, path: str, most: int = MOST_TEXT, timeout: float | None = None, **query: str) -> bytes:
        return self._ask("GET", path, query, most=most, timeout=timeout)

    def _pages(self, path: str, query: Mapping[str, str]) -> Iterator[Json]:
        token = ""
        while True:
            page = self._json("GET", path, {**query, "continue": token} if token else query)
            yield from page.get("items") or ()
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def _json(
        self, method: str, path: str, query: Mapping[str, str], body: Any = None, content: str = "application/json"
    ) -> Json:
        answer = self._ask(method, path, query, body, content)
        try:
            values = json.loads(answer)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            attempt = Attempt(method, path, self.server)
            raise Refused(
                attempt.tried,
                "what answered is no API server: it did not send JSON",
                "Check the server's address in the kubeconfig, and proxies on the way.",
            )
        return values

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any = None,
        content: str = "application/json",
        most: int | None = None,
        timeout: float | None = None,
    ) -> bytes:
        attempt = Attempt(method, path, self.server)
        headers = {"Accept": "application/json", "User-Agent": "muejam.celery", **self._connection.headers(attempt)}
        if most is not None:
            headers["Accept"] = "*/*"
        if body is not None:
            headers["Content-Type"] = content
        url = self.server + quote(path, safe="/:") + (f"?{urlencode(query)}" if query else "")
        try:
            answer = self._connection.pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=urllib3.Timeout(total=self._timeout if timeout is None else timeout),
                # Only what changes nothing is asked twice; a connection that was not made is tried again in any case.
                retries=urllib3.Retry(total=1, redirect=0, status=0, allowed_methods=("GET",)),
                redirect=False,
                preload_content=False,
            )
            try:
                data = bytes(answer.read(most) if most is not None and answer.status < 300 else answer.read())
            finally:
                # What was not read would be taken for the next answer.
                answer.close() if most is not None else answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(attempt, error, self._connection.origin) from None
        if not 200 <= answer.status < 300:
            raise refused(attempt, answer.status, str(answer.reason or ""), data, self._connection.origin)
        return data
