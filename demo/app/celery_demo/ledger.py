# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger: one JSON line for every task that ran.

It is a file that all workers of a host share, or a list in Redis that pods share, whose own files end with them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

DEFAULT_PATH = "/var/lib/celery-demo/ledger.jsonl"
LIST = "celery-demo-ledger"
"""Of Redis."""


@dataclass(frozen=True)
class Entry:
    """One run of one task. Times are seconds of the host's clock."""

    id: str
    task: str
    sent: float
    started: float
    ended: float
    node: str
    priority: int

    @property
    def wait(self) -> float:
        """Seconds between publishing and the start."""
        return self.started - self.sent


def path() -> str:
    """Return where the ledger is: DEMO_LEDGER, a path or the URL of a Redis, else DEFAULT_PATH."""
    return os.environ.get("DEMO_LEDGER", DEFAULT_PATH)


def append(entry: Entry) -> None:
    """Add one line; those of many writers do not mix."""
    line = json.dumps(asdict(entry))
    if path().startswith("redis://"):
        of_redis(path()).rpush(LIST, line)
    else:
        _append_to_file((line + "\n").encode())


@lru_cache(maxsize=1)
def of_redis(url: str) -> Any:
    """Return a client of the Redis at a URL, one for each process."""
    # Whoever keeps the ledger in a file need not have it.
    import redis

    return redis.Redis.from_url(url)


def _append_to_file(line: bytes) -> None:
    # By a single write, which O_APPEND keeps whole among many writers.
    descriptor = os.open(path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        written = os.write(descriptor, line)
    finally:
        os.close(descriptor)
    if written != len(line):
        raise OSError(f"{path()}: only {written} of {len(line)} bytes were written")


def parse(lines: Iterable[str]) -> Iterator[Entry]:
    """Read entries from lines; raises ValueError or TypeError on a line that is none."""
    for line in lines:
        yield Entry(**json.loads(line))
