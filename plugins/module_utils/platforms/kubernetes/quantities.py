# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantities as Kubernetes writes them, such as C(250m), C(512Mi), C(1e3).

The client library reads them too, but it is not imported, see api.py.
"""

from __future__ import annotations

import re

_QUANTITY = re.compile(r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?P<unit>[eE][+-]?[0-9]+|[a-zA-Z]{0,2})")
_UNITS = {
    **{unit: 10.0 ** (3 * power) for power, unit in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)},
    **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)},
}


def quantity(text: object) -> float | None:
    """Return a quantity in its base unit, cores or bytes; None for what is none."""
    found = _QUANTITY.fullmatch(str(text))
    if found is None:
        return None
    number, unit = float(found["number"]), found["unit"]
    if unit[1:] and unit[0] in "eE" and unit[1:] != "i":
        return float(found["number"] + unit)
    return number * _UNITS[unit] if unit in _UNITS else None
