# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Prometheus answered: which alerts fire, and the memory of each worker."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose.evidence import Samples, Unknown

Answer = Mapping[str, Any]
"""The result of M(ansible.builtin.uri)."""


def firing(answer: Answer, others: Collection[str] = ()) -> frozenset[str] | Unknown:
    """Return the names of the alerts that fire, of an answer to C(ALERTS).

    :param others: hosts that have fleets of the same name. What fires for one of them says nothing of this one.
    """
    found = _series(answer)
    if isinstance(found, Unknown):
        return found
    alerts = [each["metric"] for each in found]
    return frozenset(each["alertname"] for each in alerts if each.get("instance", "").partition(":")[0] not in others)


def memory(sizes: Answer, finished: Answer) -> dict[str, Samples] | Unknown:
    """Return the samples of each worker since its process started last.

    :param sizes: what answers for C(celery_worker_memory_bytes), and C(finished) for
        C(celery_worker_tasks_processed_total), which falls when a process starts anew.
    """
    found, counts = _series(sizes), _series(finished)
    if isinstance(found, Unknown):
        return found
    began = {} if isinstance(counts, Unknown) else {_worker(each): _last_fall(_points(each)) for each in counts}
    return {
        _worker(each): [point for point in _points(each) if point[0] >= began.get(_worker(each), 0.0)] for each in found
    }


def _series(answer: Answer) -> list[dict[str, Any]] | Unknown:
    said = answer.get("json")
    if not isinstance(said, Mapping) or said.get("status") != "success":
        why = said.get("error") if isinstance(said, Mapping) else ""
        return Unknown(f"Prometheus: {why or answer.get('msg') or 'no answer'}")
    found: list[dict[str, Any]] = said["data"]["result"]
    return found


def _worker(series: Mapping[str, Any]) -> str:
    return str(series["metric"].get("worker", ""))


def _points(series: Mapping[str, Any]) -> list[tuple[float, float]]:
    return [(float(at), float(value)) for at, value in series["values"]]


def _last_fall(points: Samples) -> float:
    falls: Iterator[float] = (at for (_at, before), (at, now) in zip(points, points[1:]) if now < before)
    return max(falls, default=0.0)
