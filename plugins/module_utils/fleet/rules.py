# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that tie values of a fleet to each other: what a pool can do, the chain of timeouts, memory of the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.brokers import tls
from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import kind_of
from ansible_collections.muejam.celery.plugins.module_utils.fleet import (
    arguments,
    celery_words,
    cluster_rules,
    environment,
    placeholders,
    policies,
    spec,
)
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import KEYS
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import KUBERNETES, ON_HOSTS


def of_one(fleet: spec.Fleet, own: Mapping[str, Any], path: str) -> list[str]:
    """Faults of one resolved fleet; `own` is what the user wrote for it, without defaults."""
    checked = (*_CHECKS, *_OF_PLATFORM.get(fleet["platform"], ()))
    return [f"{path}.{fault}" for check in checked for fault in check(fleet, own)]


def of_memory(fleets: Sequence[tuple[str, spec.Fleet]], host_memory: int | None, label: str) -> list[str]:
    """Workers times their memory limit against the memory of the host, fleet by fleet and all together."""
    if not host_memory:
        return []
    found = []
    total = 0
    for path, fleet in fleets:
        if fleet["memory_max"] is None or fleet["allow_memory_overcommit"]:
            continue
        workers = policies.most_workers(fleet)
        needed = workers * (checks.memory_bytes(fleet["memory_max"], host_memory) or 0)
        total += needed
        if needed > host_memory:
            number = "workers" if workers == fleet["workers"] else "policy.limits.max_workers"
            found.append(
                f"{path}.memory_max: {workers} workers of {fleet['memory_max']} may take {_mebibytes(needed)}, "
                f"the host has {_mebibytes(host_memory)}: lower {number} or memory_max, or set "
                "allow_memory_overcommit: true"
            )
    if total > host_memory and not found:
        found.append(
            f"{label}: the fleets together may take {_mebibytes(total)}, the host has {_mebibytes(host_memory)}: "
            "lower workers (or max_workers of a policy) or memory_max, or set allow_memory_overcommit: true on a fleet"
        )
    return found


def of_virtualenvs(fleets: Sequence[tuple[str, spec.Fleet]]) -> list[str]:
    """Fleets that share a virtualenv must agree on the Python that it is made with."""
    found = []
    first: dict[str, tuple[str, object]] = {}
    for path, fleet in fleets:
        if not fleet["packages"]:
            continue
        other, python = first.setdefault(fleet["virtualenv"], (path, fleet["python"]))
        if python != fleet["python"]:
            found.append(f"{path}.python: {other} makes the same virtualenv with another Python, give both the same")
    return found


def _mebibytes(amount: int) -> str:
    return f"{amount // 1024**2} MiB"


def _start(fleet: spec.Fleet, own: Mapping[str, Any]) -> Iterator[str]:
    if fleet["app"] and fleet["command"]:
        yield "command: given beside app, keep the one that starts this fleet"
    elif not fleet["app"] and not fleet["command"]:
        yield "app: missing, name the Celery app as `celery -A` takes it, such as proj.celery:app (or give command)"
    if fleet["app"] and not fleet["virtualenv"] and fleet["platform"] in ON_HOSTS:
        yield "virtualenv: missing, give the path of the app's virtualenv, or packages to make one from"
    if fleet["command"]:
        fault = checks.path(fleet["command"][0])
        # An image has a PATH of its own.
        if fault and fleet["platform"] in ON_HOSTS:
            yield f"command[0]: {fault}"
        for key, known in KEYS.items():
            if known.builds_command and own.get(key) is not None:
                yield f"{key}: has no effect beside command, put it into the command"
    if not fleet["broker_url"]:
        yield "broker_url: missing, workers are read and drained through the broker"


def _pool(fleet: spec.Fleet, own: Mapping[str, Any]) -> Iterator[str]:
    pool = str(fleet["pool"])
    for key in sorted(spec.unsuitable_keys(pool)):
        # What is merely inherited was left out when the fleet was resolved.
        if fleet[key] not in (None, {}, []):
            yield f"{key}: the {pool} pool does not have it, remove it or use pool prefork"
    if own.get("concurrency") is not None and own.get("autoscale"):
        yield "concurrency: given beside autoscale, which sets it: keep one of the two"
    if fleet["watchdog"] and not fleet["notify"]:
        yield "watchdog: needs notify: true, as only the lifecycle module feeds it; remove it"
    if fleet["watchdog"] < 0:
        yield "watchdog: must be 0 (off) or more seconds"
    elif 0 < fleet["watchdog"] < 10:
        yield f"watchdog: {fleet['watchdog']} s is shorter than a busy worker's loop may take, use 10 or more, or 0"


def _timeouts(fleet: spec.Fleet, own: Mapping[str, Any], whole: bool = False) -> Iterator[str]:
    """The chain of timeouts.

    :param whole: whether an app's own values are among these; else it may have another multiplier and timeout.
    """
    soft, hard, drain = fleet["soft_time_limit"], fleet["time_limit"], fleet["drain_timeout"]
    longest = hard or soft
    whole = whole or not fleet["app"]
    for key in ("soft_time_limit", "time_limit", "drain_timeout", "start_timeout", "visibility_timeout"):
        if fleet[key] is not None and fleet[key] <= 0:
            yield f"{key}: must be more than 0 seconds"
    if soft and hard and soft >= hard:
        yield f"soft_time_limit: {soft} s is not under time_limit, {hard} s: lower it, or raise time_limit"
    if longest and drain < longest:
        yield (
            f"drain_timeout: {drain} s is under the time limit of {longest} s, so a stop could kill a task: "
            f"use {longest if fleet['notify'] else _fetched_ahead(fleet, longest) or longest} or more"
        )
    elif longest and not fleet["notify"] and (whole or fleet["prefetch_multiplier"] is not None):
        yield from _drain_of_fetched(fleet, longest)
    kind = kind_of(fleet["broker_url"])
    if not kind or not kind.visibility_timeout:
        if fleet["visibility_timeout"] is not None and own.get("visibility_timeout") is not None:
            yield "visibility_timeout: this broker has none, remove it"
    elif longest:
        yield from _visibility(fleet, kind.name, kind.visibility_timeout, longest, whole)


def _visibility(fleet: spec.Fleet, broker: str, usual: float, longest: float, whole: bool) -> Iterator[str]:
    """Whether the broker would deliver a task again that is still here.

    :param broker: its name for people.
    :param usual: seconds after which it does where the fleet says nothing.
    """
    own = environment.transport_options(fleet).get("visibility_timeout")
    is_given = own is not None
    visible = checks.number(own) if is_given else usual
    knows_both = whole or (is_given and fleet["prefetch_multiplier"] is not None)
    needed = _fetched_ahead(fleet, longest)
    if visible is None:
        return
    if needed is None:
        yield (
            f"prefetch_multiplier: 0 lets a worker fetch all that waits, and on {broker} no visibility_timeout is long "
            "enough for the last of it: use 1 or more"
        )
    elif (knows_both and visible <= needed) or (is_given and visible <= longest):
        fits = max((many for many in range(100) if (1 + many) * longest < visible), default=0)
        fewer = f", or prefetch_multiplier {fits}" if fits else ""
        yield (
            f"visibility_timeout: {visible} s is not above {needed} s. A process may need that long for its task and "
            f"those fetched ahead for it ({_ahead(fleet, longest)}), and {broker} would deliver a task again that is "
            f"still here: use more than {needed}{fewer}"
        )


def _drain_of_fetched(fleet: spec.Fleet, longest: float) -> Iterator[str]:
    """Without the lifecycle module nobody gives back what was fetched: a drain runs it all."""
    needed = _fetched_ahead(fleet, longest)
    if needed is None:
        yield (
            "prefetch_multiplier: 0 lets a worker fetch all that waits, and without notify: true a stop waits for all "
            "of it: use 1 or more"
        )
    elif fleet["drain_timeout"] < needed:
        yield (
            f"drain_timeout: {fleet['drain_timeout']} s is under {needed} s. A process may need that long for its "
            f"task and those fetched ahead for it ({_ahead(fleet, longest)}). Without notify: true none of them goes "
            f"back to the broker, so a stop could kill a task: use {needed} or more, or notify: true"
        )


def _fetched_ahead(fleet: spec.Fleet, longest: float) -> float | None:
    """Seconds in which a process is through with its task and those fetched ahead for it; `None` when no number is."""
    many, kind = fleet["prefetch_multiplier"], kind_of(fleet["broker_url"])
    if many is None:
        many = spec.PREFETCH_MULTIPLIER
    if fleet["celery_settings"].get("worker_disable_prefetch") and kind and kind.prefetch_can_be_off:
        return longest
    return (1 + many) * longest if many else None


def _ahead(fleet: spec.Fleet, longest: float) -> str:
    many = fleet["prefetch_multiplier"]
    if many is None:
        return f"1 + {spec.PREFETCH_MULTIPLIER}, Celery's prefetch_multiplier, times {longest} s"
    return f"1 + prefetch_multiplier {many}, times {longest} s"


def of_app(fleet: spec.Fleet, answer: Mapping[str, Any]) -> list[str]:
    """Faults that show only when the app's own settings fill in what the fleet leaves open.

    :param answer: what the probe of the app found: `app_time_limit`, `app_soft_time_limit` and
        `app_visibility_timeout`, each a number of seconds or `None`, and `app_prefetch_multiplier`. Empty where
        nobody asks the app; Celery's own values count then.
    """
    if answer and "app_time_limit" not in answer:
        # It could not be loaded, which is told: what it leaves open is not known.
        return []
    unsuitable = spec.unsuitable_keys(fleet["pool"])
    merged = dict(fleet)
    for key in ("time_limit", "soft_time_limit"):
        if fleet[key] is None and key not in unsuitable:
            merged[key] = checks.number(answer.get(f"app_{key}"))
    if fleet["prefetch_multiplier"] is None:
        merged["prefetch_multiplier"] = checks.number(answer.get("app_prefetch_multiplier"))
    options = fleet["broker_transport_options"]
    if fleet["visibility_timeout"] is None and options.get("visibility_timeout") is None:
        merged["broker_transport_options"] = {
            **options,
            "visibility_timeout": answer.get("app_visibility_timeout"),
        }
    origin = "the app's" if answer else "Celery's, as nobody asked the app for its own"
    known = set(_timeouts(fleet, {}))
    return [
        f"{fault} (limits that the fleet does not set are {origin})"
        for fault in _timeouts(merged, {}, whole=True)
        if fault not in known
    ]


def _lists(fleet: spec.Fleet, own: Mapping[str, Any]) -> Iterator[str]:
    for key, meaning in (("queues", "the app's own"), ("command", "the app")):
        if own.get(key) == []:
            yield f"{key}: is empty, and nothing could be meant by it: leave the key out, or set null, for {meaning}"
    seen = set()
    for index, queue in enumerate(fleet["queues"]):
        if queue in seen:
            yield f"queues[{index}]: {queue!r} is there twice, remove one"
        seen.add(queue)
    if celery_words.celery_in(fleet["command"]):
        return
    tells_apart = placeholders.uses_number if fleet["platform"] in ON_HOSTS else placeholders.uses_host
    if fleet["name"] and fleet["command"] and not any(map(tells_apart, fleet["command"])):
        wanted = placeholders.node(fleet["name"], fleet["platform"], "%h")
        if not any(placeholders.uses_number(str(value)) for value in fleet["environment"].values()):
            yield (
                f"command: nothing in it tells the workers apart: add --hostname={wanted}, or what the command has for "
                "that"
            )


def _policy(fleet: spec.Fleet, own: Mapping[str, Any]) -> Iterator[str]:
    if fleet["policy"] is not None and not fleet["queues"]:
        # Read from the wrong queue, a backlog would look like idleness.
        yield "queues: missing, a policy has to know which to read: name those the app uses, Celery's own is [celery]"


def _tls(fleet: spec.Fleet, own: Mapping[str, Any]) -> Iterator[str]:
    kind = kind_of(fleet["broker_url"])
    if kind:
        yield from (f"broker_use_ssl{fault}" for fault in tls.faults_with(fleet["broker_use_ssl"], kind))


_OF_PLATFORM = {KUBERNETES: (cluster_rules.faults,)}
_CHECKS = (_tls, _start, _pool, _timeouts, _lists, _policy, arguments.faults)
