# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A broker's URL is checked before a library sees it: what is wrong is named, and nothing of a password is shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import RABBITMQ, REDIS, kind_of
from ansible_collections.muejam.celery.plugins.module_utils.brokers.url import (
    fault_of,
    fault_of_backend,
    fault_of_http,
    normal,
)
from ansible_collections.muejam.celery.plugins.module_utils.redaction import Hide, passwords_of, place_of, shown


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://h:6379/0",
        "redis:///1",
        "redis://:p%23%2F%40%3A%20w@h:6379/0",
        "REDIS://user:pw@h/0",
        "rediss://h:6379/0?ssl_cert_reqs=required&ssl_ca_certs=/etc/ca.crt",
        "redis://[::1]:6379/0",
        "redis+socket:///run/redis/redis.sock?virtual_host=2",
        "redis+socket://:pw@/run/redis/redis.sock",
        "sentinel://:pw@one:26379;sentinel://:pw@two:26379/0",
        "amqp://user:pw@h:5672//",
        "amqp://user:pw@h:5672/%2Fshop?heartbeat=30",
        "amqp://user:pw@one:5672/shop;amqp://user:pw@two:5672/shop",
        "amqp://user:pw@one;two:5673",
        "pyamqp://user:gr\u00f6\u00dfe@h/shop",
    ],
)
def test_a_good_url_has_no_fault(url: str) -> None:
    assert fault_of(url) is None
    assert fault_of_backend(url) is None


@pytest.mark.parametrize(
    ("password", "shown_as", "encoded"),
    [
        ("123456#xxx", "'#'", "%23"),
        ("123456/xxx", "'/'", "%2F"),
        ("123456?xxx", "'?'", "%3F"),
        ("123456@xxx", "'@'", "%40"),
        ("123456:xxx", "':'", "%3A"),
        ("123456;xxx", "';'", "%3B"),
        ("123456[xxx", "'['", "%5B"),
        ("123456]xxx", "']'", "%5D"),
        ("123456 xxx", "a blank", "%20"),
        ("123456\txxx", "a tab", "%09"),
        ("123456%xxx", "'%'", "%25"),
        ("123456\uff0fxxx", "'\uff0f'", "%EF%BC%8F"),
        ("123456#/xxx", "'#' and '/'", "%23 and %2F"),
        ("123456@x/xx", "'@' and '/'", "%40 and %2F"),
    ],
)
@pytest.mark.parametrize(
    "url",
    [
        "redis://:{}@h:6379/0",
        "rediss://user:{}@h/0",
        "sentinel://:good@one;sentinel://:{}@two",
        "amqp://user:{}@h//",
        "amqp://user:{}@one;amqp://user:{}@two",
        "redis+socket://:{}@/run/redis.sock",
    ],
)
def test_what_has_to_be_encoded_is_named_and_the_password_is_not(
    url: str, password: str, shown_as: str, encoded: str
) -> None:
    whole = url.replace("{}", password)
    fault = str(fault_of(whole))
    assert f"holds {shown_as} " in fault
    assert encoded in fault
    assert str(fault_of_backend(whole)) == fault
    for text in (fault, shown(whole), place_of(whole)):
        assert "123456" not in text
        assert "xx" not in text
    assert fault_of(url.replace("{}", quote(password, safe=""))) is None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://h", "no URL of Redis"),
        ("sqs://", "no URL of Redis"),
        ("secretword", "no URL of Redis"),
        ("redis://", "no URL of Redis"),
        ("redis://:secretword", "no port number"),
        ("redis://user:secretword#rest", "%23"),
        ("redis://h:port/0", "no port number"),
        ("redis://h:70000/0", "no port number"),
        ("redis://h/shop", "no number of a database"),
        ("redis://::1/0", "brackets"),
        ("redis://h /0", "a blank"),
        ("redis://h/0#part", "%23"),
        ("redis://h/0?socket_timeout=5", "'socket_timeout'"),
        ("redis://h/0?socket_timeout=5", "transport_options"),
        ("redis://h/0?db=5", "redis://host:6379/0"),
        ("redis://h/0?password=secretword", "before the host"),
        ("rediss://h/0?ssl_cert_reqs=maybe", "required, optional, none"),
        ("amqp://h//?ssl_ca_certs=/etc/ca.crt", "broker_use_ssl"),
        ("amqp://h//?heartbeat=often", "heartbeat"),
        ("amqp://h//?connect_timeout=5", "'connect_timeout'"),
        ("redis+socket:///run/redis.sock?socket_timeout=5", "'socket_timeout'"),
        ("redis://one/0;redis://two/0?hertz=5", "'hertz'"),
    ],
)
def test_other_faults_are_named(url: str, says: str) -> None:
    fault = str(fault_of(url))
    assert says in fault
    assert "secretword" not in fault + shown(url)


@pytest.mark.parametrize("url", ["db+postgresql://u:a/b@h/x", "file:///tmp/x", "django-db", "cache+memcached://a;b/"])
def test_backends_of_other_kinds_are_left_to_celery(url: str) -> None:
    assert fault_of_backend(url) is None


def test_the_management_api() -> None:
    assert fault_of_http("http://user:pw@h:15672") is None
    assert "%23" in str(fault_of_http("http://user:p#w@h:15672"))
    assert "no port" in str(fault_of_http("http://h:p"))
    assert "management API" in str(fault_of_http("redis://h"))


def test_schemes_are_read_in_any_case() -> None:
    assert normal("REDIS://A:B@h;Redis+Socket:///Run") == "redis://A:B@h;redis+socket:///Run"
    assert normal("no url") == "no url"
    assert kind_of("SENTINEL://h") is REDIS
    assert kind_of("Redis+Socket:///run/x") is REDIS
    assert kind_of("AMQP://h") is RABBITMQ
    assert kind_of("sqs://h") is None


def test_a_library_may_quote_a_password_in_any_of_its_forms() -> None:
    hide = Hide(passwords_of("redis://:p%20w%23long@h/0;amqp://u:ab@h"))
    assert hide("tried p w#long, p%20w%23long and 'ab', not about") == (
        "tried ********, ******** and '********', not about"
    )


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"]), min_size=5), st.sampled_from(["redis", "amqp"]))
def test_any_password_is_accepted_encoded_and_never_shown(secret: str, scheme: str) -> None:
    secret = "\u20acq" + secret
    assert fault_of(f"{scheme}://u:{quote(secret, safe='')}@h/0") is None
    raw = f"{scheme}://u:{secret}@h/0"
    for text in (str(fault_of(raw)), shown(raw), place_of(raw)):
        assert "\u20acq" not in text
