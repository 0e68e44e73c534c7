# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the documentation fragment C(broker), and what of them is secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import TOOLS_PYTHON
from ansible_collections.muejam.celery.plugins.module_utils.redaction import Hide, passwords_of, shown

BROKER_ARGUMENTS: dict[str, dict[str, Any]] = {
    "broker_url": {"type": "str", "required": True, "no_log": True},
    "transport_options": {"type": "dict", "default": {}, "no_log": True},
    "ssl": {"type": "raw", "no_log": True},
    "timeout": {"type": "float", "default": 5.0},
    "tools_python": {"type": "path", "default": TOOLS_PYTHON},
}

_SECRET_NAME = re.compile(r"passw|passphrase|secret|token|credential", re.IGNORECASE)


def hide_of(
    url: str,
    transport_options: Mapping[str, Any] | None,
    ssl: bool | str | Mapping[str, Any] | None,
    management_url: str | None = None,
) -> Hide:
    """Return what masks the secrets of one broker in the texts of libraries."""
    options = {"url": url, "management_url": management_url, "transport_options": transport_options, "ssl": ssl}
    return Hide(secret_values(options))


def secret_values(params: Mapping[str, Any]) -> Iterator[str]:
    """Yield what nobody may see of C(params): URLs with a password in them, and what is named as a secret.

    They are all that modules let Ansible mask in their output. C(no_log) keeps the options out of the logs, but it
    also masks each of their values wherever it occurs: C(priority_steps: [0, 3, 6, 9]) would mask every number with one
    of these digits.
    """
    for name, value in params.items():
        if isinstance(value, str) and "://" in value:
            passwords = passwords_of(value)
            yield from passwords
            if passwords or shown(value) != value:
                yield value
        elif isinstance(value, Mapping) and not _SECRET_NAME.search(name):
            yield from secret_values(value)
        elif _SECRET_NAME.search(name):
            yield from _leaves(value)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None and not isinstance(value, bool) and str(value):
        yield str(value)
