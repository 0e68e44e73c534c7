# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to speak TLS with a broker, as users write it and as the transports of kombu take it."""

from __future__ import annotations

import ssl as tls
from collections.abc import Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.kind import Kind
from ansible_collections.muejam.celery.plugins.module_utils.checks import boolean, whole_number

# Plain numbers: Ansible's variables cannot hold the constants themselves.
_CERT_REQS = {
    "required": int(tls.CERT_REQUIRED),
    "optional": int(tls.CERT_OPTIONAL),
    "none": int(tls.CERT_NONE),
}


def tls_settings(ssl: bool | str | Mapping[str, Any] | None, kind: Kind) -> bool | dict[str, Any] | None:
    """Return the option C(ssl) in the form that a transport takes; None leaves it to the URL.

    Each wants the constants of Python's ssl module for C(cert_reqs), which YAML cannot write.

    :raises ValueError: on a C(cert_reqs) that does not exist, or a value of the wrong kind.
    """
    truth = boolean(ssl)
    if ssl is None or truth is False or ssl == "":
        return None
    if not isinstance(ssl, Mapping) and not truth:
        raise ValueError(f"ssl is true, false or a dictionary, not {ssl!r}")
    plain = _plain(ssl, kind) if isinstance(ssl, Mapping) else {}
    if not plain and ssl:
        # kombu's Redis transport takes true without a word for no TLS at all.
        return {f"{kind.tls_prefix}cert_reqs": _CERT_REQS["required"]} if kind.tls_prefix else True
    if isinstance(plain.get("check_hostname"), str):
        # A text is true to Python's ssl module, whatever it says.
        plain["check_hostname"] = boolean(plain["check_hostname"])
        if plain["check_hostname"] is None:
            raise ValueError("check_hostname in ssl is true or false")
    if whole_number(plain.get("cert_reqs")) in _CERT_REQS.values():
        plain["cert_reqs"] = whole_number(plain["cert_reqs"])
    elif isinstance(plain.get("cert_reqs"), str):
        word = plain["cert_reqs"].lower().replace("cert_", "")
        if word not in _CERT_REQS:
            raise ValueError(f"cert_reqs in ssl is required, optional or none, not {plain['cert_reqs']!r}")
        plain["cert_reqs"] = _CERT_REQS[word]
    return {f"{kind.tls_prefix}{name}": value for name, value in plain.items()}


def _plain(ssl: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The settings without C(ssl_) before their names, and without those that are null.

    A C(cert_reqs) of null would verify nothing. AMQP alone takes null for a name: that of the URL.
    """
    plain = {str(name)[4:] if str(name).startswith("ssl_") else str(name): value for name, value in ssl.items()}
    return {
        name: value
        for name, value in plain.items()
        if value is not None or (name == "server_hostname" and name in kind.tls_keys)
    }
