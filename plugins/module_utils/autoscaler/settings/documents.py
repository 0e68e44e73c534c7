# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML and JSON files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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


def _json(text: str) -> tuple[object, list[str]]:
    # Each mapping is complete before what it stands in is known, and so before its place is.
    with_twins: list[tuple[dict[str, Any], str]] = []

    def mapping(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _value in pairs]
            with_twins.extend((found, name) for name in found if names.count(name) > 1)
        return found

    document = json.loads(text, object_pairs_hook=mapping)
    return document, list(_twins_in_json(document, "", with_twins)) if with_twins else []


def _twins_in_json(value: object, path: str, with_twins: Sequence[tuple[dict[str, Any], str]]) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (_place(path, name) for found, name in with_twins if found is value)
        for name, each in value.items():
            yield from _twins_in_json(each, _place(path, name), with_twins)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _twins_in_json(each, f"{path}[{number}]", with_twins)


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
