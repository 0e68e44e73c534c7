# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role broker on a real host: what it keeps, who may log in, what it refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest

from muejam_bed.systemd_host import SystemdHost

# Quotes, spaces and backslashes have to come through redis-cli, rabbitmqctl and the templates.
PASSWORD = "not a \"real\" pass\\word #1 'x'"
PLAY: list[dict[str, Any]] = [{"hosts": "celery_broker", "become": True, "roles": ["muejam.celery.broker"]}]


def set_up(host: SystemdHost, *flags: str, **variables: Any) -> str:
    """Run the role and return what Ansible printed."""
    return host.playbook(PLAY, *flags, extra_vars={"celery_broker_password": PASSWORD, **variables}).stdout


def changes(output: str) -> int:
    """Return how many tasks changed something."""
    return sum(int(number) for number in re.findall(r"changed=(\d+)", output))


def redis(host: SystemdHost, *commands: str, user: str = "default", password: str = PASSWORD) -> list[str]:
    """Log in and return what the server answers to each command."""
    quoted = password.replace("\\", "\\\\").replace('"', '\\"')
    lines = "\n".join((f'AUTH {user} "{quoted}"', *commands))
    printed = host.output("sh", "-c", 'printf "%s\\n" "$1" | redis-cli', "sh", lines)
    return [line for line in printed.splitlines() if line]


def rabbitmq_takes(host: SystemdHost, password: str) -> bool:
    """Say whether the user celery can log in to RabbitMQ with this password."""
    script = 'printf "%s\\n" "$1" | timeout 60 rabbitmqctl authenticate_user celery'
    return host.run("sh", "-c", script, "sh", password, check=False).returncode == 0


@pytest.fixture(scope="module")
def redis_host(bare_host: SystemdHost) -> SystemdHost:
    """A host whose Redis held messages, without a password, before the role came."""
    # systemd cannot give a service its own view of /proc in a container; the role knows, the package does not.
    drop_in = "/etc/systemd/system/redis-server.service.d"
    bare_host.run("sh", "-c", f"mkdir -p {drop_in}; printf '[Service]\\nProtectProc=default\\n' > {drop_in}/bed.conf")
    bare_host.run("apt-get", "update")
    bare_host.run("apt-get", "install", "--yes", "--no-install-recommends", "redis-server")
    bare_host.run("redis-cli", "lpush", "celery", "first", "second", "third")
    set_up(bare_host)
    return bare_host


def test_messages_that_were_there_are_kept(redis_host: SystemdHost):
    redis_host.run("systemctl", "restart", "redis-server")
    assert redis(redis_host, "LLEN celery") == ["OK", "3"]


def test_a_second_run_changes_nothing(redis_host: SystemdHost):
    set_up(redis_host)
    assert changes(set_up(redis_host)) == 0
    assert changes(set_up(redis_host, "--check")) == 0


def test_nobody_gets_in_without_the_password(redis_host: SystemdHost):
    set_up(redis_host)
    assert "NOAUTH" in redis_host.output("redis-cli", "ping")
    assert "WRONGPASS" in redis(redis_host, "PING", password="wrong")[0]


def test_redis_drops_no_message(redis_host: SystemdHost):
    set_up(redis_host)
    answers = redis(redis_host, *(f"CONFIG GET {name}" for name in ("maxmemory-policy", "appendonly")))
    assert answers == ["OK", "maxmemory-policy", "noeviction", "appendonly", "yes"]


def test_the_password_is_in_no_file_and_no_output(redis_host: SystemdHost):
    printed = set_up(redis_host, "-vvv", "--diff", celery_broker_password="not-a-real-secret-2")
    assert "not-a-real-secret-2" not in printed
    found = redis_host.run("grep", "-rl", "not-a-real-secret-2", "/etc", "/var/log", "/var/lib/redis", check=False)
    assert found.stdout == ""
    assert "not-a-real-secret-2" not in redis_host.journal("*")
    modes = redis_host.output("stat", "--format=%a %U %G", "/etc/redis/celery-users.conf")
    assert modes == "640 root redis"


def test_a_user_of_its_own_is_no_administrator(redis_host: SystemdHost):
    set_up(redis_host, celery_broker_user="app")
    answers = redis(redis_host, "LLEN celery", "FLUSHALL", "CONFIG GET dir", 'EVAL "return 7" 0', user="app")
    assert answers[:2] == ["OK", "3"]
    assert all("NOPERM" in answer for answer in answers[2:4])
    assert answers[4:] == ["7"]
    assert "WRONGPASS" in redis(redis_host, "PING")[0]
    set_up(redis_host)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"celery_broker_type": "kafka"}, ["must be one of: redis, valkey, rabbitmq, got: kafka"]),
        (
            {"celery_broker_maxmemory": "2x", "celery_broker_databases": 1},
            ["celery_broker_databases: 1 is too small, use 2", "celery_broker_maxmemory: '2x' has the wrong form"],
        ),
    ],
)
def test_bad_input_is_refused_with_what_to_change(redis_host: SystemdHost, variables: dict[str, Any], says: list[str]):
    given = {"celery_broker_password": PASSWORD, **variables}
    done = redis_host.playbook(PLAY, extra_vars=given, check=False)
    assert done.returncode != 0
    assert all(words in done.stdout + done.stderr for words in says)
    assert changes(done.stdout) == 0


def test_rabbitmq_has_its_user_and_no_guest(bare_host: SystemdHost):
    variables = {"celery_broker_type": "rabbitmq", "celery_broker_consumer_timeout": 7200}
    set_up(bare_host, **variables)
    assert changes(set_up(bare_host, **variables)) == 0
    assert changes(set_up(bare_host, "--check", **variables)) == 0
    assert bare_host.output("rabbitmqctl", "--quiet", "list_users").split() == ["user", "tags", "celery", "[]"]
    assert "{consumer_timeout,7200000}" in bare_host.output("rabbitmqctl", "--quiet", "environment")
    assert "127.0.0.1:5672" in bare_host.output("ss", "-ltn")
    assert rabbitmq_takes(bare_host, PASSWORD)
    assert not rabbitmq_takes(bare_host, "wrong")


def test_a_new_password_is_put_in_force(bare_host: SystemdHost):
    printed = set_up(bare_host, "-vvv", celery_broker_type="rabbitmq", celery_broker_password="not-a-real-secret-3")
    assert "not-a-real-secret-3" not in printed
    assert rabbitmq_takes(bare_host, "not-a-real-secret-3")
    assert not rabbitmq_takes(bare_host, PASSWORD)
