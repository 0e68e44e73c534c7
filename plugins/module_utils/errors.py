# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error that everything below the modules raises for an operator."""

from __future__ import annotations

from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.redaction import redact


class OperationError(Exception):
    """Something an operator asked for could not be done.

    :param tried: what was attempted and on what, as the rest of "Could not ...".
    :param why: the cause, in the words of whoever refused.
    :param next_step: what to do about it, a full sentence.
    :param details: values a program may read (lists of units done and not done).

    Every part is redacted, so a message can be shown or logged as it is.
    """

    def __init__(self, tried: str, why: object, next_step: str, **details: Any) -> None:
        self.tried = redact(tried)
        self.why = redact(str(why).strip() or type(why).__name__)
        self.next_step = redact(next_step)
        self.details = details
        super().__init__(f"Could not {self.tried}: {self.why.rstrip('.')}. {self.next_step}")
