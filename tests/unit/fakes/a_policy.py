# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy of steps and short times, for whoever runs cycles in memory."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy

POLICY = parse_policy(
    {
        "limits": {"min_workers": 1, "max_workers": 9, "cooldown_up": "20s", "cooldown_down": "30s"},
        "scale_up": {"any": [{"metric": "queue_depth", "above": 10}], "add": {"workers": 2}},
        "scale_down": {"all": [{"metric": "queue_depth", "below": 1, "for": "10s"}], "remove": {"workers": 1}},
    }
)
