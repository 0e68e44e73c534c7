# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection puts on a host besides the apps."""

from __future__ import annotations

DOCUMENTATION = r"""
name: tools_tree
author:
  - muejam.celery contributors (@muejam)
version_added: 0.1.0
short_description: The Python files that the collection runs on hosts
description:
  - Reads folders of the collection, which the role P(muejam.celery.worker#role) installs on hosts.
  - What stays on the controller, which is the simulation, is left out.
options:
  _terms:
    description: Folders of the collection.
    required: true
"""

EXAMPLES = r"""
- name: Show which files there are
  ansible.builtin.debug:
    msg: "{{ lookup('muejam.celery.tools_tree', 'plugins/module_utils') | list }}"
"""

RETURN = r"""
_raw:
  description: For each folder a dictionary of the files' texts by their paths below it.
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

STAYS = ("simulation",)
"""Folders of module_utils that no host needs."""


class LookupModule(LookupBase):
    """Ansible's way to find the lookup."""

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[dict[str, str]]:
        """Read the files of the collection that this plugin came with."""
        return [texts(Path(__file__).parents[2] / folder) for folder in terms]


def texts(root: Path) -> dict[str, str]:
    """The texts of the Python files below a folder that hosts get, by their paths."""
    files = {path.relative_to(root): path for path in sorted(root.rglob("*.py"))}
    return {
        below.as_posix(): path.read_text(encoding="utf-8")
        for below, path in files.items()
        if below.parts[0] not in STAYS
    }
