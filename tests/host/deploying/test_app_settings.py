# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app that sets its transport and queue itself, under a namespace: what the fleet leaves open is read as it says."""

from __future__ import annotations

import json
from typing import Any

from deployment import BROKER_URL, variables

from muejam_bed.shell import wait_until
from muejam_bed.systemd_host import SystemdHost

APP = """
from celery import Celery

class Settings:
    CELERY_BROKER_URL = "redis://elsewhere.example.com/0"
    CELERY_TASK_DEFAULT_QUEUE = "shop"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "sep": ":", "priority_steps": [0, 4, 8], "global_keyprefix": "shop:", "visibility_timeout": 99,
    }

app = Celery("celery_own")
app.config_from_object(Settings, namespace="CELERY")
app.conf.CELERY_BROKER_TRANSPORT_OPTIONS = Settings.CELERY_BROKER_TRANSPORT_OPTIONS

@app.task(name="work")
def work():
    pass
"""
SEND = "from celery_own import work; [work.apply_async(priority=number) for number in range(9)]"
KNOWN = "/etc/celery-worker/apps.json"


def deploy(host: SystemdHost, check: bool = True, **changes: Any) -> str:
    """Run the role of the workers for the fleet `shop`, and return what was said, in one line."""
    fleet = {
        "name": "shop",
        "workers": 0,
        "app": "celery_own",
        "packages": None,
        "broker_transport_options": None,
        "result_backend": None,
        **changes,
    }
    play = [{"hosts": "celery_workers", "become": True, "roles": ["muejam.celery.worker"]}]
    done = host.playbook(play, extra_vars=variables(**fleet), check=check)
    assert (done.returncode == 0) is check
    return " ".join((done.stdout + done.stderr).split())


def status(host: SystemdHost) -> str:
    """What the playbook says of the fleet."""
    fleet = variables(name="shop", app="celery_own", broker_transport_options=None)
    return host.playbook("playbooks/status.yml", extra_vars={**fleet, "fleet": "shop"}).stdout


def test_an_apps_own_settings(deployed: SystemdHost) -> None:
    where = "/opt/celery-demo/celery_own.py"
    deployed.put(where, APP)
    assert "redis://elsewhere.example.com:6379/0" in deploy(deployed)
    own = json.loads(deployed.output("cat", KNOWN))["shop"]
    assert (own["queues"], own["transport_options"]["sep"]) == (["shop"], ":")

    sender = ["env", "--chdir=/opt/celery-demo", f"CELERY_BROKER_URL={BROKER_URL}", "/opt/celery-demo/venv/bin/python"]
    deployed.run(*sender, "-c", SEND)
    assert "queue shop: 9 waiting (priority 8: 1, priority 4: 4, priority 0: 4)" in status(deployed)

    # The worker takes them, its visibility timeout is the fleet's, and who asks it does it no harm.
    deploy(deployed, workers=1)
    wait_until(lambda: "queue shop: 0 waiting" in status(deployed), 60, lambda: status(deployed))
    assert "online" in status(deployed)
    log = deployed.output("journalctl", "--no-pager", "-u", "celery-worker-shop@1.service")
    assert "Traceback" not in log
    assert "is in force" not in log

    said = deploy(deployed, check=False, broker_transport_options={"sep": "/"})
    assert "broker_transport_options.sep: the fleet says" in said
    assert "No worker was touched" in said
    deploy(deployed, state="absent")
    assert "shop" not in json.loads(deployed.output("cat", KNOWN))
