# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the variables of the role monitoring, each with what to change."""

from __future__ import annotations

import difflib
import math
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.checks import (
    BOOLEAN,
    INTEGER,
    MAPPING,
    MAPPINGS,
    TEXT,
    TEXTS,
    Key,
    Kind,
)

SEVERITIES = ("critical", "warning")
WAYS = ("mail", "slack", "webhook")
"""How a receiver can be told."""

_DURATION = r"(?=\d)(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?"
_WORD = re.compile(r"[^\s\"'\\$`]*")
_URL = re.compile(r"https?://[^\s/\"'\\$`]+\S*")


def _form(pattern: str, advice: str) -> Callable[[str], str | None]:
    form = re.compile(pattern)

    def check(value: str) -> str | None:
        return None if form.fullmatch(value) else f"{value!r} has the wrong form: {advice}"

    return check


_duration = _form(_DURATION, "write a duration such as 30s, 5m, 4h or 30d")
_size = _form(r"(\d+(B|KB|MB|GB|TB|PB))?", "write a size such as 512MB or 10GB, or leave it empty for no limit")


def _word(value: str) -> str | None:
    return None if _WORD.fullmatch(value) else "holds a blank, a quote, $ or a backslash: leave them out"


def _url(value: str) -> str | None:
    """Never shows the value: it may be a secret."""
    if not _URL.fullmatch(value):
        return "is no URL: begin it with https:// or http://, and leave out blanks and quotes"
    if "@" in value.split("/")[2]:
        return "has a login in it, which would be shown: give it as username, password or token"
    return None


def _url_or_nothing(value: str) -> str | None:
    return _url(value) if value else None


def _secret(value: str) -> str | None:
    return checks.line(value)


_ANY_TEXT = Kind("a text", "str", lambda value: value if isinstance(value, str) else None)
_SIDES = {"require_tls": Key(BOOLEAN)}
_RECEIVER: Mapping[str, Key] = {
    "name": Key(TEXT, required="a name", check=_form(r"[A-Za-z0-9][\w.-]*", "use letters, digits, dots, - and _")),
    "severities": Key(
        TEXTS, check=lambda one: None if one in SEVERITIES else f"{one!r} is not known, use critical or warning"
    ),
    "fleets": Key(TEXTS, check=_form(r"[A-Za-z0-9][\w-]*", "write the name of a fleet")),
    "mail": Key(
        MAPPING,
        keys={
            "to": Key(TEXT, required="the address to write to", check=checks.line),
            "from": Key(TEXT, required="the address of the sender", check=checks.line),
            "smarthost": Key(
                TEXT,
                required="the mail server, as mail.example.com:587",
                check=_form(r"\S+:\d+", "write host and port, as mail.example.com:587"),
            ),
            "username": Key(TEXT, check=checks.line),
            "password": Key(TEXT, check=_secret),
            **_SIDES,
        },
    ),
    "slack": Key(
        MAPPING,
        keys={
            "url": Key(TEXT, required="the URL of the incoming webhook, best from Vault", check=_url),
            "channel": Key(TEXT, check=checks.line),
        },
    ),
    "webhook": Key(
        MAPPING,
        keys={"url": Key(TEXT, required="the URL to post to", check=_url), "token": Key(TEXT, check=_secret)},
    ),
}
_CHANGE: Mapping[str, Key] = {
    "enabled": Key(BOOLEAN),
    "for": Key(TEXT, check=_duration),
    "severity": Key(TEXT, choices=SEVERITIES),
    "expr": Key(TEXT),
    "labels": Key(MAPPING),
}
_TLS = {
    "ca_file": Key(TEXT, check=checks.path),
    "cert_file": Key(TEXT, check=checks.path),
    "key_file": Key(TEXT, check=checks.path),
    "server_name": Key(TEXT, check=_word),
    "insecure_skip_verify": Key(BOOLEAN),
}
_ADDRESS = Key(TEXT, check=_word)
_PORT = Key(INTEGER, minimum=1, maximum=65535)
_URL_OR_NOTHING = Key(_ANY_TEXT, check=_url_or_nothing)
VARIABLES: Mapping[str, Key] = {
    "group": Key(TEXT, check=_word),
    "targets": Key(TEXTS, check=_form(r"[^\s\"']+:\d+", "write host and port, as app9.example.com:9541")),
    "target_address": Key(_ANY_TEXT, check=_word),
    "target_port": Key(INTEGER, minimum=0, maximum=65535),
    "target_scheme": Key(TEXT, choices=("http", "https")),
    "target_path": Key(TEXT, check=_form(r"/\S*", "begin it with /")),
    "scrape_interval": Key(TEXT, check=_duration),
    "scrape_username": Key(_ANY_TEXT, check=checks.line),
    "scrape_password": Key(_ANY_TEXT, check=_secret),
    "scrape_tls": Key(MAPPING, keys=_TLS),
    "scrape_configs": Key(MAPPINGS),
    "prometheus_address": _ADDRESS,
    "prometheus_port": _PORT,
    "prometheus_url": _URL_OR_NOTHING,
    "retention": Key(TEXT, check=_duration),
    "retention_size": Key(_ANY_TEXT, check=_size),
    "storage_path": Key(TEXT, check=checks.path),
    "runbooks_url": Key(TEXT, check=_url),
    "alerts": Key(MAPPING),
    "exporter_names": Key(BOOLEAN),
    "alertmanager_address": _ADDRESS,
    "alertmanager_port": _PORT,
    "alertmanager_url": _URL_OR_NOTHING,
    "group_wait": Key(TEXT, check=_duration),
    "group_interval": Key(TEXT, check=_duration),
    "repeat_interval": Key(TEXT, check=_duration),
    "receivers": Key(MAPPINGS, keys=_RECEIVER),
    "grafana_url": _URL_OR_NOTHING,
    "grafana_user": Key(TEXT, check=checks.line),
    "grafana_password": Key(_ANY_TEXT, check=_secret),
    "grafana_token": Key(_ANY_TEXT, check=_secret),
    "grafana_repository": Key(
        MAPPING, keys={name: Key(TEXT, check=checks.line) for name in ("uris", "suites", "components", "signed_by")}
    ),
    "grafana_prometheus_url": _URL_OR_NOTHING,
    "labels": Key(MAPPING),
}
"""The role's variables by their names without C(celery_monitoring_)."""


def problems(settings: Mapping[str, Any], alerts: Sequence[str] = ()) -> Iterator[str]:
    """Every fault of the variables that are given, by their names without C(celery_monitoring_).

    :param alerts: the names of all alerts.
    """
    for name, value in settings.items():
        yield from checks.of_value(VARIABLES[name], value, f"celery_monitoring_{name}")
    yield from _of_receivers(settings.get("receivers"))
    yield from _of_alerts(settings.get("alerts"), alerts)
    yield from _of_logins(settings)


def seconds(duration: str) -> int:
    """Return how long a duration as Prometheus writes it is, in whole seconds, rounded up."""
    each = {"y": 365 * 86400, "w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
    parts = re.findall(r"(\d+)(ms|[ywdhms])", duration)
    return math.ceil(sum(int(number) * each[unit] for number, unit in parts))


def _of_receivers(receivers: object) -> Iterator[str]:
    seen: set[object] = set()
    for index, receiver in enumerate(checks.mappings(receivers) or ()):
        path = f"celery_monitoring_receivers[{index}]"
        name = receiver.get("name")
        if name in seen:
            yield f"{path}.name: {name!r} is there twice, choose another name"
        seen.add(name)
        if not any(receiver.get(way) for way in WAYS):
            yield f"{path}: tells nobody, give it {', '.join(WAYS[:-1])} or {WAYS[-1]}"
        mail = checks.mapping(receiver.get("mail")) or {}
        if bool(mail.get("username")) != bool(mail.get("password")):
            yield f"{path}.mail: username and password belong together, give both or none"


def _of_alerts(changes: object, known: Sequence[str]) -> Iterator[str]:
    for name, change in (checks.mapping(changes) or {}).items():
        path = f"celery_monitoring_alerts.{name}"
        if known and name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            yield f"{path}: unknown alert, " + (f"did you mean {near[0]}?" if near else "see monitoring/alerts.yml")
        elif checks.mapping(change) is None:
            yield f"{path}: must be a dictionary such as {{for: 1h}}, is {checks.shown(change)}"
        else:
            yield from checks.of_mapping(_CHANGE, change, path)


def _of_logins(settings: Mapping[str, Any]) -> Iterator[str]:
    if bool(settings.get("scrape_username")) != bool(settings.get("scrape_password")):
        yield (
            "celery_monitoring_scrape_username: it belongs together with celery_monitoring_scrape_password, "
            "give both or none"
        )
    if settings.get("grafana_url") and not (settings.get("grafana_token") or settings.get("grafana_password")):
        yield "celery_monitoring_grafana_url: give celery_monitoring_grafana_token or the password of its user"
    if (
        _own(settings.get("grafana_prometheus_url"))
        and settings.get("grafana_url")
        and not _own(settings["grafana_url"])
    ):
        yield (
            f"celery_monitoring_grafana_prometheus_url: {settings['grafana_prometheus_url']} is the host of Grafana "
            "itself to a Grafana elsewhere. Give the URL by which that one reaches Prometheus, and have "
            "celery_monitoring_prometheus_address let it in"
        )
    repository = checks.mapping(settings.get("grafana_repository")) or {}
    if repository and not repository.get("uris"):
        yield "celery_monitoring_grafana_repository.uris: missing, give where the packages are"


def _own(url: object) -> bool:
    """Whether a URL leads to the host that asks."""
    try:
        host = urllib.parse.urlsplit(str(url or "")).hostname or ""
    except ValueError:
        return False
    return host in ("localhost", "::1") or host.startswith("127.")
