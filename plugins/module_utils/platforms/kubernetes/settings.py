# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role `worker` is told of a cluster, in one table: its variables without their prefix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.checks import BOOLEAN, SECONDS, TEXT, Key
from ansible_collections.muejam.celery.plugins.module_utils.fleet.owners import OWNERS

PREFIX = "celery_worker_"

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


def problems(settings: Mapping[str, Any]) -> list[str]:
    """Every fault of the variables, each with its name and what to change. Empty ones are not given."""
    given = {name: None if value == "" else value for name, value in settings.items()}
    return [PREFIX + fault for fault in checks.of_mapping(SETTINGS, given, "")]


def _namespace(value: str) -> str | None:
    return None if _LABEL.fullmatch(value) else f"{value!r} is no name of a namespace: small letters, digits and '-'"


def _absolute(value: str) -> str | None:
    return None if value.startswith("/") else f"{value!r} is not absolute: begin it with '/', or {{{{ playbook_dir }}}}"


SETTINGS: Mapping[str, Key] = {
    "namespace": Key(TEXT, required="the namespace of the fleets", check=_namespace),
    "kubeconfig": Key(TEXT),
    "context": Key(TEXT),
    "autoscaling": Key(TEXT, choices=OWNERS, any_case=True),
    "network_policy": Key(BOOLEAN),
    "render_to": Key(TEXT, check=_absolute),
    "rollout_timeout": Key(SECONDS, minimum=0),
}
