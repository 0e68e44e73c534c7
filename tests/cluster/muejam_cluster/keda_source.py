# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KEDA's source with the scalers that fleets of Celery meet, and without what needs the SDKs of clouds.

Most of what KEDA is built of are clients of systems that no test here has: two of three packages, and nine minutes of
two cores. What is left is KEDA's own, unchanged but for the list of scalers.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from muejam_bed.shell import CHECKOUT, BedError

# What is left out has callers in what is kept; they find this in its place.
STANDING_IN = CHECKOUT / "tests" / "cluster" / "programs" / "addons" / "keda"
TRIGGERS = (
    *("cpu", "cron", "external", "external-push", "kubernetes-workload", "memory", "metrics-api", "prometheus"),
    *("rabbitmq", "redis", "redis-cluster", "redis-sentinel"),
    *("redis-streams", "redis-cluster-streams", "redis-sentinel-streams"),
)
"""The types of triggers that this KEDA has."""
_SCALERS = "pkg/scalers"
_KEPT = (
    *("cpu_memory", "cron", "external", "kubernetes_workload", "metrics_api", "prometheus"),
    *("rabbitmq", "redis", "redis_streams"),
)
_LIST = "pkg/scaling/scalers_builder.go"
_LISTED = re.compile(r'\tcase "(?P<trigger>[^"]+)":\n\t\treturn .*\n')
_LEFT_OUT = (
    f"{_SCALERS}/aws/*.go",
    f"{_SCALERS}/azure/*.go",
    f"{_SCALERS}/gcp/*.go",
    "pkg/eventemitter/azure_event_grid_topic_handler.go",
    "pkg/scaling/resolver/aws_secretmanager_handler.go",
    "pkg/scaling/resolver/azure_keyvault_handler.go",
    "pkg/scaling/resolver/gcp_secretmanager_handler.go",
)


def made_of() -> list[Path]:
    """Return the files that say what the source becomes, besides KEDA itself."""
    return [Path(__file__), *sorted(STANDING_IN.rglob("*.go"))]


def write(source: Path, target: Path) -> None:
    """Write what is kept of KEDA's module to a directory that is not there yet.

    Raises BedError when the module is not what it was when this was written.
    """
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*_test.go"), copy_function=shutil.copyfile)
    for directory in (target, *target.rglob("*/")):
        # Go's own copy may not be written to.
        directory.chmod(0o755)
    kept = {"scaler.go", *(f"{name}_scaler.go" for name in _KEPT)}
    gone = [path for path in (target / _SCALERS).glob("*.go") if path.name not in kept]
    for pattern in _LEFT_OUT:
        found = list(target.glob(pattern))
        if not found:
            raise BedError(f"{source} has no {pattern}: bring {__file__} in line with this release of KEDA")
        gone += found
    for path in gone:
        path.unlink()
    listed = target / _LIST
    text = listed.read_text(encoding="utf-8")
    missing = set(TRIGGERS) - {found["trigger"] for found in _LISTED.finditer(text)}
    if missing:
        raise BedError(f"{source / _LIST} has no {', '.join(sorted(missing))}: bring {__file__} in line with it")
    listed.write_text(_LISTED.sub(lambda found: found[0] if found["trigger"] in TRIGGERS else "", text), "utf-8")
    shutil.copytree(STANDING_IN, target, dirs_exist_ok=True)
