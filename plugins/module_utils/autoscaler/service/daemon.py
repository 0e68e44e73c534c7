# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The autoscaler as a service: look at every fleet, decide, act, write it down; and again, until it is told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.broker_link import BrokerLink
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.leading.leadership import Alone, Leadership
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.page.keeping import HistoryKeeper
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.acting import Acting
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.event_log import EventLog, Tell
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.fleet_watch import (
    FleetWatch,
    Link,
    ReadFleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.notify import Notifier
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.status_file import write_status
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.steady_clock import SteadyClock
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import (
    Configuration,
    WatchedFleet,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import ACT
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.remembered import (
    Remembered,
    StateUnusable,
    cautious,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.state.store import FileStore, Store
from ansible_collections.muejam.celery.plugins.module_utils.clock import REAL_CLOCK, Clock
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import FleetReading
from ansible_collections.muejam.celery.plugins.module_utils.observe.observing import Heartbeats
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Platform
from ansible_collections.muejam.celery.plugins.module_utils.redaction import redact

_BROKER_SHARE = 0.4  # of the interval: a broker that does not answer must not use it up
_BROKER_LEAST, _BROKER_MOST = 1.0, 5.0

_PIECE = 0.25
"""Seconds between two glances at what a signal may have asked for."""

_SIGN_EVERY = 1.0
"""Seconds between two signs of life while it waits; the shortest watchdog has sixty times that."""


class Listener(Protocol):
    """Hears the events of workers."""

    def watch(self, fleets: Sequence[WatchedFleet]) -> None:
        """Hear these fleets from now on."""

    def heartbeats(self, fleet: str) -> Heartbeats:
        """Return what the workers of a fleet last said of themselves."""


class Daemon:
    """Everything that one process of the autoscaler holds."""

    def __init__(
        self,
        load: Callable[[], Configuration],
        platform: Platform,
        tell: Tell,
        notifier: Notifier,
        clock: Clock = REAL_CLOCK,
        link: Callable[[WatchedFleet, float], Link] | None = None,
        listener: Listener | None = None,
        store: Store | None = None,
        leadership: Leadership | None = None,
        history: HistoryKeeper | None = None,
    ) -> None:
        """Make it, from a first configuration.

        C(leads) tells whether it acts, C(looked) whether it has looked at all fleets once, and C(alive_at) when its
        loop gave the last sign of life. C(shown) is the last status, None before there is one.

        :param link: what reads the queues of a fleet, within so many seconds; by default a connection to its broker.
        :param listener: what hears the workers' events; without one they are not heard.
        :param store: where it keeps what it remembers; by default the file that its configuration names.
        :param leadership: tells whether it may act; by default there is no other one.
        :param history: what keeps what people see of the past; by default it is in memory alone.
        :raises OperationError: when that is not sound.
        """
        self.load = load
        self.log = EventLog(tell, clock)
        self._platform = platform
        self._acting = Acting(platform, self.log, self._save_before_acting)
        self._notifier = notifier
        self._clock = clock
        self._link = link or self._broker_link
        self._listener = listener
        self._store = store or FileStore(lambda: self.configuration.state)
        self._leadership = leadership or Alone()
        self.history = history or HistoryKeeper()
        self.shown: dict[str, Any] | None = None
        self._noticed = False
        self._stopping = False
        self._reloading = False
        self._steady = SteadyClock(clock)
        self.configuration = load()
        self.watches: dict[str, FleetWatch] = {}
        self.reload_failed = False
        self.leads = False
        self.looked = False
        self.alive_at = clock.monotonic()

    @property
    def leader(self) -> str:
        """Who acts where this service does not, as far as that is known."""
        return self._leadership.leader

    def monotonic(self) -> float:
        """Return the time on the clock that looks are timed with."""
        return self._clock.monotonic()

    def wall(self) -> float:
        """Return the time of day, in seconds since the epoch."""
        return self._clock.wall()

    def stop(self) -> None:
        """End after the cycle that is running. May be called by a signal handler."""
        self._stopping = True

    def reload(self) -> None:
        """Read the configuration anew before the next cycle. May be called by a signal handler."""
        self._reloading = True

    def run(self) -> None:
        """Run cycles until told to stop."""
        self.begin()
        self._leadership.start()
        try:
            while not self._stopping:
                begun = self._clock.monotonic()
                self.reload_if_asked()
                self.run_cycles()
                self._give_a_sign("READY=1", f"STATUS={self._summary()}")
                self.looked = True
                self._wait(begun + self.configuration.interval)
        finally:
            self._notifier.tell("STOPPING=1")
            self._save()
            self._leadership.release()
            self.history.save()
            for watch in self.watches.values():
                watch.link.close()
            if self._listener:
                self._listener.watch(())
            self.log.event("stopped")
            self._notifier.close()

    def _give_a_sign(self, *more: str) -> None:
        """Tell that the loop turns, and what else there is to tell."""
        self.alive_at = self._clock.monotonic()
        self._notifier.tell("WATCHDOG=1", *more)

    def run_cycles(self) -> None:
        """Run one cycle for each fleet."""
        stepped = self._steady.step()
        if stepped:
            self.log.event("clock_stepped", seconds=stepped)
            self.history.shift(stepped)
        self._notice_who_leads()
        read = self._reader()
        for watch in self.watches.values():
            if self._stopping:
                break
            if stepped:
                watch.remembered = watch.remembered.shifted(stepped)
            try:
                self._run_cycle(watch, stepped, read)
            except Exception as error:
                # One fleet's trouble is not the others'. Nothing was decided on it.
                watch.errors["cycle"] += 1
                self.log.event("cycle_failed", fleet=watch.fleet.name, error=redact(f"{type(error).__name__}: {error}"))
            # A cycle may take long, where a broker does not answer.
            self._give_a_sign()
        self._save()
        self._show()

    def begin(self) -> None:
        """Take up what was remembered when the autoscaler ended last, unless somebody else acts."""
        self._noticed = self.leads = self._leadership.leads()
        state, lost = self._recall() if self.leads else ({}, False)
        self._watch(state, lost)
        self.log.problem("history_unusable", self.history.load())
        self._tell_what_is_watched("started")

    def _recall(self) -> tuple[dict[str, Remembered], bool]:
        """Return what was remembered, and whether something was and is lost."""
        try:
            return self._store.load(), False
        except StateUnusable as error:
            self.log.event("state_unusable", error=str(error), set_aside=self._set_aside())
            return {}, True

    def _notice_who_leads(self) -> None:
        """Take over where this service is to act from now on, and hand over where somebody else does."""
        self._noticed = self._leadership.leads()
        self.log.problem("leader_unknown", self._leadership.problem)
        if self.leads and not self._noticed:
            self._follow()
        elif self._noticed and not self.leads:
            self.leads = self._take_over()
            if self.leads:
                self.log.event("leads", fleets=list(self.watches))

    def _follow(self, **details: str) -> None:
        self.leads = False
        self.log.event("follows", leader=self.leader, **details)

    def _take_over(self) -> bool:
        """Go on from what the one who acted until now has done; return whether that is known and this one noted."""
        try:
            state, lost = self._recall()
            for name, watch in self.watches.items():
                watch.state_lost = lost
                if name in state:
                    watch.take_over(state[name])
            # Whoever led before, and does not know yet that he does not any more, can save nothing from here on.
            self._store.save(self._memories())
        except OperationError as error:
            self.log.problem("not_taken_over", str(error))
            return False
        self.log.problem("not_taken_over", "")
        return True

    def _set_aside(self) -> str | None:
        try:
            return self._store.set_aside()
        except OperationError as error:
            self.log.event("state_not_set_aside", error=str(error))
            return None

    def _watch(self, state: Mapping[str, Remembered], lost: bool = False) -> None:
        """Watch the fleets of the configuration, those that are watched already as they are."""
        before, watches = dict(self.watches), {}
        for fleet in self.configuration.fleets:
            known = before.pop(fleet.name, None)
            link = self._link(fleet, self._broker_seconds())
            if known:
                known.link.close()
                watches[fleet.name] = known.of(fleet, link)
            else:
                remembered = state.get(fleet.name, Remembered()).restarted()
                watches[fleet.name] = FleetWatch(fleet, link, remembered, state_lost=lost)
        # At once: whoever reads metrics in another thread sees the old ones or the new ones.
        self.watches = watches
        if self._listener:
            self._listener.watch(self.configuration.fleets)
        self._leadership.sizes(self._sized())
        for gone in before.values():
            gone.link.close()

    def _sized(self) -> tuple[str, ...]:
        """Return the fleets whose number of workers it sets, unless it lets go of one."""
        acts = self.configuration.mode == ACT
        return tuple(fleet.name for fleet in self.configuration.fleets if acts and fleet.policy is not None)

    def _broker_seconds(self) -> float:
        return min(max(self.configuration.interval * _BROKER_SHARE, _BROKER_LEAST), _BROKER_MOST)

    def _broker_link(self, fleet: WatchedFleet, seconds: float) -> Link:
        def warn(text: str) -> None:
            self.log.event("broker_unknown", fleet=fleet.name, why=text)

        return BrokerLink(fleet.broker_url, fleet.transport_options, fleet.ssl, seconds, self._steady.time_of_day, warn)

    def reload_if_asked(self) -> None:
        """Read the configuration anew when somebody asked for it; a bad one is refused and the old one stays."""
        if not self._reloading:
            return
        self._reloading = False
        self._notifier.tell("RELOADING=1", f"MONOTONIC_USEC={int(time.monotonic() * 1e6)}")
        try:
            self.configuration = self.load()
        except Exception as error:  # whatever is wrong with it, the old one stays
            self.reload_failed = True
            self.log.event("reload_refused", error=redact(str(error)))
            return
        self.reload_failed = False
        self._watch({})
        self._tell_what_is_watched("reloaded")

    def _tell_what_is_watched(self, event: str) -> None:
        self.log.event(event, mode=self.configuration.mode, fleets=list(self.watches))

    def _run_cycle(self, watch: FleetWatch, stepped: float, read: ReadFleet) -> None:
        heartbeats = self._listener.heartbeats(watch.fleet.name) if self._listener else {}
        now = self._steady.time_of_day(), self._clock.monotonic()
        if watch.state_lost:
            watch.remembered = cautious(now[0])
        before, let_go = watch.last, watch.let_go
        look = watch.look(self.configuration.mode, *now, read, heartbeats)
        cycle = look.cycle
        line = {"fleet": watch.fleet.name, "mode": self.configuration.mode, **cycle.as_json()}
        if watch.state_lost:
            line["state_lost"] = True
        elif watch.fresh:
            line["restarted"] = True
        if stepped:
            line["clock_stepped"] = stepped
        if watch.remembered.withdrawn:
            line["withdrawn"] = True
        watch.fresh, watch.state_lost = cycle.decision is None, False
        if self.leads:
            self.log.tell(line)
        blocked = cycle.seen.blocked
        if look.broker_told and bool(blocked) != watch.blocked:
            watch.blocked = bool(blocked)
            why = {"why": blocked} if blocked else {}
            self.log.event("broker_blocked" if blocked else "broker_blocked_no_more", fleet=watch.fleet.name, **why)
        if watch.let_go != let_go:
            whom = {"to": watch.let_go} if watch.let_go else {}
            self.log.event("let_go" if watch.let_go else "taken_up_again", fleet=watch.fleet.name, **whom)
        ended = look.ended_since(before)
        if ended:
            watch.ended += len(ended)
            self.log.event("workers_ended", fleet=watch.fleet.name, workers=ended)
        if set(look.stuck) != watch.stuck:
            watch.stuck = set(look.stuck)
            self.log.event("stuck" if look.stuck else "stuck_no_more", fleet=watch.fleet.name, workers=look.stuck)
        watch.remembered = cycle.after
        acts = self.leads and self.configuration.mode == ACT
        if acts:
            self._acting.act(watch, look)
        elif cycle.decision and cycle.decision.after != cycle.decision.before:
            # Nobody does what is decided here: no cooldown begins, and no worker is on its way.
            watch.remembered = cycle.if_withdrawn
        # One that was to be carried out and was not is made anew at each look.
        if cycle.decision and self.leads and not (acts and watch.remembered.withdrawn):
            watch.decisions[cycle.decision.action.value] += 1

    def _reader(self) -> ReadFleet:
        """Return what reads the workers of fleets in this cycle, by the same clock as their queues.

        A new one for each cycle: what a platform reads of all fleets at once is asked for once, however long brokers
        take to answer, and is never older than the cycle.
        """
        read = self._platform.reader()

        def by_the_steady_clock(fleet: str) -> FleetReading:
            return replace(read(fleet), at=self._steady.time_of_day())

        return by_the_steady_clock

    def _memories(self) -> dict[str, Remembered]:
        return {name: watch.remembered for name, watch in self.watches.items()}

    def _save(self) -> bool:
        """Keep what is remembered, and return whether it is kept. Who follows keeps nothing."""
        if not self.leads:
            return False
        problem = ""
        try:
            self._store.save(self._memories())
        except OperationError as error:
            if error.details.get("conflict"):
                # Somebody else has acted. Whoever leads from here on has to know what was done.
                self._leadership.step_down()
                self._follow(why=str(error))
                return False
            problem = str(error)
        self.log.problem("state_not_saved", problem)
        return not problem

    def _save_before_acting(self) -> bool:
        """Keep what is about to be done, and return whether it may be done."""
        saved = self._save()
        return (saved or self._store.acts_unsaved) and self._leadership.leads()

    def _show(self) -> None:
        problem, status = "", self.status()
        try:
            write_status(self.configuration.status, status)
        except OSError as error:
            problem = str(error)
        self.log.problem("status_not_written", problem)
        self.history.record(status, self._clock.monotonic())
        self.log.problem("history_not_kept", self.history.problem)
        self.shown = status

    def status(self) -> dict[str, Any]:
        """Return what a person wants to know of all fleets."""
        return {
            "at": self._clock.wall(),
            "mode": self.configuration.mode,
            "interval": self.configuration.interval,
            "reload_failed": self.reload_failed,
            **({} if self.leads else {"follows": self.leader}),
            "fleets": [watch.status() for watch in self.watches.values()],
        }

    def _summary(self) -> str:
        counts = []
        for name, watch in self.watches.items():
            workers = watch.last.cycle.seen.workers if watch.last else None
            counts.append(f"{name}: {'?' if workers is None else workers}")
        return f"{self.configuration.mode if self.leads else 'follows'}; workers {', '.join(counts) or 'of no fleet'}"

    def _wait(self, until: float) -> None:
        while not self._stopping and not self._reloading and self._leadership.leads() == self._noticed:
            left = until - self._clock.monotonic()
            if left <= 0:
                return
            # In small pieces: signal handlers may do no more than set a flag. And a long interval must not look dead.
            self._clock.sleep(min(left, _PIECE))
            if self._clock.monotonic() - self.alive_at >= _SIGN_EVERY:
                self._give_a_sign()
