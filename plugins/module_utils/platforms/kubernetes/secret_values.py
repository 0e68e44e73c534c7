# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nobody may see of objects that a module is given."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

SHORTEST_SECRET = 3
"""Characters; what is shorter would mask half of every message."""


def secrets_of(objects: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what nobody may see of objects: what is in their Secrets, as it is and as it is written there."""
    for thing in objects:
        for value in (thing.get("data") or {}).values() if thing.get("kind") == "Secret" else ():
            yield str(value)
            try:
                plain = base64.b64decode(str(value)).decode()
            except (binascii.Error, UnicodeDecodeError):
                continue
            if len(plain) >= SHORTEST_SECRET:
                yield plain
