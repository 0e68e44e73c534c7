# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every variable is tried with an undefined, a null and a wrongly typed value, through Ansible's own templates."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

from ansible_collections.muejam.celery.plugins.filter import autoscaler, broker, fleets
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import KEYS

try:
    from ansible.template import trust_as_template
except ImportError:  # before ansible-core 2.19 every text of the inventory is a template

    def trust_as_template(value: str) -> str:  # type: ignore[misc]
        return value

    def at(_place: str, variable: str) -> str:
        return variable
else:

    def at(place: str, _variable: str) -> str:
        """Where an undefined value is named: ansible-core before 2.19 knows only the whole variable."""
        return place


ROLES = Path(__file__).parents[3] / "roles"
GOOD: dict[str, Any] = {
    "name": "web",
    "app": "proj",
    "virtualenv": "/srv/venv",
    "broker_url": "redis://h/0",
    "queues": ["celery"],
}
UNDEFINED = trust_as_template("redis://:{{ no_such_variable }}@h/0")
DEEPER = trust_as_template("{{ GOOD.no_such_key }}")
# None of these is what any key takes, whatever it is.
WRONG = ([[1]], [None])
NOT_FOR_PEOPLE = re.compile(
    r"Undefined|Marker|Ansible(?! Vault)|Lazy|Traceback|NoneType|<class|object at|_Tagged|datetime\."
)


@pytest.fixture(scope="module", autouse=True)
def _collections() -> Iterator[None]:
    finders, hooks = sys.meta_path[:], sys.path_hooks[:]
    init_plugin_loader()
    yield
    # Ansible's way to find collections does not go on where Python's has begun: it is for these tests alone.
    sys.meta_path[:], sys.path_hooks[:] = finders, hooks
    sys.path_importer_cache.clear()


FILTERS = {
    name: function
    for module in (autoscaler, broker, fleets)
    for name, function in module.FilterModule().filters().items()
}


@cache
def templates() -> Templar:
    """Ansible's templates with the filters of this collection. To make them takes most of the time."""
    templar = Templar(loader=DataLoader())
    environment = templar.environment if hasattr(templar, "environment") else templar._engine.environment
    for name, function in FILTERS.items():
        environment.filters[name] = function
    return templar


def told(filter_name: str, variable: object, *more: object) -> list[Any]:
    """What a filter says of a variable that comes out of a template."""
    templar = templates()
    templar.available_variables = {"GOOD": GOOD, "variable": variable, "more": list(more)}
    arguments = ", ".join(f"more[{index}]" for index in range(len(more)))
    found: list[Any] = templar.template(trust_as_template("{{ variable | " + f"{filter_name}({arguments})" + " }}"))
    return list(found)


def check(found: list[str], name: str) -> None:
    assert found, "nothing was said"
    assert all(name in fault for fault in found), found
    assert not any(NOT_FOR_PEOPLE.search(fault) for fault in found), found


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_a_fleet(key: str) -> None:
    for value, says in ((UNDEFINED, "'no_such_variable' is undefined"), (DEEPER, "no_such_key")):
        found = told("fleet_problems", [{**GOOD, key: value}])
        check(found, at(f"celery_worker_fleets[0].{key}: ", "celery_worker_fleets: "))
        assert len(found) == 1
        assert says in found[0]
        if KEYS[key].inherits:
            found = told("fleet_problems", [{name: one for name, one in GOOD.items() if name != key}], {key: value})
            check(found, at(f"celery_worker_fleet_defaults.{key}: ", "celery_worker_fleet_defaults: "))
    for value in WRONG:
        check(told("fleet_problems", [{**GOOD, key: value}]), f"celery_worker_fleets[0].{key}")
    null = told("fleet_problems", [{**GOOD, key: None}])
    assert null == [] or (len(null) == 1 and not NOT_FOR_PEOPLE.search(null[0])), null


@pytest.mark.parametrize("key", [key for key, known in KEYS.items() if known.kind.type in ("dict", "list")])
def test_a_value_inside_a_key(key: str) -> None:
    for inner in (UNDEFINED, DEEPER, None):
        value = [inner] if KEYS[key].kind.type == "list" else {"limits": inner} if key == "policy" else {"Some": inner}
        found = told("fleet_problems", [{**GOOD, key: value}])
        if inner is None and key in ("broker_transport_options", "policy"):
            continue  # kombu's own default, or that of a part of a policy
        undefined = inner is not None
        check(found, at(f"celery_worker_fleets[0].{key}", "celery_worker_fleets") if undefined else f".{key}")


@pytest.mark.parametrize("value", [UNDEFINED, DEEPER, None, "web", 3, yaml.safe_load("2026-11-28")])
def test_whole_variables(value: object) -> None:
    check(told("fleet_problems", value), "celery_worker_fleets: ")
    check(told("fleet_problems", [value]), at("celery_worker_fleets[0]", "celery_worker_fleets"))
    if value is not None:
        check(told("fleet_problems", [GOOD], value), "celery_worker_fleet_defaults: ")


def test_a_date_is_the_text_that_was_written() -> None:
    written = yaml.safe_load("2026-11-28")
    assert told("fleet_problems", [{**GOOD, "environment": {"SINCE": written}}]) == []
    assert (
        told("resolve_fleets", [{**GOOD, "environment": {"SINCE": written}}])[0]["environment"]["SINCE"] == "2026-11-28"
    )


def test_an_undefined_value_stops_what_goes_on_without_a_check() -> None:
    with pytest.raises(Exception, match=r"celery_worker_fleets(\[0\].broker_url)?: 'no_such_variable' is undefined"):
        told("resolve_fleets", [{**GOOD, "broker_url": UNDEFINED}])


@pytest.mark.parametrize(
    ("role", "filter_name"), [("autoscaler", "autoscaler_problems"), ("broker", "broker_problems")]
)
def test_every_variable_of_a_role(role: str, filter_name: str) -> None:
    prefix = f"celery_{role}_"
    document = yaml.safe_load((ROLES / role / "vars/main.yml").read_text())
    names = document[f"__{prefix}settings" if role == "autoscaler" else f"__{prefix}variables"]
    good: dict[str, Any] = {
        name[len(prefix) :]: value
        for name, value in yaml.safe_load((ROLES / role / "defaults/main.yml").read_text()).items()
    }
    good = {name: good.get(name) for name in names} | (
        {"password": "not-a-real-password", "port": 1, "user": "a"} if role == "broker" else {}
    )
    assert told(filter_name, good) == []
    for name in names:
        for value in (UNDEFINED, DEEPER, None, [[1]], {"a": {}} if name != "settings" else [1]):
            undefined = value in (UNDEFINED, DEEPER)
            check(
                told(filter_name, {**good, name: value}),
                at(f"{prefix}{name}", prefix) if undefined else f"{prefix}{name}",
            )
