# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of the role flower: what is wrong with them, and the two files that Flower and its Celery read."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.addresses import addresses
from ansible_collections.muejam.celery.plugins.module_utils.brokers import tls, transport_options
from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import kind_of
from ansible_collections.muejam.celery.plugins.module_utils.brokers.url import normal
from ansible_collections.muejam.celery.plugins.module_utils.checks import BOOLEAN, INTEGER, MAPPING, TEXT, Key, Kind
from ansible_collections.muejam.celery.plugins.module_utils.fleet import app_facts, spec, values
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import KEYS as FLEET_KEYS

PREFIX = "celery_flower_"
STATE = "/var/lib/celery-flower/flower"
SAVE_EVERY = 60_000
"""Milliseconds between two savings of what Flower has seen. It saves once more when it stops."""

PROVIDERS = {
    "google": "flower.views.auth.GoogleAuth2LoginHandler",
    "github": "flower.views.auth.GithubLoginHandler",
    "gitlab": "flower.views.auth.GitLabLoginHandler",
    "okta": "flower.views.auth.OktaLoginHandler",
}
"""Flower's own, by the name that users write; the path of another class is taken as it is."""

_TLS_FILES = ("ca_certs", "certfile", "keyfile")

_BROKER = ("broker_url", "broker_transport_options", "broker_use_ssl", "result_backend")


def _version(value: str) -> str | None:
    return None if re.fullmatch(r"[0-9]+(\.[0-9]+)*", value) else f"{value!r} is no version such as 2.2.0"


def _prefix(value: str) -> str | None:
    whole = re.fullmatch(r"/?[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*/?", value)
    return (
        None
        if whole
        else f"{value!r} is no prefix of a URL: letters, digits, '.', '_', '~', '-' and '/', such as flower"
    )


def _user(name: object, password: object) -> str | None:
    if not isinstance(name, str) or not name or ":" in name or checks.has_control_characters(name):
        return "is no name for a login: a text without ':'"
    if not isinstance(password, str) or not password or checks.has_control_characters(password):
        return "has to have a password, a text of one line, best from Vault"
    return None


_OAUTH: Mapping[str, Key] = {
    "provider": Key(TEXT, required=f"one of {', '.join(PROVIDERS)}, or the path of a class", check=checks.line),
    "key": Key(TEXT, required="the id that the provider gave", check=checks.line),
    "secret": Key(TEXT, required="the secret that the provider gave", check=checks.line),
    "redirect_uri": Key(TEXT, required="the address of /login, as the provider knows it", check=checks.line),
    "emails": Key(TEXT, required="who may come in, such as .*@example.com or one@example.com|two@example.com"),
}
_VARIABLES: Mapping[str, Key] = {
    "state": Key(TEXT, choices=("present", "absent"), any_case=True),
    "version": Key(Kind("a version in quotes, such as '2.2.0'", "str", checks.text), check=_version),
    "fleet": Key(TEXT),
    "broker_url": Key(TEXT, check=values.broker_url),
    "broker_transport_options": FLEET_KEYS["broker_transport_options"],
    "broker_use_ssl": FLEET_KEYS["broker_use_ssl"],
    "result_backend": Key(TEXT, check=values.result_backend),
    "address": Key(TEXT, check=checks.line),
    "port": Key(INTEGER, minimum=1, maximum=65535),
    "url_prefix": Key(TEXT, check=_prefix),
    "authentication": Key(TEXT, choices=("basic", "oauth", "none"), any_case=True),
    "users": Key(MAPPING, check=_user),
    "oauth": Key(MAPPING, keys=_OAUTH),
    "certificate": Key(TEXT, check=checks.path),
    "certificate_key": Key(TEXT, check=checks.path),
    "read_only": Key(BOOLEAN),
    "persistent": Key(BOOLEAN),
    "max_tasks": Key(INTEGER, minimum=1),
    "max_workers": Key(INTEGER, minimum=1),
    "memory_max": Key(TEXT, check=checks.memory),
    "settings": Key(MAPPING),
}
"""The role's variables by their names without C(celery_flower_)."""

_OWN_SETTINGS = {
    "address": "address",
    "port": "port",
    "url_prefix": "url_prefix",
    "auth": "oauth",
    "auth_provider": "oauth",
    "oauth2_key": "oauth",
    "oauth2_secret": "oauth",
    "oauth2_redirect_uri": "oauth",
    "basic_auth": "users",
    "certfile": "certificate",
    "keyfile": "certificate_key",
    "read_only": "read_only",
    "persistent": "persistent",
    "max_tasks": "max_tasks",
    "max_workers": "max_workers",
}
"""Options of Flower that a variable of its own sets."""


def is_local(address: str) -> bool:
    """Whether an address is reached from the same host alone. Flower takes an empty one for all addresses."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """The variables in Python's own types, what is empty as none."""
    return {name: _VARIABLES[name].plain(value) for name, value in _without_empty(given).items()}


def _without_empty(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if value in ("", {}) else value for name, value in given.items()}


def problems(given: Mapping[str, Any], fleets: Sequence[spec.Fleet]) -> Iterator[str]:
    """Every fault of the variables, by their names without C(celery_flower_).

    :param fleets: the resolved ones of this host, without faults.
    """
    faults = list(checks.of_mapping(_VARIABLES, _without_empty(given), ""))
    yield from (PREFIX + fault for fault in faults)
    if faults or plain(given).get("state") == "absent":
        return
    found = plain(given)
    yield from (PREFIX + fault for fault in _of_broker(found, fleets))
    yield from (PREFIX + fault for fault in _of_login(found))
    if bool(found["certificate"]) != bool(found["certificate_key"]):
        missing = "certificate_key" if found["certificate"] else "certificate"
        yield f"{PREFIX}{missing}: missing, certificate and key go together"
    for name in found["settings"]:
        if name in _OWN_SETTINGS:
            yield f"{PREFIX}settings.{name}: has a variable of its own, use {PREFIX}{_OWN_SETTINGS[name]}"


def _of_broker(found: Mapping[str, Any], fleets: Sequence[spec.Fleet]) -> Iterator[str]:
    if found["fleet"]:
        if found["fleet"] not in [one["name"] for one in fleets if one["state"] == "present"]:
            there = ", ".join(one["name"] for one in fleets if one["state"] == "present") or "none"
            yield (
                f"fleet: there is no fleet {found['fleet']} in celery_worker_fleets of this host (there are: {there}): "
                f"name one of them, or give {PREFIX}broker_url"
            )
        yield from (f"{name}: given beside fleet, which has it: keep one" for name in _BROKER if found[name])
        return
    if not found["broker_url"]:
        yield f"broker_url: missing, give it, or with {PREFIX}fleet the fleet whose broker it is"
        return
    kind = kind_of(found["broker_url"])
    if kind:
        yield from (f"broker_use_ssl{fault}" for fault in tls.faults_with(found["broker_use_ssl"], kind))


def _of_login(found: Mapping[str, Any]) -> Iterator[str]:
    way = found["authentication"]
    if way == "none" and not is_local(found["address"] or ""):
        yield (
            f"authentication: none, and {found['address'] or 'every address'} is reached from other hosts: whoever "
            f"reaches it could stop workers and read what tasks are given. Set it to basic and give {PREFIX}users, or "
            f"set {PREFIX}address to 127.0.0.1, behind a proxy that asks for a login"
        )
    if way == "basic" and not found["users"]:
        yield "users: missing, give at least one login and its password, such as {ops: '{{ vault_flower_password }}'}"
    if way == "oauth":
        if not found["oauth"]:
            yield f"oauth: missing, give {', '.join(_OAUTH)}"
        elif not _takes_emails(found["oauth"]["emails"]):
            yield (
                "oauth.emails: Flower takes one address, several with '|' between them, or one pattern with a single "
                "'*' before the '@', such as .*@example.com"
            )
    if way != "basic" and found["users"]:
        yield f"users: given, and {PREFIX}authentication is {way}, which asks for none: remove them, or set it to basic"
    if way != "oauth" and found["oauth"]:
        yield f"oauth: given, and {PREFIX}authentication is {way}: remove it, or set that to oauth"


def _takes_emails(pattern: str) -> bool:
    stars = pattern.count("*")
    return stars <= 1 and not (stars and "|" in pattern) and "*" not in pattern.rsplit("@", 1)[-1]


def files(given: Mapping[str, Any], fleets: Sequence[spec.Fleet], apps: Mapping[str, Any]) -> dict[str, str]:
    """The texts of C(flowerconfig.py) and C(celeryconfig.py). Both hold secrets.

    :param apps: what is known of the apps of this host's fleets, by the fleet's name.
    """
    found = plain(given)
    return {
        "flowerconfig.py": _python(_options(found)),
        "celeryconfig.py": _python(_celery(found, fleets, apps)),
    }


def reads(given: Mapping[str, Any], fleets: Sequence[spec.Fleet]) -> list[dict[str, str]]:
    """The files on the host that Flower reads for TLS: the C(path) of each, and what C(says) it, for people.

    :param given: the variables, without faults.
    """
    found = plain(given)
    if found["state"] == "absent":
        return []
    own = [(PREFIX + name, found[name]) for name in ("certificate", "certificate_key")]
    celery = _celery(found, fleets, {})
    of_fleet = f" of fleet {found['fleet']}" if found["fleet"] else ""
    prefix = "" if of_fleet else PREFIX
    ssl = celery.get("broker_use_ssl")
    own += [
        (f"{prefix}broker_use_ssl.{name.removeprefix('ssl_')}{of_fleet}", path)
        for name, path in (ssl.items() if isinstance(ssl, Mapping) else ())
        if name.removeprefix("ssl_") in _TLS_FILES
    ]
    own += [
        (f"{name} in {prefix}{key}{of_fleet}", path)
        for key in ("broker_url", "result_backend")
        for address in addresses(celery.get(key) or "")
        for name, path in parse_qsl(address.place.partition("?")[2])
        if name.removeprefix("ssl_") in _TLS_FILES
    ]
    said: dict[str, str] = {}
    for says, path in own:
        # A relative one is what Flower makes of it.
        if str(path or "").startswith("/"):
            said.setdefault(str(path), says)
    return [{"path": path, "says": says} for path, says in said.items()]


def _options(found: Mapping[str, Any]) -> dict[str, Any]:
    """Flower's own options."""
    oauth = found["oauth"] if found["authentication"] == "oauth" else {}
    wanted = {
        "address": found["address"],
        "port": found["port"],
        "url_prefix": (found["url_prefix"] or "").strip("/") or None,
        "basic_auth": [f"{name}:{password}" for name, password in sorted(found["users"].items())] or None,
        "auth": oauth.get("emails"),
        "auth_provider": PROVIDERS.get(oauth.get("provider", ""), oauth.get("provider")),
        "oauth2_key": oauth.get("key"),
        "oauth2_secret": oauth.get("secret"),
        "oauth2_redirect_uri": oauth.get("redirect_uri"),
        "certfile": found["certificate"],
        "keyfile": found["certificate_key"],
        # Versions before 2.2 do not know it.
        "read_only": found["read_only"] or None,
        "max_tasks": found["max_tasks"],
        "max_workers": found["max_workers"],
        "persistent": found["persistent"],
        "db": STATE if found["persistent"] else None,
        "state_save_interval": SAVE_EVERY if found["persistent"] else None,
    }
    return {**{name: value for name, value in wanted.items() if value is not None}, **found["settings"]}


def _celery(found: Mapping[str, Any], fleets: Sequence[spec.Fleet], apps: Mapping[str, Any]) -> dict[str, Any]:
    """What Flower's Celery is told of the broker: what the workers of the fleet are told, or what the variables say."""
    if found["fleet"]:
        [fleet] = [one for one in fleets if one["name"] == found["fleet"]]
        reading = app_facts.reading(fleet, apps.get(fleet["name"]))
        url, backend = fleet["broker_url"], fleet["result_backend"]
        options, ssl = reading["transport_options"], reading["ssl"]
        exchanges = {"control_exchange": reading["control_exchange"], "event_exchange": reading["event_exchange"]}
    else:
        url, backend, kind = found["broker_url"], found["result_backend"], kind_of(found["broker_url"])
        options = transport_options.prepared(found["broker_transport_options"])
        ssl = tls.tls_settings(found["broker_use_ssl"], kind) if kind else None
        exchanges = {}
    wanted = {
        "broker_url": normal(url),
        "broker_transport_options": options or None,
        "broker_use_ssl": ssl,
        "result_backend": normal(backend) if backend else None,
        # Of a Celery that is to wait for a broker that is away.
        "broker_connection_retry_on_startup": True,
        **exchanges,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _python(settings: Mapping[str, Any]) -> str:
    """Settings as the text of a Python file that assigns them."""
    return "".join(f"{name} = {_value(value)!r}\n" for name, value in settings.items())


def _value(value: Any) -> Any:
    """A value in Python's own types: Ansible gives some that would show as something else."""
    if isinstance(value, Mapping):
        return {_value(key): _value(one) for key, one in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Sequence):
        return [_value(one) for one in value]
    return value
