# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What KEDA can ask Redis and Valkey for: the length of each list, and of the hash of unacknowledged messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.addresses import addresses
from ansible_collections.muejam.celery.plugins.module_utils.brokers.keda_trigger import (
    LOGIN_KEYS,
    Backlog,
    NotForKeda,
    Triggers,
    database,
    host_and_port,
    trigger,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.kind import REDIS


def triggers_of(backlog: Backlog) -> Triggers:
    """Return a trigger for each list.

    :raises NotForKeda: when the URL leads to a socket, or a sentinel's master is not named.
    """
    options = {**REDIS.list_options, **backlog.transport_options}
    places = addresses(backlog.broker_url)
    scheme = places[0].scheme
    if scheme == "redis+socket":
        raise NotForKeda("a socket of one host is not reached from a cluster; give a URL such as redis://host:6379/0")
    port = REDIS.schemes[scheme].port or 0
    kind, metadata = "redis", {"address": host_and_port(places[0], port)}
    parameters = {
        name: LOGIN_KEYS[name]
        for name, value in (("username", places[0].user), ("password", places[0].password))
        if value
    }
    if scheme == "sentinel":
        if not options.get("master_name"):
            raise NotForKeda("transport_options name no master_name, which tells the sentinels who is meant")
        kind = "redis-sentinel"
        metadata = {
            "addresses": ",".join(host_and_port(each, port) for each in places),
            "sentinelMaster": str(options["master_name"]),
        }
        if (options.get("sentinel_kwargs") or {}).get("password"):
            parameters["sentinelPassword"] = "broker-sentinel-password"
    ends = {"databaseIndex": database(places[0], REDIS.database)}
    if scheme == "rediss" or backlog.tls:
        ends["enableTLS"] = "true"
        if not backlog.verified:
            ends["unsafeSsl"] = "true"
    names = [(name, f"list_{place}") for place, name in enumerate(_lists(backlog, options))]
    if backlog.whole:
        unacked = options.get("unacked_key") or "unacked"
        names.append((f"{options['global_keyprefix']}{unacked}", "unacknowledged"))
    found = [
        trigger(
            kind,
            {**metadata, "listName": name, "listLength": str(backlog.list_length), **ends},
            label if backlog.whole else "",
            backlog.authentication if parameters else "",
        )
        for name, label in names
    ]
    if backlog.whole:
        return Triggers(found, parameters)
    return Triggers(found, parameters, ("all priorities but one", "messages that are not acknowledged"))


def _lists(backlog: Backlog, options: Mapping[str, Any]) -> list[str]:
    """Return the names of the lists of all queues: one for each step, the bare name for step 0."""
    prefix, sep = options["global_keyprefix"], options["sep"]
    steps = sorted(options["priority_steps"]) if backlog.whole else [0]
    return [f"{prefix}{queue}{f'{sep}{step}' if step else ''}" for queue in backlog.queues for step in steps]
