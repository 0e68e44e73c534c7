# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events are heard where kombu publishes them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.events import topic_pattern


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({}, "/3.celeryev/*"),
        ({"fanout_patterns": False}, "/3.celeryev"),
        ({"global_keyprefix": "{app}[1]:"}, "{app}\\[1\\]:/3.celeryev/*"),
        ({"keyprefix_fanout": "", "fanout_prefix": False}, "celeryev/*"),
        ({"sentinel_fanout_compat": True}, "/{db}.celeryev/*"),
        ({"sentinel_fanout_compat": True, "fanout_prefix": "mine.", "keyprefix_fanout": "mine."}, "mine.celeryev/*"),
    ],
)
def test_the_topic_is_kombus(options, pattern):
    class Channel(SimpleNamespace):
        keyprefix_fanout = "/{db}."

    given = {"keyprefix_fanout": "/3.", "fanout_prefix": True, "fanout_patterns": True, "global_keyprefix": ""}
    assert topic_pattern(Channel(**{**given, **options}), "celeryev") == pattern
