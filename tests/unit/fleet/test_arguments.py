# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet says to Celery past its keys is read as Celery reads it, and refused where it breaks a promise."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest
from celery.bin.celery import celery as celery_program
from celery.bin.worker import worker as celery_worker
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.fleet import (
    arguments,
    beats,
    celery_names,
    celery_words,
    problems,
    spec,
)

CELERY = ["/srv/venv/bin/celery", "-A", "proj", "worker"]
NODE = ["-n", "web-%i@%H"]
SHELL_TWO = "celery -A proj worker -n two-%i@%H"
SHELL = "celery -A proj worker -n web-%i@%H"


def fleet(**keys: Any) -> dict[str, Any]:
    app = {} if "command" in keys else {"app": "proj", "virtualenv": "/srv/venv"}
    return {"name": "web", "broker_url": "redis://10.0.0.5/0", **app, **keys}


def faults_of(**keys: Any) -> list[str]:
    return problems.find([fleet(**keys)])


@pytest.mark.parametrize(
    ("arguments", "index", "says"),
    [
        (["--purge"], 0, "erase"),
        (["-O", "fair", "--discard"], 2, "erase"),
        (["--purge=1"], 0, "erase"),
        (["-Qa"], 0, "key queues"),
        (["-Q", "a"], 0, "key queues"),
        (["--queues=a"], 0, "key queues"),
        (["-X", "a"], 0, "key queues"),
        (["--exclude-queues=a"], 0, "key queues"),
        (["-c4"], 0, "key concurrency"),
        (["--concurrency", "4"], 0, "key concurrency"),
        (["-Pgevent"], 0, "key pool"),
        (["--autoscale=10,3"], 0, "key autoscale"),
        (["-n", "other@%H"], 0, "key name"),
        (["--hostname=other"], 0, "key name"),
        (["--events"], 0, "key task_events"),
        (["-l", "DEBUG"], 0, "key log_level"),
        (["--loglevel=DEBUG"], 0, "key log_level"),
        (["--max-tasks-per-child=5"], 0, "key max_tasks_per_child"),
        (["--max-memory-per-child=5"], 0, "key max_memory_per_child"),
        (["--prefetch-multiplier=1"], 0, "key prefetch_multiplier"),
        (["--time-limit=5"], 0, "key time_limit"),
        (["--soft-time-limit=5"], 0, "key soft_time_limit"),
        (["--uid=root"], 0, "key user"),
        (["--gid=root"], 0, "key group"),
        (["-D"], 0, "systemd"),
        (["--detach"], 0, "systemd"),
        (["--pidfile=/run/x"], 0, "crash"),
        (["--without-heartbeat"], 0, "heartbeats"),
        (["--heartbeat-interval", "30"], 0, "heartbeats"),
        (["--statedb=/srv/state"], 0, "%i"),
        (["-I", "other"], 0, "lifecycle"),
        (["-B"], 0, "up to 2 workers"),
        (["--help"], 0, "in place of starting"),
        (["-A", "other"], 0, "key app"),
        (["--broker=redis://h"], 0, "key broker_url"),
        (["--workdir=/srv"], 0, "key working_directory"),
        (["--purg"], 0, "write --purge"),
        (["--scheduler foo"], 0, "as two"),
        (["-s"], 0, "takes a value"),
        (["worker.concurrency=4"], 0, "key concurrency"),
        (["task_acks_late=1"], 0, "key acks_late"),
        (["worker.proc_alive_timeout=9"], 0, "celery_settings"),
    ],
)
def test_an_argument_that_breaks_a_promise_is_refused(arguments: list[str], index: int, says: str) -> None:
    found = [fault for fault in faults_of(extra_args=arguments, workers=2) if f".extra_args[{index}]: " in fault]
    assert len(found) == 1, found
    assert says in found[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["-O", "fair"],
        ["-Ofair", "--without-gossip", "--without-mingle"],
        ["--statedb=/srv/state-%i", "--logfile=/srv/%i.log"],
        ["--heartbeat-interval=1"],
        ["--own-option", "of-the-app"],
        ["-OfairB"],
        ["--scheduler", "--purge"],
    ],
)
def test_what_breaks_nothing_is_taken(arguments: list[str]) -> None:
    assert faults_of(extra_args=arguments, workers=2) == []


def test_joined_options_are_each_read() -> None:
    assert [fault.split(" is ", maxsplit=1)[0][-2:] for fault in faults_of(extra_args=["-EQa"])] == ["-E", "-Q"]


def test_one_worker_alone_may_send_what_is_scheduled() -> None:
    assert faults_of(extra_args=["-B", "-s", "/srv/schedule"]) == []
    policy = {"limits": {"min_workers": 1, "max_workers": 3}}
    assert "up to 3 workers" in faults_of(extra_args=["--beat"], queues=["a"], policy=policy)[0]
    assert "pool gevent" in faults_of(extra_args=["-B"], pool="gevent")[0]
    both = problems.find([fleet(extra_args=["-B"]), fleet(name="two", extra_args=["-B"])])
    assert both[0].startswith("celery_worker_fleets[1].extra_args: --beat, and celery_worker_fleets[0]")


@pytest.mark.parametrize(
    ("one", "two", "place"),
    [
        ({"extra_args": ["-B"]}, {"environment": {"CELERY_WORKER_BEAT": "1"}}, "environment.CELERY_WORKER_BEAT"),
        ({"extra_args": ["-B"]}, {"command": [*CELERY, "-n", "two-%i@%H", "-B"]}, "command"),
        ({"command": [*CELERY, *NODE, "-B"]}, {"extra_args": ["--beat"]}, "extra_args"),
        ({"extra_args": ["-B"]}, {"command": ["/bin/sh", "-c", f"{SHELL_TWO} --beat"]}, "command"),
        ({"extra_args": ["-B"]}, {"extra_args": ["-B"], "broker_url": "redis://10.0.0.5"}, "extra_args"),
        ({"extra_args": ["-B"]}, {"extra_args": ["-B"], "broker_url": "REDIS://:x@10.0.0.5:6379/"}, "extra_args"),
        (
            {"extra_args": ["-B"], "broker_url": "amqp://H"},
            {"extra_args": ["-B"], "broker_url": "amqp://u:x@h:5672/%2F"},
            "extra_args",
        ),
    ],
)
def test_two_fleets_of_an_app_do_not_both_send_what_is_scheduled(
    one: dict[str, Any], two: dict[str, Any], place: str
) -> None:
    [found] = problems.find([fleet(**one), fleet(**{"name": "two", **two})])
    assert found.startswith(f"celery_worker_fleets[1].{place}: --beat, and celery_worker_fleets[0] has it")


@pytest.mark.parametrize(
    "keys",
    [
        {"extra_args": ["-B"], "broker_url": "redis://10.0.0.5/1"},
        {"extra_args": ["-B"], "virtualenv": "/srv/other"},
        {"environment": {"CELERY_WORKER_BEAT": "0"}},
        {"command": ["/srv/other/bin/celery", "-A", "proj", "worker", "-n", "two-%i@%H", "-B"]},
        {"command": ["/srv/venv/bin/celery", "-A", "other", "worker", "-n", "two-%i@%H", "-B"]},
    ],
)
def test_fleets_of_different_apps_may_each_send_what_is_scheduled(keys: dict[str, Any]) -> None:
    assert problems.find([fleet(extra_args=["-B"]), fleet(name="two", **keys)]) == []


SENDER = {"extra_args": ["-B"]}


def of_hosts(*hosts: list[dict[str, Any]]) -> list[str]:
    """What is said of hosts with these fleets, called app1 and so on. What each notes goes by way of variables."""
    noted = {f"app{number}": beats.senders(spec.resolve(own)) for number, own in enumerate(hosts, start=1)}
    return beats.of_hosts(json.loads(json.dumps(noted)))


@pytest.mark.parametrize(
    "other",
    [
        SENDER,
        {"environment": {"CELERY_WORKER_BEAT": "1"}},
        {"name": "two", "command": [*CELERY, "-n", "two-%i@%H", "-B"]},
        {**SENDER, "broker_url": "redis://:not-a-real-password@10.0.0.5:6379/"},
        {**SENDER, "workers": 0, "queues": ["a"], "policy": {"limits": {"min_workers": 0, "max_workers": 1}}},
    ],
)
def test_two_hosts_do_not_both_send_what_is_scheduled(other: dict[str, Any]) -> None:
    [found] = of_hosts([fleet(**SENDER)], [], [fleet(**other)])
    assert found.startswith("proj: app1 (fleet web, extra_args) and app3 (fleet ")
    assert found.endswith("--beat out of their fleets (or give these workers: 0)")
    assert "not-a-real-password" not in found


@pytest.mark.parametrize(
    "other",
    [
        {},
        {**SENDER, "workers": 0},
        {**SENDER, "state": "absent"},
        {**SENDER, "app": "other"},
        {**SENDER, "broker_url": "redis://10.0.0.5/1"},
        {**SENDER, "virtualenv": "/srv/other"},
    ],
)
def test_one_host_alone_may_send_what_is_scheduled(other: dict[str, Any]) -> None:
    assert of_hosts([fleet(**SENDER)], [fleet(**other)]) == []


@pytest.mark.parametrize(
    "url",
    ["redis://localhost/0", "redis://:x@127.0.0.1:6380", "redis://[::1]:6380/1", "redis+socket:///run/redis.sock"],
)
def test_hosts_with_a_broker_of_their_own_each_send_what_is_scheduled(url: str) -> None:
    own = [fleet(**SENDER, broker_url=url)]
    assert problems.find(own) == []
    assert of_hosts(own, own) == []


def test_of_many_hosts_some_are_named() -> None:
    [found] = of_hosts(*[[fleet(**SENDER)]] * 40)
    assert "app5 (fleet web, extra_args) and 35 more would each send" in found


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ([*CELERY, *NODE, "--purge"], "erase"),
        ([*CELERY, *NODE, "-ED"], "systemd"),
        ([*CELERY], "--hostname=web-%i@%H"),
        ([*CELERY, "-n", "other-%i@%H"], "tools look for web-%i@%H"),
        ([*CELERY, *NODE, "-Qa,c"], "the key queues says a, b"),
        ([*CELERY, *NODE, "-X", "b"], "leaves out b"),
        ([*CELERY, *NODE, "--time-limit=600"], "the key time_limit is not given"),
        ([*CELERY, *NODE, "-B"], "up to 2 workers"),
        ([*CELERY, *NODE, "--uid", "root"], "the key user says celery"),
        (["/usr/bin/env", "A=b", "celery", "-A", "proj", "worker", *NODE, "--discard"], "erase"),
        (["/usr/bin/python3", "-m", "celery", "-Aproj", "worker", *NODE, "--discard"], "erase"),
        (["/bin/sh", "-c", "exec /srv/venv/bin/celery -A proj worker -n web-%i@%H --purge"], "erase"),
        (["/srv/venv/bin/celery", "-b", "redis://other/0", "worker", *NODE], "another broker"),
        (["/srv/venv/bin/celery", "--workdir=/srv", "-Aproj", "worker", *NODE], "working_directory"),
        ([*CELERY, *NODE, "worker.enable_remote_control=false"], "must stay on"),
        ([*CELERY, *NODE, "--", "WORKER_ENABLE_REMOTE_CONTROL=(json)null"], "must stay on"),
        ([*CELERY, *NODE, "worker_state_db=/x"], "--statedb"),
        ([*CELERY, *NODE, "control.exchange=x"], "reach workers"),
        ([*CELERY, *NODE, "event.serializer=msgpack"], "has to be json"),
        ([*CELERY, *NODE, "task.time_limit=900"], "the key time_limit is not given"),
        ([*CELERY, *NODE, "worker.prefetch_multiplier=(int)9"], "the key prefetch_multiplier is not given"),
        ([*CELERY, *NODE, "broker_url=redis://o"], "another broker"),
        ([*CELERY, *NODE, "broker.host=o"], "another broker"),
        ([*CELERY, *NODE, "broker.use_ssl=(json)true"], "the key broker_use_ssl"),
        ([*CELERY, *NODE, "timezone=UTC"], "with an underscore"),
        (["/bin/sh", "-c", f"exec {SHELL} worker_uid=root"], "the key user says celery"),
        (["/srv/venv/bin/celery", "multi", "start", "web-%i@%H"], "no worker that can be watched"),
        (["/srv/venv/bin/celery", "-A", "proj", "purge", "-f"], "celery purge is no worker"),
        (["/usr/bin/setpriv", "--reuid", "celery", *CELERY, *NODE, "--purge"], "erase"),
        (["/usr/bin/sudo", "-u", "celery", "-g", "celery", *CELERY, *NODE, "--purge"], "erase"),
        (["/sbin/runuser", "-u", "celery", "--", *CELERY, *NODE, "-D"], "systemd"),
        (["/sbin/runuser", "celery", "-s", "/bin/sh", "-c", f"exec {SHELL} --purge"], "erase"),
        (["/bin/su", "celery", f"--command={SHELL} --purge"], "erase"),
        (["/usr/bin/flock", "/run/celery", *CELERY, *NODE, "--purge"], "erase"),
        (["/usr/bin/uv", "run", "--with", "celery", "celery", "-A", "proj", "worker", *NODE, "-B"], "up to 2 workers"),
        (["/usr/bin/celery3", "-A", "proj", "worker", *NODE, "--purge"], "erase"),
        (["/usr/bin/celery-3.11", "-A", "proj", "worker", *NODE, "--purge"], "erase"),
        (["/opt/v/bin/python", "-mcelery", "-A", "proj", "worker", *NODE, "--purge"], "erase"),
        (["/opt/v/bin/python", "-m", "celery.__main__", "-A", "proj", "worker", *NODE, "--purge"], "erase"),
        (["/bin/bash", "-l", "-c", f"exec {SHELL} --purge"], "erase"),
        (["/bin/bash", "-exc", f"exec {SHELL} --purge"], "erase"),
        (["/bin/bash", "-c", "-e", f"exec {SHELL} --purge"], "erase"),
        (["/usr/bin/env", "bash", "-c", f"exec {SHELL} --purge"], "erase"),
        (["/usr/bin/env", "-S", f"{SHELL} --purge"], "erase"),
        (["/bin/sh", "-c", f"cd /srv/celery && exec {SHELL} --purge"], "erase"),
        (["/bin/sh", "-c", f". /x;{SHELL} --purge"], "erase"),
        (["/bin/sh", "-c", f"{SHELL} --purge; true"], "erase"),
        (["/bin/sh", "-c", f"{SHELL} --purge;true"], "erase"),
        (["/bin/sh", "-c", f"(cd /srv/celery; {SHELL} --purge)"], "erase"),
        (["/bin/sh", "-c", f"{SHELL} 2>&1 --purge"], "erase"),
        (["/bin/sh", "-c", f"bash -c '{SHELL} --purge'"], "erase"),
        (["/bin/sh", "-c", f"{SHELL} --purge; echo it's over"], "erase"),
        (["/bin/sh", "-c", f"celery -A proj purge -f; exec {SHELL}"], "celery purge is no worker"),
        (["/bin/sh", "-c", f"celery -A proj amqp queue.purge a && exec {SHELL}"], "celery amqp is no worker"),
        (["/bin/sh", "-c", f"{SHELL} & celery -A proj beat"], "celery beat is no worker"),
    ],
)
def test_a_command_is_read_as_celery_reads_it(command: list[str], says: str) -> None:
    found = faults_of(command=command, workers=2, queues=["a", "b"])
    assert len(found) == 1, found
    assert found[0].startswith("celery_worker_fleets[0].command: ")
    assert says in found[0]


@pytest.mark.parametrize(
    "command",
    [
        [*CELERY, *NODE, "-Q", "b,a", "-c4", "-Pprefork", "-E", "-Ofair"],
        [*CELERY, "--hostname=web-%i@%h"],
        [*CELERY, *NODE, "worker.proc_alive_timeout=9", "worker_concurrency=4", "task.acks_late=1"],
        [*CELERY, *NODE, "broker.url=redis://10.0.0.5/0", "worker.enable_remote_control=(json)true"],
        ["/usr/bin/nice", "-n", "2", "/srv/venv/bin/celery", "-A", "proj", "worker", *NODE],
        ["/opt/airflow/bin/airflow", "celery", "worker", "--celery-hostname", "web-%i@%H", "-q", "a,b"],
        ["/usr/bin/systemd-cat", "--identifier=celery purge", *CELERY, *NODE],
        ["/usr/bin/setpriv", "--reuid", "celery", *CELERY, *NODE],
        ["/bin/bash", "-lc", f"cd /srv/celery && . bin/activate; exec {SHELL} >/var/log/celery 2>&1"],
        ["/bin/sh", "-c", f"rm -f --dir --purge; exec {SHELL}"],
    ],
)
def test_a_command_that_agrees_with_its_keys_is_taken(command: list[str]) -> None:
    assert faults_of(command=command, workers=2, queues=["a", "b"]) == []


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"CELERY_WORKER_PURGE": "1"}, "erase"),
        ({"CELERY_WORKER_QUEUES": "a"}, "key queues"),
        ({"CELERY_WORKER_BEAT": "yes"}, "up to 2 workers"),
        ({"CELERY_WORKER_DETACH": "true"}, "systemd"),
        ({"BROKER_URL": "redis://other/0"}, "in place of the key broker_url"),
        ({"RESULT_BACKEND": "redis://other/0"}, "in place of the key result_backend"),
        ({"CELERY_BROKER_READ_URL": "redis://other/0"}, "use the key broker_url"),
        ({"CELERY_BROKER_WRITE_URL": "redis://other/0"}, "use the key broker_url"),
        ({"CELERY_WORKDIR": "/srv"}, "working_directory"),
        ({"CELERY_VERSION": "1"}, "in place of starting"),
    ],
)
def test_a_variable_that_celery_takes_for_an_option_is_refused(environment: dict[str, Any], says: str) -> None:
    found = faults_of(environment=environment, workers=2)
    assert len(found) == 1, found
    assert found[0].startswith(f"celery_worker_fleets[0].environment.{next(iter(environment))}: ")
    assert says in found[0]


def test_a_variable_that_says_the_same_or_nothing_is_taken() -> None:
    environment = {"BROKER_URL": "redis://10.0.0.5/0", "CELERY_WORKER_PURGE": "0", "CELERY_WORKER_REVOKES_MAX": "9"}
    assert faults_of(environment=environment, workers=2) == []


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("worker_concurrency", 4, "use concurrency"),
        ("worker_pool", "gevent", "use pool"),
        ("broker_read_url", "redis://h", "use broker_url"),
        ("worker_send_task_events", True, "use task_events"),
        ("worker_max_tasks_per_child", 1, "use max_tasks_per_child"),
        ("worker_enable_remote_control", False, "must stay on"),
        ("worker_enable_remote_control", "false", "must stay on"),
        ("worker_enable_remote_control", None, "must stay on"),
        ("worker_enable_remote_control", "", "must stay on"),
        ("worker_enable_remote_control", [], "must stay on"),
        ("worker_enable_remote_control", 0.0, "must stay on"),
        ("event_serializer", "msgpack", "has to be json"),
        ("control_exchange", "mine", "reach workers"),
        ("worker_state_db", "/srv/x", "--statedb"),
        ("worker_pidfile", "/srv/x", "crash"),
        ("accept_content", ["pickle"], "keep json"),
    ],
)
def test_a_setting_that_contradicts_a_key_is_refused(setting: str, value: object, says: str) -> None:
    found = faults_of(celery_settings={setting: value})
    assert len(found) == 1, found
    assert found[0].startswith(f"celery_worker_fleets[0].celery_settings.{setting}: ")
    assert says in found[0]


@pytest.mark.parametrize(
    ("table", "program"), [(celery_names.WORKER, celery_worker), (celery_names.MAIN, celery_program)]
)
def test_the_table_is_that_of_the_celery_installed(
    table: tuple[celery_names.Flag, ...], program: click.Command
) -> None:
    known = {tuple(sorted(flag.names)): flag for flag in table if flag.name != "--help"}
    options = [option for option in program.params if isinstance(option, click.Option)]
    assert {tuple(sorted(option.opts)) for option in options} == set(known)
    for option in options:
        flag = known[tuple(sorted(option.opts))]
        assert flag.value is not option.is_flag, flag
        assert flag.variable == str(option.name).upper()


WORDS = st.lists(
    st.sampled_from(
        [
            "-Qa",
            "-Q",
            "a",
            "-EQa",
            "-Q=a",
            "--queues=a",
            "--queues",
            "-c4",
            "-B",
            "-BEc",
            "4",
            "--",
            "--purge",
            "-",
            "x.y=1",
        ]
    ),
    max_size=6,
)


@given(WORDS)
def test_words_are_read_as_click_reads_them(words: list[str]) -> None:
    context = click.Context(celery_worker, info_name="worker", allow_extra_args=True)
    try:
        values, rest, _order = celery_worker.make_parser(context).parse_args(list(words))
    except click.UsageError:
        return
    ours: dict[str, str | None] = {}
    for word in celery_words.options(words):
        if word.flag:
            ours[word.flag.variable.lower()] = word.value
    assert set(ours) == set(values)
    assert {name: value for name, value in values.items() if isinstance(value, str)} == {
        name: value for name, value in ours.items() if value is not None
    }
    assert [word.value for word in celery_words.options(words) if not word.written] == rest


def of_files(variables: dict[str, str], **keys: Any) -> list[str]:
    [resolved] = spec.resolve([fleet(environment_files=["/etc/shop"], **keys)])
    return arguments.of_files(resolved, variables)


@pytest.mark.parametrize(
    ("name", "value", "keys", "says"),
    [
        ("CELERY_WORKER_PURGE", "1", {}, "erase"),
        ("CELERY_BROKER_READ_URL", "redis://h", {}, "use the key broker_url"),
        ("PYTHONPATH", "/srv/shop", {}, "key environment: move it"),
        ("BROKER_URL", "redis://:not-a-real-password@h", {}, "in place of the key broker_url: remove it"),
        ("BROKER_URL", "redis://h", {"command": [*CELERY, *NODE]}, "in place of the key broker_url: remove it"),
        ("CELERY_BROKER", "redis://h", {}, "in place of the key broker_url: remove it"),
        ("RESULT_BACKEND", "redis://h", {}, "in place of the key result_backend: remove it"),
        ("CELERY_WORKDIR", "/elsewhere", {}, "in place of the key working_directory: remove it"),
        ("CELERY_WORKER_QUEUES", "a", {}, "use the key"),
        ("CELERY_WORKER_EXCLUDE_QUEUES", "a", {"queues": ["a", "b"]}, "key queues says: use the key"),
        ("CELERY_WORKER_CONCURRENCY", "8", {}, "key concurrency says: use the key"),
        ("CELERY_WORKER_AUTOSCALE", "8,1", {"concurrency": 2}, "key autoscale says: use the key"),
        ("CELERY_WORKER_TIME_LIMIT", "5", {}, "key time_limit says: use the key"),
        ("CELERY_WORKER_PREFETCH_MULTIPLIER", "4", {"prefetch_multiplier": 0}, "use the key"),
        ("CELERY_WORKER_BEAT", "1", {}, "other fleets and hosts could not be held against it: move it to environment"),
        ("CELERY_WORKER_STATEDB", "/srv/%i", {"workers": 2}, "move it to environment"),
        ("CELERY_WORKER_HEARTBEAT_INTERVAL", "60", {}, "heartbeats"),
        ("CELERY_WORKER_QUEUES", "a", {"command": [*CELERY, *NODE], "queues": ["b"]}, "give both the same"),
        ("CELERY_WORKER_POOL", "solo", {"command": [*CELERY, *NODE], "pool": "threads"}, "give both the same"),
        ("NOTIFY_SOCKET", "/x", {}, "not yours to set"),
        ("CELERY_LIFECYCLE_STATUS_FILE", "/x", {}, "remove it"),
        ("CELERY_LIFECYCLE_PRIORITY", "low_first", {}, "set by the role"),
        ("SHOP_WORKER", "one", {"environment": {"SHOP_WORKER": "worker-%i"}}, "which has %i: remove it"),
    ],
)
def test_files_of_variables_break_no_promise(name: str, value: str, keys: dict[str, Any], says: str) -> None:
    [found] = of_files({"SHOP_DEBUG": "1", name: value}, **keys)
    assert found.startswith(f"environment_files: {name}")
    assert says in found
    assert "password" not in found


@pytest.mark.parametrize(
    ("name", "value", "keys"),
    [
        ("CELERY_BROKER_URL", "redis://h", {}),
        ("CELERY_RESULT_BACKEND", "redis://h", {"result_backend": "redis://h/1"}),
        ("BROKER_URL", "redis://10.0.0.5/0", {}),
        ("BROKER_URL", "redis://h", {"command": [*CELERY[:1], "-b", "redis://10.0.0.5/0", *CELERY[1:], *NODE]}),
        ("BROKER_URL", "redis://h", {"command": ["/srv/run", "--app"]}),
        ("CELERY_WORKER_PURGE", "0", {}),
        ("CELERY_WORKER_HOSTNAME", "other", {}),
        ("CELERY_WORKER_LOGLEVEL", "DEBUG", {}),
        ("CELERY_WORKER_INCLUDE", "more", {}),
        ("CELERY_WORKER_QUEUES", "a", {"queues": ["b"]}),
        ("CELERY_WORKER_QUEUES", "", {}),
        ("CELERY_WORKER_QUEUES", "a", {"command": [*CELERY, *NODE, "-Qb"], "queues": ["b"]}),
        ("CELERY_WORKER_CONCURRENCY", "8", {"concurrency": 2}),
        ("CELERY_WORKER_BEAT", "0", {}),
        ("CELERY_WORKER_OPTIMIZATION", "fair", {}),
        ("PYTHONPATH", "/srv/shop", {"environment": {"PYTHONPATH": "/srv/more"}}),
    ],
)
def test_what_is_overruled_or_harmless_may_stand_in_files(name: str, value: str, keys: dict[str, Any]) -> None:
    assert of_files({name: value}, **keys) == []


def test_a_path_of_an_environment_file_is_whole() -> None:
    assert faults_of(environment_files=["etc/shop"])[0].startswith("celery_worker_fleets[0].environment_files[0]: ")
