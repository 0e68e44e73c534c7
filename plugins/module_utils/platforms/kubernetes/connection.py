# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an API server is reached: from within its cluster, or by a kubeconfig."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Place
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Attempt, Refused

try:
    import urllib3
except ImportError:
    urllib3 = None

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds what its ServiceAccount may show."""

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
        raise _missing("urllib3")
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
    pool = urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=str(authority))
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
    pool = urllib3.PoolManager(cert_reqs="CERT_REQUIRED" if verifies else "CERT_NONE", ca_certs=authority)
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
    tried = f"use the kubeconfig {files}" + (f" with the context {context}" if context else "")
    paths = [Path(name).expanduser() for name in files.split(os.pathsep) if name]
    if not any(path.exists() for path in paths):
        raise OperationError(
            tried,
            "there is no such file",
            "Name one that exists in the option kubeconfig or in K8S_AUTH_KUBECONFIG, on the host where this runs.",
        )
    try:
        from kubernetes.client import Configuration
        from kubernetes.client.rest import RESTClientObject
        from kubernetes.config.config_exception import ConfigException
        from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger
    except ImportError as error:
        raise _missing("kubernetes") from error
    configuration = Configuration()
    try:
        merger = KubeConfigMerger(files)
        loader = KubeConfigLoader(
            merger.config, active_context=context, config_base_path=None, config_persister=merger.save_changes
        )
        loader.load_and_set(configuration)
    except ConfigException as error:
        raise OperationError(tried, _without_items(error), _contexts_of(paths, context)) from None
    except Exception as error:
        # The library lets pass what its YAML reader and its logins raise, whatever that is.
        why = f"{type(error).__name__}: {_without_items(error)}"
        raise OperationError(tried, why, "Put the kubeconfig right; `kubectl config view` reads it too.") from None
    # The library's own pool: proxies, names and certificates as its own calls would have them.
    pool = RESTClientObject(configuration).pool_manager
    named = loader.current_context["context"]
    return Connection(
        configuration.host.rstrip("/"),
        pool,
        lambda attempt: _login(configuration, attempt),
        namespace or _namespace_of(named) or "default",
        f"the kubeconfig {files}",
    )


def _without_items(error: Exception) -> str:
    """Return what the library says without what it quotes of the file, which may be a whole login."""
    return str(error).partition("/{")[0]


def _namespace_of(context: Any) -> str | None:
    found = context.safe_get("namespace") if hasattr(context, "safe_get") else context.get("namespace")
    return str(found) if found else None


def _login(configuration: Any, attempt: Attempt) -> Mapping[str, str]:
    try:
        # Renews a token that is over, as its login says.
        settings = configuration.auth_settings()
    except Exception as error:
        raise Refused(
            attempt.tried,
            f"the login of the kubeconfig failed: {type(error).__name__}",
            "Log in anew; the same login is used by `kubectl get pods`.",
        ) from None
    return {setting["key"]: setting["value"] for setting in settings.values() if setting.get("value")}


def _contexts_of(paths: list[Path], context: str | None) -> str:
    names: list[str] = []
    for path in paths:
        try:
            import yaml

            values = yaml.safe_load(path.read_text(encoding="utf-8"))
            names += [str(each["name"]) for each in values["contexts"]]
        except Exception:  # Whatever is wrong with it, the error that is told is that of its own reader.
            continue
    known = f"It has the contexts {', '.join(dict.fromkeys(names))}. " if names else ""
    wrong = "Name one of them" if context and names else "Set its current-context, or name a context"
    return f"{known}{wrong} in the option context or in K8S_AUTH_CONTEXT."


def _missing(library: str) -> OperationError:
    return OperationError(
        "speak to a cluster",
        f"the Python library {library} is not installed for {sys.executable}",
        "Install it there (`pip install kubernetes` brings all that is needed), "
        "or set ansible_python_interpreter of this host to a Python that has it.",
    )
