# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one part of the autoscaler that runs as root: it scales a fleet, or restarts a worker, when it may.

systemd starts it for each connection to a socket that only the autoscaler's user can open. It reads one line of JSON,
answers with one line of JSON and ends. Whoever asks is not trusted: what may be asked for is in the configuration,
which only root can write.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import stat
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
    Configuration,
    WatchedFleet,
    load_configuration,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import ACT, CONFIGURATION_FILE
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import is_fleet_name
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import (
    RESULT_KEYS,
    RollingPlatform,
    ScaleRequest,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.registry import open_platform

MOST_BYTES = 4096
"""Longest request. A fleet's name has at most 40 characters."""

READ_SECONDS = 5.0
"""Time for a request to arrive in full."""

LOCK_SECONDS = 1.0
"""Time to wait for a deployment or a person who scales the fleet: the autoscaler asks again by itself."""

_MOST_SHOWN = 80


class Refused(Exception):
    """The request may not, or cannot, be carried out; nothing was changed. The text says why."""


@dataclass(frozen=True)
class Scale:
    """Have so many workers. `expected_workers` is how many the caller believes there are."""

    fleet: str
    workers: int
    expected_workers: int | None = None


@dataclass(frozen=True)
class Restart:
    """Restart one worker, by its id."""

    fleet: str
    worker: str


Request = Union[Scale, Restart]


def parse_request(line: bytes) -> Request:
    """Return what one line asks for.

    :raises Refused: for anything but a request, to the letter.
    """
    try:
        raw = json.loads(line, object_pairs_hook=_without_doubles, parse_constant=_no_number)
    # Brackets nested a thousand deep are valid JSON, and too much for the parser.
    except (ValueError, RecursionError):
        raise Refused("the request is not one line of JSON") from None
    if not isinstance(raw, dict):
        raise Refused("the request is not a JSON object")
    keys = {"scale": ("do", "fleet", "workers", "expected_workers"), "restart": ("do", "fleet", "worker")}
    wanted = raw.get("do")
    if not isinstance(wanted, str) or wanted not in keys:
        raise Refused(f"do is {_shown(wanted)}; known are scale and restart")
    unknown = sorted(set(raw) - set(keys[wanted]))
    if unknown:
        raise Refused(f"{_shown(unknown[0])} is no part of a request to {wanted}")
    fleet = raw.get("fleet")
    if not isinstance(fleet, str) or not is_fleet_name(fleet):
        raise Refused(f"fleet is {_shown(fleet)}, which is no name of a fleet")
    if wanted == "scale":
        expected = raw.get("expected_workers")
        return Scale(
            fleet,
            _count(raw.get("workers"), "workers"),
            None if expected is None else _count(expected, "expected_workers"),
        )
    worker = raw.get("worker")
    if not isinstance(worker, str):
        raise Refused(f"worker is {_shown(worker)}, which is no worker of fleet {fleet}")
    return Restart(fleet, worker)


def require_allowed(request: Request, configuration: Configuration, platform: RollingPlatform) -> None:
    """Return when the configuration lets the autoscaler do this.

    :raises Refused: when not.
    :raises OperationError: when it cannot be told whether root holds the fleet at a number.
    """
    fleet = _autoscaled(request.fleet, configuration)
    if isinstance(request, Restart):
        if not platform.is_worker(fleet.name, request.worker):
            raise Refused(f"worker is {_shown(request.worker)}, which is no worker of fleet {fleet.name}")
        if not fleet.stuck.restart:
            raise Refused(f"workers of fleet {fleet.name} are not to be restarted (stuck.restart is false)")
        return
    # Windows only narrow the limits, and which one is in force is the autoscaler's business.
    limits = fleet.policy.limits if fleet.policy else None
    # What root holds the fleet at may be outside of them.
    pause = platform.paused(fleet.name)
    if pause is not None and pause.holds(time.time()) and request.workers == pause.workers:
        return
    if limits is None or not limits.min_workers <= request.workers <= limits.max_workers:
        bounds = f"{limits.min_workers} to {limits.max_workers}" if limits else "none"
        raise Refused(f"{request.workers} workers are outside the limits of fleet {fleet.name}, {bounds}")


def carry_out(request: Request, platform: RollingPlatform) -> dict[str, Any]:
    """Do what is asked for, without waiting for workers to come up or to drain, and return what was done.

    :raises OperationError: when it could not be done, or not in full.
    """
    if isinstance(request, Restart):
        platform.restart(request.fleet, request.worker, lock_wait=LOCK_SECONDS)
        return {"restarted": [request.worker]}
    wanted = ScaleRequest(request.fleet, request.workers, request.expected_workers, wait=False, lock_wait=LOCK_SECONDS)
    result = platform.scale(wanted)
    return {key: getattr(result, key) for key in (*RESULT_KEYS, "warnings")}


def answer(
    line: bytes, load: Callable[[], Configuration], opened: Callable[[str], RollingPlatform] = open_platform
) -> dict[str, Any]:
    """Return the answer to one line, whatever comes.

    :param load: reads the configuration.
    :param opened: opens the platform that it names.
    """
    try:
        request = parse_request(line)
        configuration = load()
        platform = opened(configuration.platform)
        require_allowed(request, configuration, platform)
        return {"ok": True, **carry_out(request, platform)}
    except Refused as refusal:
        return {"ok": False, "error": f"refused, nothing was changed: {refusal}"}
    except OperationError as error:
        done = {key: error.details[key] for key in (*RESULT_KEYS, "busy") if key in error.details}
        return {"ok": False, "error": str(error), **done}
    except Exception as error:
        sys.stderr.write(traceback.format_exc())
        why = f"the root helper failed ({type(error).__name__}); see journalctl -u 'celery-autoscaler-scale@*'"
        return {"ok": False, "unsure": True, "error": why}


def load_trusted(path: str) -> Configuration:
    """Read the configuration, unless somebody else than root could have written it.

    :raises OperationError: when it is not root's alone to write, cannot be read, or has faults.
    """
    tried = f"use the configuration {path}"
    for place in (Path(path), Path(path).parent):
        try:
            details = place.stat()
        except OSError as error:
            raise OperationError(tried, error, "Deploy with the role muejam.celery.autoscaler.") from error
        # Where this runs as somebody else, as in a test, that user takes root's place.
        if details.st_uid not in (0, os.geteuid()) or details.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise OperationError(
                tried, f"not only root can write {place}", "Make it root's, and writable by root alone."
            )
    return load_configuration(path)


def read_line(descriptor: int, seconds: float = READ_SECONDS) -> bytes:
    """Read one line, or what there is until the end.

    :raises Refused: when it is too long, or not there in time.
    """
    deadline = time.monotonic() + seconds
    line = b""
    while b"\n" not in line:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise Refused(f"no whole line came within {seconds:g} s")
        more = os.read(descriptor, MOST_BYTES)
        line += more
        if len(line) > MOST_BYTES:
            raise Refused(f"a request has at most {MOST_BYTES} bytes")
        if not more:
            break
    return line.partition(b"\n")[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer the request on standard input on standard output; return 0 when there was an answer."""
    parser = argparse.ArgumentParser(prog="scaler", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--config", default=CONFIGURATION_FILE, metavar="FILE")
    parser.add_argument("--check", action="store_true", help="only say whether the configuration is sound")
    options = parser.parse_args(arguments)
    if options.check:
        return _check(options.config)
    try:
        line = read_line(sys.stdin.fileno())
    except Refused as refusal:
        line, said = b"", {"ok": False, "error": f"refused, nothing was changed: {refusal}"}
    else:
        said = answer(line, lambda: load_trusted(options.config))
    text = json.dumps(said)
    # The journal keeps who asked for what: systemd names the instance after the caller's process and user.
    sys.stderr.write(f"{_shown(line.decode('utf-8', 'replace'), 300)} -> {text}\n")
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as error:
        sys.stderr.write(f"the caller did not wait for the answer: {error}\n")
        # Closing standard output at exit would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return 0


def _check(path: str) -> int:
    try:
        load_configuration(path)
    except OperationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _autoscaled(name: str, configuration: Configuration) -> WatchedFleet:
    if configuration.mode != ACT:
        raise Refused(f"the autoscaler's mode is {configuration.mode}, and only in mode {ACT} may it change anything")
    fleet = configuration.fleet(name)
    if fleet is None:
        raise Refused(f"the configuration names no fleet {name}")
    if fleet.policy is None:
        raise Refused(f"fleet {name} has no policy, so it is not the autoscaler's to scale")
    return fleet


def _count(raw: object, name: str) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or raw < 0:
        raise Refused(f"{name} is {_shown(raw)}, not a whole number of workers")
    return raw


def _without_doubles(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    # What two readers of one text understand differently is refused.
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _shown(value: object, most: int = _MOST_SHOWN) -> str:
    text = repr(value)
    return text if len(text) <= most else text[:most] + "..."


if __name__ == "__main__":
    raise SystemExit(main())
