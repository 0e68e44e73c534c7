# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role flower: what is refused with what to change, and what stands in the two files that Flower reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.muejam.celery.plugins.filter import flower as filters
from ansible_collections.muejam.celery.plugins.module_utils.fleet import spec

ROLE = Path(__file__).parents[3] / "roles/flower"
DEFAULTS = {
    name.removeprefix("celery_flower_"): value
    for name, value in yaml.safe_load((ROLE / "defaults/main.yml").read_text()).items()
}
GOOD = {"broker_url": "redis://h/0", "users": {"ops": "not-a-real-password"}}
OAUTH = {
    "provider": "github",
    "key": "id",
    "secret": "not-a-real-secret",
    "redirect_uri": "https://flower.example.com/login",
    "emails": ".*@example.com",
}
TLS = {"ca_certs": "/etc/ssl/broker.pem", "cert_reqs": "required"}
FLEET = {
    "name": "web",
    "app": "shop",
    "virtualenv": "/srv/venv",
    "broker_url": "rediss://:not-a-real-password@h:6380",
    "broker_use_ssl": TLS,
    "broker_transport_options": {"socket_keepalive_options": {"4": 60}},
    "result_backend": "redis://h/1",
}


def found(*own: dict[str, Any], **changes: Any) -> list[str]:
    return filters.flower_problems({**DEFAULTS, **GOOD, **changes}, spec.resolve(own))


def written(*own: dict[str, Any], apps: dict[str, Any] | None = None, **changes: Any) -> list[dict[str, Any]]:
    """What Python makes of the two files."""
    texts = filters.flower_files({**DEFAULTS, **GOOD, **changes}, spec.resolve(own), apps or {})
    read = []
    for name in ("flowerconfig.py", "celeryconfig.py"):
        names: dict[str, Any] = {}
        exec(texts[name], {}, names)  # what Flower and Celery do
        read.append(names)
    return read


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"address": "10.0.0.5", "port": "8080", "url_prefix": "/flower/"},
        {"authentication": "none", "users": {}},
        {"authentication": "none", "users": {}, "address": "::1"},
        {"authentication": "oauth", "users": {}, "oauth": OAUTH, "address": "0.0.0.0"},
        {"certificate": "/etc/ssl/f.pem", "certificate_key": "/etc/ssl/f.key", "settings": {"natural_time": True}},
        {"state": "absent", "users": {}, "broker_url": ""},
    ],
)
def test_what_is_good_has_no_fault(given: dict[str, Any]) -> None:
    assert found(**given) == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"users": {}}, "celery_flower_users: missing, give at least one login"),
        ({"users": {"a:b": "x"}}, "celery_flower_users.a:b: is no name for a login"),
        ({"users": {"ops": ""}}, "celery_flower_users.ops: has to have a password"),
        ({"users": {"ops": "a\nb"}}, "celery_flower_users.ops: has to have a password"),
        (
            {"authentication": "none", "users": {}, "address": "0.0.0.0"},
            "celery_flower_authentication: none, and 0.0.0.0 is reached from other hosts",
        ),
        ({"authentication": "none", "users": {}, "address": ""}, "none, and every address is reached from other hosts"),
        ({"authentication": "none"}, "celery_flower_users: given, and celery_flower_authentication is none"),
        ({"authentication": "oauth", "users": {}}, "celery_flower_oauth: missing, give provider, key"),
        (
            {"authentication": "oauth", "users": {}, "oauth": {**OAUTH, "emails": ".*"}},
            "celery_flower_oauth.emails: Flower takes one address",
        ),
        ({"broker_url": ""}, "celery_flower_broker_url: missing"),
        ({"broker_url": "kafka://h"}, "celery_flower_broker_url:"),
        (
            {"broker_use_ssl": {"server_hostname": "h"}},
            "celery_flower_broker_use_ssl.server_hostname: is not known for",
        ),
        ({"broker_url": "", "fleet": "mail"}, "there is no fleet mail in celery_worker_fleets of this host"),
        ({"certificate": "/etc/ssl/f.pem"}, "celery_flower_certificate_key: missing"),
        ({"version": "latest"}, "celery_flower_version: 'latest' is no version"),
        ({"version": 2.2}, "celery_flower_version: must be a version in quotes"),
        ({"url_prefix": "a b"}, "celery_flower_url_prefix: 'a b' is no prefix"),
        ({"settings": {"basic_auth": []}}, "celery_flower_settings.basic_auth: has a variable of its own"),
        ({"memory_max": "much"}, "celery_flower_memory_max: 'much' is no amount"),
    ],
)
def test_a_fault_is_told_with_what_to_change(given: dict[str, Any], says: str) -> None:
    faults = found(**given)
    assert any(says in fault for fault in faults), faults
    assert "not-a-real" not in "".join(faults)


def test_a_broker_is_given_once() -> None:
    [fault] = found(FLEET, fleet="web")
    assert fault == "celery_flower_broker_url: given beside fleet, which has it: keep one"


def test_a_fleet_gives_its_broker_with_tls_and_what_its_app_sets() -> None:
    apps = {"web": {"app": "shop", "transport_options": {"global_keyprefix": "shop:"}, "control_exchange": "shopctl"}}
    _flower, celery = written(FLEET, apps=apps, fleet="web", broker_url="")
    assert celery["broker_url"] == FLEET["broker_url"]
    assert celery["broker_use_ssl"] == {"ssl_ca_certs": "/etc/ssl/broker.pem", "ssl_cert_reqs": 2}
    assert celery["broker_transport_options"] == {
        "global_keyprefix": "shop:",
        "socket_keepalive_options": {4: 60},
    }
    assert celery["result_backend"] == "redis://h/1"
    assert celery["control_exchange"] == "shopctl"


def test_the_same_by_variables() -> None:
    _flower, celery = written(broker_url="rediss://h:6380", broker_use_ssl=True)
    assert celery["broker_use_ssl"] == {"ssl_cert_reqs": 2}
    assert "result_backend" not in celery


def test_flower_asks_for_a_login_and_keeps_what_it_saw() -> None:
    flower, _celery = written(url_prefix="/flower/", settings={"natural_time": True})
    assert flower["basic_auth"] == ["ops:not-a-real-password"]
    assert flower["url_prefix"] == "flower"
    assert flower["persistent"] is True
    assert flower["db"] == "/var/lib/celery-flower/flower"
    assert flower["natural_time"] is True
    assert "read_only" not in flower
    assert written(read_only="yes")[0]["read_only"] is True


def test_oauth_goes_to_the_provider() -> None:
    flower, _celery = written(authentication="oauth", users={}, oauth=OAUTH)
    assert "basic_auth" not in flower
    assert flower["auth"] == ".*@example.com"
    assert flower["auth_provider"] == "flower.views.auth.GithubLoginHandler"
    assert flower["oauth2_secret"] == "not-a-real-secret"


def test_no_secret_stands_in_the_unit() -> None:
    unit = (ROLE / "templates/celery-flower.service.j2").read_text(encoding="utf-8")
    assert set(re.findall(r"{{ (celery_flower_\w+)", unit)) == {"celery_flower_memory_max"}


def test_the_example_of_the_readme_is_good() -> None:
    readme = (ROLE / "README.md").read_text(encoding="utf-8")
    example = yaml.safe_load(re.sub(r"{{.*?}}", "x", re.findall(r"```yaml\n(.*?)```", readme, re.S)[0]))
    own = example["celery_flower"]["vars"]
    given = {name.removeprefix("celery_flower_"): value for name, value in own.items()}
    assert filters.flower_problems({**DEFAULTS, **given}, []) == []
