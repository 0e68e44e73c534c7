# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether RabbitMQ has an exchange, asked without making it."""

from __future__ import annotations

from typing import Any

NOT_FOUND = 404
"""Reply code of AMQP 0-9-1."""


def has_exchange(connection: Any, name: str, kind: str) -> bool:
    """Whether the exchange is there. Making it would change the broker, and could clash with whoever makes it.

    :raises amqp.exceptions.AMQPError: when the broker refuses for another reason.
    """
    with connection.channel() as channel:
        try:
            channel.exchange_declare(name, kind, passive=True)
        except connection.channel_errors as error:
            if getattr(error, "code", None) != NOT_FOUND:
                raise
            return False
    return True
