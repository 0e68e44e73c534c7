# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What event messages tell of workers."""

from __future__ import annotations

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.heartbeats import Heartbeat, heartbeats_in

BEAT = {"type": "worker-heartbeat", "hostname": "a@h", "active": 2, "processed": 9, "freq": 5.0}


def test_a_heartbeat_tells_the_counts():
    assert heartbeats_in(BEAT) == {"a@h": Heartbeat(2, 9, 5.0)}


def test_events_come_in_lists_too_and_the_last_word_counts():
    gone = {"type": "worker-offline", "hostname": "a@h"}
    assert heartbeats_in([BEAT, gone]) == {"a@h": None}


def test_an_old_worker_tells_no_counts():
    assert heartbeats_in({"type": "worker-online", "hostname": "a@h"}) == {"a@h": Heartbeat(None, None, 2.0)}


@pytest.mark.parametrize("body", [None, "text", [1, None], {"type": "worker-heartbeat"}, {"type": "task-sent"}])
def test_anything_else_tells_nothing(body):
    assert heartbeats_in(body) == {}
