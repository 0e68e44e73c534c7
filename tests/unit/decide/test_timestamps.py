# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instants as they may be written, and what is none."""

from __future__ import annotations

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.decide.timestamps import instant_of


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2026-01-01T00:00:00Z", 1767225600.0),
        ("2026-01-01t00:00:00.5z", 1767225600.5),
        ("2026-01-01T05:30:00.123456789+05:30", 1767225600.123456789),
        ("2016-12-31T23:59:60Z", 1483228800.0),
        ("2026-01-01 00:00:00", 1767225600.0),
        (12.5, 12.5),
    ],
)
def test_instants(written: object, seconds: float) -> None:
    assert instant_of(written) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    "written",
    ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-W01-1", "20260101T000000Z", "x", None, -1, 10**400],
)
def test_what_is_no_instant_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"^at "):
        instant_of(written)
