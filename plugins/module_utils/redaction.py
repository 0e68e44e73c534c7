# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep passwords out of everything a person or a log can read."""

from __future__ import annotations

import re

MASK = "********"

# The user part may be empty (redis://:secret@host), and people write passwords with characters that should have been
# percent-encoded, "/" and "@" among them: the last "@" before white space or the next URL ends the password.
_URL_PASSWORD = re.compile(r"(?P<head>[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:)(?P<password>(?:(?!://)\S)*)(?=@)")
_QUERY_PASSWORD = re.compile(r"(?P<head>[?&;](?:password|passwd|secret|token)=)[^&;\s]+", re.IGNORECASE)


def passwords_of(url: str) -> list[str]:
    """Return the passwords in C(url), which may be several URLs joined by C(;), as they are written in it.

    Unlike in running text, even white space is a part of a password here.
    """
    found = []
    for one in url.split(";"):
        login, at, _host = one.partition("://")[2].rpartition("@")
        _user, colon, password = login.partition(":")
        if at and colon and password:
            found.append(password)
    return found


def place_of(url: str) -> str:
    """Return where C(url) leads, without its login and its options: C(redis://host:6379/0). Several are joined by C(;).

    However a password is written, nothing of it is left.
    """
    places = []
    for one in url.split(";"):
        scheme, way, rest = one.partition("://")
        places.append(scheme + way + rest.rpartition("@")[2].partition("?")[0] if way else "")
    return ";".join(filter(None, places))


def redact(text: object) -> str:
    """Return C(text) with the passwords of every URL in it masked.

    Works on any text that may carry a URL: messages of exceptions, command
    lines, lists of sentinel URLs joined by C(;).
    """
    masked = _URL_PASSWORD.sub(lambda found: found.group("head") + MASK, str(text))
    return _QUERY_PASSWORD.sub(lambda found: found.group("head") + MASK, masked)
