# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault of a list of fleets is found, named by its place, and found at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.checks import TEXT
from ansible_collections.muejam.celery.plugins.module_utils.fleet import problems, rules, spec
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import KEYS, Key

GIB = 1024**3
BASE: dict[str, Any] = {"broker_url": "redis://10.0.0.5/0", "virtualenv": "/srv/venv"}


def fleet(**given: Any) -> dict[str, Any]:
    return {"name": "web", **({} if "command" in given else {"app": "proj"}), **given}


def faults_of(**given: Any) -> list[str]:
    return problems.find([fleet(**given)], BASE, host_memory=4 * GIB)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"workers": 0},
        {"workers": "3", "concurrency": "4"},
        {"autoscale": {"max": 10, "min": 3}},
        {"autoscale": {"max": 1, "min": 0}},
        {"pool": "gevent", "concurrency": 100, "time_limit": 30},
        {"pool": "solo"},
        {"pool": "threads", "concurrency": 8},
        {"soft_time_limit": 270, "time_limit": 300, "drain_timeout": 300},
        {"time_limit": 7200, "drain_timeout": 7200, "visibility_timeout": 36001},
        {"time_limit": 1200, "drain_timeout": 1200, "prefetch_multiplier": 1},
        {"time_limit": 3500, "drain_timeout": 3500, "celery_settings": {"worker_disable_prefetch": True}},
        {"time_limit": 60, "prefetch_multiplier": 0, "broker_url": "amqp://h//"},
        {"time_limit": 60, "notify": False},
        # The app may have another multiplier and timeout, which only it can tell.
        {"time_limit": 1800, "drain_timeout": 1800},
        {"time_limit": 1800, "drain_timeout": 1800, "prefetch_multiplier": 4},
        {"time_limit": 1800, "drain_timeout": 1800, "visibility_timeout": 3601},
        {"time_limit": 1800, "drain_timeout": 1800, "notify": False},
        {"time_limit": 1800, "drain_timeout": 1800, "broker_url": "amqp://h//", "notify": False},
        {"command": ["/bin/x", "%i"], "app": None, "time_limit": 100, "prefetch_multiplier": 1, "notify": False},
        {"time_limit": 7200, "drain_timeout": 7200, "broker_url": "amqp://10.0.0.5//"},
        {"environment": {"PORT": "900%i", "TOKEN": "100%%i", "KEY": "two\nlines", "N": 3}},
        {"workers": 4, "memory_max": "1G"},
        {"workers": 9, "memory_max": "1G", "allow_memory_overcommit": True},
        {"memory_max": "infinity"},
        {"command": ["/opt/airflow/bin/airflow", "celery", "worker", "--celery-hostname", "web-%i@%H"]},
        {"celery_settings": {"worker_proc_alive_timeout": 20.5, "task_routes": {"a.*": {"queue": "b"}}}},
        {"unit_options": {"LimitNOFILE": 1024, "PrivateTmp": False, "ReadWritePaths": ["", "/srv"]}},
        {"state": "absent"},
        {"broker_use_ssl": {"cert_reqs": None, "ca_certs": None, "check_hostname": True, "password": "x"}},
        {"broker_url": "amqp://h//", "broker_use_ssl": {"server_hostname": None, "cert_reqs": "required"}},
        {"packages": ["git+https://host:8443/app@v1", "shop @ git+https://git.host:8443/app.git@feature/x#egg=app"]},
        {"packages": ["git+ssh://git@host/app@v1", "shop @ https://host:8443/@team/app.whl"], "app": "proj"},
        {"extra_args": ["--x=redis://h:6379/0", "--x=sentinel://h1:26379;sentinel://h2:26379"]},
        {"command": ["/bin/sh", "-c", "exec celery -b redis://10.0.0.5/0 worker -n web-%i@%H"]},
        {"command": ["/bin/sh", "-c", "wait-for redis://10.0.0.5:6379/0 amqp://h:5672 && run -n web-%i@%H"]},
        {"command": ["/bin/sh", "-c", "wait-for redis://$H:$P/0 && exec celery worker -n web-%i@%H"]},
        {"queues": ["celery"], "policy": {}},
        {"queues": ["celery"], "policy": {"target": {"wait_time": "30s"}}},
        {"queues": ["celery"], "policy": {"limits": {"max_workers": 4}}, "memory_max": "1G"},
        {"policy": None},
    ],
)
def test_a_good_fleet_has_no_fault(given: dict[str, Any]) -> None:
    assert faults_of(**given) == []


def test_a_key_is_refused_where_it_has_no_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEYS, "ship", Key(TEXT, platforms=("docker", "kubernetes")))
    [fault] = faults_of(ship="shop:1", virtualenv="/srv/venv")
    assert fault == (
        "celery_worker_fleets[0].ship: has no meaning on systemd, only on docker and kubernetes: remove it"
    )
    # Defaults may serve hosts of several platforms.
    assert problems.find([fleet()], {**BASE, "ship": "shop:1"}) == []
    assert problems.find([fleet()], {**BASE, "ship": 5})[0].startswith("celery_worker_fleet_defaults.ship: ")


@pytest.mark.parametrize(
    ("given", "path", "says"),
    [
        ({"workrs": 2}, ".workrs", "did you mean workers"),
        ({"name": "Web"}, ".name", "no fleet name"),
        ({"name": "w" * 41}, ".name", "at most 40"),
        ({"name": None}, ".name", "missing"),
        ({"workers": -1}, ".workers", "too small"),
        ({"workers": 2.5}, ".workers", "whole number, is 2.5"),
        ({"workers": True}, ".workers", "whole number, is true"),
        ({"workers": "many"}, ".workers", "whole number"),
        ({"pool": "prefrok"}, ".pool", "prefork, gevent, solo, threads"),
        ({"autoscale": {"max": 3, "min": 5}}, ".autoscale.min", "more than max"),
        ({"autoscale": {"max": 3}}, ".autoscale.min", "whole number"),
        ({"autoscale": {"max": 3, "min": 1, "mid": 2}}, ".autoscale.mid", "unknown key"),
        ({"autoscale": "10,3"}, ".autoscale", "a dictionary"),
        ({"pool": "gevent", "autoscale": {"max": 3, "min": 1}}, ".autoscale", "gevent pool does not have it"),
        ({"pool": "solo", "concurrency": 2}, ".concurrency", "solo pool does not have it"),
        ({"pool": "gevent", "max_tasks_per_child": 5}, ".max_tasks_per_child", "gevent pool"),
        ({"pool": "threads", "max_memory_per_child": 5}, ".max_memory_per_child", "threads pool"),
        ({"pool": "threads", "time_limit": 5}, ".time_limit", "threads pool"),
        ({"pool": "gevent", "soft_time_limit": 5}, ".soft_time_limit", "gevent pool"),
        ({"concurrency": 2, "autoscale": {"max": 3, "min": 1}}, ".concurrency", "beside autoscale"),
        ({"soft_time_limit": 30, "time_limit": 30}, ".soft_time_limit", "not under time_limit"),
        ({"time_limit": 600}, ".drain_timeout", "under the time limit of 600 s"),
        ({"soft_time_limit": 600}, ".drain_timeout", "under the time limit of 600 s"),
        ({"command": ["/bin/x", "%i"], "time_limit": 300, "drain_timeout": 1499}, ".drain_timeout", "use 1500 or more"),
        (
            {"command": ["/bin/x", "%i"], "time_limit": 3600, "drain_timeout": 18000},
            ".visibility_timeout",
            "use more than 18000",
        ),
        ({"time_limit": 60, "visibility_timeout": 60}, ".visibility_timeout", "use more than 300"),
        (
            {"time_limit": 60, "visibility_timeout": 300, "prefetch_multiplier": 4},
            ".visibility_timeout",
            "300, or prefetch_multiplier 3",
        ),
        ({"time_limit": 60, "prefetch_multiplier": 0}, ".prefetch_multiplier", "no visibility_timeout"),
        (
            {"time_limit": 61, "notify": False, "prefetch_multiplier": 4},
            ".drain_timeout",
            "use 305 or more, or notify: true",
        ),
        ({"time_limit": 400, "notify": False}, ".drain_timeout", "use 2000 or more"),
        (
            {"time_limit": 60, "notify": False, "prefetch_multiplier": 0, "broker_url": "amqp://h//"},
            ".prefetch_multiplier",
            "without notify: true a stop waits",
        ),
        (
            {"time_limit": 60, "broker_transport_options": {"visibility_timeout": 50}},
            ".visibility_timeout",
            "more than 300",
        ),
        ({"broker_url": "amqp://h//", "visibility_timeout": 60}, ".visibility_timeout", "this broker has none"),
        ({"time_limit": 0}, ".time_limit", "more than 0"),
        ({"memory_max": "lots"}, ".memory_max", "512M"),
        ({"memory_max": "5G"}, ".memory_max", "the host has 4096 MiB"),
        ({"workers": 5, "memory_max": "1G"}, ".memory_max", "allow_memory_overcommit"),
        ({"workers": 3, "memory_max": "50%"}, ".memory_max", "6144 MiB"),
        ({"policy": True}, ".policy", "a dictionary"),
        ({"policy": {}}, ".queues", "missing, a policy has to know which to read"),
        ({"policy": {"limitz": {}}}, ".policy.limitz", "is not known here"),
        ({"queues": ["q"], "policy": {}, "memory_max": "1G"}, ".memory_max", "lower policy.limits.max_workers"),
        ({"cpu_quota": "1.5"}, ".cpu_quota", "150%"),
        ({"app": None}, ".app", "missing"),
        ({"command": ["/bin/x", "%i"], "app": "proj"}, ".command", "beside app"),
        ({"command": ["celery", "%i"]}, ".command[0]", "not absolute"),
        ({"command": ["/bin/x"]}, ".command", "tells the workers apart"),
        ({"command": ["/bin/x", "%i"], "concurrency": 2}, ".concurrency", "no effect beside command"),
        ({"broker_url": "http://h"}, ".broker_url", "no URL of Redis"),
        ({"broker_url": "redis://:123456#xxx@h/0"}, ".broker_url", "percent-encode it, as %23"),
        ({"broker_url": "redis://h/0?socket_timeout=5"}, ".broker_url", "socket_timeout"),
        ({"result_backend": "redis://:123456/xxx@h/0"}, ".result_backend", "percent-encode it, as %2F"),
        ({"broker_use_ssl": "maybe"}, ".broker_use_ssl", "true, false or a dictionary"),
        ({"broker_use_ssl": {"cert_reqs": "some"}}, ".broker_use_ssl.cert_reqs", "required, optional or none"),
        ({"broker_use_ssl": {"ssl_ca_certs": "ca.crt"}}, ".broker_use_ssl.ssl_ca_certs", "not absolute"),
        ({"broker_use_ssl": {"server_hostname": "h"}}, ".broker_use_ssl.server_hostname", "not known for Redis"),
        ({"broker_use_ssl": {"keyfile_password": "x"}}, ".broker_use_ssl.keyfile_password", "not known"),
        (
            {"broker_url": "amqp://h//", "broker_use_ssl": {"ssl_check_hostname": True}},
            ".broker_use_ssl.ssl_check_hostname",
            "not known for RabbitMQ",
        ),
        (
            {"broker_url": "amqp://h//", "broker_use_ssl": {"password": "x"}},
            ".broker_use_ssl.password",
            "not known for RabbitMQ",
        ),
        ({"broker_use_ssl": {}}, ".broker_use_ssl", "empty"),
        ({"broker_use_ssl": {"cacerts": "/a"}}, ".broker_use_ssl.cacerts", "not known"),
        ({"broker_use_ssl": {"cert_reqs": False}}, ".broker_use_ssl.cert_reqs", "required, optional or none"),
        ({"celery_settings": {"broker_use_ssl": True}}, ".celery_settings.broker_use_ssl", "a key of its own"),
        ({"queues": ["a,b"]}, ".queues[0]", "no commas"),
        ({"queues": ["a", "a"]}, ".queues[1]", "twice"),
        ({"queues": "celery"}, ".queues", "a list of texts"),
        ({"queues": []}, ".queues", "is empty"),
        ({"environment": {"A-B": "1"}}, ".environment.A-B", "no name"),
        ({"environment": {"A": "x\0y"}}, ".environment.A", "control character"),
        ({"environment": {"A": "x\ry"}}, ".environment.A", "control character"),
        ({"environment": {"A": True}}, ".environment.A", "quote it"),
        ({"environment": {"CELERY_BROKER_URL": "redis://h"}}, ".environment.CELERY_BROKER_URL", "broker_url"),
        ({"environment": {"CELERY_LIFECYCLE_CONFIG": "1"}}, ".environment.CELERY_LIFECYCLE_CONFIG", "the role"),
        ({"environment": {"DB_PASSWORD": "a%ib"}}, ".environment.DB_PASSWORD", "%%i"),
        ({"environment": {"CACHE": "redis://:pw@h/%i"}}, ".environment.CACHE", "%%i"),
        ({"user": "a b"}, ".user", "no user or group name"),
        ({"working_directory": "srv"}, ".working_directory", "not absolute"),
        ({"virtualenv": "/srv/a b"}, ".virtualenv", "leave out blanks"),
        ({"read_write_paths": ["/srv/../etc"]}, ".read_write_paths[0]", "'..'"),
        ({"celery_settings": {"timezone": "UTC"}}, ".celery_settings.timezone", "underscore"),
        ({"celery_settings": {"task_acks_late": True}}, ".celery_settings.task_acks_late", "use acks_late"),
        ({"celery_settings": {"security_key_password": "x"}}, ".celery_settings.security_key_password", "`ps`"),
        ({"extra_args": ["--x=redis://:pw@h"]}, ".extra_args[0]", "`ps`"),
        ({"extra_args": ["--x=redis://:12/SECRET@h"]}, ".extra_args[0]", "`ps`"),
        ({"extra_args": ["--x=redis://u:12/SECRET@h"]}, ".extra_args[0]", "`ps`"),
        ({"extra_args": ["--x=redis://:SEC RET@h/1"]}, ".extra_args[0]", "`ps`"),
        ({"extra_args": ["--x=amqp://u:SEC RET@h/1"]}, ".extra_args[0]", "`ps`"),
        ({"extra_args": ["--x=amqp://h;amqp://u:SECRET@h"]}, ".extra_args[0]", "`ps`"),
        ({"packages": ["git+https://u:12/SECRET@h/x"]}, ".packages[0]", "password"),
        ({"packages": ["git+https://:12@h/x"]}, ".packages[0]", "password"),
        ({"packages": ["shop @ git+https://u:12@h/x@v1"]}, ".packages[0]", "password"),
        ({"packages": ["git+https://u:pw@h/x"]}, ".packages[0]", "password"),
        ({"packages": ["git+https://u:p/w@h/x"]}, ".packages[0]", "password"),
        ({"unit_options": {"Foo Bar": 1}}, ".unit_options.Foo Bar", "no systemd directive"),
        ({"unit_options": {"Nice": "1\nUser=root"}}, ".unit_options.Nice", "line break"),
        ({"watchdog": 2}, ".watchdog", "10 or more"),
        ({"notify": False, "watchdog": 30}, ".watchdog", "needs notify"),
        ({"state": "gone"}, ".state", "present, absent"),
    ],
)
def test_a_fault_is_named_by_its_place(given: dict[str, Any], path: str, says: str) -> None:
    found = faults_of(**given)
    assert len(found) == 1, found
    assert found[0].startswith(f"celery_worker_fleets[0]{path}: ")
    assert says in found[0]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"name": None, "command": ["/bin/celery", "-A", "a", "worker", "-n", "web-%i@%H"]}, ".name"),
        ({"name": "Web", "command": ["/bin/celery", "-A", "a", "worker"]}, ".name"),
        ({"name": None, "command": ["/bin/x"]}, ".name"),
        ({"command": ["/bin/sh", "-c", "set -e\nexec celery -A a worker -n web-%i@%H"]}, ".command[2]"),
        ({"visibility_timeout": 6000, "broker_url": 3}, ".broker_url"),
        ({"virtualenv": None, "packages": ["git+https://u:pw@h/x"]}, ".packages[0]"),
        ({"watchdog": 30, "notify": "perhaps"}, ".notify"),
    ],
)
def test_a_fault_is_not_repeated_in_other_words(given: dict[str, Any], path: str) -> None:
    found = faults_of(**given)
    assert len(found) == 1, found
    assert found[0].startswith(f"celery_worker_fleets[0]{path}: ")


def test_faults_are_found_at_once() -> None:
    found = problems.find(
        [fleet(pool="x", soft_time_limit=9, time_limit=8), "mail", fleet(workers=-1)], {**BASE, "wrkers": 1}
    )
    assert [fault.split(": ", maxsplit=1)[0] for fault in found] == [
        "celery_worker_fleet_defaults.wrkers",
        "celery_worker_fleets[0].pool",
        "celery_worker_fleets[0].soft_time_limit",
        "celery_worker_fleets[1]",
        "celery_worker_fleets[2].workers",
        "celery_worker_fleets[2].name",
    ]
    assert "celery_worker_fleets[0]" in found[-1]


def test_nothing_given_is_named_as_missing() -> None:
    found = problems.find([{"name": "web"}])
    assert [fault.split(": ", maxsplit=1)[0] for fault in found] == [
        "celery_worker_fleets[0].app",
        "celery_worker_fleets[0].broker_url",
    ]


def test_all_fleets_share_the_memory_of_the_host() -> None:
    fleets = [fleet(name=name, workers=3, memory_max="1G") for name in ("a", "b")]
    found = problems.find(fleets, BASE, host_memory=4 * GIB)
    assert len(found) == 1
    assert found[0].startswith("celery_worker_fleets: the fleets together may take 6144 MiB")


def test_fleets_that_share_a_virtualenv_agree_on_its_python() -> None:
    fleets = [fleet(name=name, packages=["x"], python=name) for name in ("a", "b")]
    assert problems.find(fleets, BASE)[0].startswith("celery_worker_fleets[1].python: celery_worker_fleets[0]")


def test_no_password_is_repeated() -> None:
    text = str(
        problems.find([fleet(broker_url="http://:not-a-real-password@h", app="redis://:not-a-real-password@h\n")])
    )
    assert "not-a-real-password" not in text


@pytest.mark.parametrize("url", ["redis://:not-a-real-password@h/1", "redis://:not a-real-password@h/1", "not-a-real"])
def test_no_password_of_a_command_is_repeated(url: str) -> None:
    celery = ["/srv/venv/bin/celery", "--result-backend", url, "-A", "proj", "worker", "-n", "web-%i@%H"]
    for keys in ({"command": celery}, {"command": ["/bin/celery", "worker"], "environment": {"RESULT_BACKEND": url}}):
        found = faults_of(**keys, result_backend=None if "command" in keys else url)
        assert found
        assert "real" not in str(found)


def test_an_absent_fleet_needs_only_its_name() -> None:
    assert problems.find([{"name": "web", "state": "absent"}]) == []


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(st.sampled_from(sorted(KEYS)), ANYTHING, max_size=6) | ANYTHING, max_size=3))
def test_no_input_is_too_strange(fleets: Any) -> None:
    assert all(isinstance(fault, str) for fault in problems.find(fleets, BASE, host_memory=GIB))


def test_every_fault_of_a_policy_is_found_with_its_place() -> None:
    conditions = [
        {"metric": "cpu", "above": 80},
        {"metric": "cpu", "above": 81},
        {"metric": "cpu", "above": 180, "for": "x"},
    ]
    policy = {"limits": {"min_workers": 9, "max_workers": 8}, "scale_up": {"any": conditions}}
    found = faults_of(queues=["q"], policy=policy, workers=-1)
    assert [fault.partition(": ")[0] for fault in found] == [
        "celery_worker_fleets[0].policy.limits.min_workers",
        "celery_worker_fleets[0].policy.scale_up.any[2].for",
        "celery_worker_fleets[0].policy.scale_up.any[2].above",
        "celery_worker_fleets[0].workers",
    ]


def test_numbers_of_a_policy_may_be_templated() -> None:
    policy = {
        "limits": {"min_workers": "0", "max_workers": "10", "cooldown_up": "60"},
        "scale_up": {"any": [{"metric": "queue_depth", "above": "100"}], "add": {"workers": "2", "percent": "12.5"}},
        "schedule": {"windows": [{"name": "5", "time": "22:00-06:00", "max_workers": "4"}]},
    }
    assert faults_of(queues=["q"], policy=policy) == []
    (found,) = spec.resolve([fleet(policy=policy)])
    assert found["policy"] == {
        "limits": {"min_workers": 0, "max_workers": 10, "cooldown_up": "60"},
        "scale_up": {"any": [{"metric": "queue_depth", "above": 100}], "add": {"workers": 2, "percent": 12.5}},
        "schedule": {"windows": [{"name": "5", "time": "22:00-06:00", "max_workers": 4}]},
    }


@pytest.mark.parametrize("text", ["", " 5", "5 ", "1e3", "0x5", "nan", "ten", "1_000", "\u0665", "9" * 5000, "1.5"])
def test_a_text_that_spells_no_number_of_workers_is_a_fault_of_the_policy(text: str) -> None:
    found = faults_of(queues=["q"], policy={"limits": {"max_workers": text}})
    assert [fault.partition(": ")[0] for fault in found] == ["celery_worker_fleets[0].policy.limits.max_workers"]


def test_a_policy_of_the_defaults_is_replaced_as_a_whole() -> None:
    default = {**BASE, "queues": ["q"], "policy": {"limits": {"max_workers": 4, "min_workers": 3}}}
    own, inherits, none = spec.resolve(
        [fleet(policy={"limits": {"max_workers": 9}}), fleet(), fleet(policy=None)], default
    )
    assert own["policy"] == {"limits": {"max_workers": 9}}
    assert inherits["policy"] == default["policy"]
    assert none["policy"] is None


@pytest.mark.parametrize("given", [{"visibility_timeout": 60}, {"prefetch_multiplier": 0}])
def test_a_kind_that_delivers_again_is_called_by_its_own_name(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = rules.kind_of(BASE["broker_url"])
    assert redis
    monkeypatch.setattr(rules, "kind_of", lambda _url: replace(redis, name="Another"))
    (fault,) = faults_of(time_limit=60, **given)
    assert "Another" in fault
    assert "Redis" not in fault
