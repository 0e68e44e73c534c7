# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's application on a host, for tests and benchmarks that need tasks which tell what they did."""

from __future__ import annotations

import hashlib

from . import container
from .shell import CHECKOUT

APP = "/opt/celery-demo"
LEDGERS = "/var/lib/celery-demo"
VARIABLES_FILE = f"{APP}/variables.env"
"""Variables that the application brings along."""


_CODE = CHECKOUT / "demo" / "app" / "celery_demo"


def fingerprint() -> str:
    """Return what changes whenever the code of the application does."""
    texts = (f"{path.name}\0{path.read_text(encoding='utf-8')}" for path in sorted(_CODE.glob("*.py")))
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def bring(name: str) -> None:
    """Put the code of the application on a host, and make the directory into which its tasks write."""
    container.execute(name, ["mkdir", "-p", APP])
    container.docker("cp", str(_CODE), f"{name}:{APP}/")
    # The checkout may be for its owner's eyes alone; the workers run as somebody else.
    container.execute(name, ["chmod", "-R", "u=rwX,go=rX", APP])
    container.execute(name, ["install", "-d", "-m", "0777", LEDGERS])
    container.execute(name, ["sh", "-c", f"echo 'DEMO_GREETING=\"from a file\"' > {VARIABLES_FILE}"])
