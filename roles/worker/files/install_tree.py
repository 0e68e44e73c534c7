# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make directories hold exactly the files given on standard input, in one step instead of one task a file.

Standard input: a JSON object {"check": bool, "trees": {directory: {relative path: text}}}.
Standard output: one line a difference, nothing when there is none.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Bring every directory up to date."""
    wanted = json.load(sys.stdin)
    for directory, files in wanted["trees"].items():
        install(Path(directory), files, wanted["check"])


def install(root: Path, files: dict[str, str], check: bool) -> None:
    """Compare, and unless only a check is wanted write what differs and remove what is too much."""
    # Compiled files are Python's own; they go when their source goes.
    present = {
        path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"
    }
    for name in sorted(present - files.keys()):
        print(f"remove {name}")
        if not check:
            (root / name).unlink()
    for name, text in sorted(files.items()):
        path = root / name
        if name in present and path.read_text(encoding="utf-8") == text:
            continue
        print(f"write {name}")
        if check:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        # A worker may import from here at this moment: it must see the old file or the new one, whole.
        half = path.with_name(path.name + ".new")
        half.write_text(text, encoding="utf-8")
        half.chmod(0o644)
        half.replace(path)


if __name__ == "__main__":
    os.umask(0o022)
    main()
