# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What scaling and restarting work with."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.clock import Clock
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.asking import Ask
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.fleets import Fleets


@dataclass(frozen=True)
class Tools:
    """The parts of a platform that act.

    :ivar place: the namespace and its cluster, as messages call them.
    """

    fleets: Fleets
    ask: Ask
    clock: Clock
    place: str
