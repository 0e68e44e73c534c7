# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the probe reads off an app that is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from celery import Celery, _state
from celery.app import builtins
from kombu import Queue
from kombu.common import Broadcast

from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import known_schemes
from muejam_celery_probe.broker_urls import other_broker
from muejam_celery_probe.facts import check_queues, sets_priorities, tell_facts
from muejam_celery_probe.look import look
from muejam_celery_probe.look import settings as check_settings

REQUEST: dict[str, Any] = {
    "app": "proj",
    "queues": [],
    "schemes": known_schemes(),
    "environment": {"CELERY_BROKER_URL": "redis://:x@127.0.0.1/0"},
}

ENCODE = " (percent-encode / ? # in its login, or it is read as another place)"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Celery:
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    # Tasks that another test's app shares with every app of this process are not this one's.
    finalizers = {one for one in _state._on_app_finalizers if one.__module__ == builtins.__name__}
    monkeypatch.setattr(_state, "_on_app_finalizers", finalizers)
    return Celery("proj", set_as_current=False)


@pytest.mark.parametrize("key", ["broker_url", "broker_write_url"])
@pytest.mark.parametrize(
    ("own", "other"),
    [
        (None, None),
        ("redis://127.0.0.1:6379", None),
        ("redis://user:x@localhost/0", None),
        ("rediss://127.0.0.1/0", None),
        ("redis://127.0.0.1/1", "redis://127.0.0.1:6379/1"),
        ("redis://:secret@127.0.0.1:6380/0", "redis://127.0.0.1:6380/0"),
        ("redis://h1/0;redis://127.0.0.1/0", None),
        (["redis://h1/0", "redis://h2/0"], "redis://h1:6379/0; redis://h2:6379/0"),
        ("amqp://guest:secret@127.0.0.1//", "amqp://127.0.0.1:5672//"),
        ("redis://user:12/34secret@h/0", f"redis://h:6379/0{ENCODE}"),
        ("redis://user:12/34secret@127.0.0.1/0", f"redis://127.0.0.1:6379/0{ENCODE}"),
        ("redis://h1/0;redis://user:1#;2secret@h2/0", f"redis://h1:6379/0; redis://h2:6379/0{ENCODE}"),
        (["amqp://guest:1/secretpart@h//"], f"amqp://h:5672//{ENCODE}"),
    ],
)
def test_another_broker_is_told_without_its_login(app: Celery, key: str, own: Any, other: str | None) -> None:
    app.conf[key] = own
    assert other_broker(app.conf, REQUEST) == other


@pytest.mark.parametrize("own", ["redis://user:12/34secret@h/0", ["redis://user:12/34secret@127.0.0.1/0"]])
def test_a_broker_that_the_app_insists_on_is_told_without_its_login(app: Celery, own: str | list[str]) -> None:
    app.conf.broker_read_url = own
    said = looked_at(app)["problems"]
    assert ["secret" in text or "@" in text for text in said] == [False]
    assert said[0].startswith("broker_url: ")
    assert "percent-encode" in said[0]


def looked_at(app: Celery) -> dict[str, Any]:
    answer: dict[str, Any] = {"problems": []}
    # As the environment of a worker does.
    app.conf.broker_url = app.conf.broker_url or REQUEST["environment"]["CELERY_BROKER_URL"]
    request = {**REQUEST, "settings": {}, "setting_arguments": [], "include": None}
    look(app, request, answer, answer["problems"].append)
    return dict(json.loads(json.dumps(answer, allow_nan=False)))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"task_time_limit": "30"}, "app: its task_time_limit is a text, and Celery needs a number"),
        ({"task_soft_time_limit": timedelta(minutes=1)}, "app: its task_soft_time_limit is of the type timedelta,"),
        ({"task_time_limit": Decimal(30)}, "app: its task_time_limit is of the type Decimal,"),
        ({"task_time_limit": True}, "app: its task_time_limit is true,"),
        ({"worker_prefetch_multiplier": "4"}, "app: its worker_prefetch_multiplier is a text,"),
        ({"worker_prefetch_multiplier": float("nan")}, "app: its worker_prefetch_multiplier is infinite or no number,"),
        (
            {"broker_transport_options": {"visibility_timeout": timedelta(hours=1)}},
            "app: its broker_transport_options.visibility_timeout is of the type timedelta,",
        ),
        ({"broker_transport_options": None}, "app: its broker_transport_options is null, and Celery needs a dict"),
        ({"broker_transport_options": "{}"}, "app: its broker_transport_options is a text, and Celery needs a dict"),
    ],
)
def test_a_setting_that_celery_cannot_count_with_is_a_problem(
    app: Celery, settings: dict[str, Any], problem: str
) -> None:
    app.conf.update(settings)
    answer = looked_at(app)
    assert [text[: len(problem)] for text in answer["problems"]] == [problem]
    assert not any(isinstance(answer.get(f"app_{key}"), str) for key in ("time_limit", "prefetch_multiplier"))


@pytest.mark.parametrize(
    ("name", "value", "needs"),
    [
        ("task_acks_on_failure_or_timeout", "False", "true or false"),
        ("task_acks_on_failure_or_timeout", False, None),
        ("broker_pool_limit", "5", "a number"),
        ("broker_pool_limit", None, None),
        ("broker_connection_timeout", "2.5", "a number"),
        ("task_default_rate_limit", "10/m", None),
        ("task_default_queue", "5", None),
    ],
)
def test_a_text_where_celery_counts_is_a_problem(app: Celery, name: str, value: object, needs: str | None) -> None:
    said: list[str] = []
    argument = f"{name}=(json){json.dumps(value)}"
    check_settings(app, {"settings": {name: value}, "setting_arguments": [argument]}, said.append)
    start = f"celery_settings.{name}: is a text, and Celery needs {needs}: "
    assert [text[: len(start)] for text in said] == ([start] if needs else [])


def by_task(app: Celery) -> None:
    def work() -> None: ...

    app.task(priority=9, name="a", shared=False)(work)


@pytest.mark.filterwarnings("ignore:(?s).*task attribute is deprecated")
@pytest.mark.parametrize(
    ("settings", "priorities"),
    [
        ({}, False),
        ({"task_default_priority": 0}, True),
        ({"task_queue_max_priority": 10}, True),
        ({"task_routes": {"a": {"queue": "b", "priority": 9}}}, True),
        ({"task_routes": ([("a", {"queue": "b"}), ("c", {"priority": 1})],)}, True),
        ({"task_routes": {"a": {"queue": "b"}}}, False),
        ({"beat_schedule": {"a": {"task": "a", "schedule": 1, "options": {"priority": 3}}}}, True),
        ({"imports": ["not_there"]}, False),
        (by_task, True),
    ],
)
def test_an_app_that_sets_priorities_is_known(
    app: Celery, settings: dict[str, Any] | Callable[[Celery], None], priorities: bool
) -> None:
    if callable(settings):
        settings(app)
    else:
        app.conf.update(settings)
    assert sets_priorities(app) is priorities


@pytest.mark.parametrize(
    ("settings", "queues"),
    [
        ({}, ["celery"]),
        ({"task_default_queue": "shop"}, ["shop"]),
        ({"task_queues": [Queue("a"), Queue("b"), Broadcast("all")]}, ["a", "b"]),
        ({"task_queues": {"a": {"exchange": "x"}}}, ["a"]),
        # An app may name them as a set, of which the order is another in each process.
        ({"task_queues": [Queue("c"), Queue("a"), Queue("b")]}, ["a", "b", "c"]),
    ],
)
def test_queues_that_a_worker_consumes_from_by_itself(app: Celery, settings: dict[str, Any], queues: list[str]) -> None:
    app.conf.update(settings)
    answer: dict[str, Any] = {}
    tell_facts(app, REQUEST, answer)
    assert answer["queues"] == queues


@pytest.mark.parametrize(
    ("creates", "queues", "faults"), [(True, ["nope"], 0), (False, ["celery"], 0), (False, ["nope"], 1)]
)
def test_queues_that_the_app_may_not_make(app: Celery, creates: bool, queues: list[str], faults: int) -> None:
    app.conf.task_create_missing_queues = creates
    said: list[str] = []
    check_queues(app, {**REQUEST, "queues": queues}, said.append)
    assert len(said) == faults
