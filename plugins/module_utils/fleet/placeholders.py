# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user can write for the number of a worker and the name of its host.

In arguments `%i` is the worker's number and `%H` the host's name; in an environment only `%i` is one, so that dates
and log formats need no care. `%%i` and `%%H` stand for the texts themselves, every other percent sign for itself.
Pods have no numbers: there both are the pod's name, which is its host name too.
"""

from __future__ import annotations

import re

from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import ON_HOSTS

_IN_VALUE = re.compile(r"%%?i|%")
_IN_ARGUMENT = re.compile(r"%%?[iH]|%")
"""Each percent sign, with what makes it a placeholder or the text of one."""


def node(fleet: str, platform: str, host: str = "%H") -> str:
    """The name of a fleet's workers to Celery, with the placeholders in it, such as `web-%i@%H`.

    :param host: what stands for the host's name; Celery itself knows `%h` as well.
    """
    return f"{fleet}-%i@{host}" if platform in ON_HOSTS else f"{fleet}@{host}"


def uses_number(text: str) -> bool:
    """Whether `text` holds the placeholder for the worker's number."""
    return "%i" in _IN_VALUE.findall(text)


def uses_host(text: str) -> bool:
    """Whether an argument holds a placeholder for the name of the host, or of the pod, Celery's own included."""
    return bool({"%H", "%i"} & set(_IN_ARGUMENT.findall(text))) or "%h" in text


def literal(text: str) -> str:
    """`text` as an argument in which nothing is taken for a placeholder."""
    return literal_value(text).replace("%H", "%%H")


def literal_value(text: str) -> str:
    """`text` as a value of the environment in which nothing is taken for a placeholder."""
    return text.replace("%i", "%%i")


def plain(text: str) -> str:
    """The meaning of an environment's `text` that holds no placeholder."""
    return text.replace("%%i", "%i")


def filled(text: str, number: int | str, host: str | None = None) -> str:
    """`text` as worker `number` gets it; an argument when `host` is given, else a value of the environment."""
    meaning = {"%": "%", "%i": str(number), "%%i": "%i", "%H": host or "", "%%H": "%H"}
    return (_IN_VALUE if host is None else _IN_ARGUMENT).sub(lambda found: meaning[found[0]], text)


def for_kubernetes(text: str, pod: str, arguments: bool) -> str:
    """`text` for a container, where `$(NAME)` is a variable and `$$` a `$`.

    :param pod: the variable that has the pod's name.
    """
    name = f"$({pod})"
    return filled(text.replace("$", "$$"), name, name if arguments else None)


def for_systemd(text: str, arguments: bool) -> str:
    """`text` for a unit file, where `%i` and `%H` are specifiers and every other `%` has to be doubled."""
    return (_IN_ARGUMENT if arguments else _IN_VALUE).sub(lambda found: found[0] if found[0] != "%" else "%%", text)
