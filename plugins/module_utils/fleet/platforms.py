# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platforms that fleets can be on, by the names that users give them; where each is loaded is in `platforms/`."""

from __future__ import annotations

SYSTEMD = "systemd"
KUBERNETES = "kubernetes"
PLATFORMS = (SYSTEMD, KUBERNETES)
DEFAULT = SYSTEMD

ON_HOSTS = (SYSTEMD,)
"""Those whose workers run on the host itself, and are numbered there. Any other one has them elsewhere, in a cluster.

Who asks whether a platform is of hosts asks this, so that a further one is told right without being known by name.
"""
