# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of every module that takes the lock of a fleet."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  lock_timeout:
    description:
      - Seconds to wait for somebody else who scales or restarts the fleet on this host, as a deployment does. When they
        are over the module fails and names his process.
      - Of no use on Kubernetes, where there is no lock.
    type: int
    default: 600
"""
