# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster as tests see it: the one of this checkout, or one that the user has."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from muejam_bed.shell import BedError, run

from . import node
from .images import ensure_demo


@dataclass(frozen=True)
class Cluster:
    """A Kubernetes that tests may use, as its administrator."""

    kubeconfig: Path
    program: Path
    """kubectl."""
    gateway: str
    """Address of this machine at which pods reach servers of the test."""
    own: bool
    """Whether it is this checkout's, so that it can be given images."""

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> CompletedProcess[str]:
        """Run kubectl. Raises BedError with its output when it fails and check is set."""
        return run([str(self.program), "--kubeconfig", str(self.kubeconfig), *arguments], stdin=stdin, check=check)

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return what C(kubectl get) has of an object or a list of them."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "--output=json").stdout)
        return found

    def apply(self, namespace: str, objects: Iterable[Mapping[str, Any]]) -> None:
        """Create or change objects, in a namespace if they are of the kind that lie in one."""
        wanted = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--namespace", namespace, "--filename=-", stdin=json.dumps(wanted))

    def another_way(self, folder: Path, token: str = "", **changes: Any) -> Path:
        """Write another kubeconfig of the cluster into a folder and return its path.

        :param token: of somebody else, in place of the administrator's login.
        :param changes: to how it is reached.
        """
        shown = self.kubectl("config", "view", "--raw", "--flatten", "--minify", "--output=json")
        values = json.loads(shown.stdout)
        values["clusters"][0]["cluster"].update(changes)
        if token:
            values["users"][0]["user"] = {"token": token}
        path = folder / "kubeconfig"
        path.write_text(json.dumps(values), encoding="utf-8")
        return path

    def token_of(self, namespace: str, account: str, rules: Iterable[Mapping[str, Any]]) -> str:
        """Make a ServiceAccount that has the rights of these rules in its namespace, and return a token of it."""
        group = "rbac.authorization.k8s.io"
        metadata = {"name": account}
        self.apply(
            namespace,
            [
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
                {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": list(rules)},
                {
                    "apiVersion": f"{group}/v1",
                    "kind": "RoleBinding",
                    "metadata": metadata,
                    "roleRef": {"apiGroup": group, "kind": "Role", "name": account},
                    "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
                },
            ],
        )
        made = self.kubectl("--namespace", namespace, "create", "token", account, "--duration=1h")
        return made.stdout.strip()

    def load_image(self, image: str) -> None:
        """Give it an image that the Docker engine has; a cluster of the user's is expected to have it."""
        if self.own:
            node.load_image(image)


def of_this_checkout() -> Cluster:
    """Return this checkout's cluster, brought up if it is not, with the image of the demo's application in it."""
    kubeconfig = node.up()
    node.load_image(ensure_demo())
    return Cluster(kubeconfig, node.kubectl(), node.gateway(), own=True)


def of_the_user(kubeconfig: str) -> Cluster:
    """Return the cluster that a kubeconfig of the user's leads to.

    Raises BedError when it is not said how its pods reach this machine.
    """
    address = os.environ.get("MUEJAM_BROKER_ADDRESS")
    if not address:
        raise BedError(
            "MUEJAM_KUBECONFIG is set: set MUEJAM_BROKER_ADDRESS too, to an address of this machine that pods of that "
            "cluster reach"
        )
    program = shutil.which("kubectl")
    return Cluster(Path(kubeconfig), Path(program) if program else node.kubectl(), address, own=False)
