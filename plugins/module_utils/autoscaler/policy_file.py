# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies in files."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.decide.policy import Policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError


def load_policy(path: str) -> Policy:
    """Return the policy in the YAML or JSON file C(path).

    :raises OperationError: when there is no such file, or what is in it is neither YAML nor JSON.
    :raises PolicyError: when it is read but says something a policy may not say.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OperationError(f"read the policy {path}", error, "Name a readable YAML or JSON file.") from error
    return parse_policy(_loaded(path, text))


def _loaded(path: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        pass  # most policies are YAML, which has better messages too
    try:
        import yaml
    except ImportError as error:
        raise OperationError(
            f"read the policy {path}", "it is not JSON, and YAML needs PyYAML", "Install PyYAML, or write it as JSON."
        ) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise OperationError(
            f"read the policy {path}", f"it is not YAML: {error}", "Mend the file at the place named."
        ) from error
