# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Celery calls things that a fleet has keys for: options of its command line, settings, and variables.

Read in Celery 5.3 to 5.7, in `celery/bin/` and `celery/app/defaults.py`.
A test compares the options with those of the Celery that is installed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """One option of Celery's command line.

    :ivar names: its spellings; the first one that begins with two hyphens also names it in the environment.
    :ivar value: whether it takes a value.
    :ivar key: the key of a fleet that says the same.
    :ivar setting: the setting that says the same, where a key does.
    :ivar refused: why no fleet can have it.
    """

    names: tuple[str, ...]
    value: bool = True
    key: str | None = None
    setting: str = ""
    refused: str | None = None

    @property
    def name(self) -> str:
        """The long spelling by which Celery knows it."""
        return next(name for name in self.names if name.startswith("--"))

    @property
    def variable(self) -> str:
        """The rest of the name of the environment variable that Celery reads it from as well."""
        return self.name[2:].replace("-", "_").upper()


def _switch(*names: str, key: str | None = None, setting: str = "", refused: str | None = None) -> Flag:
    return Flag(names, False, key, setting, refused)


OFF = ("", "0", "false", "f", "no", "n", "off")
"""What a variable says where Celery takes it for an option that is not given."""

HEARTBEATS = "a worker that does not answer is known by its heartbeats, every 2 s"

_PID_FILE = "systemd knows the process, and a file that a crash left would keep a worker from starting"

WORKER = (
    Flag(("-n", "--hostname"), key="name"),
    _switch("-D", "--detach", refused="systemd has to see the worker's own process"),
    Flag(("-S", "--statedb")),
    Flag(("-l", "--loglevel"), key="log_level"),
    Flag(("-O", "--optimization")),
    Flag(("--prefetch-multiplier",), key="prefetch_multiplier", setting="worker_prefetch_multiplier"),
    _switch("--disable-prefetch"),
    Flag(("-c", "--concurrency"), key="concurrency", setting="worker_concurrency"),
    Flag(("-P", "--pool"), key="pool", setting="worker_pool"),
    Flag(("--pool-start-method",)),
    _switch("-E", "--task-events", "--events", key="task_events", setting="worker_send_task_events"),
    Flag(("--time-limit",), key="time_limit", setting="task_time_limit"),
    Flag(("--soft-time-limit",), key="soft_time_limit", setting="task_soft_time_limit"),
    Flag(("--max-tasks-per-child",), key="max_tasks_per_child", setting="worker_max_tasks_per_child"),
    Flag(("--max-memory-per-child",), key="max_memory_per_child", setting="worker_max_memory_per_child"),
    _switch("--purge", "--discard", refused="it would erase the queues whenever a worker starts"),
    Flag(("--queues", "-Q"), key="queues"),
    Flag(("--exclude-queues", "-X"), key="queues"),
    Flag(("--include", "-I")),
    _switch("--without-gossip"),
    _switch("--without-mingle"),
    _switch("--without-heartbeat", refused=HEARTBEATS),
    Flag(("--heartbeat-interval",)),
    Flag(("--autoscale",), key="autoscale"),
    _switch("-B", "--beat"),
    Flag(("-s", "--schedule-filename", "--schedule")),
    Flag(("--scheduler",)),
    Flag(("--logfile", "-f")),
    Flag(("--pidfile",), refused=_PID_FILE),
    Flag(("--uid",), key="user", setting="worker_uid"),
    Flag(("--gid",), key="group", setting="worker_gid"),
    Flag(("--umask",)),
    Flag(("--executable",)),
    _switch("--help", refused="it prints a text in place of starting a worker"),
)
"""Options of `celery worker`."""

MAIN = (
    Flag(("-A", "--app"), key="app"),
    Flag(("-b", "--broker"), key="broker_url", setting="broker_url"),
    Flag(("--result-backend",), key="result_backend", setting="result_backend"),
    Flag(("--loader",)),
    Flag(("--config",)),
    Flag(("--workdir",), key="working_directory"),
    _switch("-C", "--no-color"),
    _switch("-q", "--quiet"),
    _switch("--version", refused="it prints a text in place of starting a worker"),
    _switch("--skip-checks"),
    _switch("--help", refused="it prints a text in place of starting a worker"),
)
"""Options of `celery` itself, which stand before its command."""

KEYS_AS_SETTINGS = {"acks_late": "task_acks_late", "queue_max_priority": "task_queue_max_priority"}
"""Keys of a fleet that no option says: the setting that each makes."""

SETTING_KEYS = {
    **{flag.setting: flag.key for flag in (*WORKER, *MAIN) if flag.setting and flag.key},
    **{setting: key for key, setting in KEYS_AS_SETTINGS.items()},
    **{
        f"broker_{part}": "broker_url"
        for part in ("read_url", "write_url", "host", "port", "user", "password", "vhost", "transport")
    },
    "broker_transport_options": "broker_transport_options",
    "broker_use_ssl": "broker_use_ssl",
}
"""Settings that a key of the fleet makes."""

SETTINGS_REFUSED = {
    "control_exchange": "the tools reach workers by the default one",
    "event_exchange": "the tools hear workers by the one that the app itself sets",
    "worker_pidfile": _PID_FILE,
    "worker_state_db": "workers cannot share the file: give extra_args --statedb=/path/%i",
}
"""Settings that break what the tools rely on."""
