# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the variables of the role broker, each with what to change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.checks import INTEGER, MAPPING, TEXT, Key, Kind


def _text(value: object) -> str | None:
    # A number is a text that nobody quoted.
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None


def _one_line(value: object) -> str | None:
    found = _text(value)
    return found if found and not re.search(r"[\r\n]", found) else None


def _addresses(value: object) -> list[str] | None:
    found = checks.texts([value] if isinstance(value, str) else value)
    return found if found and all(found) else None


def _of_form(pattern: str, advice: str) -> Callable[[str], str | None]:
    form = re.compile(pattern, re.IGNORECASE)

    def check(value: str) -> str | None:
        return None if form.fullmatch(value) else f"{value!r} has the wrong form: {advice}"

    return check


_ANY_TEXT = Kind("a text", "str", _text)
_VARIABLES: Mapping[str, Key] = {
    "password": Key(Kind("a password of one line that the broker asks for, best from Vault", "str", _one_line)),
    "type": Key(TEXT, choices=("redis", "valkey", "rabbitmq")),
    "bind": Key(Kind("a list of addresses to listen on, such as [127.0.0.1]", "list", _addresses)),
    "port": Key(INTEGER, minimum=1, maximum=65535),
    "user": Key(
        _ANY_TEXT,
        check=_of_form(
            r"[a-z0-9][a-z0-9_.-]*",
            "use letters, digits, dots, dashes and underscores, beginning with a letter or a digit",
        ),
    ),
    "vhost": Key(_ANY_TEXT),
    # In seconds, and RabbitMQ takes no less.
    "consumer_timeout": Key(INTEGER, minimum=60),
    "acl": Key(_ANY_TEXT),
    # Broker and result backend take one each.
    "databases": Key(INTEGER, minimum=2),
    "maxmemory": Key(
        _ANY_TEXT,
        check=_of_form(r"([1-9][0-9]*([kmg]b?)?)?", "write a size such as 2gb, or leave it empty for no limit"),
    ),
    "persistence": Key(TEXT, choices=("aof", "rdb")),
    "pubsub_buffer": Key(
        _ANY_TEXT,
        check=_of_form(
            r"[0-9]+([kmg]b?)? [0-9]+([kmg]b?)? [0-9]+",
            "write hard limit, soft limit and seconds, such as 256mb 64mb 60",
        ),
    ),
    "settings": Key(MAPPING),
}
"""The role's variables by their names without C(celery_broker_)."""


def problems(settings: Mapping[str, Any]) -> Iterator[str]:
    """Every fault of the variables that are given, by their names without C(celery_broker_)."""
    for name, value in settings.items():
        yield from checks.of_value(_VARIABLES[name], value, f"celery_broker_{name}")
    if settings.get("type") == "rabbitmq":
        if settings.get("user") == "guest":
            yield "celery_broker_user: 'guest' is removed from RabbitMQ by the role, choose another name"
        if settings.get("vhost") == "":
            yield "celery_broker_vhost: is empty, name the virtual host of the queues, such as celery"
