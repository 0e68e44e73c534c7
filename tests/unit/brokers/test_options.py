# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a broker that need no broker to be tested."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from yaml import safe_load

from ansible_collections.muejam.celery.plugins.doc_fragments.broker import ModuleDocFragment
from ansible_collections.muejam.celery.plugins.module_utils.brokers.errors import explain
from ansible_collections.muejam.celery.plugins.module_utils.brokers.libraries import libraries_for
from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.brokers.options import (
    BROKER_ARGUMENTS,
    hide_of,
    secret_values,
)
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.link import pack
from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import RABBITMQ, REDIS
from ansible_collections.muejam.celery.plugins.module_utils.brokers.tls import tls_settings
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError


@pytest.mark.parametrize(
    ("given", "redis", "amqp"),
    [
        (None, None, None),
        (False, None, None),
        ("no", None, None),
        (True, {"ssl_cert_reqs": ssl.CERT_REQUIRED}, True),
        ("True", {"ssl_cert_reqs": ssl.CERT_REQUIRED}, True),
        (
            {"ssl_ca_certs": "ca", "ssl_cert_reqs": "CERT_REQUIRED"},
            {"ssl_ca_certs": "ca", "ssl_cert_reqs": ssl.CERT_REQUIRED},
            {"ca_certs": "ca", "cert_reqs": ssl.CERT_REQUIRED},
        ),
        ({"cert_reqs": "none"}, {"ssl_cert_reqs": ssl.CERT_NONE}, {"cert_reqs": ssl.CERT_NONE}),
        ({"cert_reqs": None}, {"ssl_cert_reqs": ssl.CERT_REQUIRED}, True),
        ({"ssl_cert_reqs": None, "ca_certs": "ca"}, {"ssl_ca_certs": "ca"}, {"ca_certs": "ca"}),
        (
            {"server_hostname": None, "ca_certs": "ca"},
            {"ssl_ca_certs": "ca"},
            {"server_hostname": None, "ca_certs": "ca"},
        ),
        ({"cert_reqs": "2"}, {"ssl_cert_reqs": 2}, {"cert_reqs": 2}),
        ({"check_hostname": "False"}, {"ssl_check_hostname": False}, {"check_hostname": False}),
        ({"cert_reqs": 2}, {"ssl_cert_reqs": 2}, {"cert_reqs": 2}),
    ],
)
def test_tls_settings(given: Any, redis: Any, amqp: Any) -> None:
    assert tls_settings(given, REDIS) == redis
    assert tls_settings(given, RABBITMQ) == amqp


@pytest.mark.parametrize("given", ["perhaps", 3, {"cert_reqs": "maybe"}, {"check_hostname": "perhaps"}])
def test_tls_settings_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="ssl"):
        tls_settings(given, REDIS)


def test_secret_values() -> None:
    params = {
        "broker_url": "redis://:not-a-real-password@broker/0",
        "management_url": "http://broker:15672",
        "transport_options": {
            "priority_steps": [0, 3, 6, 9],
            "visibility_timeout": 3600,
            "sep": ":",
            "unacked_key": "taken",
            "sentinel_kwargs": {"password": "not-real-either", "username": "shop"},
            "credentials": {"a": ["b", 7, None, True]},
        },
        "ssl": {"ssl_keyfile": "/etc/key", "ssl_password": "nor-this"},
        "queues": None,
        "timeout": 5.0,
    }
    assert set(secret_values(params)) == {
        "redis://:not-a-real-password@broker/0",
        "not-a-real-password",
        "not-real-either",
        "b",
        "7",
        "nor-this",
    }


@pytest.mark.parametrize("password", ["with/slash", "with blank", "with@at", "with:colon"])
def test_a_password_that_should_have_been_encoded_is_masked_all_the_same(password: str) -> None:
    url = f"redis://:{password}@broker/0;redis://user:other@second/1"
    assert set(secret_values({"broker_url": url})) >= {url, password, "other"}


@pytest.mark.parametrize("password", ["123456#xxx", "123456/xxx", "123456?xxx", "123456[xxx", "123456 xxx"])
def test_no_reader_gives_a_library_a_url_that_is_not_encoded(password: str) -> None:
    for url in (f"redis://:{password}@127.0.0.1/0", f"amqp://u:{password}@h//", f"redis://h;redis://:{password}@h"):
        with pytest.raises(OperationError, match="Percent-encode it") as caught, open_broker(url, timeout=1.0):
            pytest.fail("it was opened")
        assert "123456" not in str(caught.value)
        assert "xxx" not in str(caught.value)


def test_what_a_library_says_is_masked_by_the_secrets_of_its_broker() -> None:
    hide = hide_of("redis://:p%23ssword@h", {"sentinel_kwargs": {"password": "other-word"}}, {"password": "tls-word"})
    error = explain(ValueError("p#ssword, p%23ssword, other-word, tls-word"), "read", opening=False, hide=hide)
    assert error.why == "********, ********, ********, ********"


def test_documentation_names_the_options_there_are() -> None:
    documented = safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    assert documented.keys() == BROKER_ARGUMENTS.keys()
    for name, spec in BROKER_ARGUMENTS.items():
        for attribute in ("type", "required", "default"):
            assert documented[name].get(attribute) == spec.get(attribute), name


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+socket", "sentinel"])
def test_libraries(scheme: str) -> None:
    assert libraries_for(f"{scheme}://broker/0") == ("celery", "kombu", "redis")
    assert libraries_for("amqp://broker//") == ("celery", "kombu")


def test_pack() -> None:
    assert (
        pack(("LLEN", "größe", b"\xff", 12))
        == b"*4\r\n$4\r\nLLEN\r\n$7\r\ngr\xc3\xb6\xc3\x9fe\r\n$1\r\n\xff\r\n$2\r\n12\r\n"
    )
