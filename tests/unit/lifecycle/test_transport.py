# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lifecycle package puts into an app for its broker: it is in force, or the log says that it is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from celery import Celery

from muejam_celery_lifecycle import log
from muejam_celery_lifecycle.transport import configure_transport, overruled, read_transport_options, report_overruled

SECRET = "not-a-real-password"
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
    wanted = configure_transport(app, {OPTIONS: json.dumps(given), ORDER: "high_first", TLS: '{"ca_certs": "/fleet"}'})
    assert in_force(app) == {"visibility_timeout": 7200, "sep": "/", "priority_steps": [8, 4, 0]}
    assert app.conf.broker_use_ssl == {"ca_certs": "/fleet"}
    assert overruled(app, app.connection_for_read(), wanted) == []


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
    wanted = configure_transport(app, environ)
    assert in_force(app).get("priority_steps") == steps
    # A pool process that is spawned does it again, on what it finds.
    configure_transport(app, environ)
    assert in_force(app).get("priority_steps") == steps
    assert overruled(app, app.connection_for_read(), wanted) == []


def test_on_rabbitmq_there_are_no_steps() -> None:
    app = django({"confirm_publish": True}, "amqp://h//")
    configure_transport(app, {ORDER: "high_first"})
    assert in_force(app) == {"confirm_publish": True}


def test_what_the_app_overrules_is_told_with_both_values_and_no_secret() -> None:
    app = plain({})
    given = {"visibility_timeout": 7200, "sentinel_kwargs": {"password": "not-a-real-password"}}
    wanted = configure_transport(app, {OPTIONS: json.dumps(given), TLS: "true"})
    # As an app does in a handler of a signal that comes after ours.
    app.conf.broker_transport_options = {"visibility_timeout": 99, "priority_steps": [0, 3, 6, 9]}
    app.conf.broker_use_ssl = False
    faults = overruled(app, app.connection_for_read(), wanted)
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
    monkeypatch.setattr(log, "waiting", told)
    app = plain({})
    wanted = configure_transport(app, {OPTIONS: '{"visibility_timeout": 7200}', ORDER: "low_first"})
    report_overruled(app, app.connection_for_read(), wanted)
    assert told == []
    app.conf.broker_transport_options = {"visibility_timeout": 99}
    report_overruled(app, app.connection_for_read(), wanted)
    start = "muejam_celery_lifecycle: The fleet's broker_transport_options.visibility_timeout: 99 is in"
    assert [text.startswith(start) for text in told] == [True]


def test_transport_options() -> None:
    assert read_transport_options({}) == {}
    assert read_transport_options({OPTIONS: ""}) == {}
    text = json.dumps({"visibility_timeout": 60, "socket_keepalive_options": {"4": 60}})
    options = {"visibility_timeout": 60, "socket_keepalive_options": {4: 60}}
    assert read_transport_options({OPTIONS: text}) == options


@pytest.mark.parametrize("text", [f'{{"password": "{SECRET}"', f'["{SECRET}"]', SECRET])
def test_bad_transport_options_are_not_repeated(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    told: list[str] = []
    monkeypatch.setattr(log, "waiting", told)
    assert read_transport_options({OPTIONS: text}) == {}
    assert "not a JSON object" in told[0]
    assert SECRET not in told[0]


def app_of(url: str, options: dict[str, object]) -> Celery:
    app = Celery(broker=url, set_as_current=False)
    app.conf.broker_transport_options = options
    return app


@pytest.mark.parametrize(
    "url", ["redis://h/0", "rediss://h/0", "redis+socket:///s", "sentinel://h:26379/0;sentinel://g:26379/0"]
)
def test_redis_gets_the_order_of_priorities(url: str) -> None:
    app = app_of(url, {"priority_steps": [0, 5], "sep": ":"})
    environ = {"CELERY_LIFECYCLE_TRANSPORT_OPTIONS": '{"sep": "/"}', "CELERY_LIFECYCLE_PRIORITY": "high_first"}
    configure_transport(app, environ)
    assert list(app.conf.broker_transport_options.pop("priority_steps")) == [5, 0]  # type: ignore[call-overload]
    assert app.conf.broker_transport_options == {"sep": "/"}


@pytest.mark.parametrize(("url", "order"), [("amqp://h//", "high_first"), ("redis://h/0", "low_first")])
def test_others_keep_their_options(url: str, order: str) -> None:
    options: dict[str, object] = {"sep": ":"}
    app = app_of(url, options)
    configure_transport(app, {"CELERY_LIFECYCLE_PRIORITY": order})
    assert app.conf.broker_transport_options is options


def test_tls_is_that_of_the_environment() -> None:
    app = app_of("amqps://h//", {})
    configure_transport(app, {"CELERY_LIFECYCLE_BROKER_USE_SSL": '{"ca_certs": "/a", "cert_reqs": 2}'})
    assert app.conf.broker_use_ssl == {"ca_certs": "/a", "cert_reqs": 2}
    configure_transport(app, {})
    assert app.conf.broker_use_ssl == {"ca_certs": "/a", "cert_reqs": 2}
