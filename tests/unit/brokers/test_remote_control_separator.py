# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mailboxes that are written with another separator are known as such."""

from __future__ import annotations

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.remote_control import other_separator

OURS = "\x06\x16"
MAILBOX = "web-1@h.celery.pidbox"


def table(*rows: str) -> list[tuple[str, ...]]:
    return [tuple(row.split(OURS)) for row in rows]


@pytest.mark.parametrize("separator", [":", "::", "/", "--", "."])
def test_another_separator_is_known(separator: str) -> None:
    assert other_separator(table(separator + separator + MAILBOX)) == separator


@pytest.mark.parametrize("rows", [(), (OURS + OURS + MAILBOX,), ("::" + MAILBOX, OURS + OURS + MAILBOX)])
def test_our_own_is_no_other(rows: tuple[str, ...]) -> None:
    assert other_separator(table(*rows)) is None
