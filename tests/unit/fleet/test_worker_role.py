# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role says of itself is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

import documented
from ansible_collections.muejam.celery.plugins.module_utils.fleet import problems
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import KEYS

ROLE = Path(__file__).parents[3] / "roles" / "worker"


def read(name: str) -> Any:
    return yaml.safe_load((ROLE / name).read_text(encoding="utf-8"))


def test_every_default_is_described_and_no_other() -> None:
    described = read("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in described.items()} == read("defaults/main.yml")
    assert all(option["description"] for option in described.values())


def test_what_is_written_of_the_keys_and_variables_is_what_they_are() -> None:
    for path, text in documented.written().items():
        assert path.read_text(encoding="utf-8") == text, "run make docs"


def test_every_key_of_a_fleet_is_shown_with_its_type_and_none_is_checked_by_ansible() -> None:
    """Its check would come before ours, and stop at what templates make texts of on ansible-core up to 2.18."""
    fleets = read("meta/argument_specs.yml")["argument_specs"]["main"]["options"]["celery_worker_fleets"]
    assert list(fleets["options"]) == list(KEYS)
    assert all(option["type"] and option["description"] for option in fleets["options"].values())
    assert fleets["options"]["pool"]["choices"] == list(KEYS["pool"].choices)
    assert fleets["options"]["drain_timeout"]["default"] == KEYS["drain_timeout"].default
    nonsense = [3, {"nme": "web", "workers": "many", "pool": "what", "autoscale": {}}, {"name": "web", "workers": "3"}]
    assert ArgumentSpecValidator({"fleets": fleets}).validate({"fleets": nonsense}).error_messages == []


def test_the_examples_of_the_readme_are_good() -> None:
    readme = (ROLE / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", readme, re.S)
    play, own = [yaml.safe_load(re.sub(r"{{.*?}}", "x", block)) for block in blocks]
    variables = play[0]["roles"][0]["vars"]
    assert problems.find(variables["celery_worker_fleets"], variables["celery_worker_fleet_defaults"]) == []
    fleet = {**own["celery_worker_fleets"][0], "broker_url": "redis://h"}
    assert problems.find([fleet]) == []


def test_the_examples_for_applications_are_short_and_good() -> None:
    text = (ROLE.parents[1] / "docs/your-application.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, re.S)
    assert len(examples) == 4
    for example in examples:
        assert len(example.splitlines()) <= 12
        rendered = example.replace("{{ broker_password }}", "not-a-real-password")
        assert problems.find(yaml.safe_load(rendered)["celery_worker_fleets"]) == []


def test_environment_files_stand_before_the_fleets_own() -> None:
    unit = (ROLE / "templates/worker.service.j2").read_text(encoding="utf-8")
    assert unit.index("EnvironmentFile={{ path }}") < unit.index("EnvironmentFile={{ __celery_worker_service")


def test_root_runs_python_isolated_and_nothing_in_the_applications_environment() -> None:
    for tasks in sorted(ROLE.parent.glob("*/tasks/**/*.yml")):
        for first in re.findall(r"\['python'\]\['executable'\], ('-\w+')", tasks.read_text(encoding="utf-8")):
            assert first == "'-I'", tasks
    [reading] = [task for task in read("tasks/systemd/environment_files.yml") if task["name"].endswith("| Read")]
    assert "'--property=DynamicUser=yes'" in reading["ansible.builtin.command"]["argv"]


def test_environment_files_are_read_with_a_message_bus_and_a_failure_is_told() -> None:
    for platform in read("../_common/vars/main.yml")["__celery_common_platforms"]["systemd"].values():
        assert "dbus" in platform["packages"]
    [fleets] = [task for task in read("tasks/systemd/main.yml") if "block" in task]
    order = [task["name"] for task in fleets["block"]]
    assert order.index("Tools") < order.index("Environment files") < order.index("Probe")
    reading, telling = [task for task in read("tasks/systemd/environment_files.yml") if "read" in task["name"].lower()]
    assert reading["no_log"]
    assert reading["failed_when"] is False
    assert "stderr" in telling["ansible.builtin.debug"]["msg"]
    assert "no_log" not in telling
    assert telling["failed_when"] == "not ansible_check_mode"


def test_every_name_of_the_roles_own_is_defined_where_it_is_used() -> None:
    """A name that is gone would go unnoticed before a default filter."""
    texts = [
        path.read_text(encoding="utf-8")
        for role in ("_common", "worker", "autoscaler", "schedule", "broker", "beat", "flower")
        for path in (ROLE.parent / role).rglob("*")
        if path.suffix in (".yml", ".j2")
    ]
    own = r"__celery_\w+"
    defined = {
        name[0] or name[1]
        for text in texts
        for name in re.findall(rf"^[ -]*({own})(?=:)|(?:register|loop_var|index_var): ({own})", text, re.M)
    }
    used = {name for text in texts for name in re.findall(own, text)}
    assert sorted(used - defined) == []
