# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a monitoring in a cluster takes: objects of the Prometheus operator where it is there, else annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

OPERATOR = "monitoring.coreos.com/v1"
PORT_NAME = "metrics"

Object = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where the objects go.

    :ivar name: of the autoscaler's objects; its pods have it as their label C(name_label).
    :ivar labels: that all objects of the collection have.
    :ivar extra: labels by which the Prometheus of the cluster chooses what it takes.
    :ivar port: TCP port of its metrics.
    """

    namespace: str
    name: str
    name_label: str
    labels: Mapping[str, str]
    extra: Mapping[str, str]
    port: int


def has_operator(apis: Mapping[str, Any]) -> bool:
    """Say whether a cluster with these APIs knows the Prometheus operator's kinds."""
    return {"ServiceMonitor", "PrometheusRule"} <= set(apis.get(OPERATOR, {}))


def objects(
    place: Place,
    operator: bool,
    interval: str,
    rules: Mapping[str, Any],
    dashboards: Mapping[str, str],
    relabelings: Sequence[Mapping[str, Any]],
) -> list[Object]:
    """Return the objects in the order in which to apply them.

    :param operator: whether the cluster has the kinds of the Prometheus operator.
    :param rules: groups of rules, as in a file of Prometheus; without the operator they go into a ConfigMap.
    :param dashboards: the texts of dashboards by the names of their files.
    :param relabelings: of series once they are scraped, in Prometheus' own words.
    """
    selector = {place.name_label: place.name}
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/port": str(place.port), "prometheus.io/path": "/metrics"}
    service = _object("v1", "Service", place, {} if operator else scraped)
    service["spec"] = {
        "clusterIP": "None",
        "selector": selector,
        # One that is not ready is to be looked at all the more.
        "publishNotReadyAddresses": True,
        "ports": [{"name": PORT_NAME, "port": place.port, "targetPort": PORT_NAME, "protocol": "TCP"}],
    }
    found = [service]
    if operator:
        monitor = _object(OPERATOR, "ServiceMonitor", place)
        monitor["spec"] = {
            "selector": {"matchLabels": selector},
            "endpoints": [
                {
                    "port": PORT_NAME,
                    "interval": interval,
                    "relabelings": _RELABELINGS,
                    "metricRelabelings": [
                        {_OF_OPERATOR.get(key, key): value for key, value in one.items()} for one in relabelings
                    ],
                }
            ],
        }
        rule = _object(OPERATOR, "PrometheusRule", place)
        rule["spec"] = dict(rules)
        found += [monitor, rule]
    else:
        kept = _object("v1", "ConfigMap", place, name=f"{place.name}-rules")
        kept["data"] = {"celery.yml": yaml.safe_dump(dict(rules), sort_keys=False, width=1000)}
        found.append(kept)
    shown = _object("v1", "ConfigMap", place, name=f"{place.name}-dashboards", labels={"grafana_dashboard": "1"})
    shown["data"] = {f"celery-{name}": text for name, text in dashboards.items()}
    return [*found, shown]


def other_objects(place: Place, operator: bool) -> list[Object]:
    """Return, by their names alone, what the objects for a cluster of the other kind would be."""
    if operator:
        return [_object("v1", "ConfigMap", place, name=f"{place.name}-rules")]
    return []


# A pod is told by its name, which lasts as long as it does, where its address may be another one's later.
_RELABELINGS = [{"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "instance"}]
_OF_OPERATOR = {"source_labels": "sourceLabels", "target_label": "targetLabel"}
"""The operator's words for Prometheus' own."""


def _object(
    version: str,
    kind: str,
    place: Place,
    annotations: Mapping[str, str] | None = None,
    name: str = "",
    labels: Mapping[str, str] | None = None,
) -> Object:
    metadata: Object = {
        "name": name or place.name,
        "namespace": place.namespace,
        "labels": {**place.labels, **(labels or {}), **place.extra},
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
