# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the collection, install what was built, and see that its files and its documentation are all there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from muejam_bed.collection import copy_tracked
from muejam_bed.shell import BedError, run, say

NAME = "muejam.celery"
# What a user of the built collection has no use for.
UNWANTED = ("tests", "molecule", "demo", "requirements", ".ci", ".gitignore", "Makefile", "pyproject.toml")
# What is used without any role or plugin.
MONITORING = ("monitoring/alerts.yml", "monitoring/dashboards/fleets.json", "docs/runbooks/not-scaling-up.md")
PLUGIN_KINDS = {"modules": "module", "filter": "filter", "lookup": "lookup", "inventory": "inventory"}


def documented(root: Path) -> list[tuple[str, str]]:
    """Return kind and full name of everything that ansible-doc has to know, found by the files themselves."""
    found = [
        (kind, f"{NAME}.{source.stem}")
        for folder, kind in PLUGIN_KINDS.items()
        for source in sorted((root / "plugins" / folder).glob("*"))
        if source.suffix in (".py", ".yml") and source.stem != "__init__"
    ]
    if "filter" in {kind for kind, _name in found}:
        # A filter's file may hold several, each documented in a file of its own.
        found = [one for one in found if one[0] != "filter"] + [
            ("filter", f"{NAME}.{source.stem}") for source in sorted((root / "plugins" / "filter").glob("*.yml"))
        ]
    # Nobody but other roles uses one whose name begins with an underscore.
    return found + [("role", f"{NAME}.{role.name}") for role in sorted((root / "roles").glob("[!_]*")) if role.is_dir()]


def check(scratch: Path) -> None:
    """Build from a copy, install from the archive alone, ask ansible-doc. Raises BedError at the first fault."""
    tools = Path(sys.executable).parent
    source = scratch / "source"
    installed = scratch / "installed"
    copy_tracked(source)
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(installed), "PYTHONPATH": "", "ANSIBLE_NOCOLOR": "1"}
    galaxy = [str(tools / "ansible-galaxy"), "collection"]
    run([*galaxy, "build", "--output-path", str(scratch), str(source)], env=environment)
    archives = list(scratch.glob("muejam-celery-*.tar.gz"))
    run([*galaxy, "install", "--no-deps", "-p", str(installed), str(archives[0])], env=environment)

    root = installed / "ansible_collections" / "muejam" / "celery"
    unwanted = [name for name in UNWANTED if (root / name).exists()]
    if unwanted:
        raise BedError(f"the built collection carries {', '.join(unwanted)}: add them to build_ignore in galaxy.yml")
    for name in ("README.md", "LICENSE", "CHANGELOG.md", "meta/runtime.yml", "meta/ee-requirements.txt", *MONITORING):
        if not (root / name).is_file():
            raise BedError(f"the built collection lacks {name}")

    wanted = documented(root)
    # Most of what ansible-doc does is to start, so it is asked once for each kind.
    for kind in sorted({kind for kind, _name in wanted}):
        names = [name for one, name in wanted if one == kind]
        done = subprocess.run(
            [str(tools / "ansible-doc"), "--type", kind, *names],
            cwd=scratch,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        # Each begins with a line such as "> MODULE muejam.celery.scale (path)"; roles with "> ROLE: *name* (path)".
        shown = re.findall(r"^> [A-Z]+:? \*?([\w.]+)\*? \(", done.stdout, re.MULTILINE)
        missing = sorted(set(names) - set(shown))
        if done.returncode != 0 or missing or "[WARNING]" in done.stderr:
            faulty = ", ".join(missing) or f"one of {', '.join(names)}"
            raise BedError(f"ansible-doc does not show {kind} {faulty}:\n{done.stdout[:2000]}{done.stderr}")
    say(f"built, installed and documented: {len(wanted)} plugins and roles")


if __name__ == "__main__":
    try:
        with tempfile.TemporaryDirectory(prefix="muejam-build-") as directory:
            check(Path(directory))
    except BedError as error:
        print(f"artifact: {error}", file=sys.stderr)
        sys.exit(1)
