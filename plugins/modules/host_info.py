#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what of a deployment is there on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Tells what of a deployment is there on a host
description:
  - Answers many questions about a host in one run, which the roles of this collection would else ask in a task each.
  - Only what is asked for is returned.
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
options:
  texts:
    description: Paths of text files to read.
    type: list
    elements: path
    default: []
  paths:
    description: Paths to look at. Links are followed.
    type: list
    elements: path
    default: []
  guarded:
    description: Paths of programs and of virtual environments that root alone shall be able to change.
    type: list
    elements: path
    default: []
  users:
    description: Names of users to look for.
    type: list
    elements: str
    default: []
  groups:
    description: Names of groups to look for.
    type: list
    elements: str
    default: []
  packages:
    description: Names of packages of the operating system to look for.
    type: list
    elements: str
    default: []
  python:
    description: An interpreter that shall make virtual environments.
    type: str
  virtualenvs:
    description: By the paths of virtual environments, the requirements that each shall meet.
    type: dict
    default: {}
  trees:
    description: Directories to make a digest of.
    type: list
    elements: path
    default: []
  units:
    description: Names of units to ask systemd about.
    type: list
    elements: str
    default: []
  fleets:
    description: Whether to look which fleets of workers the host has.
    type: bool
    default: false
  room_for:
    description: Paths whose file systems shall have room, whether they are there yet or not.
    type: list
    elements: path
    default: []
  room:
    description: Mebibytes that each of O(room_for) shall have.
    type: int
    default: 200
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: none
seealso:
  - module: muejam.celery.host_files
"""

EXAMPLES = r"""
- name: Look whether the service is there and its environment is up to date
  muejam.celery.host_info:
    units: [shop.service]
    virtualenvs:
      /opt/shop/venv: ["celery==5.7.0"]
  register: shop
"""

RETURN = r"""
texts:
  description: By path the text of the file, V(null) where there is none.
  returned: success
  type: dict
  sample: {/etc/celery-worker/apps.json: "{}"}
paths:
  description: What is at each path.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The path.
      type: str
      returned: always
    kind:
      description: V(directory), V(file), V(other), or empty where nothing is.
      type: str
      returned: always
    executable:
      description: Whether it is a file that can be run.
      type: bool
      returned: always
    checksum:
      description: SHA-256 of a file of up to 4 MiB, else empty.
      type: str
      returned: always
others_write:
  description: The guarded paths that others than root can change, each with the place where they can.
  returned: success
  type: dict
  sample: {}
missing_users:
  description: The users that the host does not know.
  returned: success
  type: list
  elements: str
  sample: [celery]
missing_groups:
  description: The groups that the host does not know.
  returned: success
  type: list
  elements: str
  sample: [celery]
missing_packages:
  description: The packages that are not installed.
  returned: success
  type: list
  elements: str
  sample: [python3-venv]
python:
  description: The C(version) of the interpreter, such as V(3.11), and the C(problem) with it, empty when there is none.
  returned: success
  type: dict
  sample: {version: "3.11", problem: ""}
virtualenvs:
  description: By path, whether it C(exists), and which of its requirements are C(unmet).
  returned: success
  type: dict
  sample: {/opt/shop/venv: {exists: true, unmet: []}}
trees:
  description: By path a text that changes with any file of the tree.
  returned: success
  type: dict
  sample: {}
units:
  description: By name what systemd says of the unit.
  returned: success
  type: dict
  sample: {shop.service: {ActiveState: active, LoadState: loaded, UnitFileState: enabled, NeedDaemonReload: "no"}}
fleets:
  description: Names of the fleets of workers that the host has.
  returned: success
  type: list
  elements: str
  sample: [web]
lacking_room:
  description: What file systems lack, a text for each.
  returned: success
  type: list
  elements: str
  sample: []
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.muejam.celery.plugins.module_utils.deploy import looking, tree
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError


def answers(asked: dict[str, Any]) -> dict[str, Any]:
    """What is there, for the options of the module."""
    return {
        "texts": {path: looking.text_of(path) for path in asked["texts"]},
        "paths": [looking.path_facts(path) for path in asked["paths"]],
        "others_write": looking.others_write(asked["guarded"]),
        "missing_users": looking.missing_users(asked["users"]),
        "missing_groups": looking.missing_groups(asked["groups"]),
        "missing_packages": looking.missing_packages(asked["packages"]) if asked["packages"] else [],
        "python": looking.python_facts(asked["python"]) if asked["python"] else {},
        "virtualenvs": {path: looking.virtualenv_facts(path, wanted) for path, wanted in asked["virtualenvs"].items()},
        "trees": {path: tree.digest(tree.texts(Path(path))) for path in asked["trees"]},
        "units": looking.unit_facts(asked["units"]) if asked["units"] else {},
        "fleets": looking.fleets() if asked["fleets"] else [],
        "lacking_room": list(filter(None, (looking.lacks_room(path, asked["room"]) for path in asked["room_for"]))),
    }


def main() -> None:
    paths = {"type": "list", "elements": "path", "default": []}
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "texts": paths,
            "paths": paths,
            "guarded": paths,
            "users": names,
            "groups": names,
            "packages": names,
            "python": {"type": "str"},
            "virtualenvs": {"type": "dict", "default": {}},
            "trees": paths,
            "units": names,
            "fleets": {"type": "bool", "default": False},
            "room_for": paths,
            "room": {"type": "int", "default": 200},
        },
        supports_check_mode=True,
    )
    try:
        found = answers(module.params)
    except OperationError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"The host could not be looked at: {error}. Check what is at that path.")
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
