# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role autoscaler says of itself is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings import role
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import Configuration
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import (
    CONFIGURATION_FILE,
    SOCKET,
    STATE_FILE,
    STATUS_FILE,
)
from ansible_collections.muejam.celery.plugins.module_utils.fleet import problems
from ansible_collections.muejam.celery.plugins.module_utils.platforms.lock import LOCK_DIRECTORY

ROLE = Path(__file__).parents[3] / "roles" / "autoscaler"


def read(name: str) -> Any:
    return yaml.safe_load((ROLE / name).read_text(encoding="utf-8"))


def options() -> dict[str, Any]:
    described: dict[str, Any] = read("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    return described


def test_every_default_is_described_and_no_other() -> None:
    assert {name: option["default"] for name, option in options().items()} == read("defaults/main.yml")
    assert all(option["description"] for option in options().values())


def test_the_readme_has_every_variable_and_its_default() -> None:
    readme = (ROLE / "README.md").read_text(encoding="utf-8").split("## Variables")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| .* \| `(.*)` \|$", readme, re.M)
    assert {name: yaml.safe_load(value) if value else "" for name, value in rows} == read("defaults/main.yml")


def test_the_defaults_have_no_fault() -> None:
    defaults = {name.replace("celery_autoscaler_", ""): value for name, value in read("defaults/main.yml").items()}
    assert list(role.problems(defaults)) == []


def test_the_example_of_the_readme_is_good() -> None:
    readme = (ROLE / "README.md").read_text(encoding="utf-8")
    [play] = yaml.safe_load(re.sub(r"{{.*?}}", "x", re.findall(r"```yaml\n(.*?)```", readme, re.S)[0]))
    assert problems.find(play["vars"]["celery_worker_fleets"]) == []


def test_the_program_looks_where_the_role_puts_things() -> None:
    plain = Configuration()
    assert (plain.state, plain.status, plain.scaler) == (
        STATE_FILE,
        STATUS_FILE,
        SOCKET,
    )
    assert read("vars/main.yml")["__celery_autoscaler_config_path"] == CONFIGURATION_FILE
    assert read("vars/main.yml")["__celery_autoscaler_socket"] == SOCKET


def test_root_makes_its_socket_and_locks_where_nobody_else_can_write() -> None:
    # Directories of the service's user: systemd gives them to him.
    service = (ROLE / "templates/celery-autoscaler.service.j2").read_text(encoding="utf-8")
    his = re.findall(r"^(?:Runtime|State)Directory=(.*)$", service, re.M)
    assert his == ["celery-autoscaler", "celery-autoscaler"]
    assert Path(SOCKET).parent == Path("/run")
    scaler = (ROLE / "templates/celery-autoscaler-scale@.service.j2").read_text(encoding="utf-8")
    assert f"\nRuntimeDirectory={Path(LOCK_DIRECTORY).relative_to('/run')}\nRuntimeDirectoryMode=0700\n" in scaler
    assert "ReadWritePaths" not in scaler
    # What root does for this service, it does not do in those directories.
    assert not re.search(r"^Exec\w+=[-@:!]*\+", service, re.M)
