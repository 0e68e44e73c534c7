# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the app itself sets, before anything of the fleet is put into it."""

import contextlib

from .broker_urls import other_broker

# Options of the app that whoever reads its broker has to know. None of them is a secret.
TRANSPORT_OPTIONS = (
    "global_keyprefix", "sep", "priority_steps", "queue_order_strategy", "visibility_timeout",
    "unacked_key", "unacked_index_key", "unacked_mutex_key", "unacked_mutex_expire", "unacked_restore_limit",
    "fanout_prefix", "fanout_patterns", "ack_emulation", "master_name", "sentinel_fanout_compat",
)  # fmt: skip


def tell_facts(app, request, answer):
    """What the app itself sets, before anything of the fleet is put into it."""
    conf = app.conf
    answer["app"] = request["app"]
    options = dict(conf.broker_transport_options or {})
    if options.get("priority_steps"):
        options["priority_steps"] = [int(step) for step in options["priority_steps"]]
    answer["transport_options"] = {
        name: options[name]
        for name in TRANSPORT_OPTIONS
        if isinstance(options.get(name), (bool, int, float, str, list))
    }
    # Those that a worker consumes from when it is told of none; each worker has a list of its own for a broadcast.
    # Sorted, as an app may name them as a set, which has another order in each process.
    answer["queues"] = sorted(
        queue.name for queue in app.amqp.queues.values() if getattr(queue.exchange, "type", None) != "fanout"
    )
    answer["remote_control"] = bool(conf.worker_enable_remote_control)
    answer["control_exchange"] = str(conf.get("control_exchange") or "celery")
    answer["event_exchange"] = str(conf.get("event_exchange") or "celeryev")
    answer["sets_priorities"] = sets_priorities(app)
    answer["other_broker"] = other_broker(conf, request)


def sets_priorities(app):
    """Whether the app gives its tasks priorities: all, some of them, or by routes and schedules."""
    conf = app.conf
    # What is wrong with them the worker tells itself.
    with contextlib.suppress(BaseException):
        app.loader.import_default_modules()
    tasks = [task for name, task in app.tasks.items() if not name.startswith("celery.")]
    return (
        conf.task_default_priority is not None
        or conf.task_queue_max_priority is not None
        or any(getattr(task, "priority", None) is not None for task in tasks)
        or names_priority(conf.task_routes)
        or names_priority(conf.beat_schedule)
    )


def names_priority(value):
    """Whether a priority is given anywhere in these dictionaries and lists."""
    if isinstance(value, dict):
        return any((key == "priority" and one is not None) or names_priority(one) for key, one in value.items())
    return isinstance(value, (list, tuple)) and any(names_priority(one) for one in value)


def check_queues(app, request, say):
    """A worker ends at once when it is told of a queue that the app does not know and may not make."""
    if app.conf.task_create_missing_queues:
        return
    unknown = [queue for queue in request["queues"] if queue not in app.amqp.queues]
    if unknown:
        say(
            "queues: the app does not know {}, and task_create_missing_queues is off in it: correct the names, or add "
            "them to task_queues of the app; it knows {}".format(
                ", ".join(unknown), ", ".join(sorted(app.amqp.queues)) or "none"
            )
        )
