# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an API server is reached: from within its cluster, or by a kubeconfig."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Place
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.kubeconfig import (
    Kubeconfig,
    missing_library,
    read_kubeconfig,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Attempt, Refused

try:
    import urllib3
except ImportError:
    urllib3 = None

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds what its ServiceAccount may show."""

AT_ONCE = 2
"""Calls that are made at once and whose connections are kept: those of the service, and its candidacy in a thread."""

RENEWED_BEFORE = 300.0
"""Seconds before the end of a login at which another one is asked for, as the client library does it."""

Headers = Callable[[Attempt], Mapping[str, str]]


@dataclass(frozen=True)
class Connection:
    """A way to an API server.

    :ivar pool: a C(urllib3.PoolManager).
    :ivar headers: what to send along with each call, as it is at that time.
    :ivar namespace: the one that is meant where none is named.
    :ivar origin: where all of this was found, for an operator.
    """

    server: str
    pool: Any
    headers: Headers
    namespace: str
    origin: str


def connect(place: Place, environment: Mapping[str, str] | None = None, account: Path = ACCOUNT) -> Connection:
    """Find the way to a cluster. Nothing is sent.

    As modules of kubernetes.core do, it takes C(K8S_AUTH_HOST) with C(K8S_AUTH_API_KEY), which are what AWX hands to a
    job, before all others; and what the caller does not name from C(K8S_AUTH_KUBECONFIG) and C(K8S_AUTH_CONTEXT). In a
    pod without any of them it is the pod's own cluster.

    :param environment: of this process unless it is given.
    :raises OperationError: when there is none, or a library is missing.
    """
    environment = os.environ if environment is None else environment
    kubeconfig = place.kubeconfig or environment.get("K8S_AUTH_KUBECONFIG")
    context = place.context or environment.get("K8S_AUTH_CONTEXT")
    if urllib3 is None:
        raise missing_library("urllib3")
    if environment.get("K8S_AUTH_HOST"):
        return by_token(place.namespace, environment)
    if not (kubeconfig or context) and environment.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(place.namespace, environment, account)
    files = kubeconfig or environment.get("KUBECONFIG") or "~/.kube/config"
    return by_kubeconfig(files, context, place.namespace)


def in_cluster(namespace: str | None, environment: Mapping[str, str], account: Path = ACCOUNT) -> Connection:
    """Return the way from a pod to its own cluster.

    :raises OperationError: when the pod has no ServiceAccount's token.
    """
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    token = _TokenFile(account / "token")
    authority = account / "ca.crt"
    if not authority.exists():
        raise OperationError(
            f"find the way to the API server {server}",
            f"there is no {authority}, so this pod has no ServiceAccount to show",
            "Give the pod a serviceAccountName and leave automountServiceAccountToken at true.",
        )
    if not namespace:
        own = account / "namespace"
        namespace = own.read_text(encoding="utf-8").strip() if own.exists() else "default"
    pool = urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=str(authority), maxsize=AT_ONCE)
    return Connection(server, pool, token.headers, namespace, "the pod's ServiceAccount")


def by_token(namespace: str | None, environment: Mapping[str, str]) -> Connection:
    """Return the way that variables describe: an address and a token.

    :raises OperationError: when there is no token. Other logins are not taken: another cluster might be meant.
    """
    server, token = environment["K8S_AUTH_HOST"].rstrip("/"), environment.get("K8S_AUTH_API_KEY")
    if not token:
        raise OperationError(
            f"find the way to the API server {server}",
            "K8S_AUTH_HOST names it, and there is no K8S_AUTH_API_KEY",
            "Set that as well, or take K8S_AUTH_HOST away and name a kubeconfig.",
        )
    verifies = environment.get("K8S_AUTH_VERIFY_SSL", "true").lower() not in ("false", "no", "off", "0")
    authority = environment.get("K8S_AUTH_SSL_CA_CERT") or None
    requirement = "CERT_REQUIRED" if verifies else "CERT_NONE"
    pool = urllib3.PoolManager(cert_reqs=requirement, ca_certs=authority, maxsize=AT_ONCE)
    login = {"Authorization": f"Bearer {token}"}
    return Connection(server, pool, lambda attempt: login, namespace or "default", "K8S_AUTH_HOST")


class _TokenFile:
    """A token that the kubelet renews long before it ends, in a file that it replaces."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._token = ""

    def headers(self, attempt: Attempt) -> Mapping[str, str]:
        try:
            found = self._path.stat()
            if (found.st_ino, found.st_mtime_ns) != self._seen:
                self._token = self._path.read_text(encoding="ascii").strip()
                self._seen = (found.st_ino, found.st_mtime_ns)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no token"
            raise Refused(
                attempt.tried,
                f"the token {self._path} cannot be read: {why}",
                "Leave automountServiceAccountToken of the pod at true, and its user in the group of the file.",
            ) from None
        return {"Authorization": f"Bearer {self._token}"}


def by_kubeconfig(files: str, context: str | None, namespace: str | None) -> Connection:
    """Return the way that a kubeconfig describes, with whatever it does to log in.

    :raises OperationError: when the file is missing or wrong, it has no such context, or a library is missing.
    """
    found = read_kubeconfig(files, context)
    origin = f"the kubeconfig {files}"
    try:
        pool = _pool(found)
    except (OSError, TypeError, ValueError) as error:
        # Such as a certificate that is none; what it says of the error is not its text.
        raise OperationError(
            f"use {origin}",
            f"its certificates cannot be used: {type(error).__name__}: {getattr(error, 'reason', None) or error}",
            "Put the kubeconfig right; `kubectl config view` reads it too.",
        ) from None
    login = _Login(found, lambda: read_kubeconfig(files, context))
    return Connection(found.server, pool, login.headers, namespace or found.namespace or "default", origin)


def _pool(found: Kubeconfig) -> Any:
    requirement = "CERT_REQUIRED" if found.verifies else "CERT_NONE"
    tls = urllib3.util.ssl_.create_urllib3_context(cert_reqs=urllib3.util.ssl_.resolve_cert_reqs(requirement))
    if found.authority:
        tls.load_verify_locations(cadata=found.authority)
    elif found.verifies:
        tls.load_default_certs()
    if found.certificate:
        # It is read from a file alone, which is there for that moment.
        with NamedTemporaryFile("w", encoding="utf-8") as file:
            file.write(f"{found.certificate}\n{found.key}")
            file.flush()
            tls.load_cert_chain(file.name)
    arguments = {**found.pool, "cert_reqs": requirement, "ssl_context": tls}
    if not found.proxy:
        return urllib3.PoolManager(**arguments)
    if found.proxy.startswith("socks"):
        from urllib3.contrib.socks import SOCKSProxyManager

        return SOCKSProxyManager(found.proxy, headers=found.proxy_headers, **arguments)
    return urllib3.ProxyManager(found.proxy, proxy_headers=found.proxy_headers, **arguments)


class _Login:
    """What a kubeconfig has to show, asked for anew some minutes before it is over. Any thread may ask."""

    def __init__(self, found: Kubeconfig, read: Callable[[], Kubeconfig]) -> None:
        self._found = found
        self._read = read
        self._turn = threading.Lock()

    def headers(self, attempt: Attempt) -> Mapping[str, str]:
        with self._turn:
            if self._found.expires is not None and self._found.expires - RENEWED_BEFORE <= time.time():
                try:
                    self._found = self._read()
                except OperationError:
                    raise Refused(
                        attempt.tried,
                        "the login of the kubeconfig is over, and a new one failed",
                        "Log in anew; the same login is used by `kubectl get pods`.",
                    ) from None
            return self._found.login
