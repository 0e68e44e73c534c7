# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of a fleet, in one table.

Fleets are checked and resolved by it, and it writes what users read of the keys: `meta/argument_specs.yml` and the
README of the role `worker` (`make docs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.brokers import tls, transport_options
from ansible_collections.muejam.celery.plugins.module_utils.brokers.url import fault_of, fault_of_http
from ansible_collections.muejam.celery.plugins.module_utils.checks import (
    BOOLEAN,
    BOOLEAN_OR_MAPPING,
    INTEGER,
    MAPPING,
    PATH,
    PATHS,
    SECONDS,
    TEXT,
    TEXTS,
)
from ansible_collections.muejam.celery.plugins.module_utils.fleet import amounts, pod_options, policies, values
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import KUBERNETES, ON_HOSTS, PLATFORMS

ON_KUBERNETES = (KUBERNETES,)

PREFORK = "prefork"
POOLS = (PREFORK, "gevent", "solo", "threads")


def _union(base: Mapping[Any, Any], top: Mapping[Any, Any]) -> Mapping[Any, Any]:
    return {**base, **top}


@dataclass(frozen=True)
class Key(checks.Key):
    """One key of a fleet: what it takes, and what it means.

    :ivar text: what users read of it, in Ansible's markup.
    :ivar default: its value where nobody gives one.
    :ivar otherwise: in words, what holds then, where that is no fixed value.
    :ivar inherits: whether the defaults of all fleets can have it.
    :ivar adds: whether its entries add to those of the defaults; every other key replaces its default.
    :ivar added: how they do.
    :ivar builds_command: whether it only shapes the `celery worker` command line, and means nothing beside `command`.
    :ivar pools: those that have it; Celery ignores it with others.
    :ivar platforms: where it means something.
    """

    text: str = ""
    default: object = None
    otherwise: str = ""
    inherits: bool = True
    adds: bool = False
    added: Callable[[Mapping[Any, Any], Mapping[Any, Any]], Mapping[Any, Any]] = _union
    builds_command: bool = False
    pools: tuple[str, ...] = POOLS
    platforms: tuple[str, ...] = PLATFORMS


AUTOSCALING_OPTIONS: Mapping[str, Key] = {
    "lists": Key(
        TEXT,
        choices=("all", "bare"),
        any_case=True,
        text="V(all), the default, counts all lists of all queues and what is not acknowledged. V(bare) counts one "
        "list for each queue, between the bounds of the limits, and translates nothing else.",
    ),
    "list_length": Key(INTEGER, minimum=1, text="Messages for which there is to be a worker, by default V(50)."),
    "polling_interval": Key(
        INTEGER, minimum=1, text="Seconds after which KEDA looks at a fleet that is at 0, by default V(30)."
    ),
    "cooldown_period": Key(
        INTEGER, minimum=0, text="Seconds without messages after which KEDA goes to 0, by default V(300)."
    ),
    "cpu_target": Key(
        INTEGER, minimum=1, maximum=100, text="Per cent of the requested CPU at which it is kept, by default V(70)."
    ),
    "memory_target": Key(INTEGER, minimum=1, maximum=100, text="Likewise for memory, by default V(80)."),
    "windows": Key(
        TEXT,
        choices=("cron_jobs", "triggers"),
        any_case=True,
        text="Who keeps the windows of the policy for KEDA. V(cron_jobs), the default, set floor and ceiling; "
        "V(triggers) need no C(image), and keep floors alone.",
    ),
    "image": Key(
        TEXT, check=values.image, text="Image with kubectl, for CronJobs, by default V(rancher/kubectl:v1.34.1)."
    ),
    "broker_url": Key(
        TEXT,
        check=fault_of,
        text="URL by which KEDA reaches the broker, where it is not the fleet's. KEDA has a namespace of its own, and "
        "may have a login that only reads.",
    ),
    "management_url": Key(
        TEXT, check=fault_of_http, text="URL of RabbitMQ's management API, which tells of unacknowledged messages too."
    ),
    "ca": Key(
        TEXT,
        check=values.pem,
        text="Certificates in PEM by which KEDA checks the broker's; the files of C(broker_use_ssl) are in the pods.",
    ),
    "certificate": Key(TEXT, check=values.pem, text="Certificate that KEDA shows the broker, in PEM."),
    "key": Key(TEXT, check=values.pem, text="Its key, in PEM."),
}
"""What KEDA, an HPA or CronJobs take that no policy says."""

KEYS: Mapping[str, Key] = {
    "name": Key(
        TEXT,
        required="the fleet a name such as web",
        check=values.fleet_name,
        inherits=False,
        text="Name of the fleet: lower-case letters, digits and inner hyphens, at most 40.",
    ),
    "state": Key(
        TEXT,
        choices=("present", "absent"),
        any_case=True,
        default="present",
        inherits=False,
        text="V(absent) drains the workers and removes what the role put on the host or into the cluster.",
    ),
    "workers": Key(
        INTEGER,
        minimum=0,
        default=1,
        text="Number of workers on this host or in this cluster, 0 or more. A worker is one systemd unit, or one pod. "
        "With a policy only the number to begin with.",
    ),
    "policy": Key(
        checks.Kind("a dictionary, {} for the defaults of every part", "dict", policies.plain),
        inside=policies.faults,
        text="Policy by which the role P(muejam.celery.autoscaler#role) scales the fleet; V({}) is the default policy. "
        "Needs C(queues). A policy of the defaults is replaced as a whole; V(null) is none.",
    ),
    "app": Key(TEXT, check=checks.line, text="The Celery app as C(celery -A) takes it, such as V(proj.celery:app)."),
    "command": Key(
        TEXTS,
        check=values.argument,
        text="The whole command that starts a worker, in place of C(app), for programs that do so themselves, such as "
        "C(airflow celery worker). It has to name the node C(<fleet>-%i@%H), on Kubernetes C(<fleet>@%H). C(queues) "
        "selects nothing then, it says what the command consumes from.",
    ),
    "working_directory": Key(
        PATH,
        check=checks.path,
        otherwise="C(/var/lib/celery-worker/<name>), on Kubernetes that of the image",
        text="Directory that workers start in. On a host their sandbox lets them write to it as far as its permissions "
        "do.",
    ),
    "virtualenv": Key(
        PATH,
        check=checks.path,
        otherwise="C(/opt/celery-worker/<name>) with packages, on Kubernetes C(celery) of the image's C(PATH)",
        text="Virtualenv of the app. Left alone unless packages are given. On Kubernetes one that is in the image.",
    ),
    "packages": Key(
        TEXTS, check=values.package, platforms=ON_HOSTS, text="Requirements that pip installs into the virtualenv."
    ),
    "python": Key(
        TEXT,
        check=checks.line,
        platforms=ON_HOSTS,
        otherwise="C(celery_worker_python)",
        text="Interpreter that the virtualenv is made with.",
    ),
    "user": Key(
        TEXT,
        check=checks.user,
        default="celery",
        platforms=ON_HOSTS,
        text="User that workers run as, created when missing, else left as it is.",
    ),
    "group": Key(
        TEXT,
        check=checks.user,
        otherwise="that of C(user)",
        platforms=ON_HOSTS,
        text="Group that workers run as.",
    ),
    "environment": Key(
        MAPPING,
        check=values.variable,
        adds=True,
        text="Environment variables, secrets included. They are kept in a file that only root can read, or in a "
        "Secret; a value with C(%i) stands in the unit file or the Deployment instead, which others can read. Values "
        "may have several lines.",
    ),
    "environment_files": Key(
        PATHS,
        check=checks.path,
        platforms=ON_HOSTS,
        text="Files of variables that the application has already, in the spelling of systemd's C(EnvironmentFile=). "
        "Root reads them. C(environment) and what the role sets win over them; a changed file restarts workers at the "
        "next deployment.",
    ),
    "broker_url": Key(
        TEXT,
        check=values.broker_url,
        text="URL of the broker, Redis, Valkey or RabbitMQ. Given to the app as C(CELERY_BROKER_URL). What is special "
        "in user and password is percent-encoded. It has to be given, here or in the defaults.",
    ),
    "result_backend": Key(
        TEXT,
        check=values.result_backend,
        text="URL of the result backend. Given to the app as C(CELERY_RESULT_BACKEND).",
    ),
    "broker_transport_options": Key(
        checks.Kind("a dictionary", "dict", values.transport, empty=dict),
        inside=transport_options.faults,
        adds=True,
        text="Options of kombu's transport, laid over the app's own, which the tools know by themselves. Numbers, "
        "truth values and the keys of C(socket_keepalive_options) may be texts, as templates are on ansible-core up to "
        "2.18; what is of no use to its option is refused. Names of lists (C(global_keyprefix), C(sep), "
        "C(priority_steps)) that contradict the app's are refused.",
    ),
    "broker_use_ssl": Key(
        BOOLEAN_OR_MAPPING,
        inside=tls.faults,
        text="How to speak TLS with the broker, in place of the app's own setting of this name. V(true), or "
        "C(ca_certs), C(certfile), C(keyfile), C(cert_reqs) (V(required), V(optional), V(none)), for Redis "
        "C(check_hostname), for RabbitMQ C(server_hostname) (V(null) is the one of the URL; without it no name is "
        "checked). A bare C(rediss://) verifies nothing, so set V(true) beside it. The workers' user has to be able to "
        "read the files, and so has C(celery-autoscaler) where the fleet has a policy. With a command the app has to "
        "be told by itself.",
    ),
    "queues": Key(TEXTS, check=values.queue, otherwise="the app's own", text="Queues to consume from."),
    "pool": Key(TEXT, choices=POOLS, any_case=True, default=PREFORK, text="Kind of pool."),
    "concurrency": Key(
        INTEGER,
        pools=("prefork", "gevent", "threads"),
        minimum=1,
        otherwise="the number of cores",
        builds_command=True,
        text="Tasks at once; not with pool V(solo) or with autoscale.",
    ),
    "autoscale": Key(
        MAPPING,
        pools=("prefork",),
        inside=values.bounds,
        keys={
            "max": Key(INTEGER, minimum=1, required="a whole number", text="The most processes."),
            "min": Key(INTEGER, minimum=0, required="a whole number", text="The fewest processes."),
        },
        builds_command=True,
        text="Processes that Celery keeps in the pool; pool V(prefork) only.",
    ),
    "prefetch_multiplier": Key(
        INTEGER,
        minimum=0,
        text="Messages fetched ahead for each process; 0 is no limit. With a command it only says how many it fetches.",
    ),
    "max_tasks_per_child": Key(
        INTEGER,
        pools=("prefork",),
        minimum=1,
        builds_command=True,
        text="Tasks after which a pool process is replaced; pool V(prefork) only.",
    ),
    "max_memory_per_child": Key(
        INTEGER,
        pools=("prefork",),
        minimum=1,
        builds_command=True,
        text="Memory in KiB after which a pool process is replaced; pool V(prefork) only.",
    ),
    "soft_time_limit": Key(
        SECONDS, pools=("prefork",), minimum=0, text="Seconds after which a task is told to end; pool V(prefork) only."
    ),
    "time_limit": Key(
        SECONDS,
        pools=("prefork", "gevent"),
        minimum=0,
        text="Seconds after which a task is killed; pools V(prefork) and V(gevent). With a command it only says how "
        "long a task may take.",
    ),
    "drain_timeout": Key(
        SECONDS,
        minimum=0,
        default=300,
        text="Seconds that a stopping worker has to finish its tasks; at least the time limit, without C(notify) also "
        "for what was fetched.",
    ),
    "start_timeout": Key(SECONDS, minimum=0, default=120, text="Seconds that a starting worker has until it consumes."),
    "visibility_timeout": Key(
        SECONDS,
        minimum=0,
        otherwise="the app's own",
        text="Seconds after which Redis delivers an unacknowledged task again; above the time limit of what a process "
        "has fetched.",
    ),
    "acks_late": Key(
        BOOLEAN, otherwise="the app's own", builds_command=True, text="Whether tasks are acknowledged after they ran."
    ),
    "task_events": Key(
        BOOLEAN, default=False, builds_command=True, text="Whether workers send events about each task."
    ),
    "log_level": Key(
        TEXT,
        choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL"),
        any_case=True,
        default="INFO",
        builds_command=True,
        text="The least severe of what a worker logs.",
    ),
    "extra_args": Key(
        TEXTS,
        check=values.argument,
        builds_command=True,
        text="Further arguments of C(celery worker), but none that erases queues, says what a key says, or hides "
        "workers from the tools. C(%i) is the worker's number, C(%H) the host's name; on Kubernetes both are the pod's "
        "name.",
    ),
    "celery_settings": Key(
        MAPPING,
        check=values.celery_setting,
        adds=True,
        builds_command=True,
        text="Celery settings that have no key here, by their lower-case names. They stand on the command line, so no "
        "secrets.",
    ),
    "queue_max_priority": Key(
        INTEGER,
        minimum=1,
        builds_command=True,
        text="On RabbitMQ, the highest priority that queues are declared with. Whoever publishes has to declare the "
        "same (C(task_queue_max_priority)).",
    ),
    "priority_order": Key(
        TEXT,
        choices=("high_first", "low_first"),
        any_case=True,
        otherwise="V(high_first), or the app's own order",
        text="Which end of the priorities Redis takes first. V(high_first) is RabbitMQ's order, 9 before 0. An app "
        "that sets C(priority_steps) or C(queue_order_strategy) itself keeps its order unless this key says otherwise.",
    ),
    "notify": Key(
        BOOLEAN,
        otherwise="V(true) with app, V(false) with command",
        text="Whether the worker loads the lifecycle module. Without it readiness and draining come from outside, by "
        "remote control, which Kubernetes cannot do. With a command, the command or the app has to include "
        "C(muejam_celery_lifecycle).",
    ),
    "watchdog": Key(
        SECONDS,
        otherwise="V(60) with notify",
        text="Seconds without a sign of life after which systemd or the kubelet restarts the worker; 0 is off.",
    ),
    "memory_max": Key(
        TEXT,
        check=checks.memory,
        text="Memory that a worker may take, such as V(512M), in units of 1024, or on a host V(25%).",
    ),
    "allow_memory_overcommit": Key(
        BOOLEAN,
        default=False,
        platforms=ON_HOSTS,
        text="Whether the workers' limits together may be above the memory of the host. With a policy its "
        "C(max_workers) count.",
    ),
    "cpu_quota": Key(
        TEXT,
        check=checks.cpu_share,
        text="CPU time that a worker may take, such as V(150%); V(100%) is one core.",
    ),
    "read_write_paths": Key(
        PATHS,
        check=checks.path,
        text="Further directories that workers may write to, on a host as far as permissions let them. On Kubernetes "
        "each is an empty one of the pod's own, which hides what the image has there and ends with the pod.",
    ),
    "unit_options": Key(
        MAPPING,
        check=values.directive,
        adds=True,
        platforms=ON_HOSTS,
        text="Further directives of the unit's [Service] section, as they are. They win over the role's. A list gives "
        "several lines; one that begins with an empty text replaces what the role set.",
    ),
    "image": Key(
        TEXT,
        check=values.image,
        platforms=ON_KUBERNETES,
        text="Image of the app, with Celery in it. It has to be given, here or in the defaults.",
    ),
    "pull_policy": Key(
        TEXT,
        choices=("Always", "IfNotPresent", "Never"),
        any_case=True,
        platforms=ON_KUBERNETES,
        otherwise="Kubernetes' own, V(Always) for the tag C(latest), else V(IfNotPresent)",
        text="When a node fetches the image.",
    ),
    "requests": Key(
        MAPPING,
        platforms=ON_KUBERNETES,
        keys={
            "cpu": Key(TEXT, check=amounts.cpu_fault, text="CPU time, such as V(50%) or V(500m); V(100%) is one core."),
            "memory": Key(TEXT, check=amounts.memory_fault, text="Memory, such as V(256M), in units of 1024."),
        },
        otherwise="C(memory_max) and C(cpu_quota)",
        text="What a node has to have left for a pod to be put there.",
    ),
    "pod_options": Key(
        MAPPING,
        inside=pod_options.faults,
        platforms=ON_KUBERNETES,
        adds=True,
        added=pod_options.added,
        text="C(metadata) and C(spec) to lay over those of the pods, as they are. They win over the role's: "
        "dictionaries add up, lists of what has a name add up by name (the container is V(worker)), other lists are "
        "replaced, and V(null) takes out.",
    ),
    "autoscaling_options": Key(
        MAPPING,
        keys=AUTOSCALING_OPTIONS,
        platforms=ON_KUBERNETES,
        adds=True,
        text="What KEDA, an HPA or CronJobs take that no policy says, where C(celery_worker_autoscaling) names them.",
    ),
}
