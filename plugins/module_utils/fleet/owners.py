# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may set the number of a fleet's workers, in the words of C(celery_worker_autoscaling)."""

from __future__ import annotations

POLICY, KEDA, HPA, SCHEDULE, NOBODY = "policy", "keda", "hpa", "schedule", "none"

OWNERS = (POLICY, KEDA, HPA, SCHEDULE, NOBODY)
"""All of them. C(policy) is the autoscaler of this collection, C(none) whoever scales by hand or from outside."""
