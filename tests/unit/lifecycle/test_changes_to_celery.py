# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the package changes in Celery is there to be changed, is changed once, and may be missing."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest

from muejam_celery_lifecycle import changes_to_celery, log


class Owner:
    def add(self, number: int) -> int:
        return number


def doubled(function: Any, owner: Owner, number: int) -> int:
    return 2 * int(function(owner, number))


def test_the_last_change_of_a_spot_is_the_one_that_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Owner, "add", Owner.add)
    for _worker in range(3):
        changes_to_celery.around(Owner, "add", doubled)
    assert Owner().add(4) == 8


def test_a_change_of_one_object_leaves_the_others() -> None:
    owner = Owner()
    for factor in (5, 7):
        changes_to_celery.around(owner, "add", lambda function, number, by=factor: by * function(number))
    assert (owner.add(1), Owner().add(1)) == (7, 1)


def test_a_spot_that_is_not_there_is_told_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(log, "waiting", told)
    changes_to_celery.around(Owner, "subtract", doubled)
    assert [text.endswith("has no subtract in this version: what needs it is left out") for text in told] == [True]
    assert not hasattr(Owner, "subtract")


def test_celery_and_amqp_have_all_that_is_changed_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    spots: list[str] = []
    monkeypatch.setattr(log, "waiting", told)
    monkeypatch.setattr(changes_to_celery, "setattr", lambda owner, name, value: spots.append(name), raising=False)
    changes_to_celery.name_queues_in_events(MagicMock())
    changes_to_celery.limit_publishing(MagicMock())
    assert told == []
    assert {"send_event", "_publish", "_on_blocked"} <= set(spots)
