# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies in files."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.documents import read_document
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError, parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.remark import Remark


def load_policy(path: str) -> Policy:
    """Return the policy in the YAML or JSON file C(path).

    :raises OperationError: when there is no such file, or what is in it is neither YAML nor JSON.
    :raises PolicyError: when it is read but says something a policy may not say. Its faults name the file.
    """
    raw, twins = read_document(path, "the policy")
    faults = [Remark(place, "stands there twice: keep one of the two") for place in twins]
    try:
        policy = parse_policy(raw)
    except PolicyError as error:
        faults += error.faults
    if faults:
        raise PolicyError([Remark(f"{path}: {fault.path}", fault.message) for fault in faults])
    return policy
