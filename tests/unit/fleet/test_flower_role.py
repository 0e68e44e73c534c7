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
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.muejam.celery.plugins.filter import flower as filters
from ansible_collections.muejam.celery.plugins.module_utils.fleet import spec
from ansible_collections.muejam.celery.plugins.module_utils.fleet.fingerprint import config_id

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


def read_by(*own: dict[str, Any], **changes: Any) -> dict[str, str]:
    given = {**DEFAULTS, **GOOD, **changes}
    assert filters.flower_problems(given, spec.resolve(own)) == []
    return {one["path"]: one["says"] for one in filters.flower_reads(given, spec.resolve(own))}


def test_the_files_that_it_reads_for_tls_are_known() -> None:
    assert read_by() == {}
    own = {"certificate": "/etc/ssl/f.pem", "certificate_key": "/etc/ssl/f.key"}
    ssl = {**TLS, "ssl_keyfile": "/etc/ssl/client.key", "certfile": None, "password": "not-a-real-password"}
    assert read_by(**own, broker_url="rediss://h:6380", broker_use_ssl=ssl) == {
        "/etc/ssl/f.pem": "celery_flower_certificate",
        "/etc/ssl/f.key": "celery_flower_certificate_key",
        "/etc/ssl/broker.pem": "celery_flower_broker_use_ssl.ca_certs",
        "/etc/ssl/client.key": "celery_flower_broker_use_ssl.keyfile",
    }
    assert read_by(broker_url="amqps://h", broker_use_ssl=TLS) == {
        "/etc/ssl/broker.pem": "celery_flower_broker_use_ssl.ca_certs"
    }
    assert read_by(broker_url="rediss://h:6380", broker_use_ssl=True) == {}
    assert read_by(**own, state="absent") == {}


def test_those_of_a_fleet_and_of_urls_are_known_too() -> None:
    backend = "rediss://:not-a-real-password@h/1?ssl_cert_reqs=required&ssl_ca_certs=%2Fetc%2Fssl%2Fresults.pem"
    assert read_by({**FLEET, "result_backend": backend}, fleet="web", broker_url="") == {
        "/etc/ssl/broker.pem": "broker_use_ssl.ca_certs of fleet web",
        "/etc/ssl/results.pem": "ssl_ca_certs in result_backend of fleet web",
    }


def templated(expression: str, reads: list[dict[str, str]], found: dict[str, str]) -> Any:
    """What a variable of the role is where the host has these files, by their checksums."""
    variables = {
        "__celery_flower_reads": reads,
        "__celery_flower_found": {
            "paths": [{"path": path, "kind": "file" if sum_ else "", "checksum": sum_} for path, sum_ in found.items()]
        },
        "__celery_flower_unit_text": "[Service]",
        "__celery_flower_files": {"flowerconfig.py": "port = 1"},
        "__celery_flower_requirements": ["flower==2.2.0"],
    }
    text = yaml.safe_load((ROLE / "vars/main.yml").read_text())[expression]
    templar = Templar(DataLoader(), variables=variables)
    engine = templar.environment if hasattr(templar, "environment") else templar._engine.environment
    engine.filters["muejam.celery.fleet_config_id"] = config_id
    return templar.template(trust_as_template(text))


def test_a_changed_certificate_restarts_it_and_a_missing_one_is_told() -> None:
    reads = [{"path": "/etc/ssl/ca.pem", "says": "celery_flower_broker_use_ssl.ca_certs"}]
    old, new, again = (
        templated("__celery_flower_config_id", reads, {"/etc/celery-flower": "", "/etc/ssl/ca.pem": sum_})
        for sum_ in ("a1", "b2", "a1")
    )
    assert old == again != new
    # Where it reads none, an id that was noted before stays what it is.
    bare = templated("__celery_flower_config_id", [], {"/etc/celery-flower": ""})
    assert bare == config_id("[Service]", ["port = 1"], "flower==2.2.0")
    assert templated("__celery_flower_lacks", reads, {"/etc/ssl/ca.pem": ""}) == reads
    assert templated("__celery_flower_lacks", reads, {"/etc/ssl/ca.pem": "a1"}) == []


def test_it_is_told_before_anything_is_installed() -> None:
    tasks = yaml.safe_load((ROLE / "tasks/preflight.yml").read_text(encoding="utf-8"))
    [look] = [task for task in tasks if "muejam.celery.host_info" in task]
    assert "__celery_flower_reads" in look["muejam.celery.host_info"]["paths"]
    assert tasks[-1]["loop"] == "{{ __celery_flower_lacks }}"
    assert tasks[-1]["failed_when"] == "not ansible_check_mode"


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
