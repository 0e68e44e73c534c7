#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put files, directories and trees of files in place."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_files
short_description: Puts files, directories and trees of files in place on a host
description:
  - Puts all files of a step of a deployment in place in one run, where C(ansible.builtin.template) takes two runs for
    each file that is as it shall be.
  - What is as it shall be is left alone. A file is written whole or not at all, and where a check refuses one, none is
    written.
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
options:
  directories:
    description: Directories that shall be there, those above first.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The path.
        type: path
        required: true
      owner:
        description: The user that it shall belong to.
        type: str
        default: root
      group:
        description: The group that it shall belong to.
        type: str
        default: root
      mode:
        description: The mode, as an octal text.
        type: str
        default: "0755"
  trees:
    description:
      - By the path of a directory, the texts of all files that it shall hold, by their paths in it. Other files are
        removed, but for compiled ones of Python.
    type: dict
    default: {}
  files:
    description: Files that shall be there.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The path.
        type: path
        required: true
      text:
        description: What the file shall hold. Without it, that stands in O(secrets).
        type: str
      owner:
        description: The user that it shall belong to.
        type: str
        default: root
      group:
        description: The group that it shall belong to.
        type: str
        default: root
      mode:
        description: The mode, as an octal text.
        type: str
        default: "0644"
      unit:
        description: The name of a unit, by which systemd is asked whether it takes every line of the text.
        type: str
      validate:
        description: A command that ends with 0 where the text is right. The word V(%s) stands for a file with the text.
        type: list
        elements: str
        default: []
      label:
        description: How messages call the file. By default by its path.
        type: str
  secrets:
    description:
      - By their paths, what those of O(files) shall hold that is not to be shown or logged. It stands apart from them
        because C(ansible-core) logs a secret of more than one line that is part of a list.
    type: dict
    default: {}
  refusal:
    description: What is said first where a check refuses a file.
    type: str
    default: Nothing was written. Correct these first.
attributes:
  check_mode:
    description: Says what it would write. No command of O(files[].validate) is run.
    support: full
  diff_mode:
    description: Shows what it writes, but no secret and no file of a tree.
    support: full
seealso:
  - module: muejam.celery.host_info
"""

EXAMPLES = r"""
- name: Put the unit and its environment in place
  muejam.celery.host_files:
    directories:
      - path: /etc/shop
    files:
      - path: /etc/systemd/system/shop.service
        text: "{{ lookup('ansible.builtin.template', 'shop.service.j2') }}"
        unit: shop.service
      - path: /etc/shop/shop.env
        mode: "0600"
    secrets:
      /etc/shop/shop.env: "TOKEN={{ shop_token }}\n"
"""

RETURN = r"""
paths:
  description: What was written, or would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/shop/shop.env]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.muejam.celery.plugins.module_utils.deploy.writing import File, Place, put
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError


def place_of(given: dict[str, Any]) -> Place:
    """A directory as the options describe it. Raises ValueError for a mode that is none."""
    return Place(given["path"], given["owner"], given["group"], int(given["mode"], 8))


def file_of(given: dict[str, Any], secrets: dict[str, str]) -> File:
    """A file as the options describe it. Raises ValueError for a wrong mode, KeyError for a file without text."""
    secret = given["text"] is None
    return File(
        given["path"],
        given["owner"],
        given["group"],
        int(given["mode"], 8),
        text=secrets[given["path"]] if secret else given["text"],
        secret=secret,
        unit=given["unit"] or "",
        validate=given["validate"],
        label=given["label"] or given["path"],
    )


def main() -> None:
    place = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
    }
    module = AnsibleModule(
        argument_spec={
            "directories": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {**place, "mode": {"type": "str", "default": "0755"}},
            },
            "trees": {"type": "dict", "default": {}},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    **place,
                    "text": {"type": "str"},
                    "mode": {"type": "str", "default": "0644"},
                    "unit": {"type": "str"},
                    "validate": {"type": "list", "elements": "str", "default": []},
                    "label": {"type": "str"},
                },
            },
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "refusal": {"type": "str", "default": "Nothing was written. Correct these first."},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        written = put(
            [place_of(one) for one in given["directories"]],
            given["trees"],
            [file_of(one, given["secrets"]) for one in given["files"]],
            module.check_mode,
        )
    except ValueError as error:
        module.fail_json(msg=f"A mode is no octal number: {error}.")
    except KeyError as error:
        module.fail_json(msg=f"No text was given for the file {error}. Give it as its text or in secrets.")
    except OperationError as error:
        refused = error.details.get("refused")
        module.fail_json(msg=" ".join([given["refusal"], *refused]) if refused else str(error))
    except OSError as error:
        module.fail_json(msg=f"Files could not be written: {error}. Check that path, and that its disk has space.")
    # What was asked for holds the texts of all files.
    module.exit_json(changed=bool(written.paths), paths=written.paths, diff=written.diff)


if __name__ == "__main__":
    main()
