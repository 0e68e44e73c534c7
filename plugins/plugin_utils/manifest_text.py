# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of Kubernetes as text for people and for GitOps: the same object gives the same text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as people read them."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def as_yaml(thing: Mapping[str, Any], role: str) -> str:
    """Return an object as the text of a file that a role writes."""
    text: str = yaml.dump(_plain(thing), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return f"# Written by the role muejam.celery.{role}, and written anew at its next run.\n---\n{text}"


def _plain(value: Any) -> Any:
    """In Python's own types: Ansible gives some that YAML would name."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Sequence):
        return [_plain(one) for one in value]
    return value
