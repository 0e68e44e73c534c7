# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch the demo's fleet in a cluster, as watch.py does on a host: `cluster_watch.py keda`, `cluster_watch.py policy`.

Says what KEDA's autoscaler or the one of this collection decides. Where cluster, broker and ledger are tell
DEMO_KUBECONFIG, DEMO_KUBECTL, DEMO_NAMESPACE, CELERY_BROKER_URL and DEMO_LEDGER.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from celery_demo import ledger
from watch import FLEET, Decided, Decisions, watch

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import KUBERNETES
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Place
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api, HttpApi
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.connection import connect
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import object_name
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.scalers import HPA
from ansible_collections.muejam.celery.plugins.module_utils.platforms.registry import open_platform

_SAID = {"AbleToScale": ("ScaleDownStabilized",), "ScalingLimited": ("ScaleUpLimit", "ScaleDownLimit")}
"""Conditions of an HPA that say why the number is not what the metric asks for, with their reasons."""


class LedgerOfPods:
    """Counts what the pods have noted."""

    def __init__(self, url: str) -> None:
        self._redis = ledger.of_redis(url)

    def count(self) -> int:
        """Return how many tasks are done."""
        return int(self._redis.llen(ledger.LIST))


class DecisionsOfPods(Decisions):
    """What the autoscaler in the cluster decides, from the logs of its pods, of which the one that leads says it."""

    def told(self) -> tuple[dict[str, Any] | None, str]:
        """Return the last decision, or None and why there is none."""
        return self.last, "" if self.last else "the autoscaler has not decided anything yet"


class DecisionsOfKeda:
    """What the HPA says that KEDA has made: it is what decides, and KEDA reads the queue for it."""

    def __init__(self, api: Api, clock: Callable[[], float] = time.time) -> None:
        self.changes: list[dict[str, Any]] = []
        self._api = api
        self._clock = clock
        self._path = HPA.path(api.namespace, f"keda-hpa-{object_name(FLEET)}-scaler")
        self._wanted: int | None = None

    def told(self) -> tuple[dict[str, Any] | None, str]:
        """Return what it wants now, or None and why that is not known."""
        try:
            hpa = self._api.get(self._path)
        except OperationError as error:
            return None, str(error)
        said = decision(hpa, self._clock())
        if said is None:
            return None, "the HPA of KEDA has not read the queue yet"
        if self._wanted is not None and said["to"] != self._wanted:
            self.changes.append({**said, "from": self._wanted, "action": _action(self._wanted, said["to"])})
        self._wanted = said["to"]
        return said, ""


def decision(hpa: Mapping[str, Any], at: float) -> dict[str, Any] | None:
    """Return what an HPA has decided, in the words of our own decisions; None while it cannot read its metric."""
    status = hpa.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    metrics = status.get("currentMetrics") or ()
    if (conditions.get("ScalingActive") or {}).get("status") != "True" or not metrics:
        return None
    before, after = status.get("currentReplicas") or 0, status["desiredReplicas"]
    targets = [_average(metric, "target") for metric in hpa["spec"]["metrics"]]
    reasons = [
        f"{_average(metric, 'current'):.1f} messages for each worker, wanted are {target:.0f}"
        for metric, target in zip(metrics, targets)
    ]
    reasons += [
        one["message"]
        for kind, one in conditions.items()
        if one["status"] == "True" and one.get("reason") in _SAID.get(kind, ())
    ]
    return {"at": at, "action": _action(before, after), "from": before, "to": after, "reasons": reasons}


def _action(before: int, after: int) -> str:
    return "hold" if before == after else "up" if after > before else "down"


def _average(metric: Mapping[str, Any], part: str) -> float:
    """Return a number of messages for each worker, which the API writes in thousandths where it is not a whole one."""
    text = str(metric["external"][part]["averageValue"])
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def decisions_of(autoscaling: str, place: Place) -> Decided:
    """Return what tells what is decided."""
    if autoscaling == "keda":
        return DecisionsOfKeda(HttpApi(connect(place)))
    decisions = DecisionsOfPods()
    kubectl = (os.environ["DEMO_KUBECTL"], "--kubeconfig", str(place.kubeconfig), "--namespace", str(place.namespace))
    selected = "--selector=app.kubernetes.io/name=celery-autoscaler"
    decisions.follow(*kubectl, "logs", "--follow", "--since=1s", selected)
    return decisions


def main() -> None:
    """Watch until stopped."""
    # Pods that end do not answer, and to wait for that would leave gaps of seconds in what is recorded.
    place = Place(os.environ["DEMO_KUBECONFIG"], namespace=os.environ["DEMO_NAMESPACE"], ask_workers=False)
    watch(LedgerOfPods(os.environ["DEMO_LEDGER"]), open_platform(KUBERNETES, place), decisions_of(sys.argv[1], place))


if __name__ == "__main__":
    main()
