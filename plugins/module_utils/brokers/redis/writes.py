# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether Redis takes what is published: it does not when it is full, a replica, or cannot save or replicate.

Queues then look empty, because nothing comes into them. LPUSHX of a list that does not exist changes nothing, and is
refused just as the LPUSH of a task is.
"""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.brokers.queue_reading import Warn
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.link import RedisLink, ServerRefused

NO_LIST = "muejam.celery.is-anybody-blocked"
"""End of the name of a list that nobody has."""

_FULL = "Redis is full: it has reached maxmemory, and its maxmemory-policy lets it remove nothing"
_READ_ONLY = "Redis is a read-only replica"
_REASONS = {
    "OOM": _FULL,
    "OutOfMemoryError": _FULL,
    "READONLY": _READ_ONLY,
    "ReadOnlyError": _READ_ONLY,
    "MISCONF": "Redis cannot save its data to disk, and takes none until it can",
    "NOREPLICAS": "Redis has fewer replicas than min-replicas-to-write asks for",
}
"""By the first word of what the server says, or by the exception that redis-py makes of it, without that word."""


class RedisWrites:
    """Asks again and again."""

    def __init__(self) -> None:
        self._allowed = True

    def refused(self, link: RedisLink, start: str, warn: Warn) -> str:
        """Return why nobody can publish, the empty text when everybody can or this user may not ask.

        :param start: with what the name begins that is asked for, so that the rules for the names of queues fit it.
        :param warn: told once where this user may not ask.
        """
        if not self._allowed:
            return ""
        (reply,) = link.ask([("LPUSHX", start + NO_LIST, "")])
        if not isinstance(reply, ServerRefused):
            return ""
        reason = _REASONS.get(type(reply).__name__) or _REASONS.get(str(reply).partition(" ")[0])
        if reason is None:
            # Not asked again: each refusal would be an entry in the server's log of them.
            self._allowed = False
            warn(
                f"It is not known whether Redis takes tasks: {reply}. While it takes none, queues look empty. Grant "
                "the user +lpushx for the keys of its queues."
            )
            return ""
        return reason
