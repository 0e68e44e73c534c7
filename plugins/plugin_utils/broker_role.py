# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the variables of the role broker, each with what to change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks

_CHOICES = {"type": ("redis", "valkey", "rabbitmq"), "persistence": ("aof", "rdb")}
_NUMBERS = {
    "port": (1, 65535, "set it to a TCP port, 1 to 65535"),
    "consumer_timeout": (60, None, "it is in seconds, and RabbitMQ needs at least 60"),
    "databases": (2, None, "broker and result backend take one each, so set at least 2"),
}
_SIZE = re.compile(r"([1-9][0-9]*([kmg]b?)?)?", re.IGNORECASE)
_BUFFER = re.compile(r"[0-9]+([kmg]b?)? [0-9]+([kmg]b?)? [0-9]+", re.IGNORECASE)
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def problems(settings: Mapping[str, Any]) -> Iterator[str]:
    """Every fault of the role's variables that are given, by their names without `celery_broker_`."""
    for name, value in settings.items():
        fault = _fault(name, value)
        if fault:
            yield f"celery_broker_{name} {fault}."
    if settings.get("type") == "rabbitmq":
        if settings.get("user") == "guest":
            yield 'celery_broker_user is "guest", which the role removes from RabbitMQ: choose another name.'
        if settings.get("vhost") == "":
            yield "celery_broker_vhost is empty: name the virtual host of the queues, such as celery."


def _fault(name: str, value: Any) -> str | None:
    if name == "password":
        if not isinstance(value, (str, int, float)) or not re.fullmatch(r"[^\r\n]+", str(value)):
            return (
                "is not set, empty, or has a line break: set it to the password that the broker shall ask for, "
                "best from Ansible Vault"
            )
    elif name in _CHOICES:
        if value not in _CHOICES[name]:
            return f"is {_shown(value)}: use one of {', '.join(_CHOICES[name])}"
    elif name in _NUMBERS:
        least, most, advice = _NUMBERS[name]
        number = checks.whole_number(value)
        if number is None or number < least or (most is not None and number > most):
            return f"is {_shown(value)}: {advice}"
    elif name == "bind":
        addresses = [value] if isinstance(value, str) else value
        if not isinstance(addresses, Sequence) or not all(isinstance(one, str) and one for one in addresses):
            return f"is {_shown(value)}: write a list of addresses"
        if not addresses:
            return "is empty: name at least one address to listen on, such as 127.0.0.1"
    elif name == "settings":
        if not isinstance(value, Mapping):
            return f"is {checks.kind_of(value)}: write a dictionary"
    elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return f"is {_shown(value)}: write a text"
    else:
        return _text_fault(name, str(value))
    return None


def _text_fault(name: str, value: str) -> str | None:
    if name == "user" and not _USER.fullmatch(value):
        return (
            f"is {_shown(value)}: use letters, digits, dots, dashes and underscores, beginning with a letter or a digit"
        )
    if name == "maxmemory" and not _SIZE.fullmatch(value):
        return f"is {_shown(value)}: write a size such as 2gb, or leave it empty for no limit"
    if name == "pubsub_buffer" and not _BUFFER.fullmatch(value):
        return f"is {_shown(value)}: write hard limit, soft limit and seconds, such as 256mb 64mb 60"
    return None


def _shown(value: object) -> str:
    if isinstance(value, str) and value:
        return f'"{value}"'
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return checks.kind_of(value)
