# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lifecycle module puts into an app for its broker: it is in force, or the log says that it is not."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

sys.path.insert(0, str(Path(__file__).parents[3] / "roles/worker/files"))
lifecycle = importlib.import_module("muejam_celery_lifecycle")
sys.path.pop(0)

URL = "redis://h/0"
OPTIONS = "CELERY_LIFECYCLE_TRANSPORT_OPTIONS"
ORDER = "CELERY_LIFECYCLE_PRIORITY"
TLS = "CELERY_LIFECYCLE_BROKER_USE_SSL"
OWN = {"sep": ":", "priority_steps": [0, 4, 8], "visibility_timeout": 99}


@pytest.fixture(autouse=True)
def _no_url_of_the_surrounding(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL"):
        monkeypatch.delenv(name, raising=False)


def plain(options: Mapping[str, Any], url: str = URL) -> Celery:
    app = Celery("proj", broker=url, set_as_current=False)
    app.conf.broker_transport_options = dict(options)
    return app


def django(options: Mapping[str, Any], url: str = URL) -> Celery:
    app = Celery("proj", set_as_current=False)
    settings = type("Settings", (), {"CELERY_BROKER_URL": url, "CELERY_BROKER_TRANSPORT_OPTIONS": dict(options)})
    app.config_from_object(settings, namespace="CELERY")
    return app


def prefixed(options: Mapping[str, Any], url: str = URL) -> Celery:
    """Sets the key with the prefix itself, which wins over an assignment to the one without."""
    app = django({}, url)
    app.conf.CELERY_BROKER_TRANSPORT_OPTIONS = dict(options)
    app.conf.CELERY_BROKER_USE_SSL = {"ca_certs": "/own"}
    return app


def small(options: Mapping[str, Any], url: str = URL) -> Celery:
    app = Celery("proj", broker=url, set_as_current=False)
    app.config_from_object({"shop_broker_transport_options": dict(options)}, namespace="shop")
    app.conf.shop_broker_transport_options = dict(options)
    return app


APPS = [plain, django, prefixed, small]


def in_force(app: Celery) -> dict[str, Any]:
    options = dict(app.connection_for_read().transport_options)
    if "priority_steps" in options:
        options["priority_steps"] = list(options["priority_steps"])
    return options


@pytest.mark.parametrize("made", APPS)
def test_the_fleets_values_are_in_force_however_the_app_is_configured(made: Any) -> None:
    app = made(OWN)
    given = {"visibility_timeout": 7200, "sep": "/"}
    wanted = lifecycle.configure_transport(
        app, {OPTIONS: json.dumps(given), ORDER: "high_first", TLS: '{"ca_certs": "/fleet"}'}
    )
    assert in_force(app) == {"visibility_timeout": 7200, "sep": "/", "priority_steps": [8, 4, 0]}
    assert app.conf.broker_use_ssl == {"ca_certs": "/fleet"}
    assert lifecycle.overruled(app, app.connection_for_read(), wanted) == []


@pytest.mark.parametrize("made", APPS)
@pytest.mark.parametrize(
    ("own", "environ", "steps"),
    [
        ({}, {}, [9, 6, 3, 0]),
        ({"visibility_timeout": 9}, {}, [9, 6, 3, 0]),
        ({"priority_steps": [0, 4, 8]}, {}, [0, 4, 8]),
        ({"priority_steps": range(3)}, {}, [0, 1, 2]),
        ({"queue_order_strategy": "priority"}, {}, None),
        ({"priority_steps": [0, 4, 8]}, {ORDER: "high_first"}, [8, 4, 0]),
        ({"queue_order_strategy": "priority"}, {ORDER: "high_first"}, [9, 6, 3, 0]),
        ({"priority_steps": [0, 4, 8]}, {ORDER: "low_first"}, [0, 4, 8]),
        ({}, {ORDER: "low_first"}, None),
        ({}, {OPTIONS: '{"priority_steps": [0, 5]}'}, [5, 0]),
        ({"priority_steps": [0, 4, 8]}, {OPTIONS: '{"priority_steps": [0, 5]}'}, [0, 5]),
    ],
)
def test_an_app_keeps_its_own_order_unless_the_fleet_says_otherwise(
    made: Any, own: dict[str, Any], environ: dict[str, str], steps: list[int] | None
) -> None:
    app = made(own)
    wanted = lifecycle.configure_transport(app, environ)
    assert in_force(app).get("priority_steps") == steps
    # A pool process that is spawned does it again, on what it finds.
    lifecycle.configure_transport(app, environ)
    assert in_force(app).get("priority_steps") == steps
    assert lifecycle.overruled(app, app.connection_for_read(), wanted) == []


def test_on_rabbitmq_there_are_no_steps() -> None:
    app = django({"confirm_publish": True}, "amqp://h//")
    lifecycle.configure_transport(app, {ORDER: "high_first"})
    assert in_force(app) == {"confirm_publish": True}


def test_what_the_app_overrules_is_told_with_both_values_and_no_secret() -> None:
    app = plain({})
    given = {"visibility_timeout": 7200, "sentinel_kwargs": {"password": "not-a-real-password"}}
    wanted = lifecycle.configure_transport(app, {OPTIONS: json.dumps(given), TLS: "true"})
    # As an app does in a handler of a signal that comes after ours.
    app.conf.broker_transport_options = {"visibility_timeout": 99, "priority_steps": [0, 3, 6, 9]}
    app.conf.broker_use_ssl = False
    faults = lifecycle.overruled(app, app.connection_for_read(), wanted)
    assert [fault.partition(":")[0] for fault in faults] == [
        "broker_transport_options.priority_steps",
        "broker_transport_options.sentinel_kwargs",
        "broker_transport_options.visibility_timeout",
        "broker_use_ssl",
    ]
    assert "99 is in force, not 7200" in faults[2]
    assert "[0, 3, 6, 9] is in force, not [9, 6, 3, 0]" in faults[0]
    assert "not-a-real-password" not in "".join(faults)


def test_the_log_says_what_is_overruled_before_the_worker_consumes(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(lifecycle, "report", told.append)
    app = plain({})
    given = {OPTIONS: '{"visibility_timeout": 7200}', ORDER: "low_first"}
    monkeypatch.setattr(lifecycle, "wanted_transport", lifecycle.configure_transport(app, given))
    lifecycle.tell_what_is_overruled(SimpleNamespace(app=app, connection=app.connection_for_read()))
    assert told == []
    app.conf.broker_transport_options = {"visibility_timeout": 99}
    lifecycle.tell_what_is_overruled(SimpleNamespace(app=app, connection=app.connection_for_read()))
    assert [text.startswith("The fleet's broker_transport_options.visibility_timeout: 99 is in") for text in told] == [
        True
    ]
