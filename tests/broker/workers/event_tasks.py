# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks that end in every way, for workers whose events are listened to (C(--include event_tasks))."""

from __future__ import annotations

import time

from celery import shared_task


@shared_task(name="quick")
def quick(seconds=0.0):
    time.sleep(seconds)


@shared_task(name="broken")
def broken(seconds=0.0):
    time.sleep(seconds)
    raise ValueError("as it must")


@shared_task(name="flaky", bind=True, default_retry_delay=0.1, max_retries=1)
def flaky(self):
    if not self.request.retries:
        raise self.retry(exc=ValueError("once"))


@shared_task(name="slow", soft_time_limit=1)
def slow():
    time.sleep(30)


@shared_task(name="stubborn", time_limit=1)
def stubborn():
    time.sleep(30)
