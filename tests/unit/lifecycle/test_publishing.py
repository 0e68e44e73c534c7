# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker publishes while its broker takes nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from muejam_celery_lifecycle.publishing import PUBLISH_WITHIN, HeldUpError, Publishing
from muejam_celery_lifecycle.status import Status


def publishing(task: object = None, attached: bool = True) -> Publishing:
    status: Any = Status(SimpleNamespace(app=SimpleNamespace(current_task=task)), {})
    status.attached = attached
    return Publishing(status)


class Channel:
    """A channel whose broker never confirms."""

    def __init__(self) -> None:
        self.connection = self
        self.waits: list[object] = []
        self.collected = False

    def collect(self) -> None:
        self.collected = True

    def publish(self, **options: Any) -> None:
        self.waits.append(options.get("timeout"))
        raise TimeoutError


def test_the_loop_waits_once_for_a_broker_that_confirms_nothing() -> None:
    channel, ours = Channel(), publishing()
    for _turn in range(3):
        with pytest.raises(HeldUpError):
            ours.publish(Channel.publish, channel)
    assert channel.waits == [PUBLISH_WITHIN]
    assert channel.collected
    assert ours.is_held_up()


def test_a_connection_with_half_a_message_is_given_up() -> None:
    channel, ours = Channel(), publishing()

    def publish(channel: Channel, **options: object) -> None:
        try:
            raise TimeoutError
        except TimeoutError:
            raise RuntimeError("basic_publish: timed out")  # noqa: B904  (as amqp does)

    with pytest.raises(RuntimeError):
        ours.publish(publish, channel)
    assert channel.collected


@pytest.mark.parametrize(("task", "attached"), [(object(), True), (None, False)])
def test_tasks_and_a_start_may_wait(task: object, attached: bool) -> None:
    channel, ours = Channel(), publishing(task, attached)
    with pytest.raises(TimeoutError):
        ours.publish(Channel.publish, channel)
    assert channel.waits == [None]
    assert not ours.is_held_up()
