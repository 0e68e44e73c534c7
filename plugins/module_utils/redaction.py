# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep passwords out of everything a person or a log can read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, unquote_plus

from ansible_collections.muejam.celery.plugins.module_utils.addresses import Address, addresses

MASK = "********"

SHORT = 4
"""Characters below which a secret is masked only where it stands alone: it may be a part of any word."""

# The user part may be empty (redis://:secret@host), and people write passwords with characters that should have been
# percent-encoded, "/" and "@" among them: the last "@" before white space or the next URL ends the password.
_URL_PASSWORD = re.compile(r"(?P<head>[A-Za-z][A-Za-z0-9+.-]*://[^\s:@]*:)(?P<password>(?:(?!://)\S)*)(?=@)")
_QUERY_PASSWORD = re.compile(r"(?P<head>[?&;](?:\w*passw(?:or)?d|secret|token)=)[^&;\s]+", re.IGNORECASE)

# What Python and kombu say of a URL that they misread: what they quote is as likely the end of a password.
_MISREAD = re.compile(
    r"(?P<head>Port could not be cast to integer value as |nonnumeric port: |Database is int between 0 and limit - 1, "
    r"not |netloc )(?:'[^']*'|\"[^\"]*\"|\S+)"
)
_PIECES = re.compile(r"[/?#@:;\[\]\s]+")


def passwords_of(url: str) -> list[str]:
    """Return the passwords in C(url), which may be several URLs joined by C(;).

    As they are written in it, as they read when they are decoded, and in the pieces that a library would take them for
    where they are not percent-encoded. Unlike in running text, even white space is a part of a password here.
    """
    found = []
    for address in addresses(url):
        password = address.password
        pieces = [piece for piece in _PIECES.split(password) if len(piece) >= SHORT]
        found += [password, unquote(password), unquote_plus(password), *pieces]
    return list(dict.fromkeys(filter(None, found)))


def place_of(url: str) -> str:
    """Return where C(url) leads, without its login and its options: C(redis://host:6379/0). Several are joined by C(;).

    However a password is written, nothing of it is left.
    """
    return ";".join(
        f"{address.scheme}://{_plain_place(address).partition('?')[0]}" for address in addresses(url) if address.scheme
    )


def shown(url: str) -> str:
    """Return C(url) with its passwords masked, however they are written."""
    if "://" not in url:
        return MASK
    return ";".join(_shown(address) for address in addresses(url))


def redact(text: object) -> str:
    """Return C(text) with the passwords of every URL in it masked.

    Works on any text that may carry a URL: messages of exceptions, command
    lines, lists of sentinel URLs joined by C(;).
    """
    masked = _URL_PASSWORD.sub(lambda found: found.group("head") + MASK, str(text))
    masked = _QUERY_PASSWORD.sub(lambda found: found.group("head") + MASK, masked)
    return _MISREAD.sub(lambda found: found.group("head") + MASK, masked)


class Hide:
    """Masks secrets that are known, and every other password of a URL, in texts that come from elsewhere."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: a piece of it would leave the rest.
        self._secrets = sorted(filter(None, set(secrets)), key=len, reverse=True)

    def __call__(self, text: object) -> str:
        masked = str(text)
        for secret in self._secrets:
            if len(secret) >= SHORT:
                masked = masked.replace(secret, MASK)
            else:
                masked = re.sub(rf"(?<![\w*]){re.escape(secret)}(?![\w*])", MASK, masked)
        return redact(masked)


def _shown(address: Address) -> str:
    login = ""
    if address.login:
        # A user with special characters may be a part of a password that holds ":".
        user = "" if re.search(r"[/?#@;\[\]\s]", address.user) else address.user
        login = f"{user}:{MASK}@" if ":" in address.login else f"{user or MASK}@"
    return redact(f"{address.scheme}://{login}{_plain_place(address)}")


def _plain_place(address: Address) -> str:
    """What follows the login; without what stands where a port is to stand and is none, and without a fragment."""
    place = address.place.partition("#")[0]
    host = re.split(r"[/?]", place, maxsplit=1)[0]
    return place if re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]{0,5})?(;.*)?", host) else MASK
