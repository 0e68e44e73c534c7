# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make this checkout importable as ansible_collections.muejam.celery, wherever it lies, and tell failures at once.

Ansible that the tests start is sparing with the cores (tests/bed/callback_plugins/sparing.py).
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from muejam_bed.collection import collections_path
from muejam_bed.shell import CHECKOUT


def _put_first(variable: str, path: Path) -> None:
    rest = [entry for entry in os.environ.get(variable, "").split(os.pathsep) if entry and entry != str(path)]
    os.environ[variable] = os.pathsep.join([str(path), *rest])


SHOWN_AT_ONCE = 40  # lines
COLLECTIONS = collections_path()
# For this process, for Python programs it starts, and for Ansible that it starts.
sys.path.insert(0, str(COLLECTIONS))
_put_first("PYTHONPATH", COLLECTIONS)
_put_first("ANSIBLE_COLLECTIONS_PATH", COLLECTIONS)


def pytest_configure(config: pytest.Config) -> None:
    """Switch on what spares the cores, once for all processes of this run; MUEJAM_NOT_SPARING leaves it off."""
    if "PYTEST_XDIST_WORKER" in os.environ or "MUEJAM_NOT_SPARING" in os.environ:
        return
    modules = tempfile.TemporaryDirectory(prefix="muejam-modules-")
    config.add_cleanup(modules.cleanup)
    os.environ["MUEJAM_MODULES"] = modules.name
    _put_first("ANSIBLE_CALLBACK_PLUGINS", CHECKOUT / "tests" / "bed" / "callback_plugins")
    enabled = os.environ.get("ANSIBLE_CALLBACKS_ENABLED", "")
    os.environ["ANSIBLE_CALLBACKS_ENABLED"] = ",".join(filter(None, ("sparing", enabled)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write a failed test to the file that tests/bed/stages.py reads while the tests go on."""
    # A process of pytest-xdist hands its reports to the one that started it, which gets here with them too.
    if report.failed and "MUEJAM_FAILURES" in os.environ and "PYTEST_XDIST_WORKER" not in os.environ:
        with Path(os.environ["MUEJAM_FAILURES"]).open("a", encoding="utf-8") as failures:
            # All of it is told at the end. A host that does not come up fails many tests with much the same words.
            text = "\n".join(report.longreprtext.splitlines()[-SHOWN_AT_ONCE:])
            failures.write(f"FAILED {report.nodeid} ({report.when})\n{text}\n")
