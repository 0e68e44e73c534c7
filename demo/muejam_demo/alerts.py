# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which alerts fired while the demo ran, of what its Prometheus answers."""

from __future__ import annotations

import json
import math
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .ending import DemoError

RULES = "rules"

Get = Callable[[Sequence[str]], list[str]]
"""Asks a Prometheus: for each path under /api/v1/, its query included, the body of the answer."""


@dataclass(frozen=True)
class Alert:
    """An alert, and the labels that tell whom it is about."""

    name: str
    labels: Mapping[str, str]

    def __str__(self) -> str:
        told = ", ".join(f'{key}="{value}"' for key, value in sorted(self.labels.items()))
        return f"{self.name}{{{told}}}"


@dataclass(frozen=True)
class Watched:
    """What Prometheus made of the demo.

    :ivar rules: how many alerts were loaded; recording rules are not counted.
    :ivar fired: the alerts that fired at any time.
    :ivar pending: those that only waited to fire.
    :ivar unhealthy: rules of both kinds that could not be evaluated, or have not been yet, each with the reason.
    """

    rules: int
    fired: tuple[Alert, ...]
    pending: tuple[Alert, ...]
    unhealthy: tuple[str, ...]

    def __str__(self) -> str:
        fired = f"{len(self.fired)} fired: {_listed(self.fired)}" if self.fired else "none fired"
        # Whom it would have been about is of interest once it fires.
        names = sorted({alert.name for alert in self.pending})
        pending = f" (pending: {', '.join(names)})" if names else ""
        unhealthy = f"; not evaluated: {'; '.join(self.unhealthy)}" if self.unhealthy else ""
        return f"alerts: {self.rules} rules, {fired}{pending}{unhealthy}"

    def faults(self) -> list[str]:
        """Return what is wrong with it, one sentence for each kind."""
        wrong = []
        if not self.rules:
            wrong.append("Prometheus has no alerts loaded")
        if self.unhealthy:
            wrong.append(f"{len(self.unhealthy)} rules were not evaluated: {'; '.join(self.unhealthy)}")
        if self.fired:
            wrong.append(f"{len(self.fired)} alerts fired: {_listed(self.fired)}")
        return wrong


def watch(get: Get, begin: float, end: float) -> Watched:
    """Ask a Prometheus about a period, in seconds since the epoch. Raises DemoError when it refuses."""
    series, rules = get((period_path(begin, end), RULES))
    return watched(series, rules)


def period_path(begin: float, end: float) -> str:
    """Return the path that asks for all alerts that fired or were pending between two seconds since the epoch.

    It looks at each evaluation there was. A query over a range would only look at one in each step.
    """
    query = f"count_over_time(ALERTS[{max(1, math.ceil(end - begin))}s])"
    return f"query?{urllib.parse.urlencode({'query': query, 'time': f'{end:.3f}'})}"


def watched(series: str, rules: str) -> Watched:
    """Put together what Prometheus answered.

    :param series: the answer to C(period_path), JSON, and C(rules) that to C(RULES).
    :raises DemoError: when either is a refusal.
    """
    told = [dict(one["metric"]) for one in _data(series)["result"]]
    fired, pending = (tuple(_alerts(told, state)) for state in ("firing", "pending"))
    loaded = [rule for group in _data(rules)["groups"] for rule in group["rules"]]
    return Watched(
        rules=sum(rule["type"] == "alerting" for rule in loaded),
        fired=fired,
        pending=tuple(alert for alert in pending if alert not in fired),
        unhealthy=tuple(_condition(rule) for rule in loaded if rule["health"] != "ok"),
    )


def _data(body: str) -> dict[str, Any]:
    answer = json.loads(body)
    if answer["status"] != "success":
        raise DemoError(f"Prometheus does not tell of alerts: {answer.get('error') or body}")
    data: dict[str, Any] = answer["data"]
    return data


def _alerts(told: Sequence[Mapping[str, str]], state: str) -> Iterator[Alert]:
    for labels in sorted(told, key=lambda labels: sorted(labels.items())):
        if labels["alertstate"] == state:
            others = {key: value for key, value in labels.items() if key not in ("alertname", "alertstate", "__name__")}
            yield Alert(labels["alertname"], others)


def _condition(rule: Mapping[str, Any]) -> str:
    # A rule that was never evaluated has no error: its health is C(unknown).
    return f"{rule['name']}: {rule.get('lastError') or rule['health']}"


def _listed(alerts: Sequence[Alert]) -> str:
    return "; ".join(str(alert) for alert in alerts)
