# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts get of this collection is whole without what stays on the controller."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.lookup.tools_tree import LookupModule
from ansible_collections.muejam.celery.plugins.module_utils.launch import PACKAGE

IMPORT_ALL = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the library as a host has it."""
    top = tmp_path_factory.mktemp("lib")
    (tree,) = LookupModule().run(["plugins/module_utils"])
    for name, text in tree.items():
        path = top.joinpath(*PACKAGE.split("."), name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return top


def python(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-B", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)


def command(top: Path, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The command C(celery-autoscaler) of a host."""
    return python(top.joinpath(*PACKAGE.split("."), "launch.py"), "autoscaler.cli", *arguments, stdin=stdin)


def test_hosts_get_no_simulation(top: Path) -> None:
    paths = [path.relative_to(top).as_posix() for path in top.rglob("*")]
    assert any(path.endswith("/autoscaler/cli.py") for path in paths)
    assert not [path for path in paths if "simulation" in path]


def test_all_that_hosts_get_can_be_imported(top: Path) -> None:
    modules = [".".join(path.relative_to(top).with_suffix("").parts) for path in sorted(top.rglob("*.py"))]
    done = python("-c", IMPORT_ALL, top, *(name for name in modules if not name.endswith(".__init__")))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_host_checks_and_replays(top: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text("{}", encoding="utf-8")
    assert "no problem found" in command(top, "check", "--policy", policy).stdout
    line = json.dumps({"at": 0, "workers": 4, "metrics": {"queue_depth": 0, "wait_time": 60}})
    done = command(top, "replay", "--policy", policy, "--observations", "-", stdin=line)
    assert json.loads(done.stdout)["to"] == 6


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--policy", "p.json", "--workload", "burst"]])
def test_a_host_says_where_a_simulation_can_be_had(top: Path, arguments: list[str]) -> None:
    done = command(top, "simulate", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Could not simulate: simulations run on the controller only. "
        "Run bin/celery-autoscaler of the collection on the controller.\n"
    )
    assert "simulate" not in command(top, "-h").stdout


def test_a_host_prints_a_schedule_and_says_where_it_is_drawn(top: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text("{}", encoding="utf-8")
    asked = ("schedule", "--policy", policy, "--from", "2026-12-01", "--days", "1")
    assert command(top, *asked).stdout.splitlines()[2:] == ["Tue 2026-12-01  00:00-24:00 2-20 no window"]
    done = command(top, *asked, "--plot", tmp_path / "week.html")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Run bin/celery-autoscaler of the collection on the controller, or leave out --plot." in done.stderr
