# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the queues that kombu keeps on Redis.

A queue is a list per priority step; delivered messages lie in one hash for all
queues of the database; binding tables are sets. Names, separators and prefixes are
taken from kombu's own channel.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import (
    BOOKKEEPING_EXCHANGES,
    QueueReading,
    Warn,
    is_bookkeeping,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.arrivals import count_arrivals
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.link import (
    RedisLink,
    Reply,
    ServerRefused,
    link_of,
    literal,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.routes import (
    Attribution,
    Binding,
    Route,
    attribute,
    counted_routes,
    parse_binding,
    route_of,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.scripts import LISTS, UNACKED, turns
from ansible_collections.muejam.celery.plugins.module_utils.brokers.time_limit import TimeLimit, TookTooLong
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import Marks

T = TypeVar("T")

# The server serves nobody else while it runs a command, and may run two before it turns to another client. Each of
# these takes one to two milliseconds.
CALLS_OF_A_SCRIPT = 2000
UNACKED_OF_A_STEP = 200
BYTES_OF_A_STEP = 1 << 20
KEYS_OF_A_SCAN = 1000

# Tables are mostly of one line.
TABLES_AT_ONCE = 500

# Up to here the unacknowledged messages are counted in one command, hence at one instant.
UNACKED_AT_ONCE = 500

# What queues exist is worth less than what waits in them, so the search may not use up the time for the reading.
SHARE_OF_SEARCH = 0.5

_BROADCAST_START = "bcast."


class RedisQueues:
    """Reads queues through a kombu channel of the Redis transport."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._pool = channel.client.connection_pool
        self._prefix: str = channel.global_keyprefix or ""
        self._sep: str = channel.sep
        steps = sorted(channel.priority_steps)
        self._step_names: list[str] = [str(step) for step in steps]
        self._suffixes: list[str] = [channel._q_for_pri("", step) for step in steps]
        self._binding_prefix: str = self._prefix + channel.keyprefix_queue % ""
        self._unacked_key: str = self._prefix + channel.unacked_key
        self._topic = channel.exchange_types["topic"]
        self._scripts = True
        self._uncounted = ""

    def read(
        self, names: Sequence[str] | None, limit: TimeLimit, warn: Warn, marks: Marks | None
    ) -> list[QueueReading]:
        """Read queues, or all there are when C(names) is None."""
        with link_of(self._pool) as link:
            known: set[str] = set()
            if names is None:
                known = self._find_all(link, limit, warn)
                names = sorted(known)
            readings = self._read(link, names, known, limit, warn)
            return readings if marks is None else self._with_arrivals(link, readings, marks, limit)

    def _read(
        self, link: RedisLink, names: Sequence[str], known: set[str], limit: TimeLimit, warn: Warn
    ) -> list[QueueReading]:
        # The lists come before the hash: a message taken in between is then counted twice for a moment. The other
        # way round it would be missed, and a busy fleet could look idle.
        lengths, bound, first_step = self._lists(link, names)
        waiting = dict(zip(names, map(_total, lengths)))
        known.update(name for name, there in zip(names, bound) if there == 1 or waiting[name])
        self._explain_gaps(link, waiting, warn)
        attribution = self._attribution(link, first_step, limit, warn)
        exists: Mapping[str, bool | None] = self._existence(link, names, known, limit, warn)
        readings = []
        for name, of_steps in zip(names, lengths):
            by_priority = None if waiting[name] is None else dict(zip(self._step_names, of_steps))
            unacknowledged = None if attribution is None else attribution.of(name)
            readings.append(QueueReading(name, exists[name], waiting[name], by_priority, unacknowledged))
        return readings

    # What arrived.

    def _with_arrivals(
        self, link: RedisLink, readings: Sequence[QueueReading], marks: Marks, limit: TimeLimit
    ) -> list[QueueReading]:
        suffixes = dict(zip(self._step_names, self._suffixes))
        keys = {
            reading.name: {
                step: self._prefix + reading.name + suffixes[step]
                for step, waiting in (reading.waiting_by_priority or {}).items()
                if waiting
            }
            for reading in readings
        }
        marked = {key: marks.get(name, {}).get(step, "") for name in keys for step, key in keys[name].items()}
        try:
            counted = {} if self._uncounted else count_arrivals(link, marked, limit)
        except ServerRefused as error:
            # Not asked again: each refusal would be an entry in the server's log of them.
            self._uncounted = f"Redis does not let this user run scripts ({error})"
        if self._uncounted:
            return [reading._replace(uncounted=self._uncounted) for reading in readings]
        return [
            reading._replace(
                lists={step: counted[key] for step, key in keys[reading.name].items() if counted[key].waiting}
            )
            if reading.waiting_by_priority is not None
            else reading
            for reading in readings
        ]

    # The lists.

    def _lists(self, link: RedisLink, names: Sequence[str]) -> tuple[list[tuple[Reply, ...]], Sequence[Reply], Reply]:
        """Return for each name the lengths of its lists, then whether it is bound; and the first step through the hash.

        What the server does not let be read is a ServerRefused.
        """
        width = len(self._suffixes)
        if self._scripts:
            at_once = max(1, CALLS_OF_A_SCRIPT // (width + 1))
            table = (self._prefix, self._sep, self._binding_prefix, json.dumps(self._suffixes))
            lists = turns(LISTS, *table, rows=names, at_once=at_once)
            *replies, step = link.ask([*lists, self._unacked_step(b"0", scripts=True)])
            self._scripts = not any(isinstance(reply, ServerRefused) for reply in replies)
            if self._scripts:
                numbers = list(chain.from_iterable(replies))
                return _rows(numbers, width, width + 1), numbers[width :: width + 1], step
        lengths = link.ask_each("LLEN", [self._prefix + name + suffix for name in names for suffix in self._suffixes])
        *bound, step = link.ask([*map(self._own_member, names), self._unacked_step(b"0", scripts=False)])
        return _rows(lengths, width, width), bound, step

    def _explain_gaps(self, link: RedisLink, waiting: Mapping[str, int | None], warn: Warn) -> None:
        """Say why lists could not be read; raise when that is all of them, for then nothing was learned."""
        gaps = [name for name, count in waiting.items() if count is None]
        keys = [self._prefix + name + suffix for name in gaps[:1] for suffix in self._suffixes]
        reason = next((reply for reply in link.ask_each("LLEN", keys) if isinstance(reply, ServerRefused)), None)
        if reason is None:
            return
        if len(gaps) == len(waiting) and not str(reason).startswith("WRONGTYPE"):
            raise reason
        warn(f"{_listing(gaps)}: the messages waiting are unknown, because the server says: {reason}")

    # The unacknowledged messages.

    def _unacked_step(self, cursor: bytes, scripts: bool) -> tuple[str | bytes | int, ...]:
        if not scripts:
            return "HSCAN", self._unacked_key, cursor, "COUNT", UNACKED_OF_A_STEP
        bounds = (UNACKED_OF_A_STEP, UNACKED_AT_ONCE, BYTES_OF_A_STEP)
        return "EVAL", UNACKED, 0, self._unacked_key, cursor, *bounds, self._binding_prefix, self._sep

    def _attribution(self, link: RedisLink, first_step: Reply, limit: TimeLimit, warn: Warn) -> Attribution | None:
        """Return whose the unacknowledged messages are, None (and a warning) when that cannot be known."""
        if not self._channel.ack_emulation:
            warn("Unacknowledged messages are unknown, because transport_options switch ack_emulation off.")
            return None
        try:
            routes, unreadable = self._routes(link, first_step, limit)
            if unreadable:
                warn(
                    f"Unacknowledged messages are unknown, because {unreadable} of the entries of the hash "
                    f"{self._unacked_key} are not what kombu writes."
                )
                return None
            tables = self._bindings(link, sorted({exchange for exchange, _key in routes if exchange}), limit)
        except ServerRefused as error:
            warn(f"Unacknowledged messages are unknown, because the server says: {error}")
            return None
        found = attribute(routes, tables, lambda table, name, key: self._topic.lookup(table, name, key, None))
        if found.shared:
            warn(
                f"{_listing(sorted(found.shared))}: the unacknowledged messages are unknown, because exchange and "
                "routing key lead to several queues, and Redis does not record which of them a message was taken from."
            )
        if found.unbound:
            routes_text = _listing([f"{exchange}/{key}" for exchange, key in found.unbound])
            warn(
                f"{sum(found.unbound.values())} unacknowledged messages have an exchange and routing key that lead to "
                f"no queue ({routes_text}); they are counted nowhere."
            )
        return found

    def _routes(self, link: RedisLink, step: Reply, limit: TimeLimit) -> tuple[Mapping[Route, int], int]:
        """Return how many messages are on each route, and how many cannot be understood.

        With scripts, up to UNACKED_AT_ONCE messages this is one instant. Of more it is a walk: one
        that comes or goes meanwhile may or may not be counted, one that stays is.
        """
        routes: Counter[Route | None] = Counter()
        scripts = self._scripts and not isinstance(step, ServerRefused)
        if isinstance(step, ServerRefused):
            # Without a script, the server says in plain words what it does not allow.
            step = link.call(*self._unacked_step(b"0", scripts))
        while True:
            if scripts:
                cursor, lines, odd = step
                for route, count in counted_routes(lines):
                    routes[route] += count
                values = link.call("HMGET", self._unacked_key, *odd) if odd else []
            else:
                cursor, entries = step
                values = entries[1::2]
            routes.update(route_of(value) for value in values if value is not None)
            if cursor == b"0":
                unreadable = routes.pop(None, 0)
                return {route: count for route, count in routes.items() if route}, unreadable
            limit.left()
            step = link.call(*self._unacked_step(cursor, scripts))

    def _own_member(self, name: str) -> tuple[str, str, str]:
        """Return the question whether a queue has the binding that Celery makes by default."""
        return "SISMEMBER", self._binding_prefix + name, f"{name}{self._sep * 2}{name}"

    # The binding tables.

    def _bindings(self, link: RedisLink, exchanges: Sequence[str], limit: TimeLimit) -> dict[str, list[Binding]]:
        """Return the bindings of exchanges."""
        tables: dict[str, list[Binding]] = {name: [] for name in exchanges}
        cursors = dict.fromkeys(exchanges, b"0")
        while cursors:
            limit.left()
            asked = list(islice(cursors.items(), TABLES_AT_ONCE))
            replies = link.answers(
                ("SSCAN", self._binding_prefix + name, cursor, "COUNT", KEYS_OF_A_SCAN) for name, cursor in asked
            )
            for (name, _cursor), (cursor, members) in zip(asked, replies):
                found = (parse_binding(_text(member), self._sep) for member in members)
                tables[name].extend(filter(None, found))
                cursors[name] = cursor
                if cursor == b"0":
                    del cursors[name]
        return tables

    def _all_bindings(self, link: RedisLink, limit: TimeLimit) -> dict[str, list[Binding]]:
        start = len(self._binding_prefix)
        keys = {_text(key) for key in self._scan(link, limit, "MATCH", literal(self._binding_prefix) + "*")}
        return self._bindings(link, sorted(key[start:] for key in keys), limit)

    # What exists.

    def _existence(
        self, link: RedisLink, names: Sequence[str], known: set[str], limit: TimeLimit, warn: Warn
    ) -> dict[str, bool | None]:
        """Tell of each queue whether it exists; looks through the database only for those not in C(known)."""
        missing = [name for name in names if name not in known]
        exists: dict[str, bool | None] = dict.fromkeys(names, True)
        if not missing:
            return exists
        try:
            tables = self._all_bindings(link, TimeLimit(limit.left() * SHARE_OF_SEARCH))
        except (ServerRefused, TookTooLong) as error:
            limit.left()
            exists.update(dict.fromkeys(missing, None))
            warn(f"{_listing(missing)}: whether they exist is unknown, because of the search for bindings: {error}")
            return exists
        bound = {queue for bindings in tables.values() for _key, _pattern, queue in bindings}
        exists.update((name, name in bound) for name in missing)
        return exists

    def _find_all(self, link: RedisLink, limit: TimeLimit, warn: Warn) -> set[str]:
        """Return all queues of tasks: those that are bound, and lists of kombu's messages that no binding names."""
        tables = self._all_bindings(link, limit)
        bound = {queue for bindings in tables.values() for _key, _pattern, queue in bindings}
        found = {
            queue
            for exchange, bindings in tables.items()
            if not exchange.endswith(BOOKKEEPING_EXCHANGES)
            for _key, _pattern, queue in bindings
            # A broadcast goes to the subscribers of a channel and never waits in a list.
            if not is_bookkeeping(queue) and not queue.startswith(_BROADCAST_START)
        }
        try:
            keys = list(self._scan(link, limit, "MATCH", literal(self._prefix) + "*", "TYPE", "list"))
        except ServerRefused as error:
            warn(f"Lists without a binding were not looked for, because the server says: {error}")
            return found
        unbound: dict[str, str] = {}
        for key in map(_text, keys):
            queue = self._queue_of(key)
            if queue not in bound and not is_bookkeeping(queue):
                unbound[queue] = key
        for queues in _chunks(sorted(unbound), 50):
            limit.left()
            heads = link.ask(("LINDEX", unbound[queue], 0) for queue in queues)
            found.update(queue for queue, head in zip(queues, heads) if _is_message(head))
        return found

    def _queue_of(self, key: str) -> str:
        name = key[len(self._prefix) :]
        for suffix in self._suffixes:
            if suffix and name.endswith(suffix):
                return name[: -len(suffix)]
        return name

    def _scan(self, link: RedisLink, limit: TimeLimit, *arguments: str) -> Iterator[bytes]:
        cursor = b"0"
        while True:
            cursor, keys = link.call("SCAN", cursor, *arguments, "COUNT", KEYS_OF_A_SCAN)
            yield from keys
            if cursor == b"0":
                return
            limit.left()


def _is_message(head: Reply) -> bool:
    if not isinstance(head, bytes):
        return False
    try:
        message = json.loads(head)
    except ValueError:
        return False
    return isinstance(message, dict) and "body" in message and isinstance(message.get("properties"), dict)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _total(lengths: Sequence[Reply]) -> int | None:
    try:
        return sum(lengths)
    except TypeError:
        # One of them is an error of the server.
        return None


def _rows(values: Sequence[T], width: int, step: int) -> list[tuple[T, ...]]:
    """Return the first C(width) of each C(step) values. By columns, as there may be tens of thousands of rows."""
    return list(zip(*(values[column::step] for column in range(width))))


def _chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(values), size):
        yield values[at : at + size]


def _listing(names: Sequence[str]) -> str:
    """Return some names for a message."""
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
