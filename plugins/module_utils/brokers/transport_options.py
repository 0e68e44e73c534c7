# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepare Celery's C(broker_transport_options) for workers and for everything else that speaks with the broker.

What they come through changes them: JSON turns keys into texts, and Ansible up to 2.18 every templated value.
kombu, redis-py and py-amqp convert nothing, and say so far from the option.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.checks import INTEGER, MAPPING, Key, Kind


def prepared(options: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Return transport options with every value of the kind that its option takes. An option set to null is left out.

    Names that are not known are passed on as they are: a newer kombu may know them.

    :raises ValueError: with all faults, each with its place.
    """
    found = list(faults(options or {}))
    if found:
        raise ValueError("; ".join(fault.lstrip(".") for fault in found))
    return _plain(options or {})


def faults(options: Mapping[Any, Any]) -> Iterator[str]:
    """Yield what is wrong with transport options, such as C(.visibility_timeout: must be a number)."""
    for name, value in options.items():
        key = _OPTIONS.get(str(name))
        if key and value is not None:
            yield from checks.of_value(key, value, f".{name}")


def _plain(options: Mapping[Any, Any]) -> dict[str, Any]:
    named = {str(name): value for name, value in options.items() if value is not None}
    return {name: _OPTIONS[name].plain(value) if name in _OPTIONS else value for name, value in named.items()}


def _nested(value: object) -> dict[str, Any] | None:
    return _plain(value) if isinstance(value, Mapping) else None


def _positive(value: object) -> float | None:
    amount = checks.number(value)
    return amount if amount is not None and amount > 0 else None


def _truth(value: object) -> bool | None:
    whole = checks.whole_number(value)
    return checks.boolean(value) if whole is None else {0: False, 1: True}.get(whole)


def _truth_or_dictionary(value: object) -> bool | dict[Any, Any] | None:
    return dict(value) if isinstance(value, Mapping) else _truth(value)


def _text(value: object) -> str | None:
    # A name or a password of digits alone is a number to YAML.
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None


def _text_or_truth(value: object) -> str | bool | None:
    truth = checks.boolean(value)
    return _text(value) if truth is None else truth


def _order(value: object) -> str | None:
    order = _text(value)
    # A class of one's own has its module before it.
    return order if order in _ORDERS or re.search("[.:]", order or "") else None


def _steps(value: object) -> list[int] | None:
    steps = [checks.whole_number(one) for one in value] if isinstance(value, (list, tuple)) else []
    known = [step for step in steps if step is not None and step >= 0]
    return known if known and len(known) == len(steps) else None


def _socket_numbers(value: object) -> dict[int, int] | None:
    options = value if isinstance(value, Mapping) else {None: None}
    numbers = {checks.whole_number(key): checks.whole_number(one) for key, one in options.items()}
    known = {key: one for key, one in numbers.items() if key is not None and one is not None}
    return known if len(known) == len(options) else None


_ORDERS = ("round_robin", "priority", "sorted")
_SECONDS = Key(Kind("a number of seconds above 0", "float", _positive))
_NUMBER = Key(Kind("a number", "float", checks.number))
_WHOLE = Key(INTEGER)
_TRUTH = Key(Kind("true or false", "bool", _truth))
_TEXT = Key(Kind("a text", "str", _text))
_SOCKET_NUMBERS = Key(
    Kind(
        "a dictionary of whole numbers (on Linux 4 is TCP_KEEPIDLE, 5 TCP_KEEPINTVL and 6 TCP_KEEPCNT)",
        "dict",
        _socket_numbers,
    )
)

# Read in `from_transport_options` of kombu/transport/redis.py and virtual/base.py, in kombu/connection.py (retrying),
# in py-amqp's Connection and in redis-py's (sentinel_kwargs).
_OPTIONS: Mapping[str, Key] = {
    **dict.fromkeys(
        (
            "visibility_timeout", "socket_timeout", "socket_connect_timeout", "read_timeout", "write_timeout",
            "connect_timeout", "polling_interval", "unacked_mutex_expire",
        ),
        _SECONDS,
    ),
    **dict.fromkeys(
        (
            "health_check_interval", "reauth_check_interval", "heartbeat", "interval_start", "interval_step",
            "interval_max", "unacked_restore_interval",
        ),
        _NUMBER,
    ),
    **dict.fromkeys(
        (
            "max_connections", "max_retries", "min_other_sentinels", "unacked_restore_limit",
            "unacked_restore_throttle", "channel_max", "frame_max", "db", "port", "protocol",
        ),
        _WHOLE,
    ),
    **dict.fromkeys(
        (
            "socket_keepalive", "ack_emulation", "fanout_patterns", "retry_on_timeout",
            "confirm_publish", "sentinel_fanout_compat", "ssl_check_hostname", "decode_responses",
        ),
        _TRUTH,
    ),
    **dict.fromkeys(
        (
            "sep", "global_keyprefix", "unacked_key", "unacked_index_key", "unacked_mutex_key", "master_name",
            "client_name", "body_encoding", "deadletter_queue", "login_method", "username",
            "password",
        ),
        _TEXT,
    ),
    "queue_order_strategy": Key(Kind(f"one of {', '.join(_ORDERS)}", "str", _order)),
    "fanout_prefix": Key(Kind("a text", "str", _text_or_truth)),
    "ssl": Key(Kind("true, false or a dictionary", "raw", _truth_or_dictionary)),
    "client_properties": Key(MAPPING),
    "priority_steps": Key(Kind("a list of whole numbers such as [0, 3, 6, 9]", "list", _steps)),
    "socket_keepalive_options": _SOCKET_NUMBERS,
    "socket_settings": _SOCKET_NUMBERS,
    "sentinel_kwargs": Key(Kind("a dictionary", "dict", _nested), inside=faults),
}  # fmt: skip
