# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fleet sets for the broker's connection is put into the app, and the log says where the app overrules it."""

from __future__ import annotations

import json
from typing import Any, Mapping

from .log import report
from .priorities import DEFAULT_STEPS, HighFirst, reads_high_first

SHOWN_OPTIONS = ("global_keyprefix", "priority_steps", "queue_order_strategy", "sep", "visibility_timeout")
"""Others may hold passwords, such as those of sentinels."""


def read_json(environ: Mapping[str, str], name: str, what: str, kinds: tuple[type, ...]) -> Any:
    """Return what a variable holds, None when it is not set or something else, of which the log is told.

    The log is not told its text, which may hold a password.
    """
    text = environ.get(name)
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, kinds):
        return value
    report(f"{name} is not {what}; it is ignored")
    return None


def read_transport_options(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of the environment."""
    options = read_json(environ, "CELERY_LIFECYCLE_TRANSPORT_OPTIONS", "a JSON object", (dict,)) or {}
    for name in ("socket_keepalive_options", "socket_settings"):
        if isinstance(options.get(name), dict):
            # Socket option numbers: JSON knows only text as a key.
            options[name] = {int(key) if key.isdigit() else key: value for key, value in options[name].items()}
    return dict(options)


def configure_transport(app: Any, environ: Mapping[str, str]) -> dict[str, Any]:
    """Put TLS, transport options and the order of priorities into the app, before a connection is made.

    Return what `overruled` is to find in force: `broker_use_ssl` and `broker_transport_options`, where they are set.
    """
    wanted: dict[str, Any] = {}
    ssl = read_json(environ, "CELERY_LIFECYCLE_BROKER_USE_SSL", "a JSON object or true", (dict, bool))
    if ssl is not None:
        wanted["broker_use_ssl"] = ssl
        set_in(app, "broker_use_ssl", ssl)
    own = dict(app.conf.broker_transport_options or {})
    options = read_transport_options(environ)
    if reads_high_first(app, own, environ):
        steps = options.get("priority_steps") or own.get("priority_steps") or DEFAULT_STEPS
        options["priority_steps"] = HighFirst(steps)
    if options:
        wanted["broker_transport_options"] = options
        set_in(app, "broker_transport_options", {**own, **options})
    return wanted


def set_in(app: Any, name: str, value: Any) -> None:
    """Set a setting under its plain name, and under the one that wins in an app with a namespace (`CELERY_...`)."""
    app.conf.get(name)  # has the app read its configuration, and with it the namespace
    conf = app.conf
    conf[name] = value
    prefix = getattr(conf, "prefix", None)
    if prefix:
        conf[prefix + (name.upper() if prefix.isupper() else name)] = value


def overruled(app: Any, connection: Any, wanted: Mapping[str, Any]) -> list[str]:
    """Return what is in force in place of what `configure_transport` wanted, as one text for each value."""
    found = []
    actual = connection.transport_options or {}
    for name, value in sorted(wanted.get("broker_transport_options", {}).items()):
        # As lists: the order in which steps are read is that of their iteration.
        one, other = (list(each) if name == "priority_steps" and each else each for each in (actual.get(name), value))
        if one != other:
            what = f"{one!r} is in force, not {other!r}" if name in SHOWN_OPTIONS else "another value is in force"
            found.append(f"broker_transport_options.{name}: {what}; the app sets it after it was told")
    if "broker_use_ssl" in wanted and app.conf.broker_use_ssl != wanted["broker_use_ssl"]:
        found.append("broker_use_ssl: another value is in force; the app sets it after it was told")
    return found


def report_overruled(app: Any, connection: Any, wanted: Mapping[str, Any]) -> None:
    """Compare what the fleet wants with the connection by which the worker is about to consume."""
    for fault in overruled(app, connection, wanted):
        report(f"The fleet's {fault}")
