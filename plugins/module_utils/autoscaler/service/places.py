# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is different about the autoscaler from one platform to the next: who acts, where state is kept, who leads."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.leadership import Alone, Leadership
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import Configuration
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.store import Store
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import KUBERNETES
from ansible_collections.muejam.celery.plugins.module_utils.observe.observing import Heartbeats
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Platform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.registry import open_platform


@dataclass(frozen=True)
class Surroundings:
    """What the autoscaler needs of the place that it is for.

    :ivar store: None is the file of its configuration.
    """

    platform: Platform
    leadership: Leadership
    store: Store | None = None


def surroundings(configuration: Configuration, heartbeats: Callable[[str], Heartbeats]) -> Surroundings:
    """Return those of the configuration's platform. Nothing is asked yet.

    :param heartbeats: what the workers of a fleet last said of themselves.
    :raises OperationError: when there is no way to it.
    """
    if configuration.platform == KUBERNETES:
        return _of_a_cluster(configuration, heartbeats)
    return _of_this_host(configuration)


def _of_this_host(configuration: Configuration) -> Surroundings:
    from ansible_collections.muejam.celery.plugins.module_utils.platforms.remote import RemotePlatform

    # It may not start or stop anything itself.
    return Surroundings(RemotePlatform(configuration.scaler, open_platform(configuration.platform)), Alone())


def _of_a_cluster(configuration: Configuration, heartbeats: Callable[[str], Heartbeats]) -> Surroundings:
    # No host loads, or needs the libraries of, what speaks to clusters.
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.candidate import Candidate
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.election import Election, times
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.lease import LeaseObject
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.heard_pods import ask_heartbeats
    from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.config_map import ConfigMapStore
    from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import HttpApi
    from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.connection import connect
    from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.platform import KubernetesPlatform

    # One login for both.
    way = connect(configuration.place)
    api = HttpApi(way)
    # Times of the configuration at the start: they stay when it is read anew.
    election = Election(f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}", times(configuration.interval))
    # In another thread, and of no use when it comes late.
    quick = HttpApi(way, timeout=election.times.pause)
    return Surroundings(
        # To ask each worker takes a call each, and the right to ask every pod of the namespace everything.
        KubernetesPlatform(api, ask_workers=False, ask_before_scaling=ask_heartbeats(heartbeats)),
        Candidate(election, LeaseObject(quick, api.namespace)),
        ConfigMapStore(api, api.namespace),
    )
