# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run programs, say what happens, and find the places where this checkout keeps its caches."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[3]


class BedError(Exception):
    """Something the bed needs is missing or failed; the message says what to do about it."""


def say(text: str) -> None:
    """Print progress to standard error; standard output is for results."""
    print(f"bed: {text}", file=sys.stderr, flush=True)


def cache_dir(*parts: str) -> Path:
    """Return a directory under the user's cache, made if missing."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = base.joinpath("muejam-celery", *parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Keep other processes, of this checkout and of others, from doing the same meanwhile."""
    with (cache_dir("locks") / what).open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def checkout_key() -> str:
    """Return eight hex digits that tell this checkout from others on the machine."""
    return hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]


def as_root(command: Sequence[str]) -> list[str]:
    """Return the command so that it runs as root: unchanged for root, by sudo for others.

    Raises BedError when this user is not root and there is no sudo.
    """
    if os.geteuid() == 0:
        return list(command)
    if shutil.which("sudo") is None:
        raise BedError(f"'{shlex.join(command)}' needs root: run this as root or install sudo")
    return ["sudo", *command]


def run(
    command: Sequence[str],
    *,
    check: bool = True,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command and return it with its output. Raises BedError with the output when it fails and check is set."""
    done = subprocess.run(
        list(command),
        input=stdin,
        env=None if env is None else {**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode != 0:
        raise BedError(f"'{shlex.join(command)}' ended with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip())
    return done


def wait_until(
    condition: Callable[[], Any],
    seconds: float = 10.0,
    what: str | Callable[[], object] = "condition",
    every: float = 0.1,
) -> Any:
    """Poll until the condition returns something true, and return that.

    Raises BedError when it still does not after so many seconds, with C(what) was waited for: a text, or a function
    that tells what there is instead.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            evidence = what if isinstance(what, str) else what()
            raise BedError(f"{evidence}: not within {seconds:g} s, last value {value!r}")
        time.sleep(every)
    return value
