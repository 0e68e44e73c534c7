# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a cluster a user may do: asked before anything is begun."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True)
class Right:
    """One right within a namespace, in the words of RBAC."""

    group: str
    resource: str
    verb: str

    @property
    def rule(self) -> str:
        """The rule that gives it."""
        return f'{{apiGroups: ["{self.group}"], resources: ["{self.resource}"], verbs: ["{self.verb}"]}}'


TO_READ = (Right("apps", "deployments", "list"), Right("", "pods", "list"))
TO_SCALE = (
    Right("apps", "deployments", "get"),
    Right("apps", "deployments/scale", "patch"),
    Right("", "pods", "list"),
    Right("", "pods", "patch"),
    Right("autoscaling", "horizontalpodautoscalers", "list"),
)
TO_RESTART = (Right("", "pods", "delete"), Right("apps", "replicasets", "list"))
TO_TELL_MORE = (
    Right("", "pods/proxy", "get"),
    Right("", "pods/log", "get"),
    Right("metrics.k8s.io", "pods", "list"),
    Right("keda.sh", "scaledobjects", "list"),
)
"""Without these it goes on, and what they would tell is unknown."""


def require_rights(api: Api, namespace: str, rights: Iterable[Right], tried: str) -> None:
    """Return when the user has all these rights in a namespace.

    :raises OperationError: when some are missing, with all of them; or when that cannot be asked.
    """
    missing = [right for right in dict.fromkeys(rights) if not _may(api, namespace, right)]
    if missing:
        raise OperationError(
            tried,
            f"this user may not {', '.join(f'{right.verb} {right.resource}' for right in missing)} "
            f"in namespace {namespace} of {api.server}",
            f"Add to a Role in namespace {namespace} that is bound to this user: "
            + ", ".join(right.rule for right in missing)
            + ".",
        )


def _may(api: Api, namespace: str, right: Right) -> bool:
    resource, _slash, part = right.resource.partition("/")
    attributes = {"namespace": namespace, "group": right.group, "resource": resource, "verb": right.verb}
    if part:
        attributes["subresource"] = part
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    return bool((api.post(REVIEWS, body).get("status") or {}).get("allowed"))
