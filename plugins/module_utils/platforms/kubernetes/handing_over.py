# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand the number of fleets' pods over, from whoever has it to whoever is to have it: never two, and none left behind.

The number itself is not touched: it stays what it was when its old owner went.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.clock import REAL_CLOCK, Clock
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.owners import NOBODY, POLICY
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes import names, ownership
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.access import (
    Right,
    not_served,
    require_rights,
    to_apply,
)
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import Api
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.names import SCALED_BY
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.scalers import (
    ACTING,
    CRON_JOB,
    HPA,
    KINDS,
    OWNERS,
    ROLE,
    ROLE_BINDING,
    SCALED_OBJECT,
    Found,
    Kind,
    Thing,
    listed,
    look,
)

EVERY = 1.0
"""Seconds between two looks."""

GONE_WITHIN = 60.0
"""Seconds for an old owner to go. KEDA's operator has to let its own go."""

LOOKED_AT_WITHIN = 3.0
"""Seconds within which KEDA looks at a change."""

METRICS = "/apis/metrics.k8s.io/v1beta1"

_NOTED_BY_SERVER = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")


@dataclass
class Outcome:
    """What was changed, or would be.

    :ivar removed: titles of objects, and C(applied) too.
    :ivar noted: by fleet who its Deployment notes from now on, where that is another one than before.
    :ivar warnings: what could not be seen, and which right is missing for it.
    :ivar others: by fleet what sets its number that is none of ours.
    :ivar differences: each object that changes before and after; without the content of Secrets.
    """

    removed: list[str] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)
    noted: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)
    differences: list[tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None]] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was."""
        return bool(self.removed or self.applied or self.noted)


def hand_over(
    api: Api,
    owners: Mapping[str, str],
    wanted: Sequence[Mapping[str, Any]],
    *,
    check: bool,
    ready_within: float,
    clock: Clock = REAL_CLOCK,
) -> Outcome:
    """Make the namespace have these objects for these fleets, and none of ours beside them.

    The daemon lets go of a fleet before anybody else gets it, and may take it when everybody else is gone.

    :param owners: by each fleet who is to set its number, C(none) where somebody outside of us may.
    :param wanted: objects with our labels.
    :param check: whether nothing is to be changed.
    :param ready_within: seconds for KEDA to take up its work.
    :raises OperationError: when somebody else's object sets the number of a fleet, the cluster lacks what is needed,
        or an object is refused. Nothing is changed then, but where an old owner does not go or KEDA does not begin. A
        fleet that was the daemon's is its own again where nobody else has begun.
    """
    found = look(api)
    outcome = Outcome(others={fleet: thing.title for fleet, thing in found.strangers(owners)})
    if CRON_JOB in found.unread:
        # What KEDA does is seen by its HPAs, and nothing else acts.
        outcome.warnings.append(
            "It is not known whether CronJobs of an earlier deployment still set the number of workers, so none is "
            f"removed: {found.unread[CRON_JOB]}"
        )
    _refuse_strangers(api, found, owners)
    things = [_wanted(each) for each in wanted]
    _require_apis(api, found, things)
    names_wanted = {(thing.kind, thing.name) for thing in things}
    stale = [
        thing
        for kind in KINDS
        for thing in found.ours
        if thing.kind == kind and thing.fleet in owners and (kind, thing.name) not in names_wanted
    ]
    before = {(thing.kind, thing.name): thing.value for thing in found.ours}
    changes = list(_changes(api, things, stale, before))
    noted = ownership.noted(api)
    outcome.noted = {fleet: owner for fleet, owner in owners.items() if noted.get(fleet, owner) != owner}
    tried = f"hand the number of workers over in namespace {api.namespace} of {api.server}"
    require_rights(api, api.namespace, _unasked(things, stale, before, outcome.noted), tried)
    outcome.removed = [thing.title for thing in stale]
    outcome.applied = [thing.title for thing, _after in changes]
    outcome.differences = [(thing.title, _shown(thing.value), None) for thing in stale] + [
        (thing.title, _shown(before.get((thing.kind, thing.name))), _shown(after)) for thing, after in changes
    ]
    outcome.differences += [
        (f"Deployment {names.object_name(fleet)}", {SCALED_BY: noted[fleet]}, {SCALED_BY: owner})
        for fleet, owner in outcome.noted.items()
    ]
    if check:
        return outcome
    with _letting_go(api, outcome.noted, noted) as begins:
        _remove(api, stale, clock)
        for thing, _after in changes:
            if thing.kind in ACTING:
                begins(thing.fleet)
            _apply(api, thing)
    for fleet, owner in outcome.noted.items():
        if owner == POLICY:
            ownership.note(api, fleet, owner)
    if any(thing.kind == SCALED_OBJECT for thing, _after in changes):
        # What it says of the one before stands until it has looked at this one.
        clock.sleep(LOOKED_AT_WITHIN)
    _await_keda(api, things, ready_within, clock)
    return outcome


@contextmanager
def _letting_go(api: Api, then: Mapping[str, str], noted: Mapping[str, str]) -> Iterator[Callable[[str], None]]:
    """Have the daemon let go of the fleets that it is not to have then; give them back where that comes to nothing.

    :param noted: who has each fleet now.
    :return: to be called with each fleet that somebody else begins to have.
    """
    gone = [fleet for fleet, owner in then.items() if owner != POLICY]
    kept = set(gone)
    try:
        for fleet in gone:
            ownership.note(api, fleet, then[fleet])
        yield kept.discard
    except BaseException:
        for fleet in gone:
            if fleet in kept and noted[fleet] in ("", POLICY):
                # What went wrong first is what is told.
                with suppress(Refused):
                    ownership.note(api, fleet, noted[fleet])
        raise


def _refuse_strangers(api: Api, found: Found, owners: Mapping[str, str]) -> None:
    refused = [(fleet, thing) for fleet, thing in found.strangers(owners) if owners[fleet] != NOBODY]
    if refused:
        fleet, thing = refused[0]
        raise OperationError(
            f"hand the number of workers of fleet {fleet} over to {owners[fleet]} in namespace {api.namespace} of "
            f"{api.server}",
            f"{' and '.join(f'the {each.title}' for _fleet, each in refused)}, which muejam.celery did not make, "
            f"set{'s' if len(refused) == 1 else ''} it already",
            f"Nothing was changed. Delete {thing.title} if it is not needed, or leave it and use "
            f"celery_worker_autoscaling: {NOBODY}.",
        )
    # Where nothing may be listed, something may be there. What KEDA does is seen by its HPAs as well.
    if HPA in found.unread and any(owner != NOBODY for owner in owners.values()):
        raise found.unread[HPA]


def _require_apis(api: Api, found: Found, things: Iterable[Thing]) -> None:
    kinds = [thing.kind for thing in things]
    for kind in dict.fromkeys(kinds):
        if kind in found.unread:
            raise found.unread[kind]
        if kind in found.missing:
            raise not_served(kind.version, f"make a {kind.kind} in namespace {api.namespace} of {api.server}")
    needy = [thing for thing in things if _needs_metrics(thing)]
    if not needy:
        return
    try:
        api.get(METRICS)
    except Refused as error:
        if error.status != 404:
            raise
        raise OperationError(
            f"have the {needy[0].title} scale by cpu and memory in namespace {api.namespace} of {api.server}",
            "this cluster does not measure what pods use: it does not serve metrics.k8s.io",
            "Nothing was changed. Install metrics-server, or take cpu and memory out of the policy for KEDA, or use "
            "celery_worker_autoscaling: policy.",
        ) from None


def _unasked(
    things: Iterable[Thing],
    stale: Iterable[Thing],
    before: Mapping[tuple[Kind, str], Mapping[str, Any]],
    noted: Mapping[str, str],
) -> Iterator[Right]:
    """Yield the rights that no dry run asks for. One that is missing would be found when the old owner is gone."""
    for thing in stale:
        yield Right(thing.kind.group, thing.kind.resource, "delete")
        if _would_set_back(thing):
            yield Right(thing.kind.group, thing.kind.resource, "patch")
    if noted:
        yield Right("apps", "deployments", "patch")
    yield from to_apply(thing.value for thing in things if _binds_what_is_not_there(thing, before))


def _binds_what_is_not_there(thing: Thing, before: Mapping[tuple[Kind, str], Mapping[str, Any]]) -> bool:
    """Whether it is a RoleBinding before its Role, of which a dry run tells nothing.

    The API server looks for the rights in the Role, and there is none yet. It does not look where the user may `bind`
    any: who is an administrator does not see it.
    """
    return thing.kind == ROLE_BINDING and (ROLE, thing.value["roleRef"]["name"]) not in before


def _would_set_back(thing: Thing) -> bool:
    return bool(((thing.value.get("spec") or {}).get("advanced") or {}).get("restoreToOriginalReplicaCount"))


def _needs_metrics(thing: Thing) -> bool:
    if thing.kind == SCALED_OBJECT:
        return any(each["type"] in ("cpu", "memory") for each in thing.value["spec"]["triggers"])
    return thing.kind == HPA


def _changes(
    api: Api, things: Iterable[Thing], stale: Sequence[Thing], before: Mapping[tuple[Kind, str], Mapping[str, Any]]
) -> Iterator[tuple[Thing, Mapping[str, Any]]]:
    """Yield what would change, with what the API server would make of it."""
    going = {thing.fleet: thing for thing in stale if thing.kind == HPA}
    for thing in things:
        old = before.get((thing.kind, thing.name))
        if thing.kind == SCALED_OBJECT and thing.fleet in going:
            # KEDA refuses a second owner, and the first one is still there: it is asked for one that takes that over.
            _apply(api, _taking_over(thing, going[thing.fleet].name), dryRun="All")
            after: Mapping[str, Any] = thing.value
        elif _binds_what_is_not_there(thing, before):
            after = thing.value
        else:
            after = _apply(api, thing, dryRun="All")
        if old is None or _plain(old) != _plain(after):
            yield thing, after


def _taking_over(thing: Thing, hpa: str) -> Thing:
    """Return a ScaledObject as KEDA lets it be beside the HPA of this name.

    https://keda.sh/docs/latest/reference/scaledobject-spec/#transfer-ownership-of-an-existing-hpa
    """
    value = copy.deepcopy(dict(thing.value))
    value["metadata"].setdefault("annotations", {})["scaledobject.keda.sh/transfer-hpa-ownership"] = "true"
    advanced = value["spec"].setdefault("advanced", {})
    advanced.setdefault("horizontalPodAutoscalerConfig", {})["name"] = hpa
    return replace(thing, value=value)


def _apply(api: Api, thing: Thing, **query: str) -> Mapping[str, Any]:
    # What an inventory says wins over whoever changed the same field, such as a CronJob that set bounds.
    return api.patch(
        thing.kind.path(api.namespace, thing.name),
        thing.value,
        "apply",
        fieldManager=names.FIELD_MANAGER,
        force="true",
        **query,
    )


def _remove(api: Api, stale: Sequence[Thing], clock: Clock) -> None:
    for thing in stale:
        path = thing.kind.path(api.namespace, thing.name)
        try:
            if _would_set_back(thing):
                # KEDA would set the number to what it was before it came, and workers would be killed or missing.
                api.patch(path, {"spec": {"advanced": {"restoreToOriginalReplicaCount": False}}})
            api.delete(path, {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"})
        except Refused as error:
            if error.status != 404:
                raise
        # Its own HPA is deleted by the cluster after the ScaledObject, and until then there would be two.
        if thing.kind in OWNERS:
            _await_gone(api, thing, clock)


def _await_gone(api: Api, thing: Thing, clock: Clock) -> None:
    until = clock.monotonic() + GONE_WITHIN
    while True:
        there = [each for kind in OWNERS for each in listed(api, kind, api.namespace) if _is_or_belongs_to(each, thing)]
        if not there:
            return
        if clock.monotonic() >= until:
            raise OperationError(
                f"remove the {thing.title} from namespace {api.namespace} of {api.server}",
                f"it is still there after {GONE_WITHIN:.0f}s",
                "See whether KEDA's operator runs, which has to let its objects go; deploy again when it does. "
                "The number of workers is as it was.",
            )
        clock.sleep(EVERY)


def _is_or_belongs_to(value: Mapping[str, Any], thing: Thing) -> bool:
    metadata, uid = value["metadata"], thing.value["metadata"].get("uid")
    return metadata.get("uid") == uid or any(owner.get("uid") == uid for owner in metadata.get("ownerReferences") or ())


def _await_keda(api: Api, things: Sequence[Thing], ready_within: float, clock: Clock) -> None:
    """Wait until KEDA has taken up its work."""
    until = clock.monotonic() + ready_within
    for thing in things:
        while thing.kind == SCALED_OBJECT:
            value = api.get(thing.kind.path(api.namespace, thing.name))
            condition = _condition(value, "Ready")
            if condition.get("status") == "True" or (condition.get("status") != "False" and _has_hpa(api, value)):
                break
            if clock.monotonic() >= until:
                said = condition.get("message") or "KEDA says nothing of it"
                raise OperationError(
                    f"have KEDA scale fleet {thing.fleet} by the {thing.title} in namespace {api.namespace} of "
                    f"{api.server}",
                    f"it is not ready after {ready_within:.0f}s: {said}",
                    "The number of workers is as it was. Correct what it names, or see the log of KEDA's operator; "
                    "then deploy again.",
                )
            clock.sleep(EVERY)


def _has_hpa(api: Api, scaled_object: Mapping[str, Any]) -> bool:
    """Whether KEDA has made its HPA. Its conditions may be unknown for long then: two parts of it write them.

    Tried with KEDA 2.21: they were C(True), and C(Unknown) some seconds later, while all of it worked.
    """
    uid = scaled_object["metadata"]["uid"]
    return any(
        owner.get("uid") == uid
        for each in listed(api, HPA, api.namespace)
        for owner in each["metadata"].get("ownerReferences") or ()
    )


def _condition(value: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = (value.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), {})


def _wanted(value: Mapping[str, Any]) -> Thing:
    kind = next(kind for kind in KINDS if (kind.version, kind.kind) == (value["apiVersion"], value["kind"]))
    metadata = value["metadata"]
    return Thing(kind, metadata["name"], names.fleet_of_labels(metadata.get("labels") or {}) or "", value)


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: one for key, one in value["metadata"].items() if key not in _NOTED_BY_SERVER}
    return {
        **{key: one for key, one in value.items() if key not in ("status", "apiVersion", "kind")},
        "metadata": metadata,
    }


def _shown(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if value is None:
        return None
    plain = _plain(value)
    if "data" in plain:
        plain["data"] = dict.fromkeys(plain["data"], "(secret)")
    return plain
