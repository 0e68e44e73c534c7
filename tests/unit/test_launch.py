# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What root starts with Python imports nothing from where it happens to be started."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jinja2 import Environment, StrictUndefined

from ansible_collections.muejam.celery.plugins.module_utils import launch

ROLES = Path(__file__).parents[2] / "roles"
LIBRARY = Path(launch.__file__).parent
HOSTILE = "open('taken', 'w').close()\nraise SystemExit('taken')\n"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A directory with modules under the names of others."""
    for name in ("json.py", "argparse.py", "runpy.py", "celery.py", "kombu.py", "venv.py", "sitecustomize.py"):
        (tmp_path / name).write_text(HOSTILE)
    (tmp_path / "ansible_collections").mkdir()
    (tmp_path / "ansible_collections" / "__init__.py").write_text(HOSTILE)
    return tmp_path


def rendered(text: str, **known: str) -> str:
    """What Ansible makes of a text of the role autoscaler."""
    variables = {**yaml.safe_load((ROLES / "_common/vars/main.yml").read_text()), "ansible_managed": "x", **known}
    jinja = Environment(undefined=StrictUndefined)
    while "{{" in text:
        text = jinja.from_string(text).render(variables)
    return text


def test_the_command_for_people(hostile: Path) -> None:
    wrapper = hostile / "wrapper"
    template = (ROLES / "autoscaler/templates/celery-autoscaler.sh.j2").read_text()
    wrapper.write_text(
        rendered(template, __celery_common_venv_python=sys.executable, __celery_common_library=str(LIBRARY))
    )
    policy = hostile / "policy.json"
    policy.write_text("{}")
    done = subprocess.run(
        ["sh", wrapper, "check", "--policy", str(policy)],
        cwd=hostile,
        # PYTHONSAFEPATH helps from Python 3.11 on; this has to hold without.
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(hostile), "PYTHONSTARTUP": str(hostile / "json.py")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "no problem found" in done.stdout
    assert not (hostile / "taken").exists()


def test_arguments_and_exit_status_are_passed_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-B", LIBRARY / "launch.py", "autoscaler.cli", "check", "--policy", tmp_path / "none"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Could not read the policy" in done.stderr


@pytest.mark.parametrize("program", ["autoscaler.cli", "autoscaler.scaler", "autoscaler.service.run", "unit_hooks"])
def test_what_runs_on_hosts_needs_no_ansible(program: str) -> None:
    top = LIBRARY.parents[len(launch.PACKAGE.split(".")) - 1]
    text = (
        "import sys; sys.modules['ansible'] = None; "
        f"sys.path.insert(0, {str(top)!r}); import {launch.PACKAGE}.{program}"
    )
    done = subprocess.run([sys.executable, "-I", "-B", "-c", text], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def starts_of_python(text: str) -> list[str]:
    """The lines of a role that start a Python with a module or a program text, lists on several lines included."""
    joined = re.sub(r"\n\s+- (?=-|\"?\{\{)", ", ", text)
    return [line for line in joined.splitlines() if re.search(r"python[^#]*[ ,]-[mc]\b", line)]


@pytest.mark.parametrize(
    "path",
    [path.relative_to(ROLES).as_posix() for path in sorted(ROLES.rglob("*")) if path.suffix in (".yml", ".j2")],
)
def test_every_python_that_a_role_starts_is_isolated(path: str) -> None:
    for line in starts_of_python((ROLES / path).read_text(encoding="utf-8")):
        assert re.search(r"[ ,]-I\b", line), line


def test_pip_does_not_work_in_a_directory_of_everybody() -> None:
    # Without chdir the module pip goes to /tmp, and several of the Pythons that it starts import from there.
    for path in ROLES.glob("*/tasks/**/*.yml"):
        for task in yaml.safe_load(path.read_text(encoding="utf-8")) or []:
            if "ansible.builtin.pip" in task:
                assert task["ansible.builtin.pip"]["chdir"] == "/", f"{path}: {task['name']}"
