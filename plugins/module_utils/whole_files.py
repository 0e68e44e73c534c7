# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are written as a whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_whole(path: str | os.PathLike[str], text: str, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Replace a file by one that is on the disk when this returns. Whoever reads sees the old one or the new one.

    :param owner: the ids of its user and group; by default they are those of whoever writes.
    :raises OSError: when that fails; the file is then as it was.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)  # of a writer that was killed
    opened = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if owner:
                os.fchown(opened, *owner)
            os.fchmod(opened, mode)
            os.fsync(opened)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
