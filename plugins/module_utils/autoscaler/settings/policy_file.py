# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies in files."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.documents import load_document
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy


def load_policy(path: str) -> Policy:
    """Return the policy in the YAML or JSON file C(path).

    :raises OperationError: when there is no such file, or what is in it is neither YAML nor JSON.
    :raises PolicyError: when it is read but says something a policy may not say.
    """
    return parse_policy(load_document(path, "the policy"))
