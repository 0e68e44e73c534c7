# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an API server refuses, in words for an operator: what was tried, why it was not done, what to do next."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<part>[^/]+).*)?)?"
)
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NO_RIGHT = re.compile(
    r"cannot (?P<verb>\w+) resource(?: \"(?P<resource>[^\"]+)\")?(?: in API group \"(?P<group>[^\"]*)\")?"
)
_USER = 'User "'
_ESCALATES = "attempting to grant RBAC permissions not currently held"
_KINDS = {
    "scaledobjects": "KEDA is not installed in this cluster",
    "horizontalpodautoscalers": "this cluster has no autoscaling/v2; it takes Kubernetes 1.23 or newer",
}


class Refused(OperationError):
    """The API server did not do it, or could not be asked.

    :ivar status: of HTTP, None where there was no answer.
    :ivar reason: the API's own word, such as C(Conflict), C(NotFound), C(AlreadyExists).
    :ivar no_such_api: whether it does not know such objects at all.
    """

    status: int | None = None
    reason: str = ""
    no_such_api: bool = False


@dataclass(frozen=True)
class Attempt:
    """One call.

    :ivar method: of HTTP.
    """

    method: str
    path: str
    server: str

    def _part(self, name: str) -> str:
        found = _PATH.fullmatch(self.path)
        return (found[name] or "") if found else ""

    @property
    def namespace(self) -> str:
        """Empty for what belongs to no namespace."""
        return self._part("namespace")

    @property
    def resource(self) -> str:
        """Such as C(pods) or C(deployments/scale)."""
        part = self._part("part")
        return self._part("resource") + (f"/{part}" if part else "")

    @property
    def group(self) -> str:
        """Empty for the core of the API."""
        return self._part("group")

    @property
    def verb(self) -> str:
        """As rules of RBAC have it."""
        if self.method == "GET" and not self._part("name"):
            return "list"
        return _VERBS[self.method]

    @property
    def tried(self) -> str:
        """What was tried and on what."""
        if not self._part("resource"):
            return f"{self.verb} {self.path} of {self.server}"
        name = self._part("name").partition(":")[0]
        place = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{' ' + name if name else ''}{place} of {self.server}"

    def rule_for(self, message: str) -> str:
        """The rule of RBAC that allows it.

        :param message: what the API server said, which knows better: an apply of what is not there yet is a C(create).
        """
        said = _NO_RIGHT.search(message)
        verb, resource, group = said.groups() if said else (None, None, None)
        return rule([self.group if group is None else group], [resource or self.resource], [verb or self.verb])


def rule(groups: Sequence[str], resources: Sequence[str], verbs: Sequence[str]) -> str:
    """Return a rule of RBAC as YAML in one line."""
    parts = (("apiGroups", groups), ("resources", resources), ("verbs", verbs))
    return f"{{{', '.join(f'{name}: {json.dumps(list(values))}' for name, values in parts)}}}"


def refused(attempt: Attempt, status: int, phrase: str, body: bytes, origin: str) -> Refused:
    """Return the error for an answer that is no success.

    :param body: of the answer, a C(Status) of the API or anything else.
    :param origin: where the way to the server was found.
    """
    said = _status(body)
    reason, message = str(said.get("reason") or ""), str(said.get("message") or "")
    message = message or f"it answered {status} {phrase}".rstrip()
    no_such_api = status == 404 and bool(attempt.group or not said) and _no_such_api(said, message)
    next_step = _next_step(attempt, status, message, no_such_api, origin)
    error = Refused(attempt.tried, _why(attempt, message, no_such_api), next_step)
    error.status, error.reason, error.no_such_api = status, reason, no_such_api
    return error


def unreachable(attempt: Attempt, error: Exception, origin: str) -> Refused:
    """Return the error for a server that did not answer."""
    cause: Any = getattr(error, "reason", None) or error
    text = str(cause)
    # urllib3 puts the connection's own representation first.
    why = text.partition(": ")[2] if re.match(r"<?[\w.]*(?:Connection|HTTP)\w*\(", text) else text
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower() or "doesn't match" in text:
        return Refused(
            attempt.tried,
            f"its certificate is not accepted: {why}",
            f"Check the certificate authority and the server's name (tls-server-name) in {origin}.",
        )
    if "ssl" in type(cause).__name__.lower():
        return Refused(
            attempt.tried,
            f"no TLS connection came about: {why}",
            f"Check the server's address and the client's certificate in {origin}.",
        )
    return Refused(
        attempt.tried,
        why or type(cause).__name__,
        f"Check that the API server runs and can be reached from here; its address is from {origin}.",
    )


def _status(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body)
    except ValueError:
        return {}
    return values if isinstance(values, dict) and values.get("kind") == "Status" else {}


def _no_such_api(said: dict[str, Any], message: str) -> bool:
    # An object that is missing is named; an API that is missing answers in plain text or without a name.
    return not said or (
        "could not find the requested resource" in message and not (said.get("details") or {}).get("name")
    )


def _why(attempt: Attempt, message: str, no_such_api: bool) -> str:
    if not no_such_api:
        return message
    return _KINDS.get(attempt.resource) or f"this cluster has no {attempt.resource} of the API {attempt.group or 'v1'}"


def _next_step(attempt: Attempt, status: int, message: str, no_such_api: bool, origin: str) -> str:
    if status == 401:
        return f"The login of {origin} is not accepted. Log in anew, or give it a token that is still valid."
    if status == 403 and "exceeded quota" in message:
        return f"Raise the ResourceQuota of namespace {attempt.namespace}, or ask for less."
    if status == 403 and '"system:anonymous"' in message:
        # A login by a program that fails is logged by the library, and then there is none.
        return (
            f"No login was sent: {origin} has none, or it failed. `kubectl get pods` uses the same one and says more."
        )
    if status == 403 and _ESCALATES in message:
        return (
            "Who makes a Role has to have all the rights in it himself: add those that are named to a Role in "
            f"namespace {attempt.namespace} that is bound to this user."
        )
    if status == 403 and (_NO_RIGHT.search(message) or _USER in message):
        where = f"a Role in namespace {attempt.namespace}" if attempt.namespace else "a ClusterRole"
        return f"Add the rule {attempt.rule_for(message)} to {where} that is bound to this user."
    if status == 403:
        return "A rule of the cluster forbids it. Change what it names, or the rule."
    if status == 404 and no_such_api:
        return "Install it, or do without it."
    if status == 404:
        return "Check the name and the namespace."
    if status == 409:
        return "Somebody else changed it meanwhile. Read it again and decide again."
    if status == 410:
        return "The list changed too fast to be read in pages. Try again."
    if status in (429, 500, 502, 503, 504):
        return "The API server is overloaded, or a part of it is down. Try again."
    return "Change what it names, and try again."
