# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a program of this tree by its file: C(python -I -B launch.py autoscaler.cli status).

C(python -m) imports from the current directory, where others may put what they like; what keeps it from that is only
known to Python 3.11 and newer. An isolated Python (C(-I)) imports from nowhere but its own libraries, so the place of
this tree is added here.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

PACKAGE = "ansible_collections.muejam.celery.plugins.module_utils"


def main() -> None:
    """Run the module that the first argument names, with the arguments after it."""
    sys.path.insert(0, str(Path(__file__).absolute().parents[len(PACKAGE.split("."))]))
    name = sys.argv.pop(1)
    runpy.run_module(f"{PACKAGE}.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
