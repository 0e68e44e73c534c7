# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image with nothing but kubectl, as CronJobs of schedules need one."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from muejam_bed.image import exists
from muejam_bed.shell import one_at_a_time, run

KUBECTL = "muejam-celery-kubectl:dev"


def ensure_kubectl(program: Path) -> str:
    """Return the name of the image, made of a static C(program) if it is missing."""
    with one_at_a_time("kubectl-image"):
        if not exists(KUBECTL):
            with tempfile.TemporaryDirectory(prefix="muejam-bed-") as scratch:
                shutil.copy(program, Path(scratch, "kubectl"))
                archive = Path(scratch, "image.tar")
                run(["tar", "--create", f"--file={archive}", f"--directory={scratch}", "kubectl"])
                run(["docker", "import", "--change", "ENV PATH=/", str(archive), KUBECTL])
    return KUBECTL
