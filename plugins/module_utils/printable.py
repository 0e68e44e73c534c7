# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text of others, made harmless for a terminal."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """Return the text with all that is no letter to a terminal spelled out: escapes, line ends, changes of direction.

    :param keep: characters that stay as they are, such as the end of a line.
    """
    return "".join(one if one.isprintable() or one in keep else one.encode("unicode_escape").decode() for one in text)
