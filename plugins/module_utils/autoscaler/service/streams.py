# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event streams that the watched fleets use, one for each broker and exchange."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.event_stream import EventStream
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import WatchedFleet
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.nodes import FleetOf
from ansible_collections.muejam.celery.plugins.module_utils.observe.events.values import FleetEvents, StreamHealth
from ansible_collections.muejam.celery.plugins.module_utils.observe.observing import Heartbeats
from ansible_collections.muejam.celery.plugins.module_utils.redaction import place_of

_Place = str  # what makes two streams one: URL, options, TLS and exchange, as one text


_FOR_WORKERS = ("visibility_timeout", "priority_steps", "sep", "queue_order_strategy", "polling_interval")


class Streams:
    """Listens to every broker of the fleets that it is told to watch."""

    def __init__(self, fleet_of: FleetOf) -> None:
        """Prepare to listen.

        :param fleet_of: tells which fleet of this place the worker of a name belongs to.
        """
        self._fleet_of = fleet_of
        self._streams: dict[_Place, EventStream] = {}
        self._place_of: dict[str, _Place] = {}
        self._name_of: dict[_Place, str] = {}

    def watch(self, fleets: Sequence[WatchedFleet]) -> None:
        """Watch these fleets from now on; those watched before at the same broker keep their counts."""
        wanted: dict[_Place, list[WatchedFleet]] = {}
        for fleet in fleets:
            wanted.setdefault(_place(fleet), []).append(fleet)
        streams = dict(self._streams)
        for place in streams.keys() - wanted.keys():
            # Its thread ends by itself; nobody waits for a broker that may not answer.
            streams.pop(place).stop(timeout=0)
        for place, users in wanted.items():
            queues = {fleet.name: fleet.queues for fleet in users}
            if place in streams:
                streams[place].watch(queues)
            else:
                first = users[0]
                # Where a fleet of this name runs in other places too, their own services count those workers.
                streams[place] = EventStream(
                    first.broker_url,
                    queues,
                    first.transport_options,
                    first.ssl,
                    exchange=first.event_exchange,
                    fleet_of=self._fleet_of,
                )
                streams[place].start()
        self._name_of = {place: place_of(users[0].broker_url) for place, users in wanted.items()}
        self._place_of = {fleet.name: place for place, users in wanted.items() for fleet in users}
        self._streams = streams

    def heartbeats(self, fleet: str) -> Heartbeats:
        """Return what the workers of a fleet last said of themselves, as far as it is recent."""
        return {node: (worker.active, worker.started) for node, worker in self.events(fleet).beats.items()}

    def events(self, fleet: str) -> FleetEvents:
        """Return what was heard of a fleet."""
        stream = self._streams.get(self._place_of.get(fleet, ""))
        return stream.snapshot().by_fleet(fleet) if stream else FleetEvents(fleet)

    def health(self) -> Iterable[tuple[str, StreamHealth]]:
        """Yield each broker, without its password, and how well its events are heard."""
        for place, stream in list(self._streams.items()):
            yield self._name_of.get(place, ""), stream.snapshot().health


def _place(fleet: WatchedFleet) -> _Place:
    # What else options say does not change where one connects, or what is heard there.
    ways = {key: value for key, value in fleet.transport_options.items() if key not in _FOR_WORKERS}
    options: list[Mapping[str, Any] | bool | str | None] = [ways, fleet.ssl, fleet.event_exchange]
    return f"{fleet.broker_url} {json.dumps(options, sort_keys=True, default=str)}"
