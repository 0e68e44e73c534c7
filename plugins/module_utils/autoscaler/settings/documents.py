# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML and JSON files."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

_PLAIN_KEYS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:int", "tag:yaml.org,2002:bool")


def load_document(path: str, what: str) -> object:
    """Return what is in the YAML or JSON file C(path).

    :param what: what it is to a person, such as C(the policy).
    :raises OperationError: when there is no such file, or what is in it is neither YAML nor JSON. A key that stands
        twice in one mapping is refused: both formats would forget the first one without a word.
    """
    tried = f"read {what} {path}"
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OperationError(tried, error, "Name a readable YAML or JSON file.") from error
    try:
        return json.loads(text, object_pairs_hook=_without_twins)
    except _Twin as twin:
        raise OperationError(tried, f"the key {twin} stands there twice", "Keep one of the two.") from twin
    except (ValueError, RecursionError):
        pass  # most people write YAML, which has better messages too
    try:
        import yaml
    except ImportError as error:
        raise OperationError(
            tried, "it is not JSON, and YAML needs PyYAML", "Install PyYAML, or write it as JSON."
        ) from error
    try:
        return yaml.load(text, _strict(yaml))
    # A date that does not exist is a ValueError, and brackets nested without end are a RecursionError.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise OperationError(tried, f"it is not YAML: {error}", "Mend the file at the place named.") from error


class _Twin(Exception):
    """A key stands twice in one mapping."""


def _without_twins(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twin(repr(key))
        found[key] = value
    return found


def _strict(yaml: Any) -> Any:
    """Return PyYAML's safe loader, made to refuse keys that stand twice."""

    class Strict(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML comes without types
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key_node, _value in node.value if isinstance(node, yaml.MappingNode) else ():
                # Others stand for something else, such as << for what is merged in.
                key = self.construct_object(key_node) if key_node.tag in _PLAIN_KEYS else None
                if isinstance(key, Hashable) and key is not None:
                    if key in seen:
                        raise yaml.constructor.ConstructorError(
                            None, None, f"the key {key!r} stands there twice", key_node.start_mark
                        )
                    seen.add(key)
            return super().construct_mapping(node, deep)

    return Strict
