# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the fleet scaled too aggressively: does it grow and shrink in turn?

The rule is that of the alert C(CeleryFlapping), on the decisions that the autoscaler keeps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose.evidence import (
    HOUR,
    Past,
    Seen,
    Unknown,
    counted,
    lasting,
)
from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose.verdict import Cause, Trouble, Verdict

TROUBLE = Trouble("scaling too aggressively", "scaling-too-aggressively")

ALERT = "CeleryFlapping"

TIMES = 6
"""Of the last hour, as many times are looked at, each as long."""

MOST_BOTH = 3
"""Of them may have seen the fleet grow and shrink."""

MOST_BEHIND = 900.0
"""Seconds by which what is kept may be older than now. It is saved every five minutes."""

_WHERE = "Read its log: journalctl -u celery-autoscaler -o cat --since -1h; or give prometheus_url."
_CALM_IT = "Lengthen cooldown_down first, then for of the down conditions; try it with celery-autoscaler replay."


def judge(seen: Seen) -> Verdict:
    """Return whether the fleet grew and shrank in turn within the last hour."""
    past = seen.past
    cause = Cause("it grows and shrinks in turn", _CALM_IT, "celery-flapping")
    if seen.firing(ALERT):
        known = [] if isinstance(past, Unknown) else list(_numbers(past))
        return TROUBLE.yes([cause], [f"the alert {ALERT} fires", *known])
    if seen.policy is False:
        return TROUBLE.no("no policy scales it", [])
    if isinstance(past, Unknown):
        return TROUBLE.cannot_tell(f"its last changes are not known: {past.why}", _WHERE, [])
    numbers = tuple(_numbers(past))
    if seen.at - past.at > MOST_BEHIND:
        return TROUBLE.cannot_tell(
            f"what is known of it ends {lasting(seen.at - past.at)} ago",
            "See systemctl status celery-autoscaler.",
            numbers,
        )
    both = times_with_both(past)
    if both > MOST_BOTH:
        return TROUBLE.yes([cause], numbers)
    watched = past.at - past.first_look
    # What was recorded at a look stands for the time until the next one.
    enough = HOUR * 0.95
    if watched >= enough > past.at - past.since:
        return TROUBLE.cannot_tell(
            f"it decides so often that what is kept goes back {lasting(past.at - past.since)} only", _WHERE, numbers
        )
    if watched < enough:
        return TROUBLE.cannot_tell(
            f"it was watched for {lasting(watched)}, and an hour tells", "Ask again when the hour is over.", numbers
        )
    return TROUBLE.no("it does not grow and shrink in turn", numbers)


def times_with_both(past: Past) -> int:
    """Return in how many of the last C(TIMES) times of the last hour the fleet both grew and shrank."""
    length = HOUR / TIMES
    seen = {(int((past.at - each.at) // length), each.action) for each in past.changes}
    return sum({(number, "up"), (number, "down")} <= seen for number in range(TIMES))


def _numbers(past: Past) -> Iterator[str]:
    lately = [each for each in past.changes if past.at - each.at < HOUR]
    counts = Counter(each.action for each in lately)
    yield (
        f"within the hour: {counted(counts['up'], 'time')} up, {counted(counts['down'], 'time')} down; both in "
        f"{times_with_both(past)} of {TIMES} times ten minutes, more than {MOST_BOTH} is too often"
    )
    steps = [each for each in lately if each.before is not None and each.after is not None]
    if steps:
        widest = max(steps, key=lambda each: abs((each.after or 0) - (each.before or 0)))
        yield f"the widest step: {widest.before} -> {widest.after} workers"
    for action in ("up", "down"):
        last = next((each for each in reversed(lately) if each.action == action), None)
        if last:
            yield f"last {action}: {'; '.join(last.reasons)}"
