# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the loaded app can tell: its settings, its broker, whether our package loads beside it."""

import importlib
import sys
from collections.abc import Mapping

from .broker_urls import fleets_places, not_encoded, places, told
from .facts import check_queues, tell_facts
from .redaction import place, reason, redact

CONFIG = "the configuration"
# What Celery counts with, by the type that it says of a setting.
NEEDS = {"bool": "true or false", "int": "a number", "float": "a number"}


def look(app, request, answer, say):
    """What only the loaded app can tell: its settings, its broker, whether our module loads beside it."""
    conf = app.conf
    try:
        conf.get("worker_state_db")
    except BaseException as error:
        say("app: {} while reading {} of {}{}".format(reason(error, request), CONFIG, request["app"], place(error)))
        return
    settings(app, request, say)
    options = conf.broker_transport_options
    if not isinstance(options, Mapping):
        say(f"app: its broker_transport_options is {kind_of(options)}, and Celery needs a dictionary: correct it there")
        return
    try:
        tell_facts(app, request, answer)
        check_queues(app, request, say)
    except Exception as error:
        say(f"app: {reason(error, request)} while reading its queues and transport options{place(error)}")
        return
    for key, name, value in (
        ("visibility_timeout", "broker_transport_options.visibility_timeout", options.get("visibility_timeout")),
        ("time_limit", "task_time_limit", conf.task_time_limit),
        ("soft_time_limit", "task_soft_time_limit", conf.task_soft_time_limit),
        ("prefetch_multiplier", "worker_prefetch_multiplier", conf.worker_prefetch_multiplier),
    ):
        answer["app_" + key] = value if is_number(value) else None
        if value is not None and not is_number(value):
            say(f"app: its {name} is {kind_of(value)}, and Celery needs a number: convert it in the app, as with int()")
    answer["acks_late"] = bool(conf.task_acks_late)
    try:
        connection = app.connection_for_read()
        connection.transport  # noqa: B018  (needs the client library of this broker)
        own = conf.broker_read_url
        if not_encoded(own) or places(own, request) != fleets_places(request):
            other = told(own, request)
            say(f"broker_url: the app insists on another broker, {other}: remove broker_read_url from its settings")
    except Exception as error:
        say(f"broker_url: the app's virtualenv cannot use this broker: {reason(error, request)}")
    if request["include"]:
        try:
            importlib.import_module(request["include"])
            transport = importlib.import_module(request["include"] + ".transport")
        except BaseException as error:
            say("notify: {} cannot be loaded beside the app: {}".format(request["include"], reason(error, request)))
            return
        try:
            wanted = transport.configure_transport(app, request["environment"])
            for fault in transport.overruled(app, app.connection_for_read(), wanted):
                say(redact(f"{fault}, in a way that the fleet cannot overrule: change it in the app", request))
        except Exception as error:
            say(f"broker_transport_options: the app cannot use them: {reason(error, request)}")


def is_number(value):
    """Whether Celery can count with it, and JSON can hold it."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def kind_of(value):
    """What a value is in place of what was needed, without the value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "infinite or no number"
    return "a text" if isinstance(value, str) else "of the type " + type(value).__name__


def settings(app, request, say):
    """Whether every setting that goes on the command line arrives there."""
    from celery.app.defaults import NAMESPACES, SETTING_KEYS, flatten

    kinds = {name: NEEDS[option.type] for name, option in flatten(NAMESPACES) if option.type in NEEDS}
    for name, value in request["settings"].items():
        if name not in SETTING_KEYS and name not in app.conf:
            say(f"celery_settings.{name}: neither celery nor the app knows this setting, check its name")
        # "False" would be true to Celery.
        if isinstance(value, str) and name in kinds:
            say(
                f"celery_settings.{name}: is a text, and Celery needs {kinds[name]}: write it without quotes; where it "
                "is a template, which ansible-core up to 2.18 makes a text, make all of celery_settings one template"
            )
    app.config_from_cmdline(request["setting_arguments"], namespace="worker")
    for name, value in request["settings"].items():
        if app.conf.get(name) != value:
            say(
                "{}: celery {} lets the app's own value of {} win over the command line: change it in the app, or use "
                "a newer celery".format(
                    {"task_acks_late": "acks_late", "task_queue_max_priority": "queue_max_priority"}.get(
                        name, "celery_settings." + name
                    ),
                    sys.modules["celery"].__version__,
                    name,
                )
            )
