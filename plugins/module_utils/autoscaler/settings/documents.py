# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML and JSON files."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError


def load_document(path: str, what: str) -> object:
    """Return what is in the YAML or JSON file C(path).

    :param what: what it is to a person, such as C(the policy).
    :raises OperationError: when there is no such file, or what is in it is neither YAML nor JSON.
    """
    tried = f"read {what} {path}"
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OperationError(tried, error, "Name a readable YAML or JSON file.") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass  # most people write YAML, which has better messages too
    try:
        import yaml
    except ImportError as error:
        raise OperationError(
            tried, "it is not JSON, and YAML needs PyYAML", "Install PyYAML, or write it as JSON."
        ) from error
    try:
        return yaml.safe_load(text)
    # A date that does not exist is a ValueError, and brackets nested without end are a RecursionError.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise OperationError(tried, f"it is not YAML: {error}", "Mend the file at the place named.") from error
