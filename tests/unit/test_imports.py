# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of docs/architecture.md on who may know whom, held against the imports and against the roles."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[2]
OURS = "ansible_collections.muejam.celery.plugins."
UTILS = "module_utils."

BROKER_KINDS = re.compile(r"module_utils\.brokers\.(registry|kind|url|tls|transport_options|\w+\.kind)")
"""What a broker is, as values: the part of brokers/ that connects to nothing."""

PLATFORM_NAMES = re.compile(r"module_utils\.platforms\.\w+\.names")
"""How things of a fleet are called on a platform, as values: whoever makes them needs to know as well."""

HOOKS = {"module_utils.unit_hooks"}
"""The program that units of workers run. It joins rooms, as autoscaler/ does."""

BELOW = {"helpers", "decide", "fleet", "broker_kinds", "platform_names"}
MAY_IMPORT = {
    "decide": set(),
    "helpers": set(),
    "broker_kinds": {"helpers"},
    "fleet": {"helpers", "decide", "broker_kinds"},
    "platform_names": {"helpers", "fleet"},
    "observe": {"helpers", "decide", "fleet"},
    "brokers": BELOW,
    "platforms": BELOW,
    "deploy": BELOW,
    "autoscaler": {*BELOW, "observe", "brokers", "platforms"},
    "simulation": {"helpers", "fleet", "decide", "observe", "autoscaler"},
    "hooks": {*BELOW, "brokers", "platforms"},
    "modules": {*BELOW, "observe", "brokers", "platforms", "deploy", "autoscaler"},
    "plugin_utils": {"helpers", "fleet", "broker_kinds"},
    "filter": {*BELOW, "platforms", "deploy", "autoscaler", "plugin_utils"},
    "lookup": {"helpers"},
    "doc_fragments": set(),
}
THIRD_PARTIES = {
    "brokers": {"kombu", "celery", "redis", "hiredis"},
    "platforms": {"jeepney", "kubernetes", "kubernetes_validate", "psutil", "urllib3", "yaml"},
    "autoscaler": {"prometheus_client", "yaml"},
    "simulation": {"matplotlib"},
    "modules": {"ansible"},
    "plugin_utils": {"ansible", "jinja2", "yaml"},
    "filter": {"ansible"},
    "lookup": {"ansible"},
}
PURE = {"decide", "observe"}
DOES_INPUT_AND_OUTPUT = {
    "asyncio",
    "logging",
    "os",
    "pathlib",
    "select",
    "socket",
    "ssl",
    "subprocess",
    "threading",
} | {
    "fcntl",
    "http",
    "random",
    "shutil",
    "tempfile",
    "time",
    "urllib",
}

ROLES = {
    "worker": {"_common"},
    "autoscaler": {"_common", "worker"},
    "schedule": {"_common", "worker", "autoscaler"},
    "beat": {"_common"},
    "flower": {"_common"},
    "broker": {"_common"},
    "monitoring": set(),
    "_common": set(),
}
"""The roles that a role may use."""

ROLE_EXCEPTIONS = {("_common", "worker"): "installs the lifecycle package on a host, which lies in files of `worker`"}


@cache
def modules() -> dict[str, ast.Module]:
    """All our plugins by their names under plugins/, such as C(module_utils.decide.engine)."""
    return {
        ".".join(path.relative_to(TOP / "plugins").with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((TOP / "plugins").rglob("*.py"))
    }


def room_of(module: str) -> str:
    """Return the room that a module of ours is in."""
    parts = module.split(".")
    if parts[0] != "module_utils":
        return parts[0]
    if module in HOOKS:
        return "hooks"
    if BROKER_KINDS.fullmatch(module):
        return "broker_kinds"
    if PLATFORM_NAMES.fullmatch(module):
        return "platform_names"
    if module.startswith("module_utils.simulation."):
        return "simulation"
    return parts[1] if len(parts) > 2 else "helpers"


def imports_of(module: str) -> Iterator[str]:
    """Yield what a module imports: what is ours without C(OURS), of anything else the name of the package."""
    for node in ast.walk(modules()[module]):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import, which Ansible does not ship"
            origin = str(node.module)
            # What is imported from a package may be a module of it.
            of_package = [f"{origin}.{alias.name}" for alias in node.names]
            names = [name if name.removeprefix(OURS) in modules() else origin for name in of_package]
        for name in dict.fromkeys(names):
            yield name if name.startswith(OURS) else name.partition(".")[0]


def against_the_rules() -> Iterator[tuple[str, str]]:
    """Yield each import that the rules do not allow: who, and what."""
    for module in modules():
        room = room_of(module)
        for name in imports_of(module):
            ours = name.removeprefix(OURS)
            if ours != name:
                allowed = room_of(ours) in {room, *MAY_IMPORT[room]}
            elif name in sys.stdlib_module_names:
                allowed = not (room in PURE and name in DOES_INPUT_AND_OUTPUT)
            else:
                allowed = name in THIRD_PARTIES.get(room, ())
            if not allowed:
                yield module, ours


def test_every_room_has_its_rules() -> None:
    assert {room_of(module) for module in modules()} <= MAY_IMPORT.keys()


def test_rooms_import_what_they_may() -> None:
    found = sorted(set(against_the_rules()))
    assert not found, "\n".join(f"{module} ({room_of(module)}) may not import {name}" for module, name in found)


def test_the_page_names_the_same_libraries() -> None:
    rows = [line[2:-2].split(" | ") for line in (TOP / "docs/architecture.md").read_text(encoding="utf-8").splitlines()]
    others = {"`…/`": "helpers", "`…/unit_hooks.py`": "hooks"}
    named = {
        others.get(row[0], row[0].strip("`/").rpartition("/")[2]): set(row[3].split(", ")) - {"none"}
        for row in rows
        if len(row) == 4 and row[0].startswith(("`…/", "`plugins/"))
    }
    # Both are values that lie in rooms of others.
    assert named.keys() == MAY_IMPORT.keys() - {"broker_kinds", "platform_names"}
    assert {room: libraries for room, libraries in named.items() if libraries} == THIRD_PARTIES


def test_no_module_needs_itself() -> None:
    """Modules that import each other cannot be read, tested or moved one at a time."""
    done: set[str] = set()

    def follow(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " > ".join((*way[way.index(module) :], module))
        if module in done:
            return
        for name in imports_of(module):
            if name.startswith(OURS) and name.removeprefix(OURS) in modules():
                follow(name.removeprefix(OURS), (*way, module))
        done.add(module)

    for module in modules():
        follow(module, ())


def test_nothing_that_is_shipped_needs_simulation() -> None:
    """It stays on the controller, where C(bin/celery-autoscaler) starts it."""
    users = {
        module
        for module in modules()
        for name in imports_of(module)
        if name.startswith(OURS) and room_of(name.removeprefix(OURS)) == "simulation" != room_of(module)
    }
    assert not users


@pytest.mark.parametrize("package", sorted(path.parent for path in TOP.glob("roles/*/files/*/__init__.py")), ids=str)
def test_what_runs_in_a_worker_imports_celery_alone(package: Path) -> None:
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
            assert foreign <= {"celery", "kombu", "amqp", "gevent", package.name}, path


@pytest.mark.parametrize("role", sorted(path.name for path in (TOP / "roles").iterdir() if path.is_dir()))
def test_roles_depend_one_way(role: str) -> None:
    folder = TOP / "roles" / role
    meta = folder / "meta/main.yml"
    listed = yaml.safe_load(meta.read_text(encoding="utf-8")).get("dependencies") or [] if meta.exists() else []
    names = [entry if isinstance(entry, str) else entry["role"] for entry in listed]
    used = {name.rpartition(".")[2] for name in names}
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".yml", ".j2") and path.is_file():
            text = path.read_text(encoding="utf-8")
            used |= set(re.findall(r"\bname: muejam\.celery\.(\w+)$", text, re.M))
            used |= set(re.findall(r"\broles/(\w+)/", text))
            used |= set(re.findall(r"\b__celery_(worker|autoscaler|broker)_", text))
    assert {(role, other) for other in used - ROLES[role] - {role}} <= ROLE_EXCEPTIONS.keys()


NOT_FOR_HOSTS_ALONE = ("autoscaler.settings.configuration", "fleet.keys", "decide.", "observe.", "brokers.")
"""What a module that only reads or changes the workers of a host has no use for."""

OF_READINGS = {UTILS + "decide.pause", UTILS + "decide.wall_clock"}
"""A reading says what somebody holds the fleet at."""


def shipped_with(module: str) -> set[str]:
    """Return all that Ansible sends along with a module: what it imports anywhere, and what that imports."""
    found: set[str] = set()
    todo = [f"modules.{module}"]
    while todo:
        names = {name.removeprefix(OURS) for name in imports_of(todo.pop()) if name.startswith(OURS)}
        todo += names - found
        found |= names
    return found


@pytest.mark.parametrize("module", ["scale", "restart", "fleet_info"])
def test_a_module_ships_only_what_it_needs(module: str) -> None:
    """Ansible ships sources: the controller takes apart all that a module imports, and it is sent each time."""
    heavy = tuple(UTILS + name for name in NOT_FOR_HOSTS_ALONE)
    assert not {name for name in shipped_with(module) - OF_READINGS if name.startswith(heavy)}


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("scale", {"host.rolling", "systemd.reading", "systemd.configuration", "systemd.processes"}),
        ("restart", {"host.scaling", "systemd.reading", "systemd.processes"}),
        ("fleet_info", {"host.scaling", "host.rolling", "host.draining"}),
    ],
)
def test_a_module_loads_what_it_does_not_do_only_when_it_is_done(module: str, never: set[str]) -> None:
    """Nothing is cached on a host, so each run of a module compiles all that it loads."""
    program = f"import sys, {OURS}modules.{module} as it; it.options.open_platform(); print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert not {f"{OURS}{UTILS}platforms.{name}" for name in never} & set(loaded.split())
    assert "platforms.kubernetes" not in loaded
    assert "urllib3" not in loaded.split()
