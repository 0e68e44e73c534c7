# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values as Ansible's templates give them, made plain: undefined ones named, vaulted and tagged ones as what they hold.

ansible-core 2.19 and newer tell of each undefined value within a list or a dictionary, but only to a filter that says
it can take them; older ones make the whole variable undefined.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, time
from typing import Any, TypeVar

from ansible.errors import AnsibleError
from jinja2 import Undefined

Filter = TypeVar("Filter", bound=Callable[..., Any])


def takes_undefined(function: Filter) -> Filter:
    """Mark a filter as one that names undefined values itself."""
    try:
        from ansible.template import accept_args_markers, accept_lazy_markers
    except ImportError:
        return function
    accept_args_markers(accept_lazy_markers(function))
    return function


def plain(value: object, path: str) -> tuple[Any, list[str]]:
    """`value` in Python's own types, without what is undefined in it, and a fault for each such place.

    :param path: what leads to `value`, such as `celery_worker_fleets`.
    """
    faults: list[str] = []
    return _plain(value, path, faults), faults


def settings(value: object, prefix: str) -> tuple[dict[str, Any], list[str]]:
    """The variables of a role by their names without `prefix`, and a fault for each that is undefined."""
    if isinstance(value, Undefined):
        return {}, [f"{prefix}*: {_message(value)}: define it, or correct the template"]
    faults: list[str] = []
    found = {key: _known(one, f"{prefix}{key}", faults) for key, one in dict(value).items()}  # type: ignore[call-overload]
    return {key: one for key, one in found.items() if one is not _LEFT_OUT}, faults


_LEFT_OUT = object()


def _plain(value: Any, path: str, faults: list[str]) -> Any:
    found = _known(value, path, faults)
    return None if found is _LEFT_OUT else found


def _known(value: Any, path: str, faults: list[str]) -> Any:
    if isinstance(value, Undefined):
        faults.append(f"{path}: {_message(value)}: define it, or correct the template")
        return _LEFT_OUT
    if isinstance(value, str):
        return str.__str__(value)
    if getattr(value, "__ENCRYPTED__", False):
        try:
            return str(value)
        except AnsibleError as error:
            faults.append(f"{path}: cannot be decrypted: {error}")
            return _LEFT_OUT
    if isinstance(value, Mapping):
        found = {_known(key, path, faults): _known(value[key], f"{path}.{key}", faults) for key in list(value)}
        return {key: one for key, one in found.items() if one is not _LEFT_OUT and key is not _LEFT_OUT}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        # A place keeps its number, by which the other faults name it.
        return [_plain(one, f"{path}[{index}]", faults) for index, one in enumerate(value)]
    for kind in (int, float):
        if isinstance(value, kind) and not isinstance(value, bool):
            return kind(value)
    # YAML makes dates of texts that look like one.
    return str(value) if isinstance(value, (date, time)) else value


_REASON = re.compile(r"'[^'\n]*' is undefined|[\w.']+(?: object)?'? has no (?:attribute|element) [\w.']+")


def _message(value: Any) -> str:
    # Templates that failed otherwise come in the same way, and know best what to say.
    tell = getattr(type(value), "_as_message", None)
    if tell:
        return str(tell(value)).strip().rstrip(".")
    # Older ones put the text of the whole variable before the reason, secrets included.
    reasons = _REASON.findall(value._undefined_message)
    return reasons[-1] if reasons else "a template in it has no value"
