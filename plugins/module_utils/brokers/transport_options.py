# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepare Celery's C(broker_transport_options) for workers and for everything else that speaks with the broker.

What they come through changes them: JSON turns keys into texts, and Ansible up to 2.18 every templated value.
kombu, redis-py and py-amqp convert nothing, and say so far from the option.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.checks import boolean, number, whole_number

_Convert = Callable[[Any], Any]
"""Returns the value as a library takes it; raises ValueError with what it has to be."""


def prepared(options: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Return transport options with every value of the kind that its option takes. An option set to null is left out.

    Names that are not known are passed on as they are: a newer kombu may know them.

    :raises ValueError: with all faults, each with its place.
    """
    found: list[str] = []
    result = _dictionary(options or {}, "", found)
    if found:
        raise ValueError("; ".join(fault.lstrip(".") for fault in found))
    return result


def faults(options: Mapping[Any, Any]) -> Iterator[str]:
    """Yield what is wrong with transport options, such as C(.visibility_timeout: must be a number)."""
    found: list[str] = []
    _dictionary(options, "", found)
    yield from found


def _dictionary(given: Mapping[Any, Any], path: str, found: list[str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in given.items():
        name, place = str(key), f"{path}.{key}"
        if value is None:
            continue
        if name in _DICTIONARIES:
            if isinstance(value, Mapping):
                result[name] = _dictionary(value, place, found)
            else:
                found.append(f"{place}: must be a dictionary")
            continue
        convert = _KINDS.get(name)
        try:
            result[name] = convert(value) if convert else value
        except ValueError as error:
            found.append(f"{place}: {error}")
    return result


def _number(value: Any) -> float:
    amount = number(value)
    if amount is None:
        raise ValueError("must be a number")
    return amount


def _positive(value: Any) -> float:
    amount = number(value)
    if amount is None or amount <= 0:
        raise ValueError("must be a number of seconds above 0")
    return amount


def _whole(value: Any) -> int:
    amount = whole_number(value)
    if amount is None:
        raise ValueError("must be a whole number")
    return amount


def _truth(value: Any) -> bool:
    truth = {0: False, 1: True}.get(whole) if (whole := whole_number(value)) is not None else boolean(value)
    if truth is None:
        raise ValueError("must be true or false")
    return truth


def _truth_or_dictionary(value: Any) -> bool | dict[Any, Any]:
    return dict(value) if isinstance(value, Mapping) else _truth(value)


def _plain_dictionary(value: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("must be a dictionary")
    return dict(value)


def _text(value: Any) -> str:
    # A name or a password of digits alone is a number to YAML.
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("must be a text")
    return str(value)


def _text_or_truth(value: Any) -> str | bool:
    truth = boolean(value)
    return _text(value) if truth is None else truth


def _order(value: Any) -> str:
    order = _text(value)
    # A class of one's own has its module before it.
    if order not in _ORDERS and not re.search("[.:]", order):
        raise ValueError(f"must be one of {', '.join(_ORDERS)}")
    return order


def _steps(value: Any) -> list[int]:
    steps = [whole_number(one) for one in value] if _is_list(value) else []
    known = [step for step in steps if step is not None and step >= 0]
    if not known or len(known) != len(steps):
        raise ValueError("must be a list of whole numbers such as [0, 3, 6, 9]")
    return known


def _socket_numbers(value: Any) -> dict[int, int]:
    if not isinstance(value, Mapping):
        raise ValueError("must be a dictionary of numbers")
    options = {whole_number(key): whole_number(one) for key, one in value.items()}
    known = {key: one for key, one in options.items() if key is not None and one is not None}
    if len(known) != len(value):
        raise ValueError(
            "must be a dictionary of whole numbers: on Linux 4 is TCP_KEEPIDLE, 5 TCP_KEEPINTVL and 6 TCP_KEEPCNT"
        )
    return known


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


_ORDERS = ("round_robin", "priority", "sorted")

_DICTIONARIES = ("sentinel_kwargs",)

# Read in `from_transport_options` of kombu/transport/redis.py and virtual/base.py, in kombu/connection.py (retrying),
# in py-amqp's Connection and in redis-py's (sentinel_kwargs).
_KINDS: Mapping[str, _Convert] = {
    **dict.fromkeys(
        (
            "visibility_timeout", "socket_timeout", "socket_connect_timeout", "read_timeout", "write_timeout",
            "connect_timeout", "polling_interval", "unacked_mutex_expire",
        ),
        _positive,
    ),
    **dict.fromkeys(
        (
            "health_check_interval", "reauth_check_interval", "heartbeat", "interval_start", "interval_step",
            "interval_max", "unacked_restore_interval",
        ),
        _number,
    ),
    **dict.fromkeys(
        (
            "max_connections", "max_retries", "min_other_sentinels", "unacked_restore_limit",
            "unacked_restore_throttle", "channel_max", "frame_max", "db", "port", "protocol",
        ),
        _whole,
    ),
    **dict.fromkeys(
        (
            "socket_keepalive", "ack_emulation", "fanout_patterns", "retry_on_timeout",
            "confirm_publish", "sentinel_fanout_compat", "ssl_check_hostname", "decode_responses",
        ),
        _truth,
    ),
    **dict.fromkeys(
        (
            "sep", "global_keyprefix", "unacked_key", "unacked_index_key", "unacked_mutex_key", "master_name",
            "client_name", "body_encoding", "deadletter_queue", "login_method", "username",
            "password",
        ),
        _text,
    ),
    "queue_order_strategy": _order,
    "fanout_prefix": _text_or_truth,
    "ssl": _truth_or_dictionary,
    "client_properties": _plain_dictionary,
    "priority_steps": _steps,
    "socket_keepalive_options": _socket_numbers,
    "socket_settings": _socket_numbers,
}  # fmt: skip
