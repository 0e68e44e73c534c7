# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call everybody on Redis, which counts who hears a broadcast, so the last answer ends the call."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ansible_collections.muejam.celery.plugins.module_utils.brokers import calling
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.remote_control import RedisRemoteControl
from ansible_collections.muejam.celery.plugins.module_utils.brokers.workers import COMMANDS, SILENT, Found, Worker


@dataclass(frozen=True)
class Silence:
    """Who does not answer.

    :ivar names: those whose names are known.
    :ivar nameless: how many more there are.
    :ivar sure: how many of C(names) are there for certain; the others may be leftovers of killed workers.
    """

    names: tuple[str, ...]
    nameless: int
    sure: int


def silence_among(listening: int, answered: Collection[str], bound: Iterable[str]) -> Silence:
    """Tell who does not answer, from how many listen and which names the broker keeps.

    :param listening: nodes that hear a broadcast.
    :param answered: nodes that answered it.
    :param bound: names with a mailbox. A killed worker leaves its name behind, so a name
        alone proves nothing: only when as many are missing as there are names left, each
        of them is known to be there.
    """
    missing = max(0, listening - len(answered))
    names = tuple(sorted(set(bound) - set(answered))) if missing else ()
    return Silence(names=names, nameless=max(0, missing - len(names)), sure=min(missing, len(names)))


def call_everybody(control: RedisRemoteControl, deadline: float) -> Found:
    """Ask all workers who they are; the last answer ends the call."""
    listening = control.listeners()
    if not listening:
        return Found(())
    # Behind sentinels, old and new workers may listen under two names, and one worker under both.
    most = control.most_listeners()
    asked = control.ask(COMMANDS)
    # Asked last: who has answered this has no other answer on its way, or never will (a beat answers nothing else).
    roll = control.ask(["ping"])

    def answered() -> set[str]:
        return {*asked.answers, *roll.answers}

    def finished(quiet: bool) -> bool:
        nonlocal listening
        if quiet:
            # Somebody who left meanwhile will not answer, and somebody who came was not asked.
            listening = min(listening, control.listeners())
        everybody = len(answered()) >= (listening if quiet else max(listening, most))
        complete = all(calling.is_complete(asked, name) and name in roll.answers for name in asked.answers)
        return everybody and complete and (quiet or set(roll.answers) <= set(asked.answers))

    calling.listen_until(control, deadline, finished)
    silence = silence_among(listening, answered(), control.bound_nodes())
    warnings = []
    if silence.sure < len(silence.names):
        warnings.append(
            f"{silence.sure} of these workers {'is' if silence.sure == 1 else 'are'} connected to the broker and "
            f"{'does' if silence.sure == 1 else 'do'} not answer, the others are names that killed workers left "
            f"behind; Redis does not tell which is which: {', '.join(silence.names)}"
        )
    silent = tuple(Worker(name=name, state=SILENT) for name in silence.names)
    return Found((*silent, *calling.workers_in(asked)), silence.nameless, tuple(warnings))
