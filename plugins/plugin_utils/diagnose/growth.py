# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the fleet not scaling up: do tasks wait while something keeps it from growing?

It speaks of this moment. The alerts C(CeleryAtCeiling) and C(CeleryWaitOverPromise) ask for the same, and wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import CONSUMING, DOWN, ENDING, STARTING
from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose.evidence import (
    NOT_DEPLOYED,
    Seen,
    Unknown,
    counted,
    lasting,
)
from ansible_collections.muejam.celery.plugins.plugin_utils.diagnose.verdict import Cause, Trouble, Verdict

TROUBLE = Trouble("not scaling up", "not-scaling-up")

ALERTS = {
    "CeleryAtCeiling": "celery-at-ceiling",
    "CeleryWaitOverPromise": "celery-wait-over-promise",
    "CeleryNoWorker": "celery-no-worker",
    "CeleryScalingFails": "celery-scaling-fails",
    "CeleryAutoscalerBlind": "celery-autoscaler-blind",
}
"""By what speaks of this trouble the name of its runbook."""

_ASK_WHY = "Read the reasons: celery-autoscaler status."


def judge(seen: Seen) -> Verdict:
    """Return whether the fleet ought to have more workers and does not get them."""
    numbers = list(_numbers(seen))
    if isinstance(seen.waiting, Unknown):
        return TROUBLE.cannot_tell(
            f"how many tasks wait is not known: {seen.waiting.why}",
            "Give the broker_url of the fleet, or see why its broker cannot be read.",
            numbers,
            "celery-broker-unreadable",
        )
    if not seen.waiting:
        return TROUBLE.no("no task waits", numbers)
    status = {} if isinstance(seen.status, Unknown) else seen.status
    causes = [*_service(seen), *_undone(seen, status)]
    if not causes and _grows(seen, status):
        return TROUBLE.no(f"it grows, from {status['from']} to {status['to']} workers", numbers)
    causes += [*_held(seen), *_nobody(seen, status), *_workers(seen, status), *_too_late(seen, status)]
    told = {cause.runbook for cause in causes}
    causes += [
        Cause(f"the alert {name} fires", f"Follow the runbook of {name}.", ALERTS[name])
        for name in seen.firing(*ALERTS)
        if ALERTS[name] not in told
    ]
    if causes:
        return TROUBLE.yes(causes, numbers)
    if isinstance(seen.workers, Unknown):
        return TROUBLE.cannot_tell(
            f"the workers are not known: {seen.workers.why}", "Mend what keeps the workers from being read.", numbers
        )
    if _pressed(seen) is False and not status:
        return TROUBLE.no("workers are idle: more of them would not help", numbers)
    if isinstance(seen.status, Unknown):
        return TROUBLE.cannot_tell(f"what is decided for it is not known: {seen.status.why}", _where(seen), numbers)
    if "action" not in status and _pressed(seen) is None and seen.idle:
        return TROUBLE.cannot_tell(
            f"nobody decides for this fleet, and its idle workers ({seen.idle}) may be between two tasks",
            "Run this again in a minute.",
            numbers,
        )
    if "action" not in status and _pressed(seen) is None:
        return TROUBLE.cannot_tell(
            "nobody decides for this fleet, and it is not known whether its workers are busy",
            "See why the workers do not tell: the module fleet_info.",
            numbers,
        )
    if "action" not in status:
        return TROUBLE.no("workers are idle, and nobody decides for this fleet", numbers)
    starting = len(seen.in_phase(STARTING))
    if starting:
        return TROUBLE.no(f"{counted(starting, 'worker is', 'workers are')} on the way up", numbers)
    return TROUBLE.no("its policy asks for no more workers now", numbers)


def _where(seen: Seen) -> str:
    if seen.in_cluster:
        return "Read the log of the autoscaler: kubectl logs deployment/celery-autoscaler."
    if seen.service == NOT_DEPLOYED:
        return (
            "Read what the last scheduled run of autoscale decided; where none is scheduled, run the playbook deploy."
        )
    return _ASK_WHY


def _numbers(seen: Seen) -> Iterator[str]:
    if not isinstance(seen.waiting, Unknown):
        yield counted(seen.waiting, "task waits", "tasks wait")
    if isinstance(seen.workers, Unknown):
        yield f"workers: not known, {seen.workers.why}"
    else:
        consuming = seen.in_phase(CONSUMING)
        busy = sum(1 for worker in consuming if worker.get("active"))
        rest = [(phase, len(seen.in_phase(phase))) for phase in (STARTING, ENDING, DOWN)]
        more = "".join(f", {count} {phase}" for phase, count in rest if count)
        yield f"{counted(seen.wanted or 0, 'worker')} wanted: {len(consuming)} consuming, {busy} of them busy{more}"
    if seen.bounds:
        yield f"the most that are allowed: {seen.bounds.ceiling} ({seen.bounds.origin})"
    if not isinstance(seen.service, Unknown):
        yield f"autoscaler: mode {seen.service['mode']}, looked {lasting(max(seen.at - seen.service['at'], 0))} ago"
    if isinstance(seen.status, Unknown):
        yield f"autoscaler: {seen.status.why}"
        return
    status = seen.status
    if status.get("blocked"):
        yield f"the broker takes no tasks: {status['blocked']}"
    if "action" in status:
        yield f"decided: {status['action']}, {status['from']} -> {status['to']}: {'; '.join(status['reasons'])}"


def _service(seen: Seen) -> Iterator[Cause]:
    """Yield why nobody looks at a fleet that has a policy."""
    if not seen.policy:
        return
    if seen.in_cluster:
        if seen.sized_by_daemon is False and not seen.scaled_by.replace("policy", ""):
            yield Cause(
                "no autoscaler holds the Lease for it",
                "See its pods: kubectl get pods -l app.kubernetes.io/name=celery-autoscaler.",
                "celery-autoscaler-gone",
            )
    elif seen.service == NOT_DEPLOYED:
        # Scheduled runs, or a schedule alone, may size it.
        return
    elif isinstance(seen.service, Unknown):
        yield Cause(
            f"the autoscaler does not tell: {seen.service.why}",
            "See systemctl status celery-autoscaler.",
            "celery-autoscaler-gone",
        )
    elif seen.late:
        yield Cause(
            f"the autoscaler last looked {lasting(seen.at - seen.service['at'])} ago",
            "See systemctl status celery-autoscaler.",
            "celery-autoscaler-blind",
        )
    elif isinstance(seen.status, Unknown):
        yield Cause(seen.status.why, "Run the playbook deploy, and see its log.", "celery-autoscaler-blind")


def _undone(seen: Seen, status: Mapping[str, Any]) -> Iterator[Cause]:
    # In other modes nothing is to be done.
    if status.get("withdrawn") and not isinstance(seen.service, Unknown) and seen.service["mode"] == "act":
        errors = ", ".join(f"{count} times {what}" for what, count in sorted(status["errors"].items())) or "once"
        yield Cause(
            f"what was decided, {status['from']} -> {status['to']}, could not be done (failed {errors})",
            "Read why: journalctl -u celery-autoscaler -u 'celery-autoscaler-scale@*' -n 50.",
            "celery-scaling-fails",
        )


def _grows(seen: Seen, status: Mapping[str, Any]) -> bool:
    if isinstance(seen.service, Unknown) or seen.service["mode"] != "act" or status.get("from") is None:
        return False
    return bool(status["to"] > status["from"])


def _held(seen: Seen) -> Iterator[Cause]:
    bounds = seen.bounds
    if bounds is None or seen.wanted is None or seen.wanted < bounds.ceiling:
        return
    # They take at once what waits.
    if not isinstance(seen.waiting, Unknown) and seen.waiting <= seen.idle:
        return
    if bounds.paused:
        yield Cause(
            f"it is {bounds.origin}",
            "Lift the pause: the playbook pause with -e state=absent.",
            "celery-at-ceiling",
        )
    else:
        yield Cause(
            f"it has all of the {bounds.ceiling} workers that it may have ({bounds.origin})",
            "Look what is left of memory and CPU; raise max_workers of the limits, or of the window, and run the "
            "playbook deploy.",
            "celery-at-ceiling",
        )


def _nobody(seen: Seen, status: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield why nobody would make the fleet grow, where it ought to: all of its workers are busy."""
    mode = None if isinstance(seen.service, Unknown) else seen.service["mode"]
    if mode == "advise" and status.get("from") is not None and status["to"] > status["from"]:
        yield Cause(
            f"mode advise: it would go from {status['from']} to {status['to']} workers, and does not",
            "Set celery_autoscaler_mode: act, and run the playbook deploy.",
            TROUBLE.runbook,
        )
    if _pressed(seen) is not True:
        return
    if status.get("let_go"):
        yield Cause(
            f"the autoscaler has let go of it, to {status['let_go']}",
            "See that one, or have the playbook deploy hand the fleet back.",
            TROUBLE.runbook,
        )
    elif seen.scaled_by.replace("policy", ""):
        return
    elif seen.policy is False or (status and not status["policy"]):
        yield Cause(
            "all of its workers are busy, and nobody scales it: it has no policy",
            "Give the fleet a policy, or scale it: the playbook scale.",
            TROUBLE.runbook,
        )
    elif mode == "observe":
        yield Cause(
            "all of its workers are busy, and mode observe decides nothing",
            "Set celery_autoscaler_mode: act, and run the playbook deploy.",
            TROUBLE.runbook,
        )


def _pressed(seen: Seen) -> bool | None:
    """Whether more tasks wait than the workers have room for; None where that is not known."""
    if isinstance(seen.workers, Unknown) or isinstance(seen.waiting, Unknown):
        return None
    active = [worker.get("active") for worker in seen.in_phase(CONSUMING)]
    # Between two short tasks a worker is idle for a moment, but hardly all of them at once.
    if seen.idle and (seen.idle == len(active) or seen.waiting <= seen.idle):
        return False
    return None if None in active or not active or seen.idle else True


def _workers(seen: Seen, status: Mapping[str, Any]) -> Iterator[Cause]:
    down = seen.in_phase(DOWN)
    if down:
        why = ", ".join(f"{worker['name']} ({worker.get('state') or 'down'})" for worker in down[:3])
        more = f" and {len(down) - 3} more" if len(down) > 3 else ""
        yield Cause(
            f"{counted(len(down), 'worker')} of those that are wanted do not run: {why}{more}",
            "Read why: journalctl -u 'celery-worker-<fleet>@*' -n 50.".replace("<fleet>", seen.fleet),
            "celery-workers-not-consuming" if seen.in_phase(CONSUMING) else "celery-no-worker",
        )
    elif not isinstance(seen.workers, Unknown) and not seen.in_phase(CONSUMING, STARTING):
        yield Cause(
            "it has no worker that takes tasks", "See what its policy or schedule wants now.", "celery-no-worker"
        )
    if seen.unconsumed:
        yield Cause(
            f"no worker takes from {', '.join(seen.unconsumed)}, in which tasks wait",
            "Compare the names with queues of the fleets, and restart workers that were told to stop taking from it.",
            "celery-worker-stuck",
        )
    stuck = status.get("stuck", {})
    if stuck:
        worker, seconds = max(stuck.items(), key=lambda each: float(each[1]))
        yield Cause(
            f"{counted(len(stuck), 'worker')} idle while tasks wait, {worker} for {lasting(seconds)}: they do not "
            "consume, and more of them would only hide it",
            "Restart them, drained: the playbook rolling_restart with -e only=all.",
            "celery-worker-stuck",
        )


def _too_late(seen: Seen, status: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield why a policy holds the fleet though it ought not to."""
    if status.get("action") != "hold":
        return
    promised = status.get("promised_wait")
    bound = status.get("bounds", {}).get("wait_time", {}).get("at_least")
    wait = status["metrics"].get("wait_time") if bound is None else bound
    if promised is not None and wait is not None and wait > promised:
        yield Cause(
            f"the oldest task waits for {lasting(wait)}, and the policy promises {lasting(promised)}",
            _ASK_WHY,
            "celery-wait-over-promise",
        )
    reasons = "\n".join(status["reasons"])
    blind = [f"{name}: {why}" for name, why in status["unknown"].items() if f"{name} is unknown" in reasons]
    if blind and _pressed(seen) is not False:
        yield Cause(
            f"it decides on what is not known: {'; '.join(blind)}",
            "Mend what the reason names.",
            "celery-metric-unknown",
        )
