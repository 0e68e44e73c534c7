# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the service and the role that installs it must agree on: its modes, and where things lie on a host."""

from __future__ import annotations

OBSERVE = "observe"
ADVISE = "advise"
ACT = "act"
MODES = (OBSERVE, ADVISE, ACT)

SERVICE = "celery-autoscaler.service"
CONFIGURATION_FILE = "/etc/celery-autoscaler/config.json"
IN_FORCE_FILE = "/etc/celery-autoscaler/in-force.json"
"""What the autoscaler was started with and has read, as the last deployment that came to its end noted it."""
STATE_FILE = "/var/lib/celery-autoscaler/state.json"
STATUS_FILE = "/run/celery-autoscaler/status.json"
SOCKET = "/run/celery-autoscaler-scale.sock"
"""Beside the service's own directory: systemd makes it and then changes its owner by its path, so nobody but root may
write where it lies."""

CLUSTER_NAME = "celery-autoscaler"
"""In a cluster, the name of the service's objects, its Lease among them."""
STATE_OBJECT = "celery-autoscaler-state"
"""The ConfigMap that takes the place of the state file there."""
ALIVE_PATH = "/alive"
READY_PATH = "/ready"
"""Beside the metrics, for the probes of a cluster."""
