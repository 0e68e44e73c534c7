# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The autoscaler of a namespace, wherever it runs: in it, or on a host with a kubeconfig.

Its Lease tells whether one leads now and which fleets it sizes; each fleet's Deployment notes whether it may. The note
is what lets go: the autoscaler sets a number only on the version of the Deployment in which it has read the note, so
from the note on it sets none, and nobody has to wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.election import Record
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.lease import LeaseObject
from ansible_collections.muejam.celery.plugins.module_utils.clock import REAL_CLOCK, Clock
from ansible_collections.muejam.celery.plugins.module_utils.fleet.owners import NOBODY, POLICY
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Place
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import ownership
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api, HttpApi
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.connection import connect
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.pods import instant

EVERY = 1.0
"""Seconds between two looks at a Lease."""


def open_cluster(place: Place) -> ClusterAutoscaler:
    """Return the autoscaler of a namespace. Nothing is sent yet.

    :raises OperationError: when there is no way to it.
    """
    return ClusterAutoscaler(HttpApi(connect(place)))


class ClusterAutoscaler:
    """The autoscaler of a namespace."""

    def __init__(self, api: Api, clock: Clock = REAL_CLOCK) -> None:
        self.where = f"in namespace {api.namespace} of {api.server}"
        self._api = api
        self._lease = LeaseObject(api, api.namespace)
        self._clock = clock
        self._sized: frozenset[str] | None = None

    def sized(self) -> frozenset[str]:
        """The fleets whose number of workers it sets at present; asked once."""
        if self._sized is None:
            record = self._lease.read()
            noted = ownership.noted(self._api)
            self._sized = frozenset(
                fleet
                for fleet in _told(record) or ()
                if noted.get(fleet) in ("", POLICY) and record is not None and self._held(record)
            )
        return self._sized

    def let_go(self, names: Sequence[str] | None, keep: Sequence[str], check: bool) -> list[str]:
        """Note in the Deployments of fleets that the autoscaler sets their number no more.

        A Lease that nobody holds at the moment counts too: somebody will take it up.
        """
        noted = ownership.noted(self._api)
        asked = [fleet for fleet in sorted(noted) if (fleet not in keep if names is None else fleet in names)]
        gone = [fleet for fleet in asked if noted[fleet] == POLICY]
        unnoted = [fleet for fleet in asked if not noted[fleet]]
        if unnoted:
            told = _told(self._lease.read())
            gone = sorted([*gone, *(fleet for fleet in unnoted if fleet in told)])
        if not check:
            self._sized = None
            for fleet in gone:
                ownership.note(self._api, fleet, NOBODY)
        return gone

    def _held(self, record: Record) -> bool:
        """Whether somebody holds the Lease now: it is young, or, where clocks differ, it is seen to be renewed."""
        if not record.holder:
            return False
        renewed = instant(record.renewed)
        if renewed is not None and abs(self._clock.wall() - renewed) <= record.lasts:
            return True
        until = self._clock.monotonic() + record.lasts
        while self._clock.monotonic() < until:
            self._clock.sleep(EVERY)
            later = self._lease.read()
            if later != record:
                return later is not None and bool(later.holder)
        return False


def _told(record: Record | None) -> tuple[str, ...]:
    return (record.fleets or ()) if record else ()
