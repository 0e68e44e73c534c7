# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw the dashboards of monitoring/ from any Prometheus, one picture for each, without a Grafana."""

from __future__ import annotations

import argparse
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from muejam_demo import panels


def asking(url: str) -> panels.Ask:
    """Return how to ask the Prometheus at a URL."""

    def ask(queries: Sequence[str], period: panels.Period) -> list[list[panels.Series]]:
        answers = []
        for query in queries:
            given = {"query": query, "start": period.begin, "end": period.end, "step": period.step}
            whole = f"{url.rstrip('/')}/api/v1/query_range?{urllib.parse.urlencode(given)}"
            with urllib.request.urlopen(whole, timeout=30) as said:
                answers.append(panels.answered(said.read().decode()))
        return answers

    return ask


def main() -> int:
    """Draw them all."""
    commands = argparse.ArgumentParser(prog="demo/draw_dashboards.py", description=__doc__)
    commands.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its URL")
    commands.add_argument("--minutes", type=float, default=180.0, help="how far back")
    commands.add_argument("--rate-interval", default="1m", help="four scrape intervals or more")
    commands.add_argument("--out", type=Path, default=Path("demo/out"), help="a directory")
    given = commands.parse_args()
    end = time.time()
    period = panels.Period(end - 60 * given.minutes, end, max(1.0, given.minutes * 60 / 600))
    for path in sorted(panels.DASHBOARDS.glob("*.json")):
        out = given.out / f"dashboard-{path.stem}.png"
        empty = panels.draw(path.stem, asking(given.prometheus), period, out, given.rate_interval)
        print(f"{out}{': no data in ' + '; '.join(empty) if empty else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
