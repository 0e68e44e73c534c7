# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of a deployment: a broker with a password, a fleet of one worker, a secret of the application."""

from __future__ import annotations

import copy
from typing import Any

from muejam_bed import demo_app

PASSWORD = "not-a-real-password-5f2c"
TOKEN = "not-a-real-token-81d7"
BROKER_URL = f"redis://:{PASSWORD}@127.0.0.1:6379/0"

VARIABLES: dict[str, Any] = {
    "celery_broker_type": "redis",
    "celery_broker_password": PASSWORD,
    "celery_worker_fleets": [
        {
            "name": "web",
            "workers": 1,
            "app": "celery_demo",
            "working_directory": "/opt/celery-demo",
            "virtualenv": "/opt/celery-demo/venv",
            "packages": ["celery[redis]==5.7.0"],
            "broker_url": BROKER_URL,
            "result_backend": f"redis://:{PASSWORD}@127.0.0.1:6379/1",
            "broker_transport_options": {"socket_keepalive": True},
            "environment": {"API_TOKEN": TOKEN},
            "environment_files": [demo_app.VARIABLES_FILE],
            "concurrency": 1,
            "soft_time_limit": 20,
            "time_limit": 30,
            "drain_timeout": 60,
            "visibility_timeout": 3600,
        }
    ],
}


def variables(**changes: object) -> dict[str, Any]:
    """Return the variables of the deployment, with other settings for its fleet."""
    changed = copy.deepcopy(VARIABLES)
    changed["celery_worker_fleets"][0].update(changes)
    return changed
