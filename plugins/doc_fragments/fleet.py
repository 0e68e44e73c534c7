# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that acts on a fleet of workers."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  fleet:
    description:
      - Name of the fleet, as given to the role P(muejam.celery.worker#role).
      - Small letters, digits and inner hyphens, at most 40 of them.
    type: str
    required: true
  platform:
    description:
      - What runs the fleet.
      - With V(systemd) a worker is a unit C(celery-worker-<fleet>@<n>.service) of the host that the module runs on.
    type: str
    choices: [systemd]
    default: systemd
"""
