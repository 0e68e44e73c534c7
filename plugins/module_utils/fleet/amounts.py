# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Amounts of memory and CPU time in Kubernetes' spelling, from the one that fleets have on every platform.

Fleets write systemd's: `512M` is 512 times 1024 times 1024 bytes, and `150%` is one and a half cores. To Kubernetes
`512M` is something else, so what is handed to it always has its binary units. What means the same to both may be
written in Kubernetes' own spelling where only Kubernetes reads it.
"""

from __future__ import annotations

import math
import re

from ansible_collections.muejam.celery.plugins.module_utils import checks

_MEMORY = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[KMGT]?)i?")
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_CORES = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[m%]?)")
_THOUSANDTHS = {"": 1000, "%": 10, "m": 1}


def memory(text: str) -> str | None:
    """An amount of memory such as `512Mi`; `None` for V(infinity).

    :raises ValueError: when the text is no amount, or a share of a host's memory.
    """
    if text == "infinity":
        return None
    amount = memory_bytes(text)
    unit = next(unit for unit in ("T", "G", "M", "K", "") if amount % _UNITS[unit] == 0)
    return f"{amount // _UNITS[unit]}{unit}{'i' if unit else ''}"


def memory_bytes(text: str) -> int:
    """The number of bytes that an amount of memory is.

    :raises ValueError: when it is none.
    """
    found = _MEMORY.fullmatch(text)
    if not found or float(found["number"]) == 0:
        raise ValueError(f"{text!r} is no amount of memory")
    return math.ceil(float(found["number"]) * _UNITS[found["unit"]])


def cpu(text: str) -> str:
    """An amount of CPU time such as `1500m`.

    :raises ValueError: when the text is none.
    """
    return f"{millicores(text)}m"


def millicores(text: str) -> int:
    """An amount of CPU time in thousandths of a core, at least 1.

    :raises ValueError: when the text is none.
    """
    found = _CORES.fullmatch(text)
    if not found or float(found["number"]) == 0:
        raise ValueError(f"{text!r} is no amount of CPU time")
    return max(1, math.ceil(float(found["number"]) * _THOUSANDTHS[found["unit"]]))


def memory_fault(text: str) -> str | None:
    """What is wrong with an amount of memory that only Kubernetes reads."""
    try:
        memory_bytes(text)
    except ValueError as error:
        return f"{error}: write it as 256M or 2G"
    return None


def cpu_fault(text: str) -> str | None:
    """What is wrong with an amount of CPU time that only Kubernetes reads."""
    try:
        millicores(text)
    except ValueError as error:
        return f"{error}: write it as 50% for half a core"
    return None


def limit_fault(text: str) -> str | None:
    """What is wrong with a limit of memory that has passed `checks.memory`."""
    if text.endswith("%") and checks.memory(text) is None:
        return f"{text} is a share of a host's memory, and which node a pod comes to is not known: write it as 512M"
    return None
