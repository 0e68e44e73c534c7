# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for the role broker: thin, the rules are in `plugin_utils/broker_role.py`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.plugin_utils import broker_role, templated

_NO_COLLECTION = (
    "celery_broker_type: rabbitmq needs the collection community.rabbitmq, which is not installed: "
    "run ansible-galaxy collection install 'community.rabbitmq:>=1.3.0'"
)


@templated.takes_undefined
def broker_problems(settings: Mapping[str, Any]) -> list[str]:
    """Every fault of the role's own variables."""
    given, undefined = templated.settings(settings, "celery_broker_")
    missing = [_NO_COLLECTION] if given.get("type") == "rabbitmq" and not _has_rabbitmq_modules() else []
    return [*undefined, *broker_role.problems(given), *missing]


def _has_rabbitmq_modules() -> bool:
    try:
        return importlib.util.find_spec("ansible_collections.community.rabbitmq") is not None
    except ImportError:
        return False


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by the names that playbooks use."""
        return {"broker_problems": broker_problems}
