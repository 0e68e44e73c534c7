# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a Prometheus, an Alertmanager and a Grafana, made of those of monitoring/ and of the role's variables.

No secret is in any of them: they name files that have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from ansible_collections.muejam.celery.plugins.module_utils.checks import boolean

RUNBOOKS = "https://runbooks.example.com/"
"""Where the links of monitoring/alerts.yml lead."""

NOBODY = "nobody"
SOURCE_UID = "muejam-celery"
FOLDER = "Celery"

_SLACK_TITLE = "{{ .Status | toUpper }}: {{ .CommonLabels.alertname }}"
_SLACK_TEXT = (
    "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ .Annotations.description }}\n"
    "<{{ .Annotations.runbook_url }}|What to do>\n{{ end }}"
)


def rules(texts: Sequence[str], runbooks_url: str, changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return files of rules as one, with other places of runbooks and with alerts changed.

    :param texts: the files' texts.
    :param changes: by the name of an alert what is other: C(enabled), C(for), C(severity), C(expr), C(labels).
    """
    groups = [group for text in texts for group in yaml.safe_load(text)["groups"]]
    base = runbooks_url if runbooks_url.endswith("/") else f"{runbooks_url}/"
    changed = [{**group, "rules": list(_rules(group["rules"], base, changes))} for group in groups]
    return {"groups": [group for group in changed if group["rules"]]}


def alert_names(text: str) -> list[str]:
    """Return the names of all alerts in a file of rules."""
    groups = yaml.safe_load(text)["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]


def _rules(
    found: Sequence[Mapping[str, Any]], base: str, changes: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    for rule in found:
        change = changes.get(rule.get("alert", ""), {})
        if boolean(change.get("enabled")) is False:
            continue
        other = dict(rule)
        for key in ("for", "expr"):
            if change.get(key):
                other[key] = change[key]
        if "alert" in rule:
            severity = {"severity": change["severity"]} if change.get("severity") else {}
            other["labels"] = {**rule["labels"], **severity, **(change.get("labels") or {})}
            notes = rule["annotations"]
            other["annotations"] = {**notes, "runbook_url": notes["runbook_url"].replace(RUNBOOKS, base)}
        yield other


def prometheus(text: str, settings: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration of Prometheus, made of monitoring/prometheus.yml.

    :param settings: the role's variables by their names without C(celery_monitoring_).
    :param places: paths: C(rules), C(targets), C(scrape_password); where the C(alertmanager) is.
    """
    [job] = yaml.safe_load(text)["scrape_configs"]
    del job["static_configs"]
    job["scrape_interval"] = settings["scrape_interval"]
    job["file_sd_configs"] = [{"files": [places["targets"]]}]
    if settings["scrape_username"]:
        job["basic_auth"] = {"username": settings["scrape_username"], "password_file": places["scrape_password"]}
    if settings["scrape_tls"]:
        job["tls_config"] = dict(settings["scrape_tls"])
    return {
        "global": {
            "scrape_interval": settings["scrape_interval"],
            "evaluation_interval": settings["scrape_interval"],
        },
        "rule_files": [places["rules"]],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [places["alertmanager"]]}]}]},
        "scrape_configs": [job, *settings["scrape_configs"]],
    }


def relabelings(text: str) -> list[dict[str, Any]]:
    """Return how monitoring/prometheus.yml has series relabelled once they are scraped."""
    [job] = yaml.safe_load(text)["scrape_configs"]
    return list(job["metric_relabel_configs"])


def alertmanager(settings: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Return the configuration of Alertmanager: who is told of what.

    :param folder: where the files are that C(alertmanager_secrets) names.
    """
    receivers = settings["receivers"]
    return {
        "route": {
            "receiver": NOBODY,
            # One message for all workers of a fleet, not one for each.
            "group_by": ["alertname", "fleet"],
            "group_wait": settings["group_wait"],
            "group_interval": settings["group_interval"],
            "repeat_interval": settings["repeat_interval"],
            "routes": [_route(receiver) for receiver in receivers],
        },
        "receivers": [{"name": NOBODY}, *(_receiver(receiver, folder) for receiver in receivers)],
    }


def alertmanager_secrets(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what of the receivers is secret, by the names of files."""
    kept = (("mail", "password"), ("slack", "url"), ("webhook", "token"))
    return {
        f"{receiver['name']}.{way}.{key}": str(receiver[way][key])
        for receiver in settings["receivers"]
        for way, key in kept
        if (receiver.get(way) or {}).get(key)
    }


def _route(receiver: Mapping[str, Any]) -> dict[str, Any]:
    # What is of no fleet is of all: that an autoscaler is gone, or a queue, which several fleets may share.
    matchers = [
        f'{label}=~"{"|".join([*receiver[key], *others])}"'
        for key, label, others in (("severities", "severity", ()), ("fleets", "fleet", ("",)))
        if receiver.get(key)
    ]
    # The next ones may have to know as well.
    return {"receiver": receiver["name"], **({"matchers": matchers} if matchers else {}), "continue": True}


def _receiver(receiver: Mapping[str, Any], folder: str) -> dict[str, Any]:
    start = f"{folder}/{receiver['name']}"
    told: dict[str, Any] = {"name": receiver["name"]}
    mail, slack, webhook = ((receiver.get(way) or {}) for way in ("mail", "slack", "webhook"))
    if mail:
        login = {"auth_username": mail["username"], "auth_password_file": f"{start}.mail.password"}
        told["email_configs"] = [
            {
                **{key: mail[key] for key in ("to", "from", "smarthost")},
                **(login if mail.get("username") else {}),
                "require_tls": boolean(mail.get("require_tls", True)),
                "send_resolved": True,
            }
        ]
    if slack:
        channel = {"channel": slack["channel"]} if slack.get("channel") else {}
        told["slack_configs"] = [
            {
                "api_url_file": f"{start}.slack.url",
                **channel,
                "title": _SLACK_TITLE,
                "text": _SLACK_TEXT,
                "send_resolved": True,
            }
        ]
    if webhook:
        token = {"http_config": {"authorization": {"credentials_file": f"{start}.webhook.token"}}}
        told["webhook_configs"] = [
            {"url": webhook["url"], **(token if webhook.get("token") else {}), "send_resolved": True}
        ]
    return told


def arguments(options: Mapping[str, Any]) -> str:
    """Return the command line of a service as Debian's packages take it; an option of None is left out."""
    given = " ".join(f"--{name}={value}" for name, value in options.items() if value is not None)
    return f'ARGS="{given}"\n'


def web(address: str, port: int, url: str) -> dict[str, Any]:
    """Return the options of a service's own web server.

    :param url: by which people reach it; empty is none.
    """
    options: dict[str, Any] = {"web.listen-address": f"{_bracketed(address)}:{port}"}
    # A path in the URL is the reverse proxy's: it would move all that is served, for those on this host too.
    return {**options, "web.external-url": url, "web.route-prefix": "/"} if url else options


def reached(address: str, port: int) -> str:
    """Return by which host and port a service that listens on an address is reached on its own host."""
    anywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}
    return f"{_bracketed(anywhere.get(address, address))}:{port}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


def grafana_source(url: str) -> dict[str, Any]:
    """Return what provisions the data source."""
    source = {"name": "Celery", "uid": SOURCE_UID, "type": "prometheus", "access": "proxy", "url": url}
    return {"apiVersion": 1, "datasources": [{**source, "editable": False}]}


def grafana_dashboards(folder: str) -> dict[str, Any]:
    """Return what provisions the dashboards from a folder."""
    provider = {"name": "celery", "folder": FOLDER, "type": "file", "options": {"path": folder}}
    return {"apiVersion": 1, "providers": [provider]}
