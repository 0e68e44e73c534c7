# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application itself, configured by its environment.

CELERY_BROKER_URL and CELERY_RESULT_BACKEND are read by Celery itself.
"""

from __future__ import annotations

from celery import Celery

app = Celery("celery_demo", include=["celery_demo.tasks", "celery_demo.reports"])
app.conf.update(
    # RabbitMQ orders by priority only in queues declared with a maximum, and who publishes must declare the same.
    # Redis has no use for it.
    task_queue_max_priority=10,
)
