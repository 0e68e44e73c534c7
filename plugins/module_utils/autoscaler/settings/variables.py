# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of the role `autoscaler`, in one table.

The role checks them by it and writes its configuration file, and the autoscaler reads and checks that file. It also
writes the role's defaults and what users read of the variables (`make docs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import ACT, MODES
from ansible_collections.muejam.celery.plugins.module_utils.checks import BOOLEAN, INTEGER, TEXT, Kind
from ansible_collections.muejam.celery.plugins.module_utils.decide.durations import parse_duration
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import Key


def _seconds(value: object) -> float | None:
    try:
        return parse_duration(value)
    except ValueError:
        return None


def _address(value: str) -> str | None:
    if any(letter.isspace() for letter in value):
        return f"{value!r} is no address to listen on, use 127.0.0.1, or 0.0.0.0 for all"
    return None


def _image(value: str) -> str | None:
    if any(letter.isspace() for letter in value):
        return f"{value!r} is no image, name it as registry.example/celery-autoscaler:1.0"
    return None


TEXT_OR_NOTHING = Kind("a text", "str", lambda value: value if isinstance(value, str) else None)
DURATION = Kind("a duration such as 90, 90s, 2m or 1h30m", "str", _seconds)


@dataclass(frozen=True)
class Variable(Key):
    """A variable of the role.

    :ivar place: where the configuration file has its value, such as C(metrics.port), or C(fleets.stuck.after) in each
        fleet; empty where only the role needs it.
    """

    place: str = ""


VARIABLES: Mapping[str, Variable] = {
    "state": Variable(
        TEXT,
        choices=("present", "absent"),
        default="present",
        text="V(absent) stops the autoscaler and removes it with its state. Workers go on as they are.",
    ),
    "mode": Variable(
        TEXT,
        choices=MODES,
        default=ACT,
        place="mode",
        text="V(act) decides and scales. V(advise) decides and says what it would do. V(observe) only serves metrics.",
    ),
    # A look costs the broker and the host something.
    "interval": Variable(
        DURATION,
        minimum=1,
        maximum=3600,
        default="5s",
        place="interval",
        text="Time between two looks at the fleets, such as V(5s) or V(1m).",
    ),
    "metrics_address": Variable(
        TEXT,
        check=_address,
        default="127.0.0.1",
        place="metrics.address",
        text="Address at which metrics are served for Prometheus, and a page for people, without a login. They hold no "
        "secrets. On Kubernetes V(127.0.0.1) stands for all addresses of the pod.",
    ),
    "metrics_port": Variable(
        INTEGER,
        minimum=1,
        maximum=65535,
        default=9541,
        place="metrics.port",
        text="TCP port at which they are served: C(/) is the page, C(/metrics) is for Prometheus.",
    ),
    "stuck_after": Variable(
        DURATION,
        minimum=1,
        default="5m",
        place="fleets.stuck.after",
        text="Time after which a worker that idles while tasks wait counts as stuck. It is reported and shown as a "
        "metric.",
    ),
    "restart_stuck": Variable(
        BOOLEAN,
        default=False,
        place="fleets.stuck.restart",
        text="Whether stuck workers are restarted, one at a time, drained. In mode V(act) only.",
    ),
    "memory_max": Variable(TEXT, check=checks.memory, default="256M", text="Memory that the autoscaler may take."),
    "image": Variable(
        TEXT_OR_NOTHING,
        check=_image,
        default="",
        text="Image of the autoscaler, which has to be named on Kubernetes. C(roles/autoscaler/files/Containerfile) "
        "says how to build it.",
    ),
    "replicas": Variable(
        INTEGER,
        minimum=1,
        maximum=10,
        default=2,
        text="Pods of the autoscaler on Kubernetes. One of them acts, and another one takes over within two intervals "
        "when it is gone.",
    ),
}
"""By their names without C(celery_autoscaler_)."""


def placed(part: str) -> dict[str, str]:
    """The variables in a part of the configuration file, such as C(metrics), by their keys there; empty for its top."""
    places = {name: variable.place.rpartition(".") for name, variable in VARIABLES.items() if variable.place}
    return {key: name for name, (above, _dot, key) in places.items() if above == part}


def default(name: str) -> Any:
    """The default of a variable, in Python's own types."""
    return VARIABLES[name].plain(VARIABLES[name].default)
