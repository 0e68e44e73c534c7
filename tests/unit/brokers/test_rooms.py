# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is known of a broker is in its own room, and nobody outside asks which one it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import BROKERS
from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import KINDS, SCHEMES, kind_of

PLUGINS = Path(__file__).parents[3] / "plugins"
OURS = "ansible_collections.muejam.celery.plugins.module_utils."
ROOMS = ("redis", "rabbitmq")
DOORS = {"brokers/registry.py", "brokers/opening.py", "brokers/keda.py"}
"""The files that list the kinds of brokers."""

WITHOUT_OPENING = {"kind", "registry", "tls", "transport_options", "url"}
"""What is known of brokers without a library that speaks with them."""


def imports(under: str) -> Iterator[tuple[str, str]]:
    """Yield each file below a folder, and what of ours it imports."""
    for path in sorted((PLUGINS / under).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OURS[:-1]):
                for name in node.names:
                    whole = f"{node.module}.{name.name}"
                    yield str(path.relative_to(PLUGINS)).removeprefix("module_utils/"), whole.removeprefix(OURS)


def test_brokers_know_nothing_of_who_uses_them() -> None:
    upwards = ("platforms.", "observe.", "decide.", "autoscaler.", "simulation.")
    assert [each for each in imports("module_utils/brokers") if each[1].startswith(upwards)] == []


@pytest.mark.parametrize("folder", ["platforms", "observe", "decide"])
def test_nobody_reads_brokers_but_who_joins_them(folder: str) -> None:
    assert [each for each in imports(f"module_utils/{folder}") if each[1].startswith("brokers.")] == []


def test_a_room_is_entered_through_the_registry() -> None:
    inside = tuple(f"brokers.{room}." for room in ROOMS)
    entered = {file for file, what in imports("") if what.startswith(inside)}
    outside = {file for file in entered if not file.startswith(tuple(f"brokers/{room}/" for room in ROOMS))}
    assert outside == DOORS


@pytest.mark.parametrize(("room", "other"), [ROOMS, ROOMS[::-1]])
def test_rooms_know_nothing_of_each_other(room: str, other: str) -> None:
    found = imports(f"module_utils/brokers/{room}")
    assert [each for each in found if each[1].startswith(f"brokers.{other}.")] == []


def test_fleets_are_checked_without_opening_a_broker() -> None:
    known = {what.split(".")[1] for _file, what in imports("module_utils/fleet") if what.startswith("brokers.")}
    assert known <= WITHOUT_OPENING


def test_every_kind_can_be_opened_and_has_its_schemes() -> None:
    assert {broker.kind.name for broker in BROKERS} == {kind.name for kind in KINDS}
    assert len(SCHEMES) == sum(len(kind.schemes) for kind in KINDS)
    for kind in KINDS:
        assert {kind_of(f"{scheme.upper()}://h") for scheme in kind.schemes} == {kind}
    assert kind_of("sqs://h") is None
    assert kind_of(None) is None
