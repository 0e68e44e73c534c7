# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a kind of broker before one is opened. Pure: it is used where no library for brokers is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Scheme:
    """The beginning of a URL.

    :ivar port: where brokers listen by default; None leads to a file.
    :ivar options: what kombu knows behind the C(?) of such a URL.
    :ivar known_as: the scheme under which people know the place that it leads to; none is itself.
    """

    port: int | None
    options: tuple[str, ...]
    known_as: str = ""


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of broker.

    :ivar name: its name for people.
    :ivar schemes: of its URLs, by what stands before C(://), in lower case.
    :ivar libraries: Python libraries that speak with it, beside celery and kombu.
    :ivar database: the database, or virtual host, of a URL that names none.
    :ivar databases_are_numbers: whether it is a number.
    :ivar tls_keys: what its library knows of C(broker_use_ssl). It takes any other name for a mistake in the program.
    :ivar tls_prefix: what its library wants before each of these names.
    :ivar visibility_timeout: seconds after which it delivers an unacknowledged message again where nobody says
        anything; None where it waits for the connection to end.
    :ivar list_options: transport options that name the lists of a queue, with what kombu takes where they are not
        given. Who sends with others than the workers is never heard.
    :ivar worker_options: transport options that the workers of a fleet and its app have to have alike.
    :ivar low_first: whether kombu takes priority 0 first where nobody says anything.
    :ivar prefetch_can_be_off: whether Celery's C(worker_disable_prefetch) has an effect.
    :ivar lists_queues: whether it tells which queues there are.
    :ivar managed: whether it has a management API.
    :ivar listening_options: transport options to follow events with, where nobody says otherwise.
    """

    name: str
    schemes: Mapping[str, Scheme]
    database: str
    databases_are_numbers: bool
    tls_keys: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    tls_prefix: str = ""
    visibility_timeout: int | None = None
    list_options: Mapping[str, Any] = field(default_factory=dict)
    worker_options: tuple[str, ...] = ()
    low_first: bool = False
    prefetch_can_be_off: bool = False
    lists_queues: bool = False
    managed: bool = False
    listening_options: Mapping[str, Any] = field(default_factory=dict)
