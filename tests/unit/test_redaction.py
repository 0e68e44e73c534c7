# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No password of a URL is left in a text, and nothing else is taken out of it."""

from __future__ import annotations

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.redaction import MASK, redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:secret@h:6379/0", f"redis://:{MASK}@h:6379/0"),
        ("amqp://u:secret@h//", f"amqp://u:{MASK}@h//"),
        ("redis://:a/b@h/0", f"redis://:{MASK}@h/0"),
        ("redis://:a@b@h/0", f"redis://:{MASK}@h/0"),
        ("sentinel://:a@one;sentinel://:b@two", f"sentinel://:{MASK}@one;sentinel://:{MASK}@two"),
        ("no login at redis://h:6379/0, worker web-1@h", "no login at redis://h:6379/0, worker web-1@h"),
        ("redis://:secret@h: worker web-1@h is silent", f"redis://:{MASK}@h: worker web-1@h is silent"),
        ("redis://:a#b@h/0", f"redis://:{MASK}@h/0"),
        ("amqp://us/er:secret@h/0", f"amqp://us/er:{MASK}@h/0"),
        ("Port could not be cast to integer value as '12x'", f"Port could not be cast to integer value as {MASK}"),
        ("netloc 'a:b' contains invalid characters", f"netloc {MASK} contains invalid characters"),
        ("Database is int between 0 and limit - 1, not ab@h", f"Database is int between 0 and limit - 1, not {MASK}"),
        ("rediss://h/0?ssl_password=secret", f"rediss://h/0?ssl_password={MASK}"),
        ("rediss://h/0?password=secret&x=1", f"rediss://h/0?password={MASK}&x=1"),
    ],
)
def test_redact(text: str, shown: str) -> None:
    assert redact(text) == shown
