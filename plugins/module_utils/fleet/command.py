# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line that starts a worker of a fleet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet import names, placeholders
from ansible_collections.muejam.celery.plugins.module_utils.fleet.celery_names import KEYS_AS_SETTINGS

# The id of a configuration depends on their order.
_NUMBERS = ("prefetch_multiplier", "max_tasks_per_child", "max_memory_per_child", "time_limit", "soft_time_limit")


def argv(fleet: Mapping[str, Any]) -> list[str]:
    """The words of a resolved fleet's command, with the placeholders `%i` and `%H` still in them."""
    if fleet["command"]:
        return list(fleet["command"])
    literal = placeholders.literal
    words = [
        f"{fleet['virtualenv']}/bin/celery" if fleet["virtualenv"] else "celery",
        "-A",
        literal(fleet["app"]),
        "worker",
        f"--hostname={placeholders.node(fleet['name'], fleet['platform'])}",
        f"--loglevel={fleet['log_level']}",
        f"--pool={fleet['pool']}",
    ]
    if fleet["queues"]:
        words.append("--queues=" + literal(",".join(fleet["queues"])))
    if fleet["autoscale"]:
        words.append(f"--autoscale={fleet['autoscale']['max']},{fleet['autoscale']['min']}")
    elif fleet["concurrency"] is not None:
        words.append(f"--concurrency={fleet['concurrency']}")
    elif fleet["pool"] == "solo":
        # It runs one task at a time, but Celery would prefetch for as many as there are processors.
        words.append("--concurrency=1")
    # Celery reads `--prefetch-multiplier=0` as "not given", so that one goes the way of the settings.
    words += [f"--{key.replace('_', '-')}={fleet[key]}" for key in _NUMBERS if fleet[key]]
    if fleet["task_events"]:
        words.append("--task-events")
    if fleet["notify"]:
        words.append(f"--include={names.LIFECYCLE_MODULE}")
    words += fleet["extra_args"]
    return words + [literal(setting) for setting in setting_arguments(fleet)]


def settings(fleet: Mapping[str, Any]) -> dict[str, Any]:
    """Celery settings of the fleet that no flag of `celery worker` sets."""
    wanted = dict(fleet["celery_settings"])
    wanted.update({setting: fleet[key] for key, setting in KEYS_AS_SETTINGS.items() if fleet[key] is not None})
    if fleet["prefetch_multiplier"] == 0:
        wanted["worker_prefetch_multiplier"] = 0
    return wanted


def setting_arguments(fleet: Mapping[str, Any]) -> list[str]:
    """The settings as Celery's own command-line configuration, such as `task.acks_late=(json)true`.

    Read in `celery.loaders.base.BaseLoader.cmdline_config_parser`: the name is lower-cased and its dots become
    underscores; without a cast in front, lists and dictionaries cannot be passed and numbers depend on the setting.
    """
    return [
        f"{name.replace('_', '.', 1)}=(json){json.dumps(value, sort_keys=True, ensure_ascii=False)}"
        for name, value in sorted(settings(fleet).items())
    ]
