# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What KEDA can ask Redis and Valkey for: the length of each list, and of the hash of unacknowledged messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from ansible_collections.muejam.celery.plugins.module_utils.addresses import Address, addresses
from ansible_collections.muejam.celery.plugins.module_utils.brokers.keda_trigger import (
    Backlog,
    NotForKeda,
    Triggers,
    database,
    host_and_port,
    login,
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
    # The encoding belongs to the URL: KEDA gives the broker what it is given.
    secrets: dict[str, str | None] = {
        "username": unquote(places[0].user),
        "password": unquote(places[0].password),
    }
    if scheme == "sentinel":
        if not options.get("master_name"):
            raise NotForKeda("transport_options name no master_name, which tells the sentinels who is meant")
        kind = "redis-sentinel"
        metadata = {
            "addresses": ",".join(host_and_port(each, port) for each in places),
            "sentinelMaster": str(options["master_name"]),
        }
        of_sentinels = options.get("sentinel_kwargs") or {}
        secrets["sentinelUsername"] = of_sentinels.get("username")
        secrets["sentinelPassword"] = of_sentinels.get("password")
    ends = {"databaseIndex": database(places[0], REDIS.database)}
    if scheme == "rediss" or backlog.tls:
        ends["enableTLS"] = "true"
        secrets.update(backlog.certificates)
        if not (backlog.verified and _verified(places[-1])):
            ends["unsafeSsl"] = "true"
    names = [(name, f"list_{place}") for place, name in enumerate(_lists(backlog, options))]
    if backlog.whole:
        unacked = options.get("unacked_key") or "unacked"
        names.append((f"{options['global_keyprefix']}{unacked}", "unacknowledged"))
    parameters, secret = login(secrets)
    found = [
        trigger(
            kind,
            {**metadata, "listName": name, "listLength": str(backlog.list_length), **ends},
            label if backlog.whole else "",
            backlog.authentication if parameters else "",
        )
        for name, label in names
    ]
    if not backlog.whole:
        unseen = ("all priorities but one", "messages that are not acknowledged")
        return Triggers(found, parameters, unseen, secret=secret)
    # Celery keeps them in one hash, which does not tell KEDA whose they are.
    place = f"database {ends['databaseIndex']}"
    if options["global_keyprefix"]:
        place += f" under the prefix {options['global_keyprefix']}"
    foreign = (
        f"what all fleets in {place} have not acknowledged, so give each a database or a global_keyprefix of its own"
    )
    return Triggers(found, parameters, foreign=foreign, secret=secret)


def _verified(address: Address) -> bool:
    """Whether a URL leaves it to check the broker's certificate."""
    asked = parse_qs(address.place.partition("?")[2]).get("ssl_cert_reqs", ["required"])[-1]
    return asked.lower().removeprefix("cert_") != "none"


def _lists(backlog: Backlog, options: Mapping[str, Any]) -> list[str]:
    """Return the names of the lists of all queues: one for each step, the bare name for step 0."""
    prefix, sep = options["global_keyprefix"], options["sep"]
    steps = sorted(options["priority_steps"]) if backlog.whole else [0]
    return [f"{prefix}{queue}{f'{sep}{step}' if step else ''}" for queue in backlog.queues for step in steps]
