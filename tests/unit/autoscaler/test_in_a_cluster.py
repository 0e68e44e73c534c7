# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two services for the fleets of a cluster: one acts, the other is ready to, and nothing that was done is forgotten.

The cluster is a platform in memory, and its API server a dictionary of objects with versions.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.candidate import Candidate
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.election import Election, times
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.lease import LeaseObject
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.health import questions
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.metrics import FleetMetrics
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.notify import Notifier
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status import table
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
    Configuration,
    WatchedFleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.config_map import (
    ASIDE,
    KEY,
    ConfigMapStore,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.remembered import (
    Remembered,
    StateUnusable,
    from_text,
)
from ansible_collections.muejam.celery.plugins.module_utils.decide.engine import State
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import QueuesReading
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused

POLICY = parse_policy(
    {
        "limits": {"min_workers": 1, "max_workers": 9, "cooldown_up": "20s", "cooldown_down": "30s"},
        "scale_up": {"any": [{"metric": "queue_depth", "above": 10, "for": "10s"}], "add": {"workers": 2}},
        "scale_down": {"all": [{"metric": "queue_depth", "below": 1, "for": "10s"}], "remove": {"workers": 1}},
    }
)
STATE = "/api/v1/namespaces/shop/configmaps/celery-autoscaler-state"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/celery-autoscaler"


class Objects:
    """The objects of an API server by their paths. The paths in C(broken) are refused with the status there."""

    server, namespace = "https://cluster", "shop"

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self.broken: dict[str, int | None] = {}
        self.versions = 0

    def get(self, path: str, **query: str) -> dict[str, Any]:
        self._require(path, path in self.found, 404)
        return copy.deepcopy(self.found[path])

    def post(self, path: str, body: Mapping[str, Any], **query: str) -> dict[str, Any]:
        path += "/" + body["metadata"]["name"]
        self._require(path, path not in self.found, 409)
        return self._keep(path, body)

    def put(self, path: str, body: Mapping[str, Any], **query: str) -> dict[str, Any]:
        self._require(path, path in self.found, 404)
        same = body["metadata"]["resourceVersion"] == self.found[path]["metadata"]["resourceVersion"]
        self._require(path, same, 409)
        return self._keep(path, body)

    def touch(self, path: str) -> None:
        """Have somebody edit an object."""
        self._keep(path, self.found[path])

    def _keep(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.versions += 1
        kept = copy.deepcopy(dict(body))
        kept["metadata"]["resourceVersion"] = str(self.versions)
        self.found[path] = kept
        return copy.deepcopy(kept)

    def _require(self, path: str, sound: bool, status: int) -> None:
        if sound and path not in self.broken:
            return
        error = Refused(f"ask for {path}", "it is broken", "Mend it.")
        error.status = self.broken.get(path, status)
        raise error


class Service:
    """One of several daemons, which share a platform, an API server, a queue and the time."""

    def __init__(self, name: str, world: World) -> None:
        self.world = world
        self.lines: list[dict[str, Any]] = []
        self.clock = world.platform.manager.clock
        self.candidate = Candidate(Election(name, times(5)), LeaseObject(world.api, "shop"), self.clock)  # type: ignore[arg-type]
        self.store = ConfigMapStore(world.api, "shop")  # type: ignore[arg-type]
        self.configuration = Configuration(
            mode="act",
            status=str(world.folder / f"{name}.json"),
            fleets=(WatchedFleet("web", "redis://localhost/0", policy=POLICY),),
        )
        self.daemon = Daemon(
            load=lambda: self.configuration,
            platform=world.platform,
            tell=lambda line: self.lines.append(dict(line)),
            notifier=Notifier({}),
            clock=self.clock,
            link=lambda fleet, seconds: world,
            store=self.store,
            leadership=self.candidate,
        )
        self.daemon.begin()

    def decided(self) -> list[tuple[str, int | None, int | None]]:
        return [(line["action"], line["from"], line["to"]) for line in self.lines if "event" not in line]

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines if "event" in line]

    def remembered(self) -> Remembered:
        return self.daemon.watches["web"].remembered

    def metrics(self) -> dict[str, float]:
        families = FleetMetrics(self.daemon).collect()
        return {sample.name: sample.value for family in families for sample in family.samples}


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api = Objects()
        self.platform = FakePlatform(1, 2)
        self.waiting = 0

    def read(self, queues: Sequence[str], marks: object = None) -> QueuesReading:
        return QueuesReading(self.platform.manager.clock.wall(), dict.fromkeys(queues, self.waiting), 0)

    def close(self) -> None:
        pass

    def look(self, *services: Service, times: int = 1) -> None:
        """Have all of them look so many times, five seconds apart, and ask for the lead more often."""
        for _time in range(times):
            for service in services:
                service.candidate.ask()
                service.daemon.run_cycles()
            for _quarter in range(4):
                self.platform.manager.time.pass_by(1.25)
                for service in services:
                    service.candidate.ask()

    def state(self) -> Remembered:
        return from_text(self.api.found[STATE]["data"][KEY])["web"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_one_acts_and_the_other_says_nothing(world: World) -> None:
    one, other = Service("one", world), Service("other", world)
    world.waiting = 50
    world.look(one, other, times=8)
    assert [action for action, _from, _to in one.decided()].count("up") == 2
    assert other.decided() == []
    assert (one.events()[:2], other.events()) == (["started", "leads"], ["started"])
    assert other.daemon.watches["web"].decisions == {}
    assert world.platform.read("web").wanted == 6


def test_whoever_takes_over_has_warm_runs_and_knows_the_cooldowns(world: World) -> None:
    one, other = Service("one", world), Service("other", world)
    world.look(one, other)
    world.waiting = 50
    world.look(one, other, times=3)
    assert one.decided()[-1] == ("up", 2, 4)
    grown_at = one.remembered().state.last_up
    # The first one is killed. The other one knows for how long tasks have waited, and since when the cooldown runs.
    world.look(other, times=4)
    assert other.events()[-1] in ("scaled", "leads")
    assert other.decided()[-1] == ("up", 4, 6)
    first = next(line for line in other.lines if "action" in line)
    assert "restarted" not in first
    cooled = next(line["at"] for line in other.lines if line.get("action") == "up")
    assert grown_at is not None
    assert 20 <= cooled - grown_at < 25


def test_it_decides_within_two_intervals_after_the_leader_was_killed(world: World) -> None:
    one, other = Service("one", world), Service("other", world)
    world.look(one, other, times=4)
    killed = world.platform.manager.clock.wall()
    while not other.decided():
        world.platform.manager.time.pass_by(0.25)
        other.candidate.ask()
        # As its loop does, which does not wait for its time when it is to lead.
        if other.candidate.leads():
            other.daemon.run_cycles()
    assert world.platform.manager.clock.wall() - killed <= 10


def test_a_crash_between_writing_and_acting_forgets_no_cooldown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Service("one", world)
    world.waiting = 50
    monkeypatch.setattr(world.platform, "scale", lambda *_args, **_kw: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        world.look(one, times=3)
    monkeypatch.undo()
    assert world.state().state.last_up == world.platform.manager.clock.wall()
    other = Service("other", world)
    world.look(other, times=4)
    assert {action for action, _from, _to in other.decided()} == {"hold"}
    world.look(other)
    assert other.decided()[-1] == ("up", 2, 4)


def test_what_could_not_be_done_starts_no_cooldown_for_the_next_leader_either(world: World) -> None:
    one, other = Service("one", world), Service("other", world)
    world.waiting, world.platform.manager.denies = 50, "not yours"
    world.look(one, other, times=3)
    assert one.decided()[-1] == ("up", 2, 4)
    assert (world.state().state.last_up, world.state().withdrawn) == (None, True)
    world.platform.manager.denies = ""
    world.look(other, times=2)
    first = next(line for line in other.lines if "action" in line)
    assert (first["action"], first["withdrawn"]) == ("up", True)


def test_nothing_is_done_that_could_not_be_noted(world: World) -> None:
    one = Service("one", world)
    world.look(one)
    world.waiting, world.api.broken[STATE] = 50, None
    world.look(one, times=3)
    assert one.decided()[-1] == ("up", 2, 4)
    assert world.platform.read("web").wanted == 2
    assert "state_not_saved" in one.events()
    world.api.broken.clear()
    world.look(one)
    assert world.platform.read("web").wanted == 4
    assert "state_not_saved_any_more" in one.events()


def test_who_thinks_he_leads_and_does_not_can_do_nothing(world: World) -> None:
    one, other = Service("one", world), Service("other", world)
    world.waiting = 50
    world.look(one, other, times=2)
    # The first one stands still in the middle of a cycle, with an old belief.
    world.look(other, times=3)
    assert world.platform.read("web").wanted == 4
    one.candidate._election.wrote(one.candidate._election.next_record("now"), one.clock.monotonic())
    assert one.candidate.leads()
    one.daemon.run_cycles()
    assert world.platform.read("web").wanted == 4
    assert (one.daemon.leads, one.events()[-1]) == (False, "follows")
    world.look(one, other, times=2)
    assert not one.daemon.leads
    assert other.daemon.leads


def test_who_had_his_state_edited_reads_it_and_goes_on(world: World) -> None:
    one = Service("one", world)
    world.waiting = 5
    world.look(one, times=2)
    world.api.touch(STATE)
    world.look(one, times=2)
    assert one.events() == ["started", "leads", "follows", "leads"]
    assert [line for line in one.lines if line.get("restarted")] == [one.lines[2]]
    del world.api.found[STATE]
    world.look(one, times=2)
    assert one.daemon.leads
    assert STATE in world.api.found


def test_who_steps_back_is_followed_at_once(world: World) -> None:
    one, other = Service("one", world), Service("other", world)
    world.look(one, other, times=2)
    one.daemon.stop()
    one.candidate._thread = None
    one.daemon.run()
    assert world.api.found[LEASE]["spec"]["holderIdentity"] == ""
    other.candidate.ask()
    assert other.candidate.leads()


def test_it_is_not_taken_over_while_nobody_knows_what_was_done(world: World) -> None:
    one = Service("one", world)
    world.waiting, world.api.broken[STATE] = 50, 500
    world.look(one, times=4)
    assert one.decided() == []
    assert one.events().count("not_taken_over") == 1
    world.api.broken.clear()
    world.look(one)
    assert one.decided() == [("up", 2, 4)]


def test_a_state_that_makes_no_sense_is_kept_aside_and_every_cooldown_begins(world: World) -> None:
    first = Service("first", world)
    world.look(first)
    first.candidate.release()
    world.api.found[STATE]["data"][KEY] = "{"
    one = Service("one", world)
    world.waiting = 50
    world.look(one, times=3)
    assert {action for action, _from, _to in one.decided()} == {"hold"}
    assert next(line for line in one.lines if "action" in line)["state_lost"] is True
    assert world.api.found[STATE]["data"][ASIDE] == "{"
    assert world.state().state.last_up is not None


def test_metrics_and_status_tell_who_leads(world: World) -> None:
    one, other = Service("one", world), Service("other", world)
    world.look(one, other)
    assert one.metrics()["celery_autoscaler_leader"] == 1
    assert "celery_queue_length" in one.metrics()
    assert other.metrics()["celery_autoscaler_leader"] == 0
    assert "celery_queue_length" not in other.metrics()
    assert "celery_autoscaler_observation_age_seconds" in other.metrics()
    assert "It only looks: one leads and acts." in table(other.daemon.status(), world.platform.manager.clock.wall())
    assert "leads" not in table(one.daemon.status(), world.platform.manager.clock.wall())


def test_a_cluster_hears_whether_it_is_alive_and_ready(world: World) -> None:
    daemon = Service("one", world).daemon
    asked = questions(daemon)
    assert "has not looked" in asked["/ready"]()
    daemon.run_cycles()
    daemon.looked = True
    assert (asked["/ready"](), asked["/alive"]()) == ("", "")
    world.platform.manager.time.pass_by(61)
    assert "61 s" in asked["/alive"]()


def test_the_config_map_takes_the_file_s_rules(world: World) -> None:
    store = ConfigMapStore(world.api, "shop")  # type: ignore[arg-type]
    assert store.load() == {}
    store.save({"web": Remembered(State(last_up=1.0))})
    assert ConfigMapStore(world.api, "shop").load() == {"web": Remembered(State(last_up=1.0))}  # type: ignore[arg-type]
    late = ConfigMapStore(world.api, "shop")  # type: ignore[arg-type]
    with pytest.raises(OperationError, match="Somebody else has changed it") as caught:
        late.save({})
    assert caught.value.details["conflict"]
    world.api.found[STATE]["data"][KEY] = world.api.found[STATE]["data"][KEY].replace('"version": 2', '"version": 9')
    with pytest.raises(StateUnusable, match="version 9"):
        late.load()
    world.api.found[STATE]["data"] = None
    assert late.load() == {}
