# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each platform is loaded, by the name that users give it."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import DEFAULT, KUBERNETES, SYSTEMD
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Place, RollingPlatform


def open_platform(name: str = DEFAULT, place: Place | None = None) -> RollingPlatform:
    """Return the platform of this name.

    :param place: where it is, for one that is not this host.
    :raises KeyError: when there is none.
    :raises OperationError: when there is no way to the place.
    """
    # Each is loaded where it is asked for: nobody compiles the others, or needs the libraries that they need.
    if name == SYSTEMD:
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.platform import SystemdPlatform

        return SystemdPlatform()
    if name == KUBERNETES:
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.platform import open_kubernetes

        return open_kubernetes(place or Place())
    raise KeyError(name)
