# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the URL of a broker.

Every URL is checked here before a library sees it. Libraries take the end of a password for a port or a database, and
show it when it is none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from ansible_collections.muejam.celery.plugins.module_utils.addresses import NEXT_ADDRESS, Address, addresses
from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import SCHEMES, kind_of

_BACKEND_SCHEMES = ("rpc",)
_CERT_REQS = ("CERT_REQUIRED", "CERT_OPTIONAL", "CERT_NONE", "required", "optional", "none")

_SPECIAL = "/?#@:;[]"
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^:\[\]]*)(?::(?P<port>.*))?", re.DOTALL)


class Fault(NamedTuple):
    """What is wrong with a URL, and what to do about it; neither holds any part of the URL that may be secret."""

    why: str
    remedy: str

    @property
    def next_step(self) -> str:
        """The remedy as a sentence."""
        return f"{self.remedy[0].upper()}{self.remedy[1:]}."

    def __str__(self) -> str:
        return f"{self.why}: {self.remedy}"


def normal(url: str) -> str:
    """Return the URL with its schemes in lower case, the only form that Celery takes of each."""
    parts = [one.partition("://") for one in NEXT_ADDRESS.split(url)]
    # Another scheme may be the path of a class.
    return ";".join(
        f"{scheme.lower() if scheme.lower() in (*SCHEMES, *_BACKEND_SCHEMES) else scheme}{way}{rest}"
        for scheme, way, rest in parts
    )


def fault_of(url: str) -> Fault | None:
    """Return what is wrong with the URL of a broker, None for a good one."""
    for address in addresses(url):
        if address.scheme not in SCHEMES or not (address.login or address.place):
            return Fault(
                "is no URL of Redis, Valkey or RabbitMQ",
                f"write it as for Celery, {', '.join(f'{scheme}://...' for scheme in SCHEMES)}",
            )
        fault = _login_fault(address) or _place_fault(address) or _query_fault(address)
        if fault:
            return fault
    return None


def fault_of_backend(url: str) -> Fault | None:
    """Return what is wrong with the URL of a result backend; only those of the brokers' kinds are looked into."""
    found = (
        _login_fault(address) or _place_fault(address)
        for address in addresses(url)
        if address.scheme in (*SCHEMES, *_BACKEND_SCHEMES)
    )
    return next(filter(None, found), None)


def fault_of_http(url: str) -> Fault | None:
    """Return what is wrong with the URL of RabbitMQ's management API."""
    address = addresses(url)[0]
    if address.scheme not in ("http", "https") or not address.place:
        return Fault(
            "is no URL of RabbitMQ's management API",
            "write it as http://host:15672, with a login before the host where it is not that of broker_url",
        )
    return _login_fault(address) or _place_fault(address)


def _login_fault(address: Address) -> Fault | None:
    bad = [*_unencoded(address.user), *_unencoded(address.password)]
    if not bad:
        return None
    fault = _to_be_encoded(bad, "before the last '@' of an address, where user and password stand")
    return Fault(fault.why, f"{fault.remedy}; a '@' behind the host is written %40") if "/" in bad else fault


def _place_fault(address: Address) -> Fault | None:
    if "#" in address.place:
        return _to_be_encoded(["#"], "as it is, and a URL ends there")
    blank = [character for character in address.place if character.isspace()]
    if blank:
        return _to_be_encoded(blank[:1], "as it is")
    way = address.place.partition("?")[0]
    hosts, _slash, path = way.partition("/")
    scheme, kind = SCHEMES.get(address.scheme), kind_of(address.scheme)
    if scheme and scheme.port is None:
        return None
    first, *others = hosts.split(";")
    for host in (first, *filter(None, others)):
        fault = _host_fault(host)
        if fault:
            return fault
    database = unquote(path).lstrip("/")
    if kind and kind.databases_are_numbers and database and not (database.isascii() and database.isdigit()):
        return Fault(
            "ends in what is no number of a database",
            "correct the database number at its end, as in redis://host:6379/0 (a '/' in the password is written %2F)",
        )
    return None


def _host_fault(host: str) -> Fault | None:
    found = _HOST.fullmatch(host)
    port = (found["port"] or "") if found else ""
    if not found or ":" in port:
        return Fault("names no host", "write an IPv6 address in brackets, as in redis://[::1]:6379/0")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return Fault(
            "has no port number behind the host's ':'",
            "write 1 to 65535 there; a password stands before the host and its '@', and what is special in it is "
            "percent-encoded",
        )
    return None


def _query_fault(address: Address) -> Fault | None:
    known = SCHEMES[address.scheme].options
    for name, value in parse_qsl(address.place.partition("?")[2]):
        if name not in known:
            return Fault(
                f"has the option {name!r} behind its '?', which Celery does not know there",
                f"{_remedy_of_option(name)}; known are {', '.join(sorted(known))}",
            )
        if name == "ssl_cert_reqs" and value not in _CERT_REQS:
            return Fault(
                "has an ssl_cert_reqs that does not exist", f"write one of {', '.join(_CERT_REQS[3:])} behind it"
            )
        if name == "heartbeat" and not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            return Fault("has a heartbeat that is no number", "write it in seconds")
    return None


def _remedy_of_option(name: str) -> str:
    if name.startswith("ssl"):
        return "give it in ssl (broker_use_ssl of a fleet)"
    if name in ("db", "virtual_host", "database"):
        return "name the database behind the host, as in redis://host:6379/0"
    if name in ("password", "username", "user"):
        return "write the login before the host, followed by '@'"
    return "give it in transport_options (broker_transport_options of a fleet)"


def _unencoded(text: str) -> Iterator[str]:
    """Yield the characters that stand in a login as they are and must not."""
    for character in text:
        # A few others become one of the special characters when Python normalises a URL.
        forms = {character, *unicodedata.normalize("NFKC", character)}
        if forms & set(_SPECIAL) or character.isspace() or ord(character) < 32:
            yield character
    if _BROKEN_ESCAPE.search(text):
        yield "%"


def _to_be_encoded(characters: Collection[str], where: str) -> Fault:
    each = list(dict.fromkeys(characters))
    shown = [{" ": "a blank", "\t": "a tab"}.get(one, f"'{one}'" if one.isprintable() else "a control character")
             for one in each]  # fmt: skip
    encoded = [quote(one, safe="") for one in each]
    it = "it" if len(each) == 1 else "them"
    return Fault(
        f"holds {' and '.join(shown)} {where}",
        f"percent-encode {it}, as {' and '.join(encoded)}",
    )
