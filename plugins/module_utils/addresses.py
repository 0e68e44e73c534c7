# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A URL taken apart, as it is written: several addresses may be joined by C(;), and passwords may be badly written."""

from __future__ import annotations

import re
from typing import NamedTuple

NEXT_ADDRESS = re.compile(r";(?=[A-Za-z][A-Za-z0-9+.-]*://)")


class Address(NamedTuple):
    """One address of a URL, as it is written: nothing is decoded.

    The last C(@) ends the login, however the password is written. C(place) is what follows it: host, port, path, query.
    """

    scheme: str
    login: str
    place: str

    @property
    def user(self) -> str:
        """The part of the login before its first C(:)."""
        return self.login.partition(":")[0]

    @property
    def password(self) -> str:
        """The part of the login after its first C(:)."""
        return self.login.partition(":")[2]


def addresses(url: str) -> list[Address]:
    """Return the addresses of a URL, which C(;) joins. One without a scheme stays in that before it."""
    found = []
    for one in NEXT_ADDRESS.split(url):
        scheme, way, rest = one.partition("://")
        login, _at, place = (rest if way else one).rpartition("@")
        found.append(Address(scheme.lower() if way else "", login, place))
    return found
