# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages that run in the applications' own environments: flat, and with nothing but Celery to import."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

FILES = Path(__file__).parents[3] / "roles/worker/files"
# What Celery itself stands on is there where Celery is.
ALLOWED = {*sys.stdlib_module_names, "amqp", "celery", "gevent", "kombu"}


def imported(path: Path) -> set[str]:
    """The packages that a file imports, its own by relative imports left out."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


@pytest.mark.parametrize("package", ["muejam_celery_lifecycle", "muejam_celery_probe"])
def test_a_package_is_flat_and_imports_nothing_but_celery(package: str) -> None:
    paths = [path for path in (FILES / package).iterdir() if path.name != "__pycache__"]
    assert [path.name for path in paths if path.suffix != ".py"] == []
    assert {path.name: imported(path) - ALLOWED for path in paths if imported(path) - ALLOWED} == {}
