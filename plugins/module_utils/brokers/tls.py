# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to speak TLS with a broker, as users write it and as the transports of kombu take it."""

from __future__ import annotations

import ssl as tls
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.brokers.kind import Kind
from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import KINDS
from ansible_collections.muejam.celery.plugins.module_utils.checks import BOOLEAN, BOOLEAN_OR_MAPPING, PATH, Key

# Plain numbers: Ansible's variables cannot hold the constants themselves.
_CERT_REQS = {
    "required": int(tls.CERT_REQUIRED),
    "optional": int(tls.CERT_OPTIONAL),
    "none": int(tls.CERT_NONE),
}


def _cert_reqs(value: object) -> int | None:
    whole = checks.whole_number(value)
    if whole in _CERT_REQS.values():
        return whole
    # Null is no word: it would verify nothing.
    return _CERT_REQS.get(value.lower().replace("cert_", "")) if isinstance(value, str) else None


_FILE = Key(PATH, check=checks.path)
_KEYS: Mapping[str, Key] = {
    "ca_certs": _FILE,
    "certfile": _FILE,
    "keyfile": _FILE,
    "cert_reqs": Key(checks.Kind("required, optional or none", "str", _cert_reqs)),
    # A text is true to Python's ssl module, whatever it says.
    "check_hostname": Key(BOOLEAN),
}
"""What is checked and converted; every other setting is passed on as it is."""


def tls_settings(ssl: bool | str | Mapping[str, Any] | None, kind: Kind) -> bool | dict[str, Any] | None:
    """Return the option C(ssl) in the form that a transport takes; None leaves it to the URL.

    Each wants the constants of Python's ssl module for C(cert_reqs), which YAML cannot write.

    :raises ValueError: on a C(cert_reqs) that does not exist, or a value of the wrong kind.
    """
    settings = BOOLEAN_OR_MAPPING.plain(ssl)
    if ssl is None or settings is False or ssl == "":
        return None
    if settings is None:
        raise ValueError(f"ssl is true, false or a dictionary, not {ssl!r}")
    plain = _plain(settings, kind) if isinstance(settings, Mapping) else {}
    if not plain and ssl:
        # kombu's Redis transport takes true without a word for no TLS at all.
        return {f"{kind.tls_prefix}cert_reqs": _CERT_REQS["required"]} if kind.tls_prefix else True
    return {f"{kind.tls_prefix}{name}": value for name, value in plain.items()}


def faults(ssl: bool | Mapping[Any, Any]) -> Iterator[str]:
    """Yield what is wrong with the option, each fault with its place in it, such as C(.ca_certs: ...)."""
    if isinstance(ssl, Mapping):
        if not ssl:
            yield ": is empty: write true, or leave the key out"
        yield from _unknown(ssl, tuple(dict.fromkeys(name for kind in KINDS for name in kind.tls_keys)), "")
        for written, value in ssl.items():
            name = _name(written)
            if name in _KEYS and value is not None:
                yield from checks.of_value(_KEYS[name], value, f".{written}")


def faults_with(ssl: bool | Mapping[Any, Any] | None, kind: Kind) -> Iterator[str]:
    """Yield what this kind of broker does not know of the option."""
    if isinstance(ssl, Mapping):
        yield from _unknown(ssl, kind.tls_keys, f" for {kind.name}")


def _unknown(ssl: Mapping[Any, Any], known: tuple[str, ...], whom: str) -> Iterator[str]:
    for written in ssl:
        if _name(written) not in known:
            yield f".{written}: is not known{whom}, use {', '.join(known)}"


def _name(written: object) -> str:
    return str(written).removeprefix("ssl_")


def _plain(ssl: Mapping[Any, Any], kind: Kind) -> dict[str, Any]:
    """The settings without C(ssl_) before their names, and without those that are null.

    A C(cert_reqs) of null would verify nothing. AMQP alone takes null for a name: that of the URL.
    """
    plain: dict[str, Any] = {}
    for written, value in ssl.items():
        name = _name(written)
        found = _KEYS[name].kind.plain(value) if name in _KEYS else value
        if found is not None or (name == "server_hostname" and name in kind.tls_keys):
            plain[name] = found
        elif value is not None:
            raise ValueError(f"{name} in ssl is {_KEYS[name].kind.words}, not {value!r}")
    return plain
