# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for the role beat: thin, the rules are in `plugin_utils/beat_role.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.muejam.celery.plugins.module_utils.fleet import spec
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import beat_objects
from ansible_collections.muejam.celery.plugins.plugin_utils import beat_role, templated


@templated.takes_undefined
def beat_problems(beats: object, fleets: Sequence[spec.Fleet], place: Mapping[str, Any], platform: str) -> list[str]:
    """Every fault of the beats, each with its path."""
    given, undefined = templated.plain(beats, "celery_beats")
    return undefined or beat_role.problems(given, fleets, place, platform)


@templated.takes_undefined
def resolve_beats(beats: object, fleets: Sequence[spec.Fleet], host: str) -> list[beat_role.Beat]:
    """Every beat with all of its keys, its name, its host and its fleet."""
    given, undefined = templated.plain(beats, "celery_beats")
    if undefined:
        raise AnsibleFilterError("; ".join(undefined))
    return beat_role.resolve(given, fleets, host)


def beat_objects_of(beat: beat_role.Beat, namespace: str, lifecycle: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every object that a resolved beat is in a cluster."""
    return beat_objects.of_beat(
        beat_role.as_fleet(beat),
        namespace,
        lifecycle,
        beat_role.schedule_path(beat).rpartition("/")[0],
        beat["volume_claim"],
    )


def beat_leftovers(names: Sequence[str], namespace: str) -> list[dict[str, Any]]:
    """What is to go with beats, by its names alone."""
    return [thing for name in names for thing in beat_objects.names_of_all(name, namespace)]


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by the names that playbooks use."""
        return {
            "beat_problems": beat_problems,
            "resolve_beats": resolve_beats,
            "beat_service": beat_role.service,
            "beat_objects": beat_objects_of,
            "beat_leftovers": beat_leftovers,
        }
