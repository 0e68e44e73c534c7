# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Prometheus of a test's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from muejam_bed.ports import free_port
from muejam_bed.shell import wait_until


class Prometheus:
    """Asks a running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the value of each series that answers the query now."""
        answer = self._get("query", query=query)
        return [(series["metric"], float(series["value"][1])) for series in answer["data"]["result"]]

    def value(self, query: str) -> float | None:
        """Return the value of the one series that answers; None when there is none."""
        found = self.ask(query)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule, with its health and its last error."""
        return [rule for group in self._get("rules")["data"]["groups"] for rule in group["rules"]]

    def ready(self) -> bool:
        """Say whether it scrapes."""
        try:
            return bool(self.ask("up == 1"))
        except OSError:
            return False

    def _get(self, call: str, **parameters: str) -> dict[str, Any]:
        url = f"{self.url}/api/v1/{call}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as said:
            answer: dict[str, Any] = json.load(said)
        return answer


def installed(program: str) -> str:
    """Return the path of a program of Prometheus."""
    path = shutil.which(program)
    assert path, f"{program} is not installed; install the package prometheus"
    return path


def scraping(target: str) -> dict[str, Any]:
    """Return a configuration that scrapes C(target) (host:port) every second."""
    scrape = {"job_name": "celery", "scrape_interval": "1s", "static_configs": [{"targets": [target]}]}
    return {"scrape_configs": [scrape]}


@contextmanager
def prometheus_running(folder: Path, configuration: Mapping[str, Any]) -> Iterator[Prometheus]:
    """Run a Prometheus with this configuration and its files in C(folder), until it scrapes something."""
    program = installed("prometheus")
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(dict(configuration)), encoding="utf-8")
    log = folder / "prometheus.log"
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with log.open("w", encoding="utf-8") as out, subprocess.Popen(command, stdout=out, stderr=out) as run:
        try:
            server = Prometheus(f"http://127.0.0.1:{port}")
            wait_until(server.ready, 30, lambda: log.read_text(encoding="utf-8"))
            yield server
        finally:
            run.terminate()
            run.wait(20)
