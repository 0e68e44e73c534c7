# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kubeconfig says, as the client library `kubernetes` understands it.

To import that library costs 33 MB, more than half of what the autoscaler may use. It is needed for a moment only, at
the beginning and when a login is over, so it is loaded by a process of its own, which then ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

SECONDS = 60.0
"""How long it may take; a login may ask somebody over a network."""

_PROGRAM = f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {__name__} import main; main()"
_POOL = ("assert_hostname", "server_hostname", "socket_options", "maxsize")
"""Arguments of a pool of urllib3 that are handed on as they are."""


@dataclass(frozen=True)
class Kubeconfig:
    """One context of a kubeconfig. Texts of certificates and keys are PEM, and empty where there is none.

    :ivar namespace: empty where it names none.
    :ivar login: headers to send along.
    :ivar expires: when the login is over, in seconds since the epoch; None where it does not tell.
    :ivar verifies: whether the server's certificate has to be sound.
    :ivar authority: who may have signed it; empty for whom this machine trusts.
    :ivar certificate: of the client, with its C(key).
    :ivar proxy: URL of a proxy on the way; empty for none.
    :ivar pool: further arguments of a pool of urllib3.
    """

    server: str
    namespace: str
    login: Mapping[str, str]
    expires: float | None
    verifies: bool
    authority: str
    certificate: str
    key: str
    proxy: str
    proxy_headers: Mapping[str, str] | None
    pool: Mapping[str, Any]

    def __repr__(self) -> str:
        # The rest is secret.
        return f"Kubeconfig({self.server!r}, {self.namespace!r})"


def read_kubeconfig(files: str, context: str | None) -> Kubeconfig:
    """Read a context, and log in where it says how.

    :param files: paths, as C(KUBECONFIG) has them.
    :param context: None for the current one.
    :raises OperationError: when a file is missing or wrong, there is no such context, a login fails, or the library is
        missing.
    """
    tried = f"use the kubeconfig {files}" + (f" with the context {context}" if context else "")
    if not any(path.exists() for path in _paths(files)):
        raise OperationError(
            tried,
            "there is no such file",
            "Name one that exists in the option kubeconfig or in K8S_AUTH_KUBECONFIG, on the host where this runs.",
        )
    # The paths of this process, such as the archive that a module of Ansible runs from.
    command = [sys.executable, "-I", "-B", "-c", _PROGRAM, json.dumps(sys.path), files, context or ""]
    next_step = "See whether `kubectl get pods` can use it."
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        said = json.loads(done.stdout.strip().rpartition("\n")[2])
    except subprocess.TimeoutExpired:
        raise OperationError(tried, f"its login took more than {SECONDS:g} s", next_step) from None
    except ValueError:
        raise OperationError(tried, f"reading it ended with exit code {done.returncode}", next_step) from None
    if said.get("missing"):
        raise missing_library(said["missing"])
    if "why" in said:
        raise OperationError(tried, said["why"], said["next_step"])
    return Kubeconfig(**said)


def missing_library(library: str) -> OperationError:
    """Return the error for a library that is not there."""
    return OperationError(
        "speak to a cluster",
        f"the Python library {library} is not installed for {sys.executable}",
        "Install it there (`pip install kubernetes` brings all that is needed), "
        "or set ansible_python_interpreter of this host to a Python that has it.",
    )


def main() -> None:
    """Print what a kubeconfig says, as JSON; its arguments are those of L(read_kubeconfig)."""
    files, context = sys.argv[2:4]
    said = _read(files, context or None)
    # What a login prints is in the lines before.
    sys.stdout.write("\n" + json.dumps(said))


def _read(files: str, context: str | None) -> dict[str, Any]:
    try:
        from kubernetes.client import Configuration
        from kubernetes.client.rest import RESTClientObject
        from kubernetes.config.config_exception import ConfigException
        from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger
    except ImportError:
        return {"missing": "kubernetes"}
    configuration = Configuration()
    try:
        merger = KubeConfigMerger(files)
        loader = KubeConfigLoader(
            merger.config, active_context=context, config_base_path=None, config_persister=merger.save_changes
        )
        loader.load_and_set(configuration)
        # The library's own pool: proxies, names and certificates as its own calls would have them.
        return _told(loader, configuration, RESTClientObject(configuration).pool_manager)
    except ConfigException as error:
        return {"why": _without_items(error), "next_step": _contexts_of(files, context)}
    except Exception as error:
        # The library lets pass what its YAML reader and its logins raise, whatever that is.
        why = f"{type(error).__name__}: {_without_items(error)}"
        return {"why": why, "next_step": "Put the kubeconfig right; `kubectl config view` reads it too."}


def _told(loader: Any, configuration: Any, pool: Any) -> dict[str, Any]:
    settings = pool.connection_pool_kw
    # It has just logged in, and would do so once more where that lasts for a short time.
    configuration.refresh_api_key_hook = None
    login = configuration.auth_settings().values()
    expiry = getattr(loader, "expiry", None)
    through_proxy = getattr(pool, "proxy", None) is not None or "_socks_options" in settings
    return {
        "server": configuration.host.rstrip("/"),
        "namespace": _namespace_of(loader.current_context["context"]),
        "login": {setting["key"]: setting["value"] for setting in login if setting.get("value")},
        "expires": None if expiry is None else expiry.timestamp(),
        "verifies": bool(configuration.verify_ssl),
        "authority": settings.get("ca_cert_data") or _text(settings.get("ca_certs")),
        "certificate": _text(settings.get("cert_file")),
        "key": _text(settings.get("key_file")),
        "proxy": configuration.proxy if through_proxy else "",
        "proxy_headers": configuration.proxy_headers if through_proxy else None,
        "pool": {name: settings[name] for name in _POOL if settings.get(name) is not None},
    }


def _text(path: str | None) -> str:
    return Path(path).read_text(encoding="utf-8") if path else ""


def _namespace_of(context: Any) -> str:
    found = context.safe_get("namespace") if hasattr(context, "safe_get") else context.get("namespace")
    return str(found) if found else ""


def _without_items(error: Exception) -> str:
    """Return what the library says without what it quotes of the file, which may be a whole login."""
    return str(error).partition("/{")[0]


def _paths(files: str) -> list[Path]:
    return [Path(name).expanduser() for name in files.split(os.pathsep) if name]


def _contexts_of(files: str, context: str | None) -> str:
    names: list[str] = []
    for path in _paths(files):
        try:
            import yaml

            values = yaml.safe_load(path.read_text(encoding="utf-8"))
            names += [str(each["name"]) for each in values["contexts"]]
        except Exception:  # Whatever is wrong with it, the error that is told is that of its own reader.
            continue
    known = f"It has the contexts {', '.join(dict.fromkeys(names))}. " if names else ""
    wrong = "Name one of them" if context and names else "Set its current-context, or name a context"
    return f"{known}{wrong} in the option context or in K8S_AUTH_CONTEXT."
