# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep passwords out of everything a person or a log can read."""

from __future__ import annotations

import re

MASK = "********"

# The user part may be empty (redis://:secret@host) and a password may hold any
# character but the ones that end it, so the last "@" before the path decides.
_URL_PASSWORD = re.compile(r"(?P<head>[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:)(?P<password>[^\s/]*)(?=@)")
_QUERY_PASSWORD = re.compile(r"(?P<head>[?&;](?:password|passwd|secret|token)=)[^&;\s]+", re.IGNORECASE)


def redact(text: object) -> str:
    """Return C(text) with the passwords of every URL in it masked.

    Works on any text that may carry a URL: messages of exceptions, command
    lines, lists of sentinel URLs joined by C(;).
    """
    masked = _URL_PASSWORD.sub(lambda found: found.group("head") + MASK, str(text))
    return _QUERY_PASSWORD.sub(lambda found: found.group("head") + MASK, masked)
