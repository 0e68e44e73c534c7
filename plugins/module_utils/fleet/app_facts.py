# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the probe found out about an app: what is kept of it on the host, where it contradicts the fleet, what to say.

What a fleet leaves open is the app's: whoever reads the broker for it uses `reading`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import kind_of
from ansible_collections.muejam.celery.plugins.module_utils.checks import number
from ansible_collections.muejam.celery.plugins.module_utils.fleet import environment

_KEPT = (
    "app", "transport_options", "queues", "remote_control", "sets_priorities", "control_exchange", "event_exchange"
)  # fmt: skip


def known(text: str | None, path: str = "/etc/celery-worker/apps.json") -> dict[str, Any]:
    """What the host's file says of the app of each fleet, by the fleet's name; nothing when there is no file.

    :param text: what is in the file, none when there is no file.
    :raises ValueError: when the file is broken.
    """
    if text is None:
        return {}
    try:
        found: dict[str, Any] = json.loads(text)
        if not isinstance(found, dict) or not all(isinstance(facts, dict) for facts in found.values()):
            raise ValueError("it does not describe apps by the names of fleets")
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read: {error}. It was cut off or edited: remove it, and deploy again, which writes it "
            "anew"
        ) from None
    return found


def updated(known: Mapping[str, Any], results: Iterable[Mapping[str, Any]], loop_var: str) -> dict[str, Any]:
    """What is known of the app of each fleet, by the fleet's name, after the probe's answers.

    :param known: what was known before.
    :param results: of the task that ran the probe; what it skipped stays as it was known.
    :param loop_var: the key of a result that has the fleet's name.
    """
    found = dict(known)
    for result in results:
        answer = json.loads(result.get("stdout") or "{}")
        if "transport_options" in answer:
            found[result[loop_var]] = {key: answer[key] for key in _KEPT}
    return found


def reading(fleet: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """How to read the broker for a resolved fleet: `transport_options`, `ssl`, `queues`, and what else a reader asks.

    :param facts: what is known of the fleet's app, if anything.
    """
    # What is known of another app says nothing, nor does it of a command.
    known = facts if facts and facts.get("app") == fleet["app"] else {}
    kind = kind_of(fleet["broker_url"])
    return {
        "transport_options": {**known.get("transport_options", {}), **environment.transport_options(fleet)},
        "ssl": environment.broker_ssl(fleet),
        # Empty where nobody knows.
        "queues": list(fleet["queues"] or known.get("queues", [])),
        "lists_queues": kind is not None and kind.lists_queues,
        "remote_control": known.get("remote_control", True),
        "control_exchange": known.get("control_exchange", "celery"),
        "event_exchange": known.get("event_exchange", "celeryev"),
    }


def problems(fleet: Mapping[str, Any], answer: Mapping[str, Any]) -> list[str]:
    """Where the fleet and its app contradict each other in a way that no worker can mend."""
    if "transport_options" not in answer:
        return []
    found = []
    own = answer["transport_options"]
    for key, name, value in _differences(fleet, own):
        if name in own and name in _list_options(fleet):
            found.append(
                f"{key}: the fleet says {value!r} and the app itself {own[name]!r}, so what the app sends elsewhere "
                "would not reach these workers: leave it out of the fleet, or change it in the app"
            )
        elif not fleet["notify"]:
            found.append(
                f"{key}: the fleet says {value!r}, the app "
                + (f"itself {own[name]!r}" if name in own else "says nothing")
                + ", and with notify: false nothing passes the fleet's value on: set it in the app, or notify: true"
            )
    if not fleet["notify"] and not answer["remote_control"]:
        found.append(
            "notify: false needs remote control, by which such workers are asked and drained, and the app has "
            "worker_enable_remote_control off: switch it on in the app, or set notify: true"
        )
    return found


def notices(fleet: Mapping[str, Any], answer: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> list[str]:
    """What whoever deploys should know of the app, and what hinders no worker.

    :param known: what was known before this answer; the order of priorities is told once.
    """
    if "transport_options" not in answer:
        return []
    found, kind = [], kind_of(fleet["broker_url"])
    own = answer["transport_options"]
    lists = _list_options(fleet)
    if (
        kind
        and kind.low_first
        and fleet["notify"]
        and fleet["priority_order"] is None
        and answer["sets_priorities"]
        and not (own.get("priority_steps") or own.get("queue_order_strategy"))
        and not (known or {}).get("sets_priorities")
    ):
        found.append(
            "priority_order: the app sets priorities and the fleet does not say which runs first. Workers of this "
            "collection run 9 first, as on RabbitMQ; kombu's own order on Redis is 0 first. Set priority_order: "
            "low_first for an app that was written for that, else high_first. This is said once"
        )
    found += [
        f"{key}: the fleet says {value!r}, and the app itself nothing, so kombu takes {lists[name]!r}. Programs that "
        "send tasks with the app's own settings put them into lists that these workers do not read and that no queue "
        "depth counts. Set it in the app, or in the programs that send"
        for key, name, value in _differences(fleet, own)
        if fleet["notify"] and name in lists and name not in own
    ]
    if answer["other_broker"]:
        found.append(
            f"broker_url: the workers use the fleet's, and the app itself names another, {answer['other_broker']}. "
            "Programs that send tasks with the app's own settings send them there. Give both the same, unless that is "
            "what you want"
        )
    if not answer["remote_control"] and fleet["notify"]:
        found.append(
            "the app has worker_enable_remote_control off: worker_info and the playbook status cannot ask its workers"
        )
    return found


def _differences(fleet: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield what a fleet says of the transport and its app does not: where it is said, the option, the value."""
    wanted, kind = environment.transport_options(fleet), kind_of(fleet["broker_url"])
    if not kind:
        return
    for name in kind.worker_options:
        value = wanted.get(name)
        if value is not None and _plain(value) != _plain(own.get(name, kind.list_options.get(name))):
            yield name if fleet.get(name) is not None else f"broker_transport_options.{name}", name, value


def _list_options(fleet: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = kind_of(fleet["broker_url"])
    return kind.list_options if kind else {}


def _plain(value: object) -> object:
    """A value as it is to be compared: steps in any order, numbers also as texts."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return sorted(str(one) for one in value)
    found = number(value)
    return value if found is None else float(found)
