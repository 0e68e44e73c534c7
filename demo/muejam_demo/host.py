# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's host: a container with systemd, and programs in it."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.variables import default
from muejam_bed import container
from muejam_bed.shell import checkout_key

from . import panels
from .feed import Feed, running

NAME = f"muejam-{checkout_key()}-demo"
"""Of the container, each checkout's own; the inventory reckons it too."""
HOSTNAME = "celery-demo"
"""What the host calls itself, and the inventory calls it."""
FLEET = "demo"
HERE = Path(__file__).resolve().parents[1]

APP_DIRECTORY = "/opt/celery-demo"
LEDGER_DIRECTORY = "/var/lib/celery-demo"
APP_PYTHON = f"/opt/celery-worker/{FLEET}/bin/python"
TOOLS_PYTHON = "/opt/muejam-celery/venv/bin/python"
TOOLS_LIBRARY = "/opt/muejam-celery/lib"
ENVIRONMENT_FILE = f"/etc/celery-worker/{FLEET}.env"


def bring_up() -> None:
    """Start a new host and put the application on it, as an application's own delivery would."""
    container.up(NAME, fresh=True, flags=[f"--hostname={HOSTNAME}"])
    container.execute(NAME, ["install", "-d", APP_DIRECTORY])
    # Everybody may append to the ledger, because the workers' user does not exist yet.
    container.execute(NAME, ["install", "-d", "-m", "1777", LEDGER_DIRECTORY])
    for path in (HERE / "app" / "celery_demo", HERE / "watch.py"):
        container.docker("cp", str(path), f"{NAME}:{APP_DIRECTORY}/")


def remove() -> None:
    """Remove the host with everything on it."""
    container.down(NAME)


def page_url() -> str:
    """Return where the autoscaler's page is, for a browser on this machine."""
    return f"http://{container.address(NAME)}:{default('metrics_port')}/"


def with_fleet_environment(unit: str, command: Sequence[str]) -> list[str]:
    """Return a command that runs another one on the host with the environment of the fleet's workers.

    systemd reads the environment file, so the broker's password is on no command line.
    """
    properties = [f"EnvironmentFile={ENVIRONMENT_FILE}", f"WorkingDirectory={APP_DIRECTORY}"]
    return [
        *("docker", "exec", NAME, "systemd-run", "--quiet", "--collect", "--pipe", "--wait", f"--unit={unit}"),
        *(f"--property={text}" for text in properties),
        *command,
    ]


@contextmanager
def feed(unit: str, command: Sequence[str]) -> Iterator[Feed]:
    """Run a program on the host for the length of a with block."""

    def end() -> None:
        container.execute(NAME, ["systemctl", "stop", unit], check=False)

    with running(with_fleet_environment(unit, command), end) as opened:
        yield opened


def watch_command() -> list[str]:
    """Return the command that prints a reading every second."""
    return ["env", f"PYTHONPATH={TOOLS_LIBRARY}", TOOLS_PYTHON, f"{APP_DIRECTORY}/watch.py"]


def send_command(*options: str) -> list[str]:
    """Return the command that publishes tasks."""
    return [APP_PYTHON, "-m", "celery_demo.send", *options]


def ledger() -> list[str]:
    """Return the ledger's lines."""
    return container.execute(NAME, ["cat", f"{LEDGER_DIRECTORY}/ledger.jsonl"]).stdout.splitlines()


def autoscaler_log() -> list[str]:
    """Return the lines that the autoscaler has logged, JSON objects all of them."""
    command = ["journalctl", "--unit=celery-autoscaler", "--output=cat", "--no-pager"]
    # Its unit's own journal has systemd's sentences too.
    return [line for line in container.execute(NAME, command).stdout.splitlines() if line.startswith("{")]


def unit_journal() -> list[str]:
    """Return what systemd has logged of the workers' units, as JSON lines."""
    command = ["journalctl", f"--unit=celery-worker-{FLEET}@*", "_PID=1", "--output=json", "--no-pager"]
    return container.execute(NAME, command).stdout.splitlines()


_GET = """
import json, sys, urllib.request
urls = ["http://127.0.0.1:9090/api/v1/" + path for path in json.load(sys.stdin)]
print(json.dumps([urllib.request.urlopen(url, timeout=30).read().decode() for url in urls]))
"""


def get_from_prometheus(paths: Sequence[str]) -> list[str]:
    """Ask the Prometheus of the host, which listens to nobody else.

    :param paths: what follows C(/api/v1/), with the query.
    """
    done = container.docker("exec", "--interactive", NAME, "python3", "-c", _GET, stdin=json.dumps(list(paths)))
    bodies: list[str] = json.loads(done.stdout)
    return bodies


def ask_prometheus(queries: Sequence[str], period: panels.Period) -> list[list[panels.Series]]:
    """Ask the Prometheus of the host for what answers each query over a period."""
    given = {"start": period.begin, "end": period.end, "step": period.step}
    paths = [f"query_range?{urllib.parse.urlencode({**given, 'query': query})}" for query in queries]
    return [panels.answered(body) for body in get_from_prometheus(paths)]


def summary(sent: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compare what was sent with the ledger."""
    lines = "".join(json.dumps(task) + "\n" for task in sent)
    container.docker("exec", "--interactive", NAME, "tee", f"{LEDGER_DIRECTORY}/sent.jsonl", stdin=lines)
    done = container.execute(
        NAME,
        [
            *("env", "--chdir", APP_DIRECTORY, APP_PYTHON, "-m", "celery_demo.summary"),
            *(f"{LEDGER_DIRECTORY}/sent.jsonl", f"{LEDGER_DIRECTORY}/ledger.jsonl"),
        ],
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the ledger could not be read:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
