# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML and JSON files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
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
    document, twins = read_document(path, what)
    if twins:
        raise OperationError(
            f"read {what} {path}",
            "; ".join(f"the key {twin} stands there twice" for twin in twins),
            "Keep one of the two.",
        )
    return document


def read_document(path: str, what: str) -> tuple[object, list[str]]:
    """Return what is in the YAML or JSON file C(path), and where in it a key stands twice; the last one is taken.

    :param what: what it is to a person, such as C(the policy).
    :raises OperationError: when there is no such file, or what is in it is neither YAML nor JSON.
    """
    tried = f"read {what} {path}"
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OperationError(tried, error, "Name a readable YAML or JSON file.") from error
    try:
        return _json(text)
    except (ValueError, RecursionError):
        pass  # most people write YAML, which has better messages too
    try:
        import yaml
    except ImportError as error:
        raise OperationError(
            tried, "it is not JSON, and YAML needs PyYAML", "Install PyYAML, or write it as JSON."
        ) from error
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        twins = list(_twins_in_yaml(yaml, loader, node, "", set()))
        return None if node is None else loader.construct_document(node), twins
    # A date that does not exist is a ValueError, and brackets nested without end are a RecursionError.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise OperationError(tried, f"it is not YAML: {error}", "Mend the file at the place named.") from error


class _Pairs(tuple[tuple[str, Any], ...]):
    """The keys and values of a mapping, as they stand there."""


def _json(text: str) -> tuple[object, list[str]]:
    twins: list[str] = []
    return _plain(json.loads(text, object_pairs_hook=_Pairs), "", twins), twins


def _plain(value: Any, path: str, twins: list[str]) -> Any:
    """Return the value in Python's own types, and add the places of keys that stand twice to C(twins)."""
    if isinstance(value, _Pairs):
        counts = Counter(name for name, _each in value)
        twins += [_place(path, name) for name, count in counts.items() if count > 1]
        return {name: _plain(each, _place(path, name), twins) for name, each in value}
    if isinstance(value, list):
        return [_plain(each, f"{path}[{number}]", twins) for number, each in enumerate(value)]
    return value


def _twins_in_yaml(yaml: Any, loader: Any, node: Any, path: str, visited: set[int]) -> Iterator[str]:
    # An alias leads to a node that was visited, or to one that it stands in itself.
    if id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen, twins = set(), set()
        for key_node, value_node in node.value:
            # Others stand for something else, such as << for what is merged in.
            if key_node.tag in _PLAIN_KEYS:
                key = loader.construct_object(key_node)
                if key in seen and key not in twins:
                    twins.add(key)
                    yield _place(path, key)
                seen.add(key)
            yield from _twins_in_yaml(yaml, loader, value_node, _place(path, key_node.value), visited)
    elif isinstance(node, yaml.SequenceNode):
        for number, each in enumerate(node.value):
            yield from _twins_in_yaml(yaml, loader, each, f"{path}[{number}]", visited)


def _place(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
