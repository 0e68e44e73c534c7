# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command, the environment, the names and the identity of a fleet's workers."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.fleet import (
    command,
    environment,
    fingerprint,
    names,
    needs,
    spec,
)


def resolved(**own: Any) -> spec.Fleet:
    base = {"name": "web", "broker_url": "redis://:not-a-real-password@h/0", "virtualenv": "/v"}
    return spec.resolve([{**base, **({} if "command" in own else {"app": "proj"}), **own}])[0]


def test_the_command_of_a_plain_fleet() -> None:
    assert command.argv(resolved()) == [
        "/v/bin/celery",
        "-A",
        "proj",
        "worker",
        "--hostname=web-%i@%H",
        "--loglevel=INFO",
        "--pool=prefork",
        "--include=muejam_celery_lifecycle",
    ]


def test_the_command_of_a_fleet_with_everything() -> None:
    fleet = resolved(
        queues=["a", "b%i"],
        autoscale={"max": 10, "min": 3},
        prefetch_multiplier=1,
        max_tasks_per_child=1000,
        max_memory_per_child=200000,
        soft_time_limit=20,
        time_limit=30,
        task_events=True,
        acks_late=True,
        queue_max_priority=10,
        celery_settings={"task_routes": {"a.*": {"queue": "a"}}},
        extra_args=["--without-gossip"],
    )
    assert command.argv(fleet)[6:] == [
        "--pool=prefork",
        "--queues=a,b%%i",
        "--autoscale=10,3",
        "--prefetch-multiplier=1",
        "--max-tasks-per-child=1000",
        "--max-memory-per-child=200000",
        "--time-limit=30",
        "--soft-time-limit=20",
        "--task-events",
        "--include=muejam_celery_lifecycle",
        "--without-gossip",
        "task.acks_late=(json)true",
        "task.queue_max_priority=(json)10",
        'task.routes=(json){"a.*": {"queue": "a"}}',
    ]


@pytest.mark.parametrize(("pool", "concurrency"), [("prefork", 4), ("gevent", 100), ("threads", 8)])
def test_pools_with_a_concurrency(pool: str, concurrency: int) -> None:
    argv = command.argv(resolved(pool=pool, concurrency=concurrency))
    assert f"--pool={pool}" in argv
    assert f"--concurrency={concurrency}" in argv


def test_no_prefetch_limit_goes_as_a_setting_because_the_flag_ignores_zero() -> None:
    assert command.argv(resolved(prefetch_multiplier=0))[-1] == "worker.prefetch_multiplier=(json)0"


def test_a_command_is_taken_as_it_is() -> None:
    assert command.argv(resolved(command=["/opt/a", "--name", "web-%i@%H"])) == ["/opt/a", "--name", "web-%i@%H"]


def test_secrets_stand_in_the_file_and_numbers_in_the_unit() -> None:
    fleet = resolved(
        environment={"DB_PASSWORD": "not-a-real-password", "PORT": "900%i"},
        visibility_timeout=7200,
        broker_transport_options={"sentinel_kwargs": {"password": "not-a-real-password"}},
    )
    unit, file = environment.unit_lines(fleet), environment.file_lines(fleet)
    assert unit == ['"CELERY_LIFECYCLE_STATUS_FILE=/run/celery-worker/web-%i/status.json"', '"PORT=900%i"']
    assert 'CELERY_BROKER_URL="redis://:not-a-real-password@h/0"' in file
    assert 'DB_PASSWORD="not-a-real-password"' in file
    assert any('\\"visibility_timeout\\": 7200' in line for line in file)
    assert "not-a-real-password" not in " ".join(command.argv(fleet))


@pytest.mark.parametrize(
    ("url", "given", "told"),
    [
        ("amqps://h//", {"ca_certs": "/a", "cert_reqs": "required"}, '{"ca_certs": "/a", "cert_reqs": 2}'),
        ("rediss://h/0", {"ca_certs": "/a", "cert_reqs": "none"}, '{"ssl_ca_certs": "/a", "ssl_cert_reqs": 0}'),
        ("amqps://h//", True, "true"),
        ("rediss://h/0", True, '{"ssl_cert_reqs": 2}'),
        ("rediss://h/0", False, None),
        ("rediss://h/0", None, None),
    ],
)
def test_tls_is_told_as_the_transport_takes_it(url: str, given: object, told: str | None) -> None:
    fleet = resolved(broker_url=url, broker_use_ssl=given)
    assert environment.variables(fleet).get("CELERY_LIFECYCLE_BROKER_USE_SSL") == told
    # What a filter returns is written as text and read again by some versions of Ansible.
    assert ast.literal_eval(repr(environment.broker_ssl(fleet))) == environment.broker_ssl(fleet)


def test_a_url_with_a_percent_i_in_its_password_stays_a_secret() -> None:
    fleet = resolved(broker_url="redis://:a%ib@h/0")
    assert 'CELERY_BROKER_URL="redis://:a%ib@h/0"' in environment.file_lines(fleet)
    assert environment.of_worker(fleet, 2)["CELERY_BROKER_URL"] == "redis://:a%ib@h/0"


def test_the_lifecycle_module_is_found_before_the_own_modules() -> None:
    assert environment.variables(resolved(environment={"PYTHONPATH": "/srv"}))["PYTHONPATH"].split(":") == [
        "/opt/muejam-celery/worker",
        "/srv",
    ]
    assert "PYTHONPATH" not in environment.variables(resolved(command=["/opt/a", "%i"]))


def test_programs_of_the_app_are_on_the_path() -> None:
    assert environment.variables(resolved())["PATH"].startswith("/v/bin:/usr")
    own = resolved(command=["/opt/a/bin/a", "%i"], virtualenv=None)
    assert environment.variables(own)["PATH"].startswith("/opt/a/bin:/usr")


def test_the_id_changes_with_what_a_worker_depends_on_and_with_nothing_else() -> None:
    unit = "# comment\n[Service]\nExecStart=/v/bin/celery\nTimeoutStopSec=300\n"
    first = fingerprint.config_id(unit, ["A=1"], "module")
    assert len(first) == 32
    assert fingerprint.config_id(unit.replace("300", "600").replace("comment", "words"), ["A=1"], "module") == first
    others = {
        fingerprint.config_id(unit.replace("/v/", "/w/"), ["A=1"], "module"),
        fingerprint.config_id(unit, ["A=2"], "module"),
        fingerprint.config_id(unit, ["A=1"], "another module"),
        fingerprint.config_id(unit, ["A=1"]),
    }
    assert len(others) == 4
    assert first not in others


@pytest.mark.parametrize("name", ["web", "w", "web-1", "0", "a" * 40])
def test_names_go_there_and_back(name: str) -> None:
    assert names.is_fleet_name(name)
    assert names.instance_of(names.unit_name(name, 12)) == (name, 12)
    assert names.unit_name(name, 1).startswith(names.unit_template(name).split("@", maxsplit=1)[0] + "@")


@pytest.mark.parametrize("name", ["", "Web", "-a", "a-", "a_b", "a@b", "a b", "a" * 41, "é", "a\n", None, 3])
def test_other_names_are_refused(name: object) -> None:
    assert not names.is_fleet_name(name)


@pytest.mark.parametrize(
    "unit", ["celery-worker-web@.service", "celery-worker-web@0.service", "x.service", "a@1.service"]
)
def test_other_units_are_not_ours(unit: str) -> None:
    assert names.instance_of(unit) is None


def test_shared_things_are_needed_once() -> None:
    fleets = spec.resolve(
        [
            {"name": "a", "app": "p", "packages": ["x", "y"], "virtualenv": "/v", "broker_url": "redis://h"},
            {"name": "b", "app": "p", "packages": ["y", "z"], "virtualenv": "/v", "broker_url": "redis://h"},
            {"name": "c", "command": ["/v/bin/x"], "broker_url": "redis://i", "working_directory": "/srv"},
            {"name": "d", "app": "p", "virtualenv": "/w", "user": "d", "broker_url": "redis://i"},
        ]
    )
    needed = needs.of_fleets(fleets)
    assert needed["virtualenvs"] == [{"path": "/v", "python": None, "packages": ["x", "y", "z"]}]
    assert needed["brought"] == [
        {"fleet": "c", "kind": "directory", "path": "/srv"},
        {"fleet": "d", "kind": "program", "path": "/w/bin/celery"},
    ]
    assert needed["users"] == [{"name": "celery", "group": "celery"}, {"name": "d", "group": "d"}]
    assert needed["brokers"] == ["a", "c"]


def test_a_solo_worker_prefetches_for_the_one_task_that_it_runs() -> None:
    assert "--concurrency=1" in command.argv(resolved(pool="solo", concurrency=None))


def test_only_the_number_is_a_placeholder_in_an_environment() -> None:
    url = "redis://:pa%Hss%25@h/0"
    assert environment.of_worker(resolved(broker_url=url), 1)["CELERY_BROKER_URL"] == url


def test_all_that_fleets_lack_of_others_is_told_at_once() -> None:
    brought = [{"fleet": "web", "kind": kind, "path": f"/srv/{kind}"} for kind in ("program", "directory", "file")]
    there = [{"path": one["path"], "kind": "", "executable": False} for one in brought]
    found = {"paths": there, "virtualenvs": {}, "missing_users": [], "missing_groups": []}
    assert needs.missing({"brought": brought, "virtualenvs": [], "directories": []}, found)["brought"] == brought
