# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which platforms there are, by the name that users give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import RollingPlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.platform import SystemdPlatform

PLATFORMS: Mapping[str, Callable[[], RollingPlatform]] = {"systemd": SystemdPlatform}
DEFAULT = "systemd"


def open_platform(name: str = DEFAULT) -> RollingPlatform:
    """Return the platform of this name.

    :raises KeyError: when there is none.
    """
    return PLATFORMS[name]()
