# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ansible-core writes to the journal of a host of each call of a module holds no secret."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins import modules

# Imported now: once a test has used Ansible's own loader of collections, it wants metadata of them.
MODULES = [
    importlib.import_module(f"{modules.__name__}.{path.stem}")
    for path in sorted(Path(next(iter(modules.__path__))).glob("[a-z]*.py"))
]


class Described(Exception):
    """Ends a module when it has described itself."""


def nested(options: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for option in options.values():
        yield from option.get("options", {}).items()
        yield from nested(option.get("options", {}))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_ansible_knows_of_each_secret(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    described: dict[str, Any] = {}

    def describe(**options: Any) -> None:
        described.update(options)
        raise Described

    monkeypatch.setattr(module, "AnsibleModule", describe)
    with pytest.raises(Described):
        module.main()
    # The keyword of the task, which is there for each of them, takes the place of this one.
    assert "no_log" not in described
    # The journal gets a list as one text, in which no secret of more than one line is found.
    assert [option for option, spec in nested(described["argument_spec"]) if spec.get("no_log")] == []
