# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets of one app that would each send what is scheduled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import SCHEMES, kind_of
from ansible_collections.muejam.celery.plugins.module_utils.fleet import celery_names, celery_words, command, spec
from ansible_collections.muejam.celery.plugins.module_utils.redaction import place_of


class App(NamedTuple):
    """What tells the app of a fleet from others."""

    app: str
    broker: list[tuple[str, str]]
    virtualenv: str | None

    def is_of(self, other: App) -> bool:
        """Whether both are the same. A command may not tell the virtualenv."""
        same = self.virtualenv == other.virtualenv or None in (self.virtualenv, other.virtualenv)
        return same and self.app == other.app and self.broker == other.broker


def of_fleets(fleets: Sequence[tuple[str, spec.Fleet]]) -> list[str]:
    """Each fleet that sends what another one of the same app sends as well."""
    found = []
    senders: list[tuple[str, App]] = []
    for path, fleet in fleets:
        place, app = place_of_beat(fleet), app_of(fleet)
        if not place or app is None:
            continue
        other = next((before for before, one in senders if app.is_of(one)), None)
        if other:
            found.append(
                f"{path}.{place}: --beat, and {other} has it for the same app: "
                "everything scheduled would be sent by both, keep one"
            )
        senders.append((path, app))
    return found


def app_of(fleet: spec.Fleet) -> App | None:
    """The app of a resolved fleet, none where its command does not tell it or the fleet is not whole."""
    line = _line(fleet)
    if line is None or not fleet["broker_url"]:
        return None
    app = next((word.value for word in line.main if word.flag and word.flag.name == "--app"), None)
    virtualenv = line.program.rpartition("/bin/")[0] or None
    return App(app, _broker(fleet["broker_url"]), virtualenv) if app else None


def place_of_beat(fleet: spec.Fleet) -> str:
    """Where a resolved fleet says that its worker is to send what is scheduled, such as `extra_args`; else empty."""
    line = _line(fleet)
    if line is None:
        return ""
    if any(word.flag and word.flag.name == "--beat" for word in line.words):
        return "command" if fleet["command"] else "extra_args"
    if str(fleet["environment"].get("CELERY_WORKER_BEAT", "")).lower() not in celery_names.OFF:
        return "environment.CELERY_WORKER_BEAT"
    return ""


def _line(fleet: spec.Fleet) -> celery_words.CommandLine | None:
    return celery_words.celery_in(command.argv(fleet)) if fleet["app"] or fleet["command"] else None


def _broker(url: str) -> list[tuple[str, str]]:
    """Host and database (or virtual host) of each address, with what is left out filled in."""
    found, kind = [], kind_of(url)
    for one in place_of(url).split(";"):
        scheme, _sign, rest = one.partition("://")
        host, _slash, path = rest.partition("/")
        port = SCHEMES[scheme].port if scheme in SCHEMES else None
        host = (host or "localhost").lower().removesuffix(f":{port}")
        found.append((host, unquote(path) or (kind.database if kind else "")))
    return found
