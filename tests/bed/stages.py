# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run make targets side by side: stages.py [--beside STAGE] STAGE... -- STAGE... -- STAGE...

The stages before the first -- run one after the other, and the run ends with the first of them that fails. Each
further group is a lane: its stages run one after the other, and all lanes to their end. LANES of them (2) run side by
side; a further one begins when one of those named before it has ended. What is scarce are cores: a host takes 200 MB
and waits for most of its time.

The stage --beside begins at once, and takes what everything else leaves of the cores. Nobody waits for it but a stage
that needs what it makes.

Hosts that are there at the end, and a Kubernetes, are removed if this run has started them: tests that are stopped do
not get to it.

The output of each stage goes to .cache/run/STAGE.log, and is printed in one piece when the stage has ended. A test that
fails is told at once. The output of the last stage that was named comes last, so that a run ends with its words. What
failed before it is told once more, in a few lines ahead of the very last one: whoever has only the end of the output
reads there what to mend.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from muejam_bed import container
from muejam_bed.shell import CHECKOUT, BedError

LOGS = Path(os.environ.get("MUEJAM_RUN_LOGS") or CHECKOUT / ".cache" / "run")
LANES = int(os.environ.get("LANES") or 2)
# Tests need a moment to take their hosts down when the run is stopped.
STOP_SECONDS = 60.0
# Of each stage that failed, at the end of the run.
TOLD_LINES, TOLD_OF_A_TEST, TOLD_WIDTH = 12, 3, 240
PLAYBOOK_FAILED = ("fatal: ", "failed: ", "[ERROR]")
"""How a line of ansible-playbook begins that tells of a task that failed."""
# Where the kernel groups processes by sessions, niceness counts within one only, and the group has a niceness too.
YIELDING = (
    *("sh", "-c", 'echo 19 2>/dev/null >/proc/self/autogroup; exec "$@"', "sh"),
    *("nice", "-n", "19", "chrt", "--idle", "0"),
)


def say(text: str) -> None:
    """Print a line about the run itself."""
    print(f"==> {text}", flush=True)


def cpu_seconds() -> tuple[float, float]:
    """Return how long the cores of this machine were busy, and how long they were there, since it started."""
    ticks = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    per_second = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - idle) / per_second, sum(ticks) / per_second


@dataclass
class Stage:
    """One make target."""

    name: str
    yielding: bool = False
    """Whether it takes only what others leave of the cores."""
    seconds: float = 0.0
    cpu: float = 0.0
    """CPU seconds of all its processes on this machine; the hosts that it started are not among them."""
    passed: bool | None = None
    stopped: bool = False
    """Whether it was told to end before it had."""

    @property
    def log(self) -> Path:
        """Its output."""
        return LOGS / f"{self.name}.log"

    @property
    def failures(self) -> Path:
        """Its failed tests, each written as soon as it failed (tests/conftest.py)."""
        return LOGS / f"{self.name}.failures"

    def run(self, stopping: threading.Event) -> bool:
        """Run it, tell its failed tests as they fail, and return whether it passed."""
        self.failures.unlink(missing_ok=True)
        started = time.monotonic()
        with self.log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(YIELDING if self.yielding else ()),
                    os.environ.get("MAKE", "make"),
                    "--no-print-directory",
                    self.name,
                ],
                cwd=CHECKOUT,
                env={**os.environ, "MUEJAM_FAILURES": str(self.failures)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        told = 0
        while not self._ended(process):
            if stopping.wait(0.5):
                self.stopped = True
                self._stop(process)
            told = self._tell(told)
        self._tell(told)
        self.seconds = time.monotonic() - started
        self.passed = process.returncode == 0
        say(f"{self.name} {self.outcome} after {self.seconds:.0f} s")
        return self.passed

    @property
    def outcome(self) -> str:
        """What became of it, in words."""
        if self.passed is None:
            return "did not run"
        if self.passed:
            return "passed"
        return "was stopped" if self.stopped else "FAILED"

    def _ended(self, process: subprocess.Popen[bytes]) -> bool:
        """Say whether it has ended. What it used is told once, to whoever waits for it."""
        if process.returncode is None:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                self.cpu = used.ru_utime + used.ru_stime
        return process.returncode is not None

    def _tell(self, told: int) -> int:
        if not self.failures.exists():
            return told
        with self.failures.open("rb") as failures:
            failures.seek(told)
            text = failures.read()
        if text:
            print(f"==> {self.name}, which goes on: {text.decode(errors='replace')}", flush=True)
        return told + len(text)

    @staticmethod
    def _stop(process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            # Also what goes on without the one that was waited for.
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def show(self, failed: Sequence[Stage] = ()) -> None:
        """Print what it printed; before its last line, why others failed."""
        say(f"output of {self.name}:")
        lines = self.log.read_bytes().splitlines(keepends=True)
        _write(lines[:-1])
        for other in failed:
            other.tell_why()
        _write(lines[-1:])

    def tell_why(self) -> None:
        """Print in a few lines why it failed."""
        say(f"{self.name} FAILED; again, this stage alone: make {self.name}; from its output:")
        for line in self.why_it_failed():
            print(f"    {line[:TOLD_WIDTH]}", flush=True)

    def why_it_failed(self) -> list[str]:
        """Return its failed tests with what pytest marked as the error; of other programs, the last lines."""
        if self.failures.exists():
            tests: list[tuple[str, list[str]]] = []
            for line in self.failures.read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith("FAILED "):
                    tests.append((line, []))
                elif line.startswith("E  ") and tests:
                    tests[-1][1].append(line)
            lines = [line for name, errors in tests for line in (name, *_most_telling(errors))]
            more = [f"and {len(lines) - TOLD_LINES} lines more"] if len(lines) > TOLD_LINES else []
            return lines[:TOLD_LINES] + more
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TOLD_LINES:]


def _most_telling(errors: list[str]) -> list[str]:
    """Return the lines that tell most: of the output of a playbook that is those of the task that failed."""
    of_tasks = [line for line in errors if line.lstrip("E ").startswith(PLAYBOOK_FAILED)]
    return (of_tasks or errors)[: TOLD_OF_A_TEST - 1]


def _write(lines: list[bytes]) -> None:
    """Print them as they are, whatever their encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.writelines(lines)
    sys.stdout.flush()


class Run:
    """All stages of a run."""

    def __init__(self, groups: list[list[str]], beside: str | None = None) -> None:
        self.first, *self.lanes = [[Stage(name) for name in group] for group in groups]
        self.beside = [] if beside is None else [Stage(beside, yielding=True)]
        self.stages = [stage for group in (self.beside, self.first, *self.lanes) for stage in group]
        self.last = self.stages[-1]
        self.name = uuid.uuid4().hex[:12]
        self.told_to_stop = False
        self.stopping = threading.Event()
        self.printing = threading.Lock()

    def stop(self, *_signal: object) -> None:
        """Have what runs end: its tests take their hosts down. Nothing further begins."""
        self.told_to_stop = True
        self.stopping.set()

    def run(self) -> bool:
        """Run them all and return whether all passed."""
        LOGS.mkdir(parents=True, exist_ok=True)
        os.environ[container.RUN] = self.name
        begun, (busy, there) = time.monotonic(), cpu_seconds()
        self._run_all()
        self._take_down()
        busy, there = (now - then for now, then in zip(cpu_seconds(), (busy, there), strict=True))
        share = 100 * busy / max(there, 0.01)
        minutes = (time.monotonic() - begun) / 60
        say(f"{minutes:.1f} minutes, the cores of this machine were busy for {share:.0f} % of them:")
        for stage in self.stages:
            again = f"; again, this stage alone: make {stage.name}" if stage.outcome == "FAILED" else ""
            say(f"  {stage.name}: {stage.outcome}, {stage.seconds:.0f} s, {stage.cpu:.0f} s of a core{again}")
        failed = [stage for stage in self.stages if stage.outcome == "FAILED" and stage is not self.last]
        if self.last.passed is None:
            for stage in failed:
                stage.tell_why()
        else:
            self.last.show(failed)
        if self.told_to_stop:
            say("stopped")
        return all(stage.passed for stage in self.stages)

    def _run_all(self) -> None:
        beside = threading.Thread(target=self._lane, args=(self.beside,))
        beside.start()
        if all(self._one(stage) for stage in self.first):
            with ThreadPoolExecutor(LANES) as lanes:
                list(lanes.map(self._lane, self.lanes))
        else:
            self.stopping.set()
        beside.join()

    def _one(self, stage: Stage) -> bool:
        say(f"{stage.name} begins")
        passed = stage.run(self.stopping)
        if stage is not self.last:
            with self.printing:
                stage.show()
        return passed

    def _lane(self, lane: list[Stage]) -> None:
        for stage in lane:
            if not self.stopping.is_set():
                self._one(stage)

    def _take_down(self) -> None:
        if shutil.which("docker") is None or "MUEJAM_KEEP_HOSTS" in os.environ:
            return
        for name in container.names_of_run(self.name):
            say(f"removing {name}")
            try:
                container.down(name)
            except BedError as error:
                say(str(error))


def groups_of(arguments: list[str]) -> list[list[str]]:
    """Return the groups of stages that the command line names."""
    groups: list[list[str]] = [[]]
    for argument in arguments:
        if argument == "--":
            groups.append([])
        else:
            groups[-1].append(argument)
    return groups


if __name__ == "__main__":
    named = sys.argv[1:]
    everything = Run(groups_of(named[2:]), named[1]) if named[:1] == ["--beside"] else Run(groups_of(named))
    for sent in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sent, everything.stop)
    sys.exit(0 if everything.run() else 1)
