# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the queues that kombu keeps on Redis.

A queue is a list per priority step; delivered messages lie in one hash for all
queues of the database; binding tables are sets. Names, separators and prefixes are
taken from kombu's own channel.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional, TypeVar

from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import (
    BOOKKEEPING_EXCHANGES,
    QueueReading,
    Warn,
    is_bookkeeping,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.arrivals import MarkedList, count_arrivals
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
    parse_binding,
    route_of,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.scripts import LISTS, UNACKED
from ansible_collections.muejam.celery.plugins.module_utils.brokers.time_limit import TimeLimit, TookTooLong
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import ListReading, Marks

T = TypeVar("T")

Lengths = Optional[dict[str, int]]
"""Messages by step of one queue, None when the server does not let them be read."""

# The server serves nobody else while it runs a command. Each of these takes one to two milliseconds.
CALLS_OF_A_SCRIPT = 1000
UNACKED_OF_A_STEP = 300
BYTES_OF_A_STEP = 1 << 20
KEYS_OF_A_SCAN = 1000

# Tables are mostly of one line.
TABLES_AT_ONCE = 500

# Up to here the unacknowledged messages are counted in one command, hence at one instant.
UNACKED_AT_ONCE = 500

# Redis runs all the commands it finds in its input before it turns to another client. With an argument of 32 KB
# (PROTO_MBULK_BIG_ARG) it reads up to the end of that argument and no further, so each script is a turn of its own.
TURN_BYTES = 33 * 1024

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
        self, names: Sequence[str] | None, limit: TimeLimit, warn: Warn, marks: Marks | None = None
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
        self._explain_gaps(link, names, lengths, warn)
        attribution = self._attribution(link, first_step, limit, warn)
        known.update(name for name, there in zip(names, bound) if there)
        exists: Mapping[str, bool | None] = self._existence(link, names, known, limit, warn)
        readings = []
        for name, by_priority in zip(names, lengths):
            waiting = None if by_priority is None else sum(by_priority.values())
            unacknowledged = None if attribution is None else attribution.of(name)
            readings.append(QueueReading(name, exists[name], waiting, by_priority, unacknowledged))
        return readings

    # What arrived.

    def _with_arrivals(
        self, link: RedisLink, readings: Sequence[QueueReading], marks: Marks, limit: TimeLimit
    ) -> list[QueueReading]:
        suffixes = dict(zip(self._step_names, self._suffixes))
        places = [
            (reading.name, step)
            for reading in readings
            for step, waiting in (reading.waiting_by_priority or {}).items()
            if waiting
        ]
        lists = [
            MarkedList(self._prefix + name + suffixes[step], marks.get(name, {}).get(step, "")) for name, step in places
        ]
        try:
            counted = [] if self._uncounted else count_arrivals(link, lists, limit)
        except ServerRefused as error:
            # Not asked again: each refusal would be an entry in the server's log of them.
            self._uncounted = f"Redis does not let this user run scripts ({error})"
        if self._uncounted:
            return [dataclasses.replace(reading, uncounted=self._uncounted) for reading in readings]
        by_queue: dict[str, dict[str, ListReading]] = {
            reading.name: {} for reading in readings if reading.waiting_by_priority is not None
        }
        for (name, step), arrivals in zip(places, counted):
            if arrivals.waiting:
                by_queue[name][step] = arrivals
        return [dataclasses.replace(reading, lists=by_queue.get(reading.name)) for reading in readings]

    # The lists.

    def _lists(self, link: RedisLink, names: Sequence[str]) -> tuple[list[Lengths], list[bool], Reply | None]:
        """Return lengths by step and whether a queue is surely there, for each name; and the hash's first step."""
        if self._scripts:
            turns = self._list_turns(names)
            lengths: list[Lengths] = []
            bound: list[bool] = []
            first_step: Reply | None = None
            refused = False
            for reply in link.stream([*turns, self._unacked_step(b"0")]):
                if len(lengths) == len(names):
                    first_step = reply
                elif refused or isinstance(reply, ServerRefused):
                    refused = True
                else:
                    self._add_lists(reply, lengths, bound)
            if not refused:
                return lengths, bound, first_step
            self._scripts = False
        return (*self._lists_one_by_one(link, names), None)

    def _add_lists(self, reply: bytes, lengths: list[Lengths], bound: list[bool]) -> None:
        steps, width = self._step_names, len(self._step_names) + 1
        words = reply.split()
        if b"-" not in reply:
            numbers = list(map(int, words))
            lengths.extend(dict(zip(steps, numbers[at : at + width])) for at in range(0, len(numbers), width))
            bound.extend(map(bool, numbers[width - 1 :: width]))
            return
        for at in range(0, len(words), width):
            *of_steps, there = words[at : at + width]
            lengths.append(None if b"-" in of_steps else dict(zip(steps, map(int, of_steps))))
            bound.append(there == b"1")

    def _lists_one_by_one(self, link: RedisLink, names: Sequence[str]) -> tuple[list[Lengths], list[bool]]:
        steps, width = self._step_names, len(self._step_names)
        replies = link.ask_each("LLEN", [self._prefix + name + suffix for name in names for suffix in self._suffixes])
        lengths: list[Lengths] = []
        bound: list[bool] = []
        for at in range(0, len(replies), width):
            of_steps = replies[at : at + width]
            known = all(isinstance(length, int) for length in of_steps)
            lengths.append(dict(zip(steps, of_steps)) if known else None)
            bound.append(known and any(of_steps))
        idle = [at for at, there in enumerate(bound) if not there]
        members = link.ask(self._own_member(names[at]) for at in idle)
        for at, member in zip(idle, members):
            bound[at] = member == 1
        return lengths, bound

    def _explain_gaps(self, link: RedisLink, names: Sequence[str], lengths: Sequence[Lengths], warn: Warn) -> None:
        """Say why lists could not be read; raise when that is all of them, for then nothing was learned."""
        gaps = [name for name, by_priority in zip(names, lengths) if by_priority is None]
        if not gaps:
            return
        keys = [self._prefix + name + suffix for name in gaps[:1] for suffix in self._suffixes]
        reason = next((reply for reply in link.ask_each("LLEN", keys) if isinstance(reply, ServerRefused)), None)
        if reason is None:
            return
        if len(gaps) == len(names) and not str(reason).startswith("WRONGTYPE"):
            raise reason
        warn(f"{_listing(gaps)}: the messages waiting are unknown, because the server says: {reason}")

    # The unacknowledged messages.

    def _unacked_step(self, cursor: bytes) -> tuple[str | bytes | int, ...]:
        return (
            "EVAL",
            UNACKED,
            0,
            self._unacked_key,
            cursor,
            UNACKED_OF_A_STEP,
            UNACKED_AT_ONCE,
            BYTES_OF_A_STEP,
            self._binding_prefix,
            self._sep,
        )

    def _attribution(
        self, link: RedisLink, first_step: Reply | None, limit: TimeLimit, warn: Warn
    ) -> Attribution | None:
        """Return whose the unacknowledged messages are, None (and a warning) when that cannot be known."""
        if not self._channel.ack_emulation:
            warn("Unacknowledged messages are unknown, because transport_options switch ack_emulation off.")
            return None
        try:
            routes, own, unreadable = self._routes(link, first_step, limit)
            if unreadable:
                warn(
                    f"Unacknowledged messages are unknown, because {unreadable} of the entries of the hash "
                    f"{self._unacked_key} are not what kombu writes."
                )
                return None
            self._move_own(link, routes, own)
            tables = self._bindings(link, sorted({exchange for exchange, _key in routes if exchange}), limit)
        except ServerRefused as error:
            warn(f"Unacknowledged messages are unknown, because the server says: {error}")
            return None
        found = attribute(routes, own, tables, lambda table, name, key: self._topic.lookup(table, name, key, None))
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

    def _routes(
        self, link: RedisLink, step: Reply | None, limit: TimeLimit
    ) -> tuple[Counter[Route], Counter[str], int]:
        """Return how many messages are on each route, how many surely of each queue, and how many cannot be understood.

        Up to UNACKED_AT_ONCE messages this is one instant. Of more it is a walk: one
        that comes or goes meanwhile may or may not be counted, one that stays is.
        """
        if step is None or isinstance(step, ServerRefused):
            return self._routes_one_by_one(link, limit)
        routes: Counter[Route] = Counter()
        own: Counter[str] = Counter()
        odd: list[bytes] = []
        while True:
            cursor, own_text, routes_text, tags = step
            try:
                names = json.loads(own_text)
                for count, exchange, key in json.loads(routes_text):
                    routes[exchange, key] += count
            except (ValueError, TypeError):
                return self._routes_one_by_one(link, limit)
            own.update(dict(zip(names[::2], names[1::2])))
            odd.extend(tags)
            if cursor == b"0":
                break
            limit.left()
            (step,) = link.ask([self._unacked_step(cursor)])
            if isinstance(step, ServerRefused):
                raise step
        unreadable = 0
        for part in _chunks(odd, 50):
            limit.left()
            for value in link.ask(("HGET", self._unacked_key, tag) for tag in part):
                if isinstance(value, ServerRefused):
                    raise value
                if value is not None:
                    unreadable += _count_route(routes, value)
        return routes, own, unreadable

    def _routes_one_by_one(self, link: RedisLink, limit: TimeLimit) -> tuple[Counter[Route], Counter[str], int]:
        routes: Counter[Route] = Counter()
        unreadable = 0
        cursor = b"0"
        while True:
            (reply,) = link.ask([("HSCAN", self._unacked_key, cursor, "COUNT", UNACKED_OF_A_STEP)])
            if isinstance(reply, ServerRefused):
                raise reply
            cursor, entries = reply
            for value in entries[1::2]:
                unreadable += _count_route(routes, value)
            if cursor == b"0":
                return routes, Counter(), unreadable
            limit.left()

    def _move_own(self, link: RedisLink, routes: Counter[Route], own: Counter[str]) -> None:
        """Move from C(routes) to C(own) what goes to the queue of its own name only, as most do with Celery.

        Whether that is so takes a small question, where a table has to be read.
        """
        names = [exchange for exchange, key in routes if exchange and exchange == key]
        if not names:
            return
        counts = link.ask_each("SCARD", [self._binding_prefix + name for name in names])
        members = link.ask(self._own_member(name) for name in names)
        for name, count, member in zip(names, counts, members):
            if count == 1 and member == 1:
                own[name] += routes.pop((name, name))

    def _own_member(self, name: str) -> tuple[str, str, str]:
        """Return the question whether a queue has the binding that Celery makes by default."""
        return "SISMEMBER", self._binding_prefix + name, f"{name}{self._sep * 2}{name}"

    # The binding tables.

    def _bindings(self, link: RedisLink, exchanges: Sequence[str], limit: TimeLimit) -> dict[str, list[Binding]]:
        """Return the bindings of exchanges."""
        tables: dict[str, list[Binding]] = {}
        for names in _chunks(exchanges, TABLES_AT_ONCE):
            cursors = dict.fromkeys(names, b"0")
            for name in names:
                tables[name] = []
            while cursors:
                limit.left()
                asked = list(cursors.items())
                replies = link.ask(
                    ("SSCAN", self._binding_prefix + name, cursor, "COUNT", KEYS_OF_A_SCAN) for name, cursor in asked
                )
                for (name, _cursor), reply in zip(asked, replies):
                    if isinstance(reply, ServerRefused):
                        raise reply
                    found = (parse_binding(_text(member), self._sep) for member in reply[1])
                    tables[name].extend(filter(None, found))
                    if reply[0] == b"0":
                        del cursors[name]
                    else:
                        cursors[name] = reply[0]
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
            (reply,) = link.ask([("SCAN", cursor, *arguments, "COUNT", KEYS_OF_A_SCAN)])
            if isinstance(reply, ServerRefused):
                raise reply
            cursor, keys = reply
            yield from keys
            if cursor == b"0":
                return
            limit.left()

    def _list_turns(self, names: Sequence[str]) -> Iterator[tuple[str | bytes | int, ...]]:
        """Yield calls of the script that reads lists, each a turn of its own for the server."""
        chunk = max(1, CALLS_OF_A_SCRIPT // (len(self._suffixes) + 1))
        padding = (b" " * TURN_BYTES,) if len(names) > chunk else ()
        suffixes = json.dumps(self._suffixes)
        for part in _chunks(names, chunk):
            packed = json.dumps(part, ensure_ascii=False).encode("utf-8", "surrogateescape")
            yield ("EVAL", LISTS, 0, self._prefix, self._sep, self._binding_prefix, suffixes, packed, *padding)


def _count_route(counts: Counter[Route], value: bytes) -> int:
    """Count an entry of the hash on its route; return how many could not be understood (0 or 1)."""
    route = route_of(value)
    if route is None:
        return 1
    counts[route] += 1
    return 0


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


def _chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(values), size):
        yield values[at : at + size]


def _listing(names: Sequence[str]) -> str:
    """Return some names for a message."""
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
