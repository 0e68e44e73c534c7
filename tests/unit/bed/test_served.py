# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host says of a command is what a shell would say."""

from __future__ import annotations

import pytest

from muejam_bed.served import ended


@pytest.mark.parametrize(
    ("command", "given", "told"),
    [
        (["sh", "-c", "cat; echo told >&2; exit 3"], b"given", (3, b"given", b"told\n")),
        (["sh", "-c", "cat"], None, (0, b"", b"")),
        (["sh", "-c", "kill -9 $$"], None, (137, b"", b"")),
    ],
)
def test_how_it_ended(command: list[str], given: bytes | None, told: tuple[int, bytes, bytes]) -> None:
    assert ended(command, given) == told


def test_a_program_that_is_not_there() -> None:
    code, printed, complaints = ended(["/nowhere/to/be/found"], None)
    assert (code, printed) == (127, b"")
    assert b"No such file" in complaints
