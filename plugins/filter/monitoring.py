# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for the role monitoring: thin, the rules are in `plugin_utils/monitor*.py`."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleError

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings import role, variables
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import CLUSTER_NAME
from ansible_collections.muejam.celery.plugins.module_utils.fleet import spec
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import DEFAULT, ON_HOSTS
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import (
    COMPONENT_LABEL,
    MANAGER,
    MANAGER_LABEL,
    NAME_LABEL,
)
from ansible_collections.muejam.celery.plugins.plugin_utils import (
    monitored,
    monitoring_files,
    monitoring_objects,
    monitoring_role,
    templated,
)
from ansible_collections.muejam.celery.plugins.plugin_utils.manifest_text import as_yaml

_PREFIX = "celery_monitoring_"
_NO_COLLECTION = (
    "celery_monitoring_grafana_url: needs the collection community.grafana, which is not installed: "
    "run ansible-galaxy collection install community.grafana"
)


@templated.takes_undefined
def problems(settings: Mapping[str, Any], alerts: str = "") -> list[str]:
    """Every fault of the role's own variables."""
    given, undefined = templated.settings(settings, _PREFIX)
    missing = [_NO_COLLECTION] if given.get("grafana_url") and not _has_grafana_modules() else []
    names = monitoring_files.alert_names(str(alerts)) if alerts else ()
    return [*undefined, *monitoring_role.problems(given, names), *missing]


def targets(hosts: Sequence[str], hostvars: Mapping[str, Any], here: str, others: Sequence[str] = ()) -> dict[str, Any]:
    """What a Prometheus on one host of the inventory is to scrape: C(targets), C(problems), C(notes)."""
    autoscalers: list[monitored.Autoscaler] = []
    unreadable: list[str] = []
    for host in sorted(map(str, hosts)):
        try:
            autoscalers += _autoscaler(host, hostvars[host])
        except AnsibleError as error:
            unreadable.append(_unreadable(host, here, error))
    found = monitored.find(autoscalers, str(here), [str(one) for one in others])
    found.problems[:0] = unreadable
    return asdict(found)


def files(settings: Mapping[str, Any], sources: Mapping[str, str], places: Mapping[str, str]) -> dict[str, str]:
    """The files of the services, by what they are. No secret is in them."""
    given = _plain(settings)
    reached = {**places, "alertmanager": _reached(given, "alertmanager")}
    return {
        "rules": _as_file(_rules(given, sources)),
        "prometheus": _as_file(monitoring_files.prometheus(sources["prometheus"], given, reached)),
        "alertmanager": _as_file(monitoring_files.alertmanager(given, places["secrets"])),
        "prometheus_arguments": monitoring_files.arguments(
            {
                "storage.tsdb.path": given["storage_path"],
                "storage.tsdb.retention.time": given["retention"],
                "storage.tsdb.retention.size": given["retention_size"] or None,
                **monitoring_files.web(given["prometheus_address"], given["prometheus_port"], given["prometheus_url"]),
            }
        ),
        "alertmanager_arguments": monitoring_files.arguments(
            {
                **monitoring_files.web(
                    given["alertmanager_address"], given["alertmanager_port"], given["alertmanager_url"]
                ),
                # Empty is none: it would look for others of its kind, at all addresses.
                "cluster.listen-address": "",
            }
        ),
        "grafana_source": _as_file(monitoring_files.grafana_source(given["grafana_prometheus_url"])),
        "grafana_dashboards": _as_file(monitoring_files.grafana_dashboards(places["dashboards"])),
    }


def reached(settings: Mapping[str, Any], service: str) -> str:
    """Host and port by which the host itself reaches C(prometheus) or C(alertmanager)."""
    return _reached(_plain(settings), service)


def seconds(duration: str) -> int:
    """A duration as Prometheus writes it, in whole seconds, rounded up."""
    return monitoring_role.seconds(str(duration))


def secrets(settings: Mapping[str, Any]) -> dict[str, str]:
    """What is secret of the receivers and of the scraping, by the names of files."""
    given = _plain(settings)
    scraping = {"scrape.password": str(given["scrape_password"])} if given["scrape_password"] else {}
    return {**monitoring_files.alertmanager_secrets(given), **scraping}


def objects(
    settings: Mapping[str, Any],
    sources: Mapping[str, str],
    dashboards: Mapping[str, str],
    place: Mapping[str, Any],
    apis: Mapping[str, Any],
) -> dict[str, Any]:
    """The objects for a cluster with these APIs, and what of the other kind is to go: C(present), C(absent)."""
    given = _plain(settings)
    where = monitoring_objects.Place(
        namespace=str(place["namespace"]),
        name=CLUSTER_NAME,
        name_label=NAME_LABEL,
        labels={NAME_LABEL: CLUSTER_NAME, MANAGER_LABEL: MANAGER, COMPONENT_LABEL: "monitoring"},
        extra={str(name): str(value) for name, value in given["labels"].items()},
        port=variables.VARIABLES["metrics_port"].plain(place["port"]),
    )
    operator = monitoring_objects.has_operator(apis)
    found = monitoring_objects.objects(
        where,
        operator,
        given["scrape_interval"],
        _rules(given, sources),
        {str(k): str(v) for k, v in dashboards.items()},
        monitoring_files.relabelings(sources["prometheus"]),
    )
    return {"present": found, "absent": monitoring_objects.other_objects(where, operator), "operator": operator}


def object_files(found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The objects as YAML, by the names of files."""
    return {
        f"{thing['kind'].lower()}-{thing['metadata']['name']}.yaml": as_yaml(thing, "monitoring") for thing in found
    }


def _reached(given: Mapping[str, Any], service: str) -> str:
    return monitoring_files.reached(given[f"{service}_address"], given[f"{service}_port"])


def _rules(given: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, Any]:
    texts = [sources["alerts"], *([sources["names"]] if given["exporter_names"] else [])]
    return monitoring_files.rules([str(text) for text in texts], given["runbooks_url"], given["alerts"])


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    given, _undefined = templated.settings(settings, _PREFIX)
    return {name: monitoring_role.VARIABLES[name].plain(value) for name, value in given.items()}


def _as_file(thing: Mapping[str, Any]) -> str:
    return as_yaml(thing, "monitoring")


def _autoscaler(host: str, told: Mapping[str, Any]) -> list[monitored.Autoscaler]:
    """The autoscaler of a host; none where its variables want none."""

    def variable(name: str, otherwise: Any) -> Any:
        return told.get(name, otherwise)

    def own(name: str) -> Any:
        known = variables.VARIABLES[name]
        return known.plain(variable(f"celery_autoscaler_{name}", known.default))

    platform = str(variable("celery_worker_platform", DEFAULT))
    fleets, faults = templated.plain(variable("celery_worker_fleets", []), "celery_worker_fleets")
    defaults, more = templated.plain(variable("celery_worker_fleet_defaults", {}), "celery_worker_fleet_defaults")
    if faults or more:
        raise AnsibleError("; ".join([*faults, *more]))
    described = [fleet for fleet in fleets or [] if isinstance(fleet, Mapping)]
    if not role.wanted(spec.resolve(described, defaults, platform), own("mode"), own("state")):
        return []
    if platform not in ON_HOSTS and str(variable("celery_worker_autoscaling", "policy")).lower() != "policy":
        return []
    return [
        monitored.Autoscaler(
            host=host,
            reached_at=str(variable("ansible_host", host)),
            platform=platform,
            listens=str(own("metrics_address")),
            port=own("metrics_port"),
            address=str(variable(f"{_PREFIX}target_address", "")),
            address_port=int(variable(f"{_PREFIX}target_port", 0)),
            scheme=str(variable(f"{_PREFIX}target_scheme", "http")),
            path=str(variable(f"{_PREFIX}target_path", "/metrics")),
        )
    ]


def _unreadable(host: str, here: str, error: AnsibleError) -> str:
    # ansible-core before 2.19 puts the text of the whole variable into it, secrets included: what is sure is the name.
    names = re.findall(r"'(\w+)' is undefined", str(error))
    reason = f"{', '.join(dict.fromkeys(names))} is undefined" if names else "a template in it has no value"
    return (
        f"{host}: its variables for the autoscaler cannot be read on {here}: {reason}. Correct them; the playbook "
        "muejam.celery.deploy names each one that is wrong."
    )


def _has_grafana_modules() -> bool:
    try:
        return importlib.util.find_spec("ansible_collections.community.grafana") is not None
    except ImportError:
        return False


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by the names that playbooks use."""
        return {
            "monitoring_files": files,
            "monitoring_object_files": object_files,
            "monitoring_objects": objects,
            "monitoring_problems": problems,
            "monitoring_reached": reached,
            "monitoring_seconds": seconds,
            "monitoring_secrets": secrets,
            "monitoring_targets": targets,
        }
