# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dictionaries are held against a table of keys: each fault is told with its place, and no text that may be secret."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.checks import Key

KEYS = {
    "name": Key(checks.TEXT, required="a name", check=checks.line),
    "port": Key(checks.INTEGER, minimum=1, maximum=65535),
    "wait": Key(checks.SECONDS, minimum=0),
    "mode": Key(checks.TEXT, choices=("act", "observe")),
    "level": Key(checks.TEXT, choices=("INFO",), any_case=True),
    "paths": Key(checks.PATHS, check=checks.path),
    "users": Key(checks.MAPPING, check=lambda name, value: checks.user(str(name))),
    "parts": Key(checks.MAPPINGS, keys={"on": Key(checks.BOOLEAN, required="true or false")}),
    "tls": Key(checks.BOOLEAN_OR_MAPPING, keys={"file": Key(checks.PATH)}),
}


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({"name": "a", "port": "80", "wait": "1.5", "level": "info", "parts": [{"on": "yes"}], "tls": True}, []),
        ({"name": None, "port": None}, ["name: missing, give a name"]),
        ({"name": "a", "prot": 1}, ["prot: unknown key, did you mean port?"]),
        (
            {"name": "secret\n", "mode": "Act"},
            ["name: holds a line", "mode: 'Act' is not known, use one of act, o"],
        ),
        ({"name": ["secret"]}, ["name: must be a text, is a list"]),
        (
            {"name": "a", "port": 0, "wait": -1},
            ["port: 0 is out of range, use 1 to 6", "wait: -1 is too small, use 0"],
        ),
        ({"name": "a", "paths": ["/a", "b"]}, ["paths[1]: 'b' is not absolute"]),
        (
            {"name": "a", "paths": ["/a", None, 3]},
            ["paths[1]: must be a text, is null", "paths[2]: must be a text, is"],
        ),
        ({"name": "a", "users": {"Me": 1}}, ["users.Me: is no user"]),
        (
            {"name": "a", "parts": [{}, {"on": 3, "of": 1}]},
            ["parts[0].on: missing", "parts[1].on: must be", "parts[1].of"],
        ),
        ({"name": "a", "parts": [3]}, ["parts[0]: must be a dictionary, is 3"]),
        (
            {"name": "a", "tls": {"file": "", "cert": 1}},
            ["tls.file: must be a text, is empty", "tls.cert: unknown"],
        ),
    ],
)
def test_every_fault_is_told_with_its_place(given: dict[str, Any], faults: list[str]) -> None:
    found = list(checks.of_mapping(KEYS, given, "it"))
    assert len(found) == len(faults)
    assert all(fault.startswith(f"it.{start}") for fault, start in zip(found, faults)), found
    assert not any("secret" in fault for fault in found)


def test_values_become_those_that_they_spell() -> None:
    assert KEYS["port"].plain("80") == 80
    assert KEYS["level"].plain("info") == "INFO"
    assert KEYS["tls"].plain({"file": "/a", "more": 1}) == {"file": "/a", "more": 1}
    assert (KEYS["paths"].plain(None), KEYS["users"].plain(None), KEYS["port"].plain(None)) == ([], {}, None)
    # What is wrong stays as it is: it is told where it is checked.
    assert KEYS["port"].plain("many") == "many"
