#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what is missing for a deployment to a cluster, before it is begun."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access_info
short_description: Tells what is missing for a deployment to a cluster, before it is begun
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
description:
  - Asks a cluster whether some objects can be put into a namespace, without trying it.
  - Fails where there is no such namespace, or it is being deleted; where the cluster does not know the kind of an
    object, as without KEDA; and where the user may not do it, with all rights that are missing as rules to add to a
    Role.
  - It does not look into objects. Whether the API server takes them as they are, an apply in check mode tells.
  - The roles P(muejam.celery.worker#role) and P(muejam.celery.autoscaler#role) use it before they change anything.
extends_documentation_fragment:
  - muejam.celery.cluster
options:
  objects:
    description:
      - The objects that are to be applied, of the kinds that this collection makes. That takes to get, create and patch
        them, and for those that set the number of a fleet's pods to list, create and patch.
      - Of each its C(apiVersion), its kind and its labels are looked at, and of a C(Role) the rules, for who makes one
        has to have all the rights in it.
    type: list
    elements: dict
    default: []
  removed:
    description:
      - The objects that are to be removed, by their kinds. That takes to get and delete them.
    type: list
    elements: dict
    default: []
  rules:
    description:
      - What is to be done besides, as rules of RBAC with C(apiGroups), C(resources), C(verbs) and, where only some
        objects are meant, C(resourceNames).
    type: list
    elements: dict
    default: []
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: kubernetes
requirements:
  - kubernetes (Python library), where the way to the cluster is a kubeconfig
notes:
  - It takes no right. Where the user may not get the namespace, it is not known whether there is one; where rights are
    missing too, the module says so.
seealso:
  - module: muejam.celery.hand_over
  - module: muejam.celery.rollout_info
"""

EXAMPLES = r"""
- name: Ask whether fleets can be deployed
  muejam.celery.access_info:
    objects: "{{ fleets | muejam.celery.cluster_objects('shop', {}) }}"
    rules:
      - {apiGroups: [apps], resources: [deployments], verbs: [list]}
    namespace: shop
  delegate_to: localhost
  # Could not deploy to namespace shop of https://cluster.example:6443: this user may not create secrets, patch secrets
  # in namespace shop of https://cluster.example:6443. Nothing was changed. Add to a Role in namespace shop that is
  # bound to this user:
  # - {apiGroups: [""], resources: ["secrets"], verbs: ["create", "patch"]}
"""

RETURN = r"""
namespace:
  description: The namespace that was asked about.
  returned: success
  type: str
  sample: shop
rules:
  description: The rights that it was asked for, all of which the user has, as rules of RBAC.
  returned: success
  type: list
  elements: dict
  sample:
    - {apiGroups: [apps], resources: [deployments], verbs: [get, create, patch, list]}
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms import options
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import access
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import HttpApi
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.connection import connect
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.secret_values import secrets_of


def faults(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the options."""
    for option in ("objects", "removed"):
        for number, thing in enumerate(given[option]):
            if thing.get("kind") not in access.KINDS:
                yield f"{option}[{number}].kind: {thing.get('kind')!r} is none of {', '.join(access.KINDS)}"
    for number, thing in enumerate(given["objects"]):
        for key, kind in (("apiVersion", str), ("metadata", Mapping)):
            if not isinstance(thing.get(key), kind):
                yield f"objects[{number}].{key}: missing"
        if thing.get("kind") == "Role":
            yield from _faults_of_rules(f"objects[{number}].rules", thing.get("rules") or ())
    yield from _faults_of_rules("rules", given["rules"])


def _faults_of_rules(where: str, rules: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for number, rule in enumerate(rules):
        for key in ("apiGroups", "resources", "verbs"):
            if not isinstance(rule.get(key), list):
                yield f"{where}[{number}].{key}: give a list"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "objects": {"type": "list", "elements": "dict", "default": [], "no_log": True},
            "removed": {"type": "list", "elements": "dict", "default": []},
            "rules": {"type": "list", "elements": "dict", "default": []},
            **options.CLUSTER_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    given = module.params
    # Of the objects, only what is in Secrets is secret.
    module.no_log_values = set(secrets_of(given["objects"]))
    wrong = list(faults(given))
    if wrong:
        module.fail_json(msg=f"The options are wrong: {'; '.join(wrong)}.")
    try:
        api = HttpApi(connect(options.place_of(given)))
        rights = access.require_access(
            api,
            f"deploy to namespace {api.namespace} of {api.server}",
            given["objects"],
            given["removed"],
            access.of_rules(given["rules"]),
        )
    except OperationError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, namespace=api.namespace, rules=access.rules_of(rights))


if __name__ == "__main__":
    main()
