# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which queue an unacknowledged message came from, as far as kombu's records on Redis tell.

kombu keeps a delivered message in a hash as JSON C([message, exchange, routing key])
(kombu.transport.redis.QoS.append) without the queue, which has to be found through
the binding tables, as kombu itself does when it gives a message back.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

Route = tuple[str, str]
"""Exchange and routing key of a message."""

Binding = tuple[str, str, str]
"""Routing key, pattern (empty but for topic exchanges) and queue, as kombu stores them."""

TopicLookup = Callable[[list[Binding], str, str], Iterable[str]]
"""Returns the queues of a topic exchange's bindings (with its name) that match a routing key."""

_PLAIN_END = re.compile(rb', ?"([^"\\]*)", ?"([^"\\]*)"\]$')


def route_of(value: bytes) -> Route | None:
    """Return the route of an entry of the hash, or None when kombu could not have written it.

    The end is looked at first: the message in front of it may be large, and a quote
    in a string is never preceded by a comma or a space, but by a backslash.
    """
    plain = _PLAIN_END.search(value, max(0, len(value) - 256)) if value[:1] == b"[" else None
    try:
        if plain:
            return plain.group(1).decode(), plain.group(2).decode()
        _message, exchange, routing_key = json.loads(value)
    except (ValueError, TypeError):
        return None
    if not isinstance(exchange, (str, type(None))) or not isinstance(routing_key, (str, type(None))):
        return None
    return exchange or "", routing_key or ""


def counted_routes(lines: bytes) -> list[tuple[Route | None, int]]:
    """Return the routes of lines such as C(3, "exchange", "key"]), and how many messages each stands for."""
    each = [b"[" + line for line in lines.split(b"\n") if line]
    try:
        # All at once, as there may be hundreds.
        rows = json.loads(b"[%b]" % b",".join(each))
        return [((exchange, routing_key), count) for count, exchange, routing_key in rows]
    except (ValueError, TypeError):
        return [(route_of(line), int(line[1:].partition(b",")[0])) for line in each]


def parse_binding(member: str, sep: str) -> Binding | None:
    """Return a member of a binding table taken apart, or None when it is none."""
    parts = member.split(sep)
    return (parts[0], sep.join(parts[1:-1]), parts[-1]) if len(parts) >= 3 else None


@dataclasses.dataclass(frozen=True)
class Attribution:
    """Unacknowledged messages by queue.

    C(counts): those that can only have come from that queue. C(shared): queues with
    messages on a route that leads to several, of which any may have delivered them.
    C(unbound): routes that lead nowhere (any more), with their messages. C(unknown):
    queues whose number cannot be known for either reason.
    """

    counts: Mapping[str, int]
    shared: frozenset[str]
    unbound: Mapping[Route, int]
    unknown: frozenset[str]

    def of(self, queue: str) -> int | None:
        """Return the count of a queue, None when it cannot be known."""
        if queue in self.unknown:
            return None
        return self.counts.get(queue, 0)


def attribute(
    routes: Mapping[Route, int],
    tables: Mapping[str, Iterable[Binding]],
    match_topics: TopicLookup,
) -> Attribution:
    """Give each route's messages to the queue that it leads to.

    :param tables: bindings by exchange, for every exchange in C(routes).
    """
    direct: dict[str, dict[str, set[str]]] = {}
    topic: dict[str, list[Binding]] = {}
    for exchange, bindings in tables.items():
        by_key: dict[str, set[str]] = direct.setdefault(exchange, {})
        for routing_key, pattern, queue in bindings:
            if pattern:
                topic.setdefault(exchange, []).append((routing_key, pattern, queue))
            else:
                by_key.setdefault(routing_key, set()).add(queue)
    counts: Counter[str] = Counter()
    shared: set[str] = set()
    unbound: dict[Route, int] = {}
    for (exchange, routing_key), count in routes.items():
        if not exchange:
            counts[routing_key] += count
            continue
        queues = set(direct.get(exchange, {}).get(routing_key, ()))
        if exchange in topic:
            queues.update(match_topics(topic[exchange], exchange, routing_key))
        if len(queues) == 1:
            counts[queues.pop()] += count
        elif queues:
            shared |= queues
        else:
            unbound[exchange, routing_key] = count
    # Celery names exchange and routing key after the queue, so the messages of a route that leads nowhere may well be
    # those of the queue that has such a name.
    unknown = shared.union(*unbound)
    return Attribution(counts, frozenset(shared), unbound, frozenset(unknown))
