# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which platforms there are, by the name that users give them."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import RollingPlatform

PLATFORMS = ("systemd",)
DEFAULT = "systemd"


def open_platform(name: str = DEFAULT) -> RollingPlatform:
    """Return the platform of this name.

    :raises KeyError: when there is none.
    """
    # Each is loaded where it is asked for: nobody compiles the others, or needs the libraries that they need.
    if name == "systemd":
        from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.platform import SystemdPlatform

        return SystemdPlatform()
    raise KeyError(name)
