# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of celery-autoscaler."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.policy_file import load_policy
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.replay import replay
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import PolicyError
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError

REFUSED = 1
FAILED = 2


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    commands = argparse.ArgumentParser(prog="celery-autoscaler", description="Decide how many Celery workers run.")
    verbs = commands.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("check", help="say whether a policy is sound, or everything that is wrong with it")
    again = verbs.add_parser("replay", help="decide again what was observed: JSON lines in, JSON lines out")
    for verb in (check, again):
        verb.add_argument("--policy", required=True, metavar="FILE", help="the policy, YAML or JSON")
    again.add_argument("--observations", required=True, metavar="FILE", help="JSON lines; - is standard input")
    return commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run celery-autoscaler and return its exit status: 0, 1 for a refused policy, 2 for anything else."""
    given = parser().parse_args(arguments)
    try:
        policy = load_policy(given.policy)
        if given.verb == "replay":
            with _lines(given.observations) as lines:
                for answer in replay(policy, lines):
                    _tell(answer)
        else:
            _tell(f"{given.policy}: no fault found")
    except PolicyError as error:
        for fault in error.faults:
            _complain(f"{given.policy}: {fault}")
        return REFUSED
    except OperationError as error:
        _complain(str(error))
        return FAILED
    except BrokenPipeError:
        # The reader has what it wanted. Closing standard output again at exit would complain.
        sys.stderr.close()
    return 0


@contextmanager
def _lines(path: str) -> Iterator[Iterable[str]]:
    if path == "-":
        yield _as_they_come(sys.stdin)
        return
    try:
        with Path(path).open(encoding="utf-8") as file:
            yield file
    except BrokenPipeError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise OperationError(
            f"read the observations in {path}", error, "Name a readable file of JSON lines."
        ) from error


def _as_they_come(stream: TextIO) -> Iterator[str]:
    # Iterating over a pipe reads ahead in blocks; whoever waits for an answer before sending more would wait for ever.
    yield from iter(stream.readline, "")


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _complain(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
