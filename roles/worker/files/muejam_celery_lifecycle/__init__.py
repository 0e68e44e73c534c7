# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a Celery worker tell its service manager the truth, and drain before it stops.

Load it into a worker with ``celery worker --include muejam_celery_lifecycle`` or by the app's ``include`` setting.
The app itself is not touched. It needs nothing but Celery (5.3 to 5.7) and Python 3.8 or newer, and reads these
environment variables, each optional:

``NOTIFY_SOCKET``, ``WATCHDOG_USEC``, ``WATCHDOG_PID``
    systemd's own. READY=1 is sent when the worker consumes, WATCHDOG=1 while its event loop turns, STOPPING=1 when
    the drain is over.
``CELERY_LIFECYCLE_STATUS_FILE``
    Path of a small JSON file with the worker's state, replaced atomically about once a second. Among others:
    `processed`, the tasks started, and `finished`, the tasks ended, since the process started; `taken`, how many
    messages it was given from each of its queues since then. Every message counts in `taken`: those of unknown,
    revoked and later tasks too, and those that go back to the broker in the end, which count again where they are
    taken again. The file beside it whose name ends in `.taken` has the same counts at any instant (class Tally).
``CELERY_LIFECYCLE_TRANSPORT_OPTIONS``
    JSON object merged over the app's ``broker_transport_options``.
``CELERY_LIFECYCLE_BROKER_USE_SSL``
    JSON object, or true, in place of the app's ``broker_use_ssl``.
``CELERY_LIFECYCLE_PRIORITY``
    ``high_first``: on Redis, 9 is the most urgent priority, as on RabbitMQ. ``low_first``: kombu's order. By default
    ``high_first``, unless the app itself sets ``priority_steps`` or ``queue_order_strategy``: then its order stays.
``CELERY_LIFECYCLE_CONFIG``
    Opaque text, repeated in the status file.

The task events that the worker sends (where they are switched on) get a field `queue`, which Celery leaves out.

On the first SIGTERM a consuming worker cancels its consumers, gives back to the broker what it has fetched and not
begun, finishes what it runs, lets the acknowledgements out, and only then runs Celery's own handler. A second SIGTERM
runs Celery's handler at once.
Celery's remote control command `shutdown` drains in the same way.

While RabbitMQ blocks publishers (an alarm), what the worker itself publishes waits for two seconds at most: events are
dropped until it takes messages again, and the state says `blocked`. The last steps after a drain have a limit as well.

Who does what: the worker's event loop only moves a pulse forward and drains; one native thread does the writing and
the notifying, so that a broker being reconnected, or a task of the solo pool that runs in the event loop itself,
does not look like a dead worker. Signal handlers only set flags.
"""

from __future__ import annotations

import _socket
import _thread
import contextlib
import functools
import itertools
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
import weakref
from pathlib import Path

from celery import bootsteps, current_app, signals
from celery.events.dispatcher import EventDispatcher
from celery.utils.log import get_logger
from celery.worker import control
from celery.worker import state as worker_state
from celery.worker.request import Request

logger = get_logger("celery.worker.lifecycle")

PULSE = 0.5  # seconds between two proofs that the event loop turns
DRAIN_PULSE = 0.1  # the same while draining
WRITE_INTERVAL = 1.0  # seconds between two status files
STALE_AFTER = 5.0  # seconds without a pulse after which the event loop counts as stuck; more with a long watchdog
STALL_AFTER = 30.0  # seconds in which a connected consumer on Redis asks for no message, or gets no answer
ACKNOWLEDGE_WITHIN = 2.0  # seconds to wait for acknowledgements that may never come (a terminated task has none)
GIVE_BACK_FOR = 0.5  # seconds at a time that a draining worker's loop gives tasks back
PUBLISH_WITHIN = 2.0  # seconds that the worker itself waits for the broker to take or confirm a message
CLOSE_WITHIN = 5.0  # ... and to answer a farewell
REFUSE_FOR = 10.0  # seconds in which nothing but events is tried again after that
LAST_STEPS_WITHIN = 30.0  # seconds that Celery's own shutdown may take after a drain, when nothing runs any more
DEFAULT_PRIORITY_STEPS = (0, 3, 6, 9)
SHOWN_OPTIONS = ("global_keyprefix", "priority_steps", "queue_order_strategy", "sep", "visibility_timeout")
MAX_QUEUES = 100  # queues that the status file tells of; a worker that consumes from more tells of none
MAX_QUEUE_NAME = 256  # bytes of one queue's name in JSON
TALLY = ".taken"  # end of the name of the file with the counts of messages
NUMBER = struct.Struct("Q")
QUEUE_OF_REQUEST = "muejam_celery_queue"  # attribute of a request
PLACE_OF_REQUEST = "muejam_celery_place"  # the same: in which order they came
HOLDER_OF_REQUEST = "muejam_celery_holder"  # the same: who has it for good
POOL, BROKER = "pool", "broker"  # ... which is one of these
SHARED_POOLS = ("threads", "gevent", "eventlet")  # pools whose tasks begin in our process, beside the main loop


class HighFirst(list):
    """Redis priority steps, most urgent first.

    kombu's Redis transport reads its lists in the order in which it iterates over the steps, and finds the list of a
    message by bisection, which indexes. Iterating from high to low while indexing from low to high therefore reverses
    the order of reading and leaves every message in the list where any other producer or consumer puts it.
    """

    def __init__(self, steps=DEFAULT_PRIORITY_STEPS):
        super().__init__(sorted(steps))

    def __iter__(self):
        return super().__reversed__()

    def __reversed__(self):
        return super().__iter__()

    def __reduce__(self):
        return (HighFirst, (sorted(self),))


current = None  # the Lifecycle of this process's worker
wanted_transport = {}  # what configure_transport put into its app
held_reports = []
places = itertools.count(1)
remote_shutdown = control.shutdown


def report(text):
    """Log an error of ours. While the worker is being set up it has no log yet: the text waits for one."""
    held_reports.append("muejam_celery_lifecycle: " + text)
    if current is not None and current.attached:
        report_held()


def report_held():
    while held_reports:
        logger.error("%s", held_reports.pop(0))


def read_json(environ, name, what, kinds):
    """Return what a variable holds, None when it is not set or something else, of which the log is told.

    The log is not told its text, which may hold a password.
    """
    text = environ.get(name)
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, kinds):
        return value
    report(f"{name} is not {what}; it is ignored")
    return None


def read_transport_options(environ):
    """Return the options of the environment."""
    options = read_json(environ, "CELERY_LIFECYCLE_TRANSPORT_OPTIONS", "a JSON object", dict) or {}
    for name in ("socket_keepalive_options", "socket_settings"):
        if isinstance(options.get(name), dict):
            # Socket option numbers: JSON knows only text as a key.
            options[name] = {int(key) if key.isdigit() else key: value for key, value in options[name].items()}
    return options


def configure_transport(app, environ):
    """Put TLS, transport options and the order of priorities into the app, before a connection is made.

    Return what `overruled` is to find in force: `broker_use_ssl` and `broker_transport_options`, where they are set.
    """
    wanted = {}
    ssl = read_json(environ, "CELERY_LIFECYCLE_BROKER_USE_SSL", "a JSON object or true", (dict, bool))
    if ssl is not None:
        wanted["broker_use_ssl"] = ssl
        set_in(app, "broker_use_ssl", ssl)
    own = dict(app.conf.broker_transport_options or {})
    options = read_transport_options(environ)
    if reads_high_first(app, own, environ):
        steps = options.get("priority_steps") or own.get("priority_steps") or DEFAULT_PRIORITY_STEPS
        options["priority_steps"] = HighFirst(steps)
    if options:
        wanted["broker_transport_options"] = options
        set_in(app, "broker_transport_options", {**own, **options})
    return wanted


def reads_high_first(app, own, environ):
    """Return whether priorities are read from the highest down: an app that orders them by itself keeps its order."""
    order = environ.get("CELERY_LIFECYCLE_PRIORITY") or None
    if order not in (None, "high_first", "low_first"):
        report("CELERY_LIFECYCLE_PRIORITY must be high_first or low_first; it is ignored")
        order = None
    steps = own.get("priority_steps")
    # Ours are there already in the app of a pool process that was forked.
    ordered = own.get("queue_order_strategy") or (steps and not isinstance(steps, HighFirst))
    if order == "low_first" or (order is None and ordered):
        return False
    return app.connection_for_read().transport.driver_type == "redis"


def set_in(app, name, value):
    """Set a setting under its plain name, and under the one that wins in an app with a namespace (`CELERY_...`)."""
    app.conf.get(name)  # has the app read its configuration, and with it the namespace
    conf = app.conf
    conf[name] = value
    prefix = getattr(conf, "prefix", None)
    if prefix:
        conf[prefix + (name.upper() if prefix.isupper() else name)] = value


def overruled(app, connection, wanted):
    """Return what is in force in place of what `configure_transport` wanted, as one text for each value."""
    found = []
    actual = connection.transport_options or {}
    for name, value in sorted(wanted.get("broker_transport_options", {}).items()):
        # As lists: the order in which steps are read is that of their iteration.
        one, other = (list(each) if name == "priority_steps" and each else each for each in (actual.get(name), value))
        if one != other:
            # Others may hold passwords, such as those of sentinels.
            told = f"{one!r} is in force, not {other!r}" if name in SHOWN_OPTIONS else "another value is in force"
            found.append(f"broker_transport_options.{name}: {told}; the app sets it after it was told")
    if "broker_use_ssl" in wanted and app.conf.broker_use_ssl != wanted["broker_use_ssl"]:
        found.append("broker_use_ssl: another value is in force; the app sets it after it was told")
    return found


def native_start_new_thread():
    """Return the function that starts a real thread, whatever gevent or eventlet have patched."""
    if "gevent.monkey" in sys.modules:
        return sys.modules["gevent.monkey"].get_original("_thread", "start_new_thread")
    if "eventlet.patcher" in sys.modules:
        return sys.modules["eventlet.patcher"].original("_thread").start_new_thread
    return _thread.start_new_thread


def pool_name(pool):
    """Return prefork, threads, solo, gevent ... for a pool, its class, or its name."""
    if not isinstance(pool, str):
        pool = (pool if isinstance(pool, type) else type(pool)).__module__
    name = pool.split(":")[0].rsplit(".", 1)[-1]
    return "threads" if name == "thread" else name


def watchdog_seconds(environ, pid):
    """Return the watchdog's time in seconds, 0 where there is none or it watches another process."""
    owner = environ.get("WATCHDOG_PID")
    if owner and owner != str(pid):
        return 0.0
    try:
        return max(int(environ.get("WATCHDOG_USEC") or 0), 0) / 1e6
    except ValueError:
        return 0.0


class NotifySocket:
    """systemd's notification socket, by C sockets only: gevent does not patch them and they take no lock."""

    def __init__(self, path):
        self.address = "\0" + path[1:] if path.startswith("@") else path
        self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        self.socket.settimeout(1.0)

    def send(self, lines):
        """Send one message; return whether it was accepted."""
        try:
            self.socket.sendto("\n".join(lines).encode(), self.address)
        except OSError:
            return False
        return True


class Reporter:
    """The native thread: writes the status file and notifies systemd from what the lifecycle says.

    It takes no lock, does not log and uses nothing that is patched or must not be held while the pool forks.
    """

    def __init__(self, lifecycle, environ):
        self.lifecycle = lifecycle
        self.path = environ.get("CELERY_LIFECYCLE_STATUS_FILE") or None
        path = environ.get("NOTIFY_SOCKET") or ""
        self.notify_socket = NotifySocket(path) if path[:1] in ("/", "@") else None
        self.watchdog = watchdog_seconds(environ, os.getpid()) if self.notify_socket else 0.0
        self.stale_after = max(STALE_AFTER, self.watchdog / 2)
        self.last_write = self.last_ping = self.last_text = 0.0
        self.sent = set()
        self.text = ""
        self.fault = None
        self.finished = False
        self.waiter, self.waker = _socket.socketpair()
        self.waker.setblocking(False)
        self.interval = min(WRITE_INTERVAL, self.watchdog / 3) if self.watchdog else WRITE_INTERVAL
        self.waiter.settimeout(max(self.interval, 0.05))

    def start(self):
        if self.path or self.notify_socket:
            native_start_new_thread()(self.run, ())

    def wake(self):
        """Report now instead of at the next turn. Safe in a signal handler."""
        with contextlib.suppress(OSError):
            self.waker.send(b".")

    def run(self):
        while not self.finished:
            try:
                self.turn(time.monotonic())
            except Exception as error:
                self.fault = self.fault or error
            with contextlib.suppress(OSError):
                self.waiter.recv(64)

    def turn(self, now):
        """Report once; `now` is in seconds of the monotonic clock."""
        proven_at = self.lifecycle.proven_at(now)
        snapshot = self.lifecycle.snapshot()
        if self.path:
            self.write(snapshot, proven_at)
        if self.notify_socket:
            self.notify(snapshot, now, alive=now - proven_at < self.stale_after)
        if self.lifecycle.is_overdue(now):
            self.end()

    def end(self):
        """End the process, whose tasks are all done, in the middle of the step that hangs."""
        self.finish()
        text = b"muejam_celery_lifecycle: drained, but the last steps of the shutdown hang: ending without them\n"
        with contextlib.suppress(OSError):
            os.write(2, text)
        os._exit(0)

    def write(self, snapshot, proven_at):
        # The age of the file is the age of the last proof of life, not of the last run of this thread.
        age = max(time.monotonic() - proven_at, 0.0)
        document = dict(snapshot, monotonic=proven_at, at=time.time() - age, written=time.monotonic())
        temporary = self.path + ".tmp"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            try:
                os.fchmod(descriptor, 0o644)
                os.write(descriptor, json.dumps(document).encode())
            finally:
                os.close(descriptor)
            if not self.finished:
                Path(temporary).replace(self.path)
        except OSError as error:
            self.fault = self.fault or error

    def notify(self, snapshot, now, alive):
        lines = []
        for line, due in (("READY=1", self.lifecycle.ready), ("STOPPING=1", self.lifecycle.stopping)):
            if due and line not in self.sent:
                lines.append(line)
        text = self.lifecycle.describe(snapshot)
        urgent = bool(lines) or text.split(":")[0] != self.text.split(":")[0]
        changed = text != self.text and (urgent or now - self.last_text >= WRITE_INTERVAL)
        ping = self.watchdog and alive and now - self.last_ping >= self.watchdog / 3 - 0.05
        message = lines + (["STATUS=" + text] if changed else []) + (["WATCHDOG=1"] if ping else [])
        if not message or not self.notify_socket.send(message):
            return
        self.sent.update(lines)
        if changed:
            self.text, self.last_text = text, now
        if ping:
            self.last_ping = now

    def finish(self):
        """Stop reporting, and take the file away: a worker that is gone has no state."""
        self.finished = True
        self.wake()
        if self.path:
            for path in (self.path, self.path + ".tmp", self.path + TALLY):
                with contextlib.suppress(OSError):
                    Path(path).unlink()


class Tally:
    """Messages taken, by queue.

    They are kept in a file as well, written in place with each message: whoever compares them with what waits in the
    queues needs the counts of the same instant. It is a row of native unsigned 64-bit integers: the id of our
    process, then the counts, in the order in which the status file lists the queues.
    """

    def __init__(self, path, pid):
        self.taken = {}
        self.places = {}
        self.fault = None
        self.descriptor = None
        if path:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
                self.descriptor = os.open(path + TALLY, flags, 0o644)
                os.fchmod(self.descriptor, 0o644)
            except OSError as error:
                self.fault = error
        self.write(0, pid)

    def begin(self, queue):
        """Count a queue from now on, or go on to."""
        if queue not in self.taken:
            self.taken[queue] = 0
            self.places[queue] = len(self.taken)
            self.write(self.places[queue], 0)

    def add(self, queue):
        self.taken[queue] += 1
        self.write(self.places[queue], self.taken[queue])

    def write(self, place, number):
        if self.descriptor is None or place > MAX_QUEUES:
            return
        try:
            os.pwrite(self.descriptor, NUMBER.pack(number), place * NUMBER.size)
        except OSError as error:
            # A count that is not of now is worse than none: the status file has it once a second.
            self.fault = error
            with contextlib.suppress(OSError):
                os.ftruncate(self.descriptor, 0)
            os.close(self.descriptor)
            self.descriptor = None

    def for_status(self):
        """Return the counts by queue, none at all where the queues are too many to tell of."""
        taken = dict(self.taken)
        if len(taken) > MAX_QUEUES or any(len(json.dumps(name)) > MAX_QUEUE_NAME for name in taken):
            return {}
        return {"taken": taken}


class Lifecycle:
    """What is known of one worker: its pulse, whether it consumes, and its drain.

    Everything but :meth:`proven_at`, :meth:`snapshot` and :meth:`describe` runs in the worker's main thread.
    """

    def __init__(self, worker, environ):
        self.worker = worker
        self.pid = os.getpid()
        self.config = environ.get("CELERY_LIFECYCLE_CONFIG", "")
        self.beat = time.monotonic()
        self.attached = False  # a connection is up, so the event loop must turn
        self.up = False  # ... and has turned since
        self.consuming = False
        self.withdrawn = False  # consumers were cancelled on purpose
        self.ready = False
        self.stopping = False
        self.queues = ()
        self.generation = 0
        self.pulse_queued = False
        self.previous_handler = None
        self.drain_requested = False
        self.drain = None
        self.chained = False
        self.asked = 0
        self.asked_before = -1
        self.silent_since = None
        self.tally = Tally(environ.get("CELERY_LIFECYCLE_STATUS_FILE"), self.pid)
        self.receiving = None  # the queue whose message is being looked at
        self.ended = 0
        self.scheduled_before = None
        self.faults = set()
        self.drained_at = None
        self.giving_back = GivingBack(worker, lambda: self.drain_requested)
        self.publishing = Publishing(self)
        self.reporter = Reporter(self, environ)

    # Read by the reporter's thread.

    def active(self):
        return len(worker_state.active_requests)

    def reserved(self):
        """Return how many tasks were received that may start at once, or when their rate limit lets them."""
        buckets = getattr(getattr(self.worker, "consumer", None), "task_buckets", {})
        limited = sum(len(bucket.contents) for bucket in list(buckets.values()) if bucket)
        return max(len(worker_state.reserved_requests) - self.active(), 0) + limited

    def scheduled(self):
        """Return how many tasks were received that wait for their time (ETA), None where the timer does not tell."""
        consumer = getattr(self.worker, "consumer", None)
        schedule = getattr(getattr(consumer, "timer", None), "schedule", None)
        # Not its "queue", which sorts them all.
        entries = getattr(schedule, "_queue", None)
        if entries is None:
            return None
        starters = [getattr(consumer, name, None) for name in ("apply_eta_task", "_limit_post_eta")]
        try:
            waiting = [item.entry for item in list(entries)]
        except RuntimeError:
            # A set that the loop changes at this moment; gevent's timer has one.
            return self.scheduled_before
        self.scheduled_before = sum(entry.fun in starters and not entry.canceled for entry in waiting)
        return self.scheduled_before

    def finished(self):
        """Return how many of the started tasks have ended, however they did; it never falls.

        Celery counts starts only, and not in the same instant in which it calls a task active.
        """
        self.ended = max(self.ended, worker_state.all_total_count[0] - self.active())
        return self.ended

    def runs_tasks_in_the_loop(self):
        return pool_name(getattr(self.worker, "pool", None) or self.worker.pool_cls) == "solo"

    def proven_at(self, now):
        """Return when the worker was last known to be alive, in seconds of the monotonic clock.

        Without a connection the event loop legitimately stands still (Celery sleeps and retries in it), as it does
        in a task of the solo pool; a shutdown has its own time limit.
        """
        if self.stopping or not self.attached or (self.runs_tasks_in_the_loop() and self.active()):
            self.beat = max(self.beat, now)
        return self.beat

    def state(self):
        if self.drain_requested or self.stopping:
            return "draining"
        if self.up and self.withdrawn:
            return "draining"
        if self.up and self.consuming:
            return "consuming"
        return "reconnecting" if self.ready else "starting"

    def snapshot(self):
        """Return the status file's content, but for the times."""
        worker = self.worker
        pool = getattr(worker, "pool", None)
        return {
            "version": 1,
            "node": worker.hostname,
            "pid": self.pid,
            "state": self.state(),
            "active": self.active(),
            "reserved": self.reserved(),
            "scheduled": self.scheduled(),
            "processed": worker_state.all_total_count[0],
            "finished": self.finished(),
            **self.tally.for_status(),
            "pool": pool_name(pool or worker.pool_cls),
            "concurrency": getattr(pool, "num_processes", None) or worker.concurrency,
            "config": self.config,
            "blocked": self.publishing.is_held_up(),
        }

    def describe(self, snapshot):
        """Return one line for people, as `systemctl status` shows it."""
        text = self.describe_state(snapshot)
        return text + "; the broker blocks what workers publish" if snapshot["blocked"] else text

    def describe_state(self, snapshot):
        state = "stopping" if self.stopping else snapshot["state"]
        if state == "consuming":
            names = list(self.queues[:5])
            if len(self.queues) > 5:
                names.append(f"and {len(self.queues) - 5} more")
            return f"consuming {','.join(names)}: {snapshot['active']} running, {snapshot['processed']} done"
        if state == "starting":
            return "starting: connecting to the broker"
        if state == "reconnecting" and self.attached:
            return f"reconnecting: connected, but not consuming; {snapshot['active']} running"
        return f"{state}: {snapshot['active']} running, {snapshot['reserved']} reserved"

    # The connection's life, called by the bootstep.

    def connected(self, consumer):
        """The consumer is set up; it asks for messages when the event loop starts, which is next."""
        self.generation += 1
        self.beat = time.monotonic()
        self.attached, self.up, self.pulse_queued = True, False, False
        self.asked_before, self.silent_since = -1, None
        self.wrap_handler()
        self.count_questions(consumer)
        self.count_messages(consumer)
        restore_by_priority(getattr(consumer.task_consumer, "channel", None))
        if consumer.hub:
            self.schedule(consumer, self.generation, 0.0)
        else:
            # At once into the main loop's first turn: its next one may be two seconds later.
            self.tick(consumer, self.generation)

    def disconnected(self, consumer):
        """The connection is lost, or the worker shuts down."""
        self.generation += 1
        self.attached = self.up = self.consuming = False
        if consumer.blueprint.state in (bootsteps.CLOSE, bootsteps.TERMINATE):
            self.stopping = True
        elif self.drain_requested and not self.chained:
            logger.warning("The broker's connection is lost while draining: going on with Celery's warm shutdown")
            self.chain()
        self.reporter.wake()

    def schedule(self, consumer, generation, delay):
        consumer.timer.call_after(delay, self.tick, (consumer, generation))

    def tick(self, consumer, generation):
        """Run by the worker's timer, which is the event loop itself or, without one, a greenlet or a thread."""
        if generation != self.generation:
            return
        try:
            if consumer.hub:
                self.pulse(consumer, generation)
            elif not self.pulse_queued:
                self.pulse_queued = True
                consumer.call_soon(self.pulse, consumer, generation)
            elif self.giving_back.waits_for_the_pool:
                # A full pool of greenlets holds up the main loop until a task has ended; the timers go on.
                self.beat = time.monotonic()
        finally:
            if generation == self.generation:
                self.schedule(consumer, generation, DRAIN_PULSE if self.drain_requested else PULSE)

    def pulse(self, consumer, generation):
        """Prove that the main loop turns, note whether it consumes, and move the drain on. Runs in the main loop."""
        self.pulse_queued = False
        if generation != self.generation:
            return
        self.beat = time.monotonic()
        try:
            self.look(consumer)
            self.publishing.look_again(consumer.event_dispatcher)
            self.report_fault(self.reporter.fault or self.tally.fault, "reporting the worker's state")
        except Exception as error:
            self.report_fault(error, "watching the worker")
        if self.drain_requested and not self.chained:
            try:
                self.move_drain_on(consumer)
            except Exception as error:
                logger.error("Draining failed (%r): going on with Celery's own shutdown", error, exc_info=True)
                self.chain()
            return
        self.demand_answers(consumer)

    def look(self, consumer):
        task_consumer = consumer.task_consumer
        queues = tuple(sorted(queue.name for queue in task_consumer.queues)) if task_consumer else ()
        consuming = bool(queues) and all(task_consumer.consuming_from(name) for name in queues)
        before = (self.up, self.consuming, self.withdrawn, self.queues)
        self.up, self.consuming, self.queues = True, consuming, queues
        self.withdrawn = task_consumer is not None and not queues
        self.ready = self.ready or consuming
        if before != (self.up, self.consuming, self.withdrawn, self.queues):
            self.reporter.wake()

    def report_fault(self, error, doing):
        """Log a failure of ours once; the worker goes on."""
        if error is not None and doing not in self.faults:
            self.faults.add(doing)
            report(f"{doing} failed: {error!r}")
        report_held()

    # A consumer that is connected but gets nothing.

    def count_questions(self, consumer):
        """Count the BRPOPs that the Redis transport sends, to know that it goes on asking for messages."""
        channel = getattr(consumer.task_consumer, "channel", None)
        ask = getattr(channel, "_brpop_start", None)
        if ask is None or not consumer.hub:
            return

        def counted(*args, **kwargs):
            self.asked += 1
            return ask(*args, **kwargs)

        channel._brpop_start = counted

    def count_messages(self, consumer):
        """Count what the broker gives us, by queue, before anybody looks at it.

        Only here, where the consumption begins, is the queue of a message known on every transport: a message itself
        names an exchange and a key. The messages of remote control and events come by other consumers.
        """
        task_consumer = consumer.task_consumer
        channel = getattr(task_consumer, "channel", None)
        if channel is None:
            return
        consume = getattr(channel.basic_consume, "uncounted", channel.basic_consume)

        @functools.wraps(consume)
        def consume_counted(*args, **kwargs):
            callback, queue = kwargs.get("callback"), kwargs.get("queue")
            if isinstance(queue, str) and getattr(callback, "__self__", None) is task_consumer:
                kwargs["callback"] = self.counted(queue, callback)
            return consume(*args, **kwargs)

        consume_counted.uncounted = consume
        channel.basic_consume = consume_counted

    def counted(self, queue, callback):
        """Return a consumer's callback that counts the messages of its queue."""
        self.tally.begin(queue)

        def on_message(message):
            self.tally.add(queue)
            before, self.receiving = self.receiving, queue
            try:
                return callback(message)
            finally:
                self.receiving = before

        return on_message

    def demand_answers(self, consumer):
        """Make Celery reconnect when Redis has been silent for long, which no timeout of kombu's notices everywhere.

        Only while nothing is held: a late acknowledgement could not be sent on the new connection.
        """
        channel = getattr(consumer.task_consumer, "channel", None)
        if not consumer.hub or not self.consuming or "_brpop_start" not in getattr(channel, "__dict__", ()):
            return
        if self.asked != self.asked_before or not channel.qos.can_consume() or worker_state.reserved_requests:
            self.asked_before, self.silent_since = self.asked, None
            return
        self.silent_since = self.silent_since or self.beat
        limit = STALL_AFTER + 2 * (getattr(channel, "brpop_timeout", None) or 1)
        if self.beat - self.silent_since > limit:
            self.silent_since = None
            raise ConnectionError(f"connected, but no message was asked for or answered in {limit:g} seconds")

    # Draining.

    def wrap_handler(self):
        """Put our SIGTERM handler before Celery's, which is in place since before the first connection."""
        try:
            installed = signal.getsignal(signal.SIGTERM)
            # Once only: a handler that the app has put before ours leads back to us.
            if self.previous_handler is not None or not callable(installed):
                return
            signal.signal(signal.SIGTERM, self.on_sigterm)
            self.previous_handler = installed
        except ValueError:
            # An embedded worker, not in the main thread: it has no handlers of its own either.
            return

    def on_sigterm(self, signum, frame):
        ours = os.getpid() == self.pid
        if ours and self.request_drain():
            return
        if ours:
            self.chained = True
        self.previous_handler(signum, frame)

    def request_drain(self):
        """Begin to drain where that is possible and new; return whether it is. Safe in a signal handler."""
        if not self.up or self.previous_handler is None:
            return False
        if self.drain_requested or self.stopping or self.shutdown_begun():
            return False
        self.drain_requested = True
        self.reporter.wake()
        return True

    def is_overdue(self, now):
        """Return whether Celery's shutdown hangs although the drain is over."""
        if self.drained_at is None or self.active():
            return False
        soft = getattr(self.worker.app.conf, "worker_soft_shutdown_timeout", None) or 0.0
        return now - self.drained_at > LAST_STEPS_WITHIN + soft

    def shutdown_begun(self):
        # 0 is an exit code, and means yes.
        flags = (worker_state.should_stop, worker_state.should_terminate)
        return any(flag is not None and flag is not False for flag in flags)

    def chain(self):
        """Hand over to Celery's own SIGTERM handler, once."""
        if not self.chained:
            self.chained = True
            self.previous_handler(signal.SIGTERM, None)

    def move_drain_on(self, consumer):
        if self.drain is None:
            self.drain = Drain(self.beat)
            logger.warning(
                "Stop requested: consuming no more; %d running tasks are finished, %d reserved ones given back",
                self.active(),
                self.reserved(),
            )
            if not consumer.hub:
                shorten_waits(consumer.connection)
        for name in self.queues:
            consumer.cancel_task_queue(name)
        self.look(consumer)
        self.giving_back.give_back(consumer)
        if self.drain.is_over(consumer, self.beat) and not self.giving_back.waiting:
            logger.warning(
                "Drained in %.1f seconds; %d tasks went back to the broker",
                self.beat - self.drain.began,
                self.giving_back.given,
            )
            self.drained_at = time.monotonic()
            self.chain()
        self.reporter.wake()


class Drain:
    """One drain: which requests are still to be finished and acknowledged."""

    def __init__(self, now):
        self.began = now
        self.held = set()
        self.quiet_since = None

    def is_over(self, consumer, now):
        """Return whether nothing was left at two looks in a row, acknowledgements included."""
        try:
            # Strong references: a finished request leaves Celery's own sets before it is acknowledged.
            self.held.update(worker_state.reserved_requests, worker_state.active_requests)
        except RuntimeError:
            # A pool thread changed a set meanwhile: it is not over.
            self.quiet_since = None
            return False
        self.held = {request for request in self.held if not request.acknowledged}
        busy = worker_state.active_requests or worker_state.reserved_requests
        if busy or getattr(consumer, "_pending_operations", None):
            self.quiet_since = None
            return False
        if self.quiet_since is None:
            self.quiet_since = now
            return False
        return not self.held or now - self.quiet_since > ACKNOWLEDGE_WITHIN


def shorten_waits(connection):
    """Let the blocking loop of gevent and eventlet look at its pending operations at a drain's pace."""
    drain_events = connection.drain_events

    def drain_events_shortly(**kwargs):
        return drain_events(**dict(kwargs, timeout=DRAIN_PULSE))

    connection.drain_events = drain_events_shortly


class NotBegun(Exception):
    """Ends the thread's part in a task that goes back to the broker."""


def refusal():
    """Return what ends a task's thread or greenlet before the task begins, without a word in the log."""
    greenlet = sys.modules.get("greenlet")
    return greenlet.GreenletExit() if greenlet else NotBegun()


def take(request, holder):
    """Return whether a request is this holder's: who asks first has it for good. Safe between threads."""
    return request.__dict__.setdefault(HOLDER_OF_REQUEST, holder) == holder


class GivingBack:
    """Gives back to the broker, while the worker drains, what it has fetched and not begun.

    A request is taken once, by the pool or for the broker, so it cannot be both run here and given back. The pools of
    our own process take it when its task begins. Any other pool takes it when it is handed over: it may be in the
    pipe to a child, and whether the child has begun cannot be known, so it is waited for.
    """

    def __init__(self, worker, draining):
        self.worker = worker
        self.draining = draining
        self.kept = []  # strong references: Celery's own sets have weak ones
        self.waiting = []  # taken for the broker, the last one is the next to go
        self.given = 0
        self.handing_over = 0
        self.process_task = worker._process_task
        worker._process_task = self.hand_over

    @property
    def waits_for_the_pool(self):
        return self.handing_over > 0

    def hand_over(self, request):
        """Stand in for Celery's own: give a request to the pool, but not while draining."""
        if self.draining():
            self.kept.append(request)
            return None
        if pool_name(self.worker.pool) in SHARED_POOLS:
            request.on_accepted = functools.partial(self.begin, request)
        elif not take(request, POOL):
            return None
        self.handing_over += 1
        try:
            return self.process_task(request)
        finally:
            self.handing_over -= 1

    def begin(self, request, pid, time_accepted):
        """Let a task begin, or end its thread; called there, before it is acknowledged early."""
        if self.draining() or not take(request, POOL):
            self.kept.append(request)
            raise refusal()
        del request.on_accepted
        request.on_accepted(pid, time_accepted)

    def give_back(self, consumer):
        """Give back what has not begun, for as long as the main loop can do without us. Runs there."""
        try:
            found = list(worker_state.reserved_requests)
        except RuntimeError:
            found = []  # a pool thread changed it meanwhile: at the next look
        self.empty_buffer(getattr(self.worker.pool, "_pool", None))
        found += self.scheduled(consumer) + self.limited(consumer)
        while self.kept:
            found.append(self.kept.pop())
        new = [request for request in found if HOLDER_OF_REQUEST not in request.__dict__ and take(request, BROKER)]
        if new:
            # The last one goes first, because each goes to the front.
            self.waiting = sorted({*self.waiting, *new}, key=lambda one: one.__dict__.get(PLACE_OF_REQUEST, 0))
        until = time.monotonic() + GIVE_BACK_FOR
        while self.waiting and time.monotonic() < until:
            request = self.waiting.pop()
            # What came by a connection that is lost goes back by itself.
            if not request.acknowledged and request.message.channel is consumer.task_consumer.channel:
                return_to_front(request.message)
                self.given += 1
            request.acknowledged = True
            worker_state.task_ready(request)

    def scheduled(self, consumer):
        """Cancel the timers that would start tasks (ETA, rate limit) and return their requests."""
        names = ("apply_eta_task", "_limit_post_eta", "_schedule_bucket_request")
        starters = [getattr(consumer, name, None) for name in names]
        schedule = consumer.timer.schedule
        found = []
        # Its "queue" would sort them all.
        for waiting in list(getattr(schedule, "_queue", None) or schedule.queue):
            if not waiting.entry.canceled and waiting.entry.fun in starters:
                found += [given for given in waiting.entry.args if isinstance(given, Request)]
                waiting.entry.cancel()
                # gevent's timers are greenlets, which are cancelled themselves.
                getattr(waiting, "cancel", waiting.entry.cancel)()
        return found

    def limited(self, consumer):
        """Return the requests that wait for their rate limit, which has them no longer."""
        found = []
        for bucket in consumer.task_buckets.values():
            while bucket and bucket.contents:
                found.append(bucket.contents.popleft()[0])
        return found

    def empty_buffer(self, pool):
        """Take back what waits in the prefork pool for a child and has not been written to one."""
        buffer = getattr(pool, "outbound_buffer", None) or ()
        for job in list(buffer):
            request = getattr(getattr(job, "_accept_callback", None), "__self__", None)
            if isinstance(request, Request) and not job._accepted and job._write_to is None:
                buffer.remove(job)
                job.discard()
                request.__dict__.pop(HOLDER_OF_REQUEST, None)
                self.kept.append(request)


def return_to_front(message):
    """Requeue a message where it was.

    RabbitMQ puts a rejected message there itself; kombu's Redis transport would put it behind all that wait.
    """
    qos = getattr(message.channel, "qos", None)
    if not hasattr(qos, "restore_by_tag"):
        message.requeue()
        return
    qos.restore_by_tag(message.delivery_tag)
    qos._quick_ack(message.delivery_tag)
    message._state = "REQUEUED"


def restore_by_priority(channel):
    """Let kombu 5.3's Redis transport return messages to the list of their priority, as later ones do."""
    restore = getattr(type(channel), "_do_restore_message", None)
    if restore is None or not hasattr(channel, "_q_for_pri") or "_q_for_pri" in restore.__code__.co_names:
        return

    def restore_to_its_list(payload, *args, **kwargs):
        lookup, priority = channel._lookup, channel._get_message_priority(payload, reverse=False)
        channel._lookup = lambda *names: [channel._q_for_pri(queue, priority) for queue in lookup(*names)]
        try:
            return restore(channel, payload, *args, **kwargs)
        finally:
            del channel._lookup

    channel._do_restore_message = restore_to_its_list


class HeldUp(Exception):
    """The broker takes no message now. No error of a connection: those are tried again without end."""


class Publishing:
    """What the worker itself publishes through AMQP: events, answers to remote control, results of lost tasks.

    RabbitMQ blocks who publishes during an alarm: it reads nothing from such a connection any more, and confirms
    nothing. Tasks that publish may wait for it; the worker's own loop may not, which has to be proven alive.
    """

    def __init__(self, lifecycle):
        self.lifecycle = lifecycle
        self.blocked = weakref.WeakSet()  # connections that the broker has told so
        self.unanswered = weakref.WeakSet()  # connections of events that owe us a confirmation
        self.events_held_up = False
        self.refuse_until = 0.0
        self.local = threading.local()

    def is_held_up(self):
        return self.events_held_up or time.monotonic() < self.refuse_until

    def look_again(self, dispatcher):
        """Notice in the main loop that the broker takes messages again, though no event is to be sent."""
        producer = getattr(dispatcher, "producer", None)
        if self.events_held_up and (producer is None or self.takes_events(producer)):
            self.events_held_up = False

    def takes_events(self, producer):
        """Return whether an event can be sent: one that cannot is worth nothing later."""
        connection = getattr(producer.channel, "connection", None)
        if not hasattr(connection, "drain_events") or not hasattr(connection, "blocking_read"):
            return True
        if threading.get_native_id() == self.lifecycle.pid and self.is_silent(connection):
            # Any failure shows again when something is published.
            with contextlib.suppress(Exception):
                connection.drain_events(timeout=0)
        self.events_held_up = self.is_silent(connection)
        return not self.events_held_up

    def is_silent(self, connection):
        return connection in self.blocked or connection in self.unanswered

    def owner(self):
        """Return on whose behalf somebody publishes: `events`, the worker's `loop`, or None, which is a task's."""
        lifecycle = self.lifecycle
        if os.getpid() != lifecycle.pid:
            return None
        if getattr(self.local, "events", False):
            return "events"
        if threading.get_native_id() != lifecycle.pid or lifecycle.worker.app.current_task is not None:
            return None
        # Until the consumer is set up, Celery is free to wait.
        return "loop" if lifecycle.attached or lifecycle.stopping else None

    def publish(self, function, channel, args, kwargs):
        owner = self.owner()
        if owner is None:
            return function(channel, *args, **kwargs)
        if owner == "loop" and self.is_held_up():
            raise HeldUp("the broker blocks what is published")
        kwargs["timeout"] = PUBLISH_WITHIN
        if kwargs.get("confirm_timeout"):
            kwargs["confirm_timeout"] = PUBLISH_WITHIN
        connection = channel.connection
        try:
            return function(channel, *args, **kwargs)
        except socket.timeout as error:
            if owner == "events":
                # Kept, because it tells when the broker takes messages again.
                self.unanswered.add(connection)
                self.events_held_up = True
            else:
                # Its next confirmation would be the one of this message.
                self.refuse_until = time.monotonic() + REFUSE_FOR
                connection.collect()
            raise HeldUp(f"the broker has not confirmed a message in {PUBLISH_WITHIN:g} seconds") from error
        except Exception as error:
            if isinstance(error.__context__, socket.timeout):
                # Written in part, so nothing that follows would be understood; the next use connects again.
                connection.collect()
            raise

    def send_event(self, function, dispatcher, event, producer, args, kwargs):
        if producer is None or os.getpid() != self.lifecycle.pid:
            return function(dispatcher, event, producer, *args, **kwargs)
        if not self.takes_events(producer):
            return None
        self.local.events = True
        try:
            return function(dispatcher, event, producer, *args, **kwargs)
        finally:
            self.local.events = False

    def close(self, function, channel, args, kwargs):
        """Close a connection or channel; where the broker does not answer, without its answer."""
        connection = channel.connection
        transport = getattr(connection, "transport", None)
        if os.getpid() != self.lifecycle.pid or transport is None or transport.sock is None:
            return function(channel, *args, **kwargs)
        if self.is_silent(connection):
            return connection.collect() if channel is connection else None
        limit = transport.sock.gettimeout()
        try:
            transport.sock.settimeout(CLOSE_WITHIN if limit is None else min(limit, CLOSE_WITHIN))
            return function(channel, *args, **kwargs)
        except socket.timeout:
            return connection.collect()
        finally:
            with contextlib.suppress(AttributeError, OSError):
                transport.sock.settimeout(limit)


def limit_publishing():
    """Let what this process's worker publishes through AMQP go by :class:`Publishing`."""
    from amqp.channel import Channel
    from amqp.connection import Connection

    if hasattr(Channel.basic_publish, "is_limited"):
        return

    def limited(function):
        @functools.wraps(function)
        def publish(self, *args, **kwargs):
            return current.publishing.publish(function, self, args, kwargs)

        publish.is_limited = True
        return publish

    def closing(function):
        @functools.wraps(function)
        def close(self, *args, **kwargs):
            return current.publishing.close(function, self, args, kwargs)

        return close

    def noting(function, note):
        @functools.wraps(function)
        def heard(self, *args, **kwargs):
            note(current.publishing, self)
            return function(self, *args, **kwargs)

        return heard

    Channel.basic_publish = limited(Channel.basic_publish)
    Channel.basic_publish_confirm = limited(Channel.basic_publish_confirm)
    Channel.close, Connection.close = closing(Channel.close), closing(Connection.close)
    Connection._on_blocked = noting(Connection._on_blocked, lambda own, each: own.blocked.add(each))
    Connection._on_unblocked = noting(Connection._on_unblocked, lambda own, each: own.blocked.discard(each))
    Connection.on_inbound_method = noting(Connection.on_inbound_method, lambda own, each: own.unanswered.discard(each))
    publish_event = EventDispatcher._publish

    @functools.wraps(publish_event)
    def publish_event_within(self, event, producer, *args, **kwargs):
        return current.publishing.send_event(publish_event, self, event, producer, args, kwargs)

    EventDispatcher._publish = publish_event_within


class LifecycleStep(bootsteps.StartStopStep):
    """Starts with each connection to the broker, after the task consumer is made and before the event loop.

    Steps stop in reverse, and ours must be the first to know: under gevent, stopping remote control may wait as long
    as the broker is away.
    """

    requires = (
        "celery.worker.consumer.tasks:Tasks",
        "celery.worker.consumer.control:Control",
        "celery.worker.consumer.gossip:Gossip",
        "celery.worker.consumer.heart:Heart",
    )
    label = "Lifecycle"

    def start(self, c):
        if current is not None:
            guarded(tell_what_is_overruled, c)
            guarded(current.connected, c)

    def stop(self, c):
        if current is not None:
            guarded(current.disconnected, c)

    terminate = stop


def guarded(function, *args):
    """Call a hook of ours and return what it returns; its failure is logged and never the worker's."""
    try:
        return function(*args)
    except Exception as error:
        report(f"{function.__name__} failed: {error!r}")
        return None


def tell_what_is_overruled(consumer):
    """Compare what the fleet wants with the connection by which the worker is about to consume."""
    for fault in overruled(consumer.app, consumer.connection, wanted_transport):
        report(f"The fleet's {fault}")


def tell_queues_in_events():
    """Add the field `queue` to the task events of this process's worker.

    Most are sent by a request, which keeps its queue's name; those of a message that is being received are sent past
    its request, or before it could be given the name.
    """
    if hasattr(Request.send_event, "tells_queue"):
        return
    send_event, send = Request.send_event, EventDispatcher.send

    @functools.wraps(send_event)
    def send_event_of_request(self, type, **fields):
        queue = self.__dict__.get(QUEUE_OF_REQUEST) or current.receiving
        if queue is not None:
            fields.setdefault("queue", queue)
        return send_event(self, type, **fields)

    @functools.wraps(send)
    def send_of_dispatcher(self, type, *args, **fields):
        if type in ("task-received", "task-failed") and current.receiving is not None:
            fields.setdefault("queue", current.receiving)
        return send(self, type, *args, **fields)

    send_event_of_request.tells_queue = True
    Request.send_event = send_event_of_request
    EventDispatcher.send = send_of_dispatcher


@signals.task_received.connect
def on_task_received(sender=None, request=None, **kwargs):
    if current is None:
        return
    setattr(request, PLACE_OF_REQUEST, next(places))
    if current.receiving is not None:
        setattr(request, QUEUE_OF_REQUEST, current.receiving)


def begin(worker):
    global current
    worker.app.steps["consumer"].add(LifecycleStep)
    control.Panel.data["shutdown"] = drain_on_remote_shutdown
    current = Lifecycle(worker, os.environ)
    current.reporter.start()


def drain_on_remote_shutdown(state, **kwargs):
    """Take the place of Celery's `shutdown` remote control command (Flower's button, `celery control shutdown`)."""
    if current is not None and current.request_drain():
        return {"ok": "draining; the worker ends when its tasks are done"}
    return remote_shutdown(state, **kwargs)


@signals.worker_init.connect
def on_worker_init(sender=None, **kwargs):
    global wanted_transport
    wanted_transport = guarded(configure_transport, sender.app, os.environ) or {}
    guarded(begin, sender)
    if current is not None:
        guarded(tell_queues_in_events)
        guarded(limit_publishing)


@signals.worker_process_init.connect
def on_worker_process_init(sender=None, **kwargs):
    if current is not None and current.pid == os.getpid():
        return  # the solo pool: its one process is the worker itself
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        os.environ.pop(name, None)
    if current is None:
        # A spawned, not forked, pool process starts from the app's bare configuration.
        guarded(configure_transport, current_app._get_current_object(), os.environ)


@signals.worker_shutting_down.connect
def on_worker_shutting_down(sender=None, **kwargs):
    # Sent from inside Celery's signal handler.
    if current is not None and current.pid == os.getpid():
        current.stopping = True
        current.reporter.wake()


@signals.worker_shutdown.connect
def on_worker_shutdown(sender=None, **kwargs):
    if current is not None and current.pid == os.getpid():
        current.reporter.finish()
