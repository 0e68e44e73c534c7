# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An id of everything that a running worker was started with, to tell the outdated ones."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_ROUNDS = 100_000

_LIVE = re.compile(r"(?:#|;|Description=|Documentation=|Timeout(?:Start|Stop)Sec=|Restart|StartLimit).*")
"""Lines that systemd heeds without a restart of the worker, or that mean nothing to it."""


def config_id(unit: str, environment: Iterable[str], *others: str) -> str:
    """The id of a worker's configuration, 32 hexadecimal digits.

    :param unit: text of the unit file.
    :param environment: lines of the environment file.
    :param others: whatever else the worker depends on, such as the checksum of a module that it loads.

    The id can be read by everyone and passwords are part of what it stands for: it is therefore made slow to guess.
    """
    lines = [line.strip() for line in unit.splitlines()]
    parts = [line for line in lines if line and not _LIVE.fullmatch(line)]
    text = "\0".join(["\n".join(parts), "\n".join(environment), *others])
    return hashlib.pbkdf2_hmac("sha256", text.encode(), b"muejam.celery worker", _ROUNDS, dklen=16).hex()
