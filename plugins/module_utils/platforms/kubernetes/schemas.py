# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which schemas objects are checked against: those of the cluster's version, or the newest there are for a newer one.

The library that has them refuses a version that it does not know, and clusters are often newer than it.
"""

from __future__ import annotations

import re

_VERSION = re.compile(r"v?(?P<major>[0-9]+)\.(?P<minor>[0-9]+).*")


def schema_version(server: str, known: list[str] | None = None) -> str:
    """The version of the schemas for a server's, such as `1.36` for `v1.36.2+k3s1`.

    :param known: versions that there are schemas of; by default those of the library `kubernetes-validate`.
    :return: the server's own, or the newest known one where that is older. Empty where nothing is known of either.
    """
    versions = [each for each in map(_parsed, _of_library() if known is None else known) if each]
    own = _parsed(server)
    if own is None or not versions:
        return ""
    major, minor = min(own, max(versions))
    return f"{major}.{minor}"


def _parsed(text: str) -> tuple[int, int] | None:
    found = _VERSION.fullmatch(text)
    return (int(found["major"]), int(found["minor"])) if found else None


def _of_library() -> list[str]:
    try:
        from kubernetes_validate.utils import all_versions
    except ImportError:
        # What checks the objects needs it too, and says so.
        return []
    return list(all_versions())
