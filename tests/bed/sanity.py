# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ansible-test sanity on what this checkout ships, on this machine alone: no container, nothing ignored.

ansible-test wants a path that ends in ansible_collections/muejam/celery and no link, so it gets a copy. It makes
virtual environments and would download a script that puts pip into them; they get a link to the pip of this one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.util import find_spec
from pathlib import Path

import yaml

from muejam_bed.collection import copy_tracked
from muejam_bed.shell import BedError, cache_dir, one_at_a_time

PIP_SCRIPT = """import pathlib, sysconfig

link = pathlib.Path(sysconfig.get_path("purelib"), "pip")
link.unlink(missing_ok=True)
link.symlink_to({pip!r})
"""
# What "make lint" has done: ansible-doc by artifact.py for each plugin and role that was installed, the changelog by
# antsibull-changelog, pycodestyle's rules by ruff.
DONE_BY_LINT = ("ansible-doc", "changelog", "pep8")


def _pip_version() -> str:
    """Return the version of pip that this ansible-test asks for, as the script it looks for is named after it."""
    spec = find_spec("ansible_test")
    if spec is None or not spec.submodule_search_locations:
        raise BedError("ansible-test is not installed for this Python: run this by 'make sanity'")
    source = Path(spec.submodule_search_locations[0], "_internal", "python_requirements.py")
    found = re.search(r"pip=['\"]([0-9.]+)['\"]", source.read_text(encoding="utf-8"))
    if found is None:
        raise BedError(f"which pip ansible-test asks for is no longer said in {source}: mend this search")
    return found[1]


def _leave_out_what_is_not_shipped(root: Path) -> None:
    """Remove what the built collection does not carry: users do not get it, and lint checks it."""
    for pattern in yaml.safe_load((root / "galaxy.yml").read_text(encoding="utf-8"))["build_ignore"]:
        for path in root.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def main() -> int:
    """Copy, prepare, and run."""
    home = cache_dir("sanity")
    script = home / ".ansible" / "test" / "cache" / f"get_pip_{_pip_version().replace('.', '_')}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(PIP_SCRIPT.format(pip=sysconfig.get_path("purelib") + "/pip"), encoding="utf-8")
    # All checkouts share the virtual environments that ansible-test makes, and it does not expect company.
    with one_at_a_time("sanity"), tempfile.TemporaryDirectory(prefix="muejam-sanity-") as scratch:
        root = Path(scratch, "ansible_collections", "muejam", "celery")
        copy_tracked(root)
        ignores = sorted(root.glob("tests/sanity/ignore*.txt"))
        if ignores:
            raise BedError(f"nothing is ignored here: remove {', '.join(path.name for path in ignores)}")
        _leave_out_what_is_not_shipped(root)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        program = shutil.which("ansible-test", path=str(Path(sys.executable).parent))
        if program is None:
            raise BedError("ansible-test is not beside this Python: run this by 'make sanity'")
        environment = {
            **os.environ,
            "HOME": str(home),
            "ANSIBLE_COLLECTIONS_PATH": scratch,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        chosen = sys.argv[1:] or [f"--skip-test={name}" for name in DONE_BY_LINT]
        command = [program, "sanity", "--local", "--python", version, "--color", "no", *chosen]
        return subprocess.run(command, cwd=root, env=environment, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BedError as error:
        print(f"sanity: {error}", file=sys.stderr)
        sys.exit(1)
