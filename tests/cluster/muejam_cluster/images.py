# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images for pods, built where no registry answers."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from pathlib import Path

from muejam_bed import container, demo_app
from muejam_bed.image import exists, tag
from muejam_bed.prepared import APP_REQUIREMENTS, committed, run_script
from muejam_bed.shell import CHECKOUT, one_at_a_time, run, say

from .programs import KUBERNETES, ensure_programs

PAUSE = "muejam-celery-pause:dev"
DEMO = "muejam-celery-demo:dev"
"""The demo's application, as a user without rights. A pod gives its command: C(celery --app celery_demo worker)."""
RELEASE = "bookworm"
_USER = 1000
# What it is made from is a host of systemd, which is stopped by another signal. "docker commit" cannot change that.
_DOCKERFILE = f"""
FROM {{made_from}}
USER {_USER}:{_USER}
STOPSIGNAL SIGTERM
WORKDIR {demo_app.APP}
ENV PATH={demo_app.APP}/venv/bin:/usr/bin:/bin PYTHONUNBUFFERED=1
CMD ["celery", "--app", "celery_demo", "worker", "--loglevel", "info"]
"""
_SETUP = """
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends python3-venv >/dev/null
umask 0022
python3 -m venv {app}/venv
{app}/venv/bin/pip install --quiet --disable-pip-version-check {requirements}
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
# What it says where to get packages is this machine's affair.
rm -f /etc/pip.conf /root/.ssh/authorized_keys
: >/etc/machine-id
"""


def ensure_pause() -> str:
    """Return the name of the image that holds a pod's namespaces, built from Kubernetes' own source if missing."""
    code = ensure_programs(KUBERNETES) / "pause.c"
    with one_at_a_time("pause-image"):
        if not exists(PAUSE):
            subprocess.run([str(CHECKOUT / "tests/bed/packages.sh"), "compiler"], check=True)
            with tempfile.TemporaryDirectory(prefix="muejam-bed-") as scratch:
                run(["gcc", "-Os", "-static", "-s", "-o", str(Path(scratch, "pause")), str(code)])
                archive = Path(scratch, "pause.tar")
                run(["tar", "--create", f"--file={archive}", f"--directory={scratch}", "pause"])
                run(["docker", "import", "--change", 'ENTRYPOINT ["/pause"]', str(archive), PAUSE])
    return PAUSE


def ensure_demo() -> str:
    """Return the name of the image of the demo's application, made anew when its code or what it needs changed."""
    setup = _SETUP.format(app=demo_app.APP, requirements=" ".join(f"'{one}'" for one in APP_REQUIREMENTS))
    recipe = json.dumps([tag(RELEASE), setup, _DOCKERFILE, demo_app.fingerprint()])
    # Others may have another state of the application, so what is made has a name of its own.
    name = f"{DEMO.partition(':')[0]}:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    made_from = f"{name}-host"
    with one_at_a_time("demo-image"):
        if not exists(name):
            say("making the image of the demo's application (a minute, once)")
            with committed(made_from, RELEASE, "demo-image") as host:
                run_script(host, setup)
                demo_app.bring(host)
            container.docker("build", "--quiet", f"--tag={name}", "-", stdin=_DOCKERFILE.format(made_from=made_from))
    run(["docker", "tag", name, DEMO])
    return DEMO
