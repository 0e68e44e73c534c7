# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of brokers that there are: the one place that lists them, and their schemes."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.brokers.kind import Kind, Scheme
from ansible_collections.muejam.celery.plugins.module_utils.brokers.rabbitmq.kind import RABBITMQ
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.kind import REDIS

KINDS = (REDIS, RABBITMQ)
SCHEMES: dict[str, Scheme] = {name: scheme for kind in KINDS for name, scheme in kind.schemes.items()}


def kind_of(url: object) -> Kind | None:
    """Return the kind of broker that a URL leads to, None where it is none that can be read."""
    scheme = str(url).partition("://")[0].lower()
    return next((kind for kind in KINDS if scheme in kind.schemes), None)


def known_schemes() -> dict[str, tuple[str, int | None, str]]:
    """Return what each scheme is known as, its port and its database: for programs that run without this tree."""
    return {
        name: (scheme.known_as or name, scheme.port, kind.database)
        for kind in KINDS
        for name, scheme in kind.schemes.items()
    }
