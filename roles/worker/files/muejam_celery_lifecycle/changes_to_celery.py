# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that we change in Celery, kombu and amqp, and what we read or empty there that is private to them.

Each function says for which versions a change is needed, and why. It was written for Celery and kombu 5.3 to 5.7 and
amqp 5.1 to 5.4. Where a version has no such spot the log says so, that change is left out, and the worker goes on.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Callable

from amqp.channel import Channel
from amqp.connection import Connection
from celery import _state
from celery.events.dispatcher import EventDispatcher
from celery.worker import control
from celery.worker.request import Request

from .log import report

if TYPE_CHECKING:
    from .events import Receiving
    from .publishing import Publishing

LATER_STARTERS = ("apply_eta_task", "_limit_post_eta")
"""Methods of a consumer that its timer calls for a task that waits for its time."""


def around(owner: Any, name: str, call: Callable[..., Any]) -> None:
    """Let `call` stand in for a function of a class or an object; it gets the original before the arguments.

    A second call for the same spot takes the place of the first: a process may have one worker after another.
    """
    found = getattr(owner, name, None)
    if found is None:
        report(f"{owner!r} has no {name} in this version: what needs it is left out")
        return
    function = getattr(found, "before_muejam_celery", found)

    @functools.wraps(function)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return call(function, *args, **kwargs)

    setattr(stand_in, "before_muejam_celery", function)  # noqa: B010  (mypy knows no attributes of functions)
    setattr(owner, name, stand_in)


def noting(note: Callable[[Any], None]) -> Callable[..., Any]:
    """Return what takes a note of an object before its original is called."""

    def noted(function: Callable[..., Any], owner: Any, *args: Any, **kwargs: Any) -> Any:
        note(owner)
        return function(owner, *args, **kwargs)

    return noted


# Once in a process.


def drain_on_remote_shutdown(request_drain: Callable[[], bool]) -> None:
    """Drain where Celery's `shutdown` remote control command (Flower's button, `celery control shutdown`) would not.

    All versions: the command stops the worker as a SIGTERM does in Celery, without a drain.
    """

    def shutdown(state: Any, **kwargs: Any) -> Any:
        if request_drain():
            return {"ok": "draining; the worker ends when its tasks are done"}
        return control.shutdown(state, **kwargs)

    control.Panel.data["shutdown"] = shutdown


def name_queues_in_events(receiving: Receiving) -> None:
    """Add the field `queue` to the task events of this process's worker.

    All versions: Celery tells a task's name and arguments there, and not its queue. Most events are sent by a request,
    which keeps its queue's name; those of a message that is being received are sent past its request, or before it
    could be given the name.
    """
    around(Request, "send_event", receiving.send_event_of_request)
    around(EventDispatcher, "send", receiving.send_of_dispatcher)


def limit_publishing(publishing: Publishing) -> None:
    """Let what this process's worker publishes through AMQP go by :class:`Publishing`.

    All versions: amqp waits without end for a broker that blocks publishers, in the worker's own loop as well.
    """
    around(Channel, "basic_publish", publishing.publish)
    around(Channel, "basic_publish_confirm", publishing.publish)
    around(Channel, "close", publishing.close)
    around(Connection, "close", publishing.close)
    around(Connection, "_on_blocked", noting(publishing.blocked.add))
    around(Connection, "_on_unblocked", noting(publishing.blocked.discard))
    around(Connection, "on_inbound_method", noting(publishing.unanswered.discard))
    around(EventDispatcher, "_publish", publishing.send_event)


# Once for each worker or connection.


def choose_tasks(worker: Any, hand_over: Callable[..., Any]) -> None:
    """Ask before the worker hands a request to its pool.

    All versions: Celery starts whatever it has fetched, while it shuts down too.
    """
    around(worker, "_process_task", hand_over)


def watch_messages(task_consumer: Any, watched: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
    """Let what the broker gives us go by a callback that knows its queue, before anybody else looks at it.

    All versions: only where the consumption begins is the queue of a message known on every transport; a message
    itself names an exchange and a key. The messages of remote control and events come by other consumers.
    """

    def consume(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        queue: Any = kwargs.get("queue")
        callback: Any = kwargs.get("callback")
        if isinstance(queue, str) and getattr(callback, "__self__", None) is task_consumer:
            kwargs["callback"] = watched(queue, callback)
        return function(*args, **kwargs)

    around(task_consumer.channel, "basic_consume", consume)


def watch_questions(channel: Any, ask: Callable[..., Any]) -> None:
    """Count the BRPOPs that the Redis transport sends.

    kombu up to 5.6 waits for a lost answer without end, and asks for no more messages. 5.7 looks after it, unless
    `health_check_interval` is 0.
    """

    around(channel, "_brpop_start", ask)


def restore_by_priority(channel: Any) -> None:
    """Let kombu 5.3's Redis transport return messages to the list of their priority, as later ones do.

    Other transports, and later versions, have nothing that needs it.
    """
    restore = getattr(type(channel), "_do_restore_message", None)
    if restore is None or not hasattr(channel, "_q_for_pri") or "_q_for_pri" in restore.__code__.co_names:
        return

    def restore_to_its_list(function: Callable[..., Any], payload: Any, *args: Any, **kwargs: Any) -> Any:
        lookup, priority = channel._lookup, channel._get_message_priority(payload, reverse=False)
        channel._lookup = lambda *names: [channel._q_for_pri(queue, priority) for queue in lookup(*names)]
        try:
            return function(payload, *args, **kwargs)
        finally:
            del channel._lookup

    around(channel, "_do_restore_message", restore_to_its_list)


def watch_scheduler(
    scheduler: Any, tick: Callable[..., Any], send: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    """Let a scheduler of `celery beat` go by ours when it ticks, when it sends a task, and when it connects.

    All versions: nothing tells that beat goes round, and without a broker it stands still in a loop of kombu's. Its
    connection is only made here, and not opened. One of another family has none, and waits for no broker.
    """
    around(scheduler, "tick", tick)
    around(scheduler, "apply_async", send)
    connection = getattr(scheduler, "connection", None)
    if connection is not None:
        around(connection, "ensure_connection", connect)


def ask_for_no_results() -> None:
    """Let this process send tasks without subscribing to their results, as the processes of a pool do.

    All versions: `celery beat` reads no result. With a result backend that is away each task that it sends would wait
    20 times for a second until that answers, and with one that is there it would subscribe to ever more results.
    """
    _state._set_task_join_will_block(True)


def shorten_waits(connection: Any, seconds: float) -> None:
    """Let the blocking loop of gevent and eventlet look at its pending operations this often, while it drains.

    All versions: by itself it waits for a message for one or two seconds.
    """

    def drain_events(function: Callable[..., Any], **kwargs: Any) -> Any:
        return function(**{**kwargs, "timeout": seconds})

    around(connection, "drain_events", drain_events)


# What Celery has fetched and not begun. Where a spot is not there, the drain fails and Celery's own shutdown goes on.


def timer_entries(consumer: Any) -> list[Any]:
    """Return what the worker's timer has still to call. RuntimeError: the loop changed it at this moment.

    Not its public "queue", which sorts all of them.
    """
    return list(consumer.timer.schedule._queue)


def take_scheduled(consumer: Any) -> list[Any]:
    """Cancel the timers that would start tasks (ETA, rate limit) and return their requests."""
    names = (*LATER_STARTERS, "_schedule_bucket_request")
    starters = [getattr(consumer, name, None) for name in names]
    found = []
    for waiting in timer_entries(consumer):
        if not waiting.entry.canceled and waiting.entry.fun in starters:
            found += [argument for argument in waiting.entry.args if isinstance(argument, Request)]
            waiting.entry.cancel()
            # gevent's timers are greenlets, which are cancelled themselves.
            getattr(waiting, "cancel", waiting.entry.cancel)()
    return found


def take_limited(consumer: Any) -> list[Any]:
    """Return the requests that wait for their rate limit, which has them no longer."""
    found = []
    for bucket in consumer.task_buckets.values():
        while bucket and bucket.contents:
            found.append(bucket.contents.popleft()[0])
    return found


def take_unwritten(pool: Any) -> list[Any]:
    """Return what waits in the prefork pool for a child and has not been written to one; the pool loses it."""
    buffer: Any = getattr(getattr(pool, "_pool", None), "outbound_buffer", None) or ()
    found = []
    for job in list(buffer):
        request = getattr(getattr(job, "_accept_callback", None), "__self__", None)
        if isinstance(request, Request) and not job._accepted and job._write_to is None:
            buffer.remove(job)
            job.discard()
            found.append(request)
    return found


def return_to_front(message: Any) -> None:
    """Requeue a message where it was.

    RabbitMQ puts a rejected message there itself; kombu's Redis transport would put it behind all that wait.
    """
    qos: Any = getattr(message.channel, "qos", None)
    if not hasattr(qos, "restore_by_tag"):
        message.requeue()
        return
    qos.restore_by_tag(message.delivery_tag)
    qos._quick_ack(message.delivery_tag)
    message._state = "REQUEUED"
