# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role monitoring says of itself is true, and what it makes of its variables is what it should."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

import documented
from ansible_collections.muejam.celery.plugins.filter import monitoring
from ansible_collections.muejam.celery.plugins.plugin_utils import monitored, monitoring_files, monitoring_role
from ansible_collections.muejam.celery.plugins.plugin_utils.monitored import Autoscaler

ROLE = documented.ROLES / "monitoring"
FOLDER = documented.CHECKOUT / "monitoring"
SOURCES = {
    "alerts": documented.ALERTS.read_text(encoding="utf-8"),
    "names": (FOLDER / "celery-exporter-names.yml").read_text(encoding="utf-8"),
    "prometheus": (FOLDER / "prometheus.yml").read_text(encoding="utf-8"),
}
PLACES = dict.fromkeys(("rules", "targets", "secrets", "scrape_password", "dashboards"), "/etc/x")
SECRET = "not-a-real-secret"
RECEIVER: dict[str, Any] = {
    "name": "team",
    "severities": ["critical"],
    "fleets": ["web", "mail"],
    "mail": {
        "to": "a@example.com",
        "from": "b@example.com",
        "smarthost": "mail.example.com:587",
        "username": "b",
        "password": SECRET,
    },
    "slack": {"url": f"https://hooks.slack.example/{SECRET}", "channel": "#celery"},
    "webhook": {"url": "https://pager.example.com/celery", "token": SECRET},
}


def read(name: str) -> Any:
    return yaml.safe_load((ROLE / name).read_text(encoding="utf-8"))


def defaults() -> dict[str, Any]:
    found = {name: value for name, value in read("defaults/main.yml").items() if name.startswith("celery_monitoring_")}
    return {name.removeprefix("celery_monitoring_"): value for name, value in found.items()}


def test_every_default_is_described_and_no_other() -> None:
    options = read("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in options.items()} == read("defaults/main.yml")
    assert all(option["description"] for option in options.values())


def test_every_variable_is_checked_and_used() -> None:
    assert monitoring_role.VARIABLES.keys() == defaults().keys()
    settings = read("vars/main.yml")["__celery_monitoring_settings"]
    assert settings == {name: f"{{{{ celery_monitoring_{name} }}}}" for name in defaults()}


def test_the_defaults_have_no_fault() -> None:
    assert monitoring.problems(defaults(), SOURCES["alerts"]) == []


def test_the_examples_of_the_readme_are_good() -> None:
    readme = (ROLE / "README.md").read_text(encoding="utf-8")
    inventory = yaml.safe_load(re.sub(r"{{.*?}}", "x", re.findall(r"```yaml\n(.*?)```", readme, re.S)[0]))
    given = inventory["celery_monitoring"]["vars"]
    own = {name.removeprefix("celery_monitoring_"): value for name, value in given.items()}
    own["receivers"][1]["slack"]["url"] = "https://hooks.slack.example/x"
    assert list(monitoring_role.problems(own, monitoring_files.alert_names(SOURCES["alerts"]))) == []


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"retention": "30 days"}, "celery_monitoring_retention: '30 days' has the wrong form"),
        ({"retention_size": "10G"}, "such as 512MB or 10GB"),
        ({"prometheus_port": 0}, "celery_monitoring_prometheus_port: 0 is out of range"),
        ({"targets": ["app9"]}, "celery_monitoring_targets[0]: 'app9' has the wrong form"),
        ({"target_scheme": "ftp"}, "use one of http, https"),
        ({"scrape_username": "prometheus"}, "belongs together with"),
        ({"storage_path": "metrics"}, "is not absolute"),
        ({"prometheus_address": "127.0.0.1 --web.enable-admin-api"}, "holds a blank"),
        ({"alerts": {"CeleryAtCelling": {}}}, "did you mean CeleryAtCeiling?"),
        ({"alerts": {"CeleryAtCeiling": {"for": "soon"}}}, "celery_monitoring_alerts.CeleryAtCeiling.for: 'soon'"),
        ({"alerts": {"CeleryAtCeiling": "off"}}, "must be a dictionary such as {for: 1h}, is a text"),
        ({"receivers": [{"name": "a"}]}, "tells nobody"),
        ({"receivers": [{**RECEIVER, "severities": ["bad"]}]}, "use critical or warning"),
        ({"receivers": [RECEIVER, RECEIVER]}, "celery_monitoring_receivers[1].name: 'team' is there twice"),
        ({"receivers": [{"name": "a", "mail": {"to": "a"}}]}, "[0].mail.from: missing, give the address of the sender"),
        ({"receivers": [{"name": "a", "mial": {}, "webhook": RECEIVER["webhook"]}]}, "did you mean mail?"),
        ({"grafana_url": "https://grafana.example.com"}, "give celery_monitoring_grafana_token or the"),
        (
            {"grafana_url": "https://grafana.example.com", "grafana_prometheus_url": "http://127.0.0.1:9090"},
            "Give the URL by which that one reaches Prometheus",
        ),
        ({"grafana_repository": {"suites": "stable"}}, "celery_monitoring_grafana_repository.uris: missing"),
    ],
)
def test_a_fault_says_what_to_change(variables: dict[str, Any], says: str) -> None:
    found = list(monitoring_role.problems(variables, monitoring_files.alert_names(SOURCES["alerts"])))
    assert any(says in fault for fault in found), found


@pytest.mark.parametrize("url", [f"https://user:{SECRET}@hooks.example.com/", f"hooks.example.com/{SECRET}"])
def test_a_fault_of_a_secret_does_not_tell_it(url: str) -> None:
    receivers = [{"name": "a", "slack": {"url": url}}]
    found = list(monitoring_role.problems({"receivers": receivers}))
    assert found
    assert not [fault for fault in found if SECRET in fault]


def made(**variables: Any) -> dict[str, Any]:
    texts = monitoring.files({**defaults(), **variables}, SOURCES, PLACES)
    assert not [text for text in texts.values() if SECRET in text]
    return {name: yaml.safe_load(text) for name, text in texts.items()}


def test_no_secret_is_in_a_configuration() -> None:
    found = made(receivers=[RECEIVER], scrape_username="prometheus", scrape_password=SECRET)
    assert monitoring.secrets({**defaults(), "receivers": [RECEIVER], "scrape_password": SECRET}) == {
        "team.mail.password": SECRET,
        "team.slack.url": f"https://hooks.slack.example/{SECRET}",
        "team.webhook.token": SECRET,
        "scrape.password": SECRET,
    }
    [team] = found["alertmanager"]["receivers"][1:]
    assert team["email_configs"][0]["auth_password_file"] == "/etc/x/team.mail.password"
    assert team["slack_configs"][0]["api_url_file"] == "/etc/x/team.slack.url"
    authorization = {"authorization": {"credentials_file": "/etc/x/team.webhook.token"}}
    assert team["webhook_configs"][0]["http_config"] == authorization
    assert found["prometheus"]["scrape_configs"][0]["basic_auth"]["password_file"] == "/etc/x"


def test_who_is_told_of_what() -> None:
    everything = {"name": "all", "webhook": {"url": "https://pager.example.com/celery"}}
    route = made(receivers=[RECEIVER, everything])["alertmanager"]["route"]
    # Whom nothing fits is told nothing, and what fits two is told to both.
    assert route["receiver"] == "nobody"
    assert route["routes"] == [
        {"receiver": "team", "matchers": ['severity=~"critical"', 'fleet=~"web|mail|"'], "continue": True},
        {"receiver": "all", "continue": True},
    ]


def test_alerts_are_those_of_the_file_but_for_what_is_changed() -> None:
    changed = {"for": "1h", "severity": "critical", "labels": {"team": "shop"}}
    found = made(alerts={"CeleryAtCeiling": changed, "CeleryFlapping": {"enabled": False}}, exporter_names=False)
    before = {rule["alert"]: rule for rule in documented.alerts()}
    after = {rule["alert"]: rule for group in found["rules"]["groups"] for rule in group["rules"]}
    assert before.keys() - after.keys() == {"CeleryFlapping"}
    assert [name for name in after if after[name] != before[name]] == ["CeleryAtCeiling"]
    assert (after["CeleryAtCeiling"]["for"], after["CeleryAtCeiling"]["labels"]) == (
        "1h",
        {"severity": "critical", "team": "shop"},
    )


def test_links_lead_to_where_people_read() -> None:
    for url in ("https://git.example.org/main", "https://git.example.org/main/"):
        rules = made(runbooks_url=url)["rules"]["groups"][0]["rules"]
        assert rules[0]["annotations"]["runbook_url"].startswith("https://git.example.org/main/docs/runbooks/celery-")


def test_names_of_the_exporter_are_there_unless_switched_off() -> None:
    records = {rule.get("record") for group in made()["rules"]["groups"] for rule in group["rules"]}
    assert "celery_worker_up" in records


def test_the_job_is_that_of_the_file() -> None:
    own = {"job_name": "node", "static_configs": [{"targets": ["localhost:9100"]}]}
    tls = {"ca_file": "/etc/ssl/ca.pem"}
    found = made(scrape_configs=[own], scrape_tls=tls, scrape_interval="30s")["prometheus"]
    [of_the_file] = yaml.safe_load(SOURCES["prometheus"])["scrape_configs"]
    job, other = found["scrape_configs"]
    assert job["job_name"] == of_the_file["job_name"]
    assert job["metric_relabel_configs"] == of_the_file["metric_relabel_configs"]
    assert (job["scrape_interval"], job["tls_config"], other) == ("30s", tls, own)


def test_a_grafana_on_the_same_host_may_have_the_default() -> None:
    own = {"grafana_url": "http://localhost:3000", "grafana_token": SECRET}
    assert list(monitoring_role.problems({**defaults(), **own})) == []


@pytest.mark.parametrize("service", ["prometheus", "alertmanager"])
def test_a_path_in_a_url_is_for_the_proxy_and_moves_nothing(service: str) -> None:
    url = f"https://mon.example.com/{service}"
    texts = monitoring.files({**defaults(), f"{service}_url": url}, SOURCES, PLACES)
    assert f" --web.external-url={url} --web.route-prefix=/" in texts[f"{service}_arguments"]
    assert "--web.route-prefix" not in monitoring.files(defaults(), SOURCES, PLACES)[f"{service}_arguments"]


@pytest.mark.parametrize(
    ("address", "listens", "reached"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0", "127.0.0.1"),
        ("", "", "127.0.0.1"),
        ("::", "[::]", "[::1]"),
        ("[::]", "[::]", "[::1]"),
        ("fd00::2", "[fd00::2]", "[fd00::2]"),
        ("[fd00::2]", "[fd00::2]", "[fd00::2]"),
    ],
)
def test_where_services_listen_and_are_reached(address: str, listens: str, reached: str) -> None:
    settings = {**defaults(), "prometheus_address": address, "alertmanager_address": address}
    texts = monitoring.files(settings, SOURCES, PLACES)
    assert f"--web.listen-address={listens}:9090" in texts["prometheus_arguments"]
    assert f"--web.listen-address={listens}:9093" in texts["alertmanager_arguments"]
    alertmanagers = yaml.safe_load(texts["prometheus"])["alerting"]["alertmanagers"]
    assert alertmanagers == [{"static_configs": [{"targets": [f"{reached}:9093"]}]}]
    assert monitoring.reached(settings, "prometheus") == f"{reached}:9090"


@pytest.mark.parametrize(
    ("duration", "seconds"), [("15s", 15), ("1m", 60), ("1m30s", 90), ("1h", 3600), ("1s500ms", 2), ("1d", 86400)]
)
def test_how_long_a_duration_is(duration: str, seconds: int) -> None:
    assert monitoring.seconds(duration) == seconds


@pytest.mark.parametrize(("interval", "least"), [("15s", 15), ("1m", 60), ("5m", 300)])
def test_a_first_look_is_waited_for_as_long_as_it_may_take(interval: str, least: int) -> None:
    [asks] = [task for task in read("tasks/systemd/service.yml") if "which autoscalers it reaches" in task["name"]]
    found = read("vars/main.yml")
    expressions = {name: found[name] for name in ("__celery_monitoring_interval", "__celery_monitoring_awaited")}
    given = {"celery_monitoring_scrape_interval": interval, **expressions}
    environment = NativeEnvironment()
    environment.filters["muejam.celery.monitoring_seconds"] = monitoring.seconds
    for name, text in expressions.items():
        given[name] = environment.from_string(text).render(given)
    assert environment.from_string(asks["retries"]).render(given) * asks["delay"] >= least + 20


@pytest.mark.parametrize(
    ("rehearsal", "kind", "restarted"),
    [(True, "absent", False), (True, "directory", True), (False, "absent", True), (False, "directory", True)],
)
def test_a_rehearsal_does_not_restart_a_grafana_that_is_not_there(rehearsal: bool, kind: str, restarted: bool) -> None:
    [handler] = read("handlers/main.yml")
    found = {"paths": [{"path": "/etc/grafana/provisioning", "kind": kind}]}
    condition = NativeEnvironment().compile_expression(handler["when"])
    assert condition(ansible_check_mode=rehearsal, __celery_monitoring_found=found) is restarted


def test_what_is_kept_and_for_how_long() -> None:
    texts = monitoring.files({**defaults(), "retention": "1y", "retention_size": "10GB"}, SOURCES, PLACES)
    assert "--storage.tsdb.retention.time=1y --storage.tsdb.retention.size=10GB" in texts["prometheus_arguments"]
    assert "retention.size" not in monitoring.files(defaults(), SOURCES, PLACES)["prometheus_arguments"]
    assert ' --cluster.listen-address="' in texts["alertmanager_arguments"]


@pytest.mark.parametrize(
    ("autoscaler", "target"),
    [
        (Autoscaler("mon1", "10.0.0.1"), "127.0.0.1:9541"),
        (Autoscaler("mon1", "10.0.0.1", listens="0.0.0.0"), "127.0.0.1:9541"),
        (Autoscaler("mon1", "10.0.0.1", listens="10.0.0.9", port=9000), "10.0.0.9:9000"),
        (Autoscaler("app1", "10.0.0.2", listens="0.0.0.0"), "10.0.0.2:9541"),
        (Autoscaler("app1", "app1", listens="::"), "app1:9541"),
        (Autoscaler("app1", "app1", listens="fd00::2"), "[fd00::2]:9541"),
        (Autoscaler("app1", "app1", address="proxy.example.com", address_port=443), "proxy.example.com:443"),
        (Autoscaler("app1", "app1", platform="kubernetes", address="10.0.0.7"), "10.0.0.7:9541"),
    ],
)
def test_where_an_autoscaler_is_found(autoscaler: Autoscaler, target: str) -> None:
    found = monitored.find([autoscaler], "mon1")
    assert found.problems == []
    assert found.targets == [{"targets": [target], "labels": {"instance": autoscaler.host}}]
    assert bool(found.notes) == (autoscaler.host != "mon1")


@pytest.mark.parametrize("listens", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_one_that_cannot_be_reached_is_a_problem(listens: str) -> None:
    found = monitored.find([Autoscaler("app1", "10.0.0.2", listens=listens)], "mon1")
    assert found.targets == []
    [problem] = found.problems
    assert problem.startswith(f"app1: its autoscaler listens on {listens} alone, where the Prometheus of mon1 cannot")
    assert "celery_autoscaler_metrics_address" in problem
    assert "TCP port 9541" in problem


@pytest.mark.parametrize("platform", ["kubernetes", "another"])
def test_one_in_a_cluster_is_left_to_the_cluster(platform: str) -> None:
    found = monitored.find([Autoscaler("cluster1", "localhost", platform=platform)], "mon1")
    assert (found.targets, found.problems) == ([], [])
    assert "runs in a cluster" in found.notes[0]


def test_a_reverse_proxy_may_have_tls_and_a_path() -> None:
    proxied = Autoscaler("app1", "app1", address="proxy", scheme="https", path="/celery/metrics")
    labels = {"instance": "app1", "__scheme__": "https", "__metrics_path__": "/celery/metrics"}
    assert monitored.find([proxied], "mon1").targets == [{"targets": ["proxy:9541"], "labels": labels}]


FLEET = {"name": "web", "app": "x", "broker_url": "redis://h", "queues": ["a"]}
SCALED = {**FLEET, "policy": {}}


@pytest.mark.parametrize(
    ("told", "scraped"),
    [
        ({"celery_worker_fleets": [SCALED]}, True),
        ({"celery_worker_fleets": [FLEET], "celery_worker_fleet_defaults": {"policy": {}}}, True),
        ({"celery_worker_fleets": [FLEET], "celery_autoscaler_mode": "observe"}, True),
        ({"celery_worker_fleets": [FLEET]}, False),
        ({"celery_worker_fleets": [{**SCALED, "state": "absent"}]}, False),
        ({"celery_worker_fleets": [SCALED], "celery_autoscaler_state": "absent"}, False),
        ({}, False),
    ],
)
def test_hosts_that_have_an_autoscaler_are_scraped(told: dict[str, Any], scraped: bool) -> None:
    told = {"celery_autoscaler_metrics_address": "10.0.0.2", "celery_autoscaler_metrics_port": "9000", **told}
    found = monitoring.targets(["app1"], {"app1": told}, "mon1")
    assert [target["targets"] for target in found["targets"]] == ([["10.0.0.2:9000"]] if scraped else [])
    assert found["problems"] == []


def test_further_targets_are_scraped_too() -> None:
    found = monitoring.targets([], {}, "mon1", ["app9.example.com:9541"])
    assert found["targets"] == [{"targets": ["app9.example.com:9541"], "labels": {}}]


OPERATOR = {"monitoring.coreos.com/v1": {"ServiceMonitor": {}, "PrometheusRule": {}, "PodMonitor": {}}}


def in_a_cluster(apis: dict[str, Any]) -> dict[str, Any]:
    settings = {**defaults(), "labels": {"release": "kube-prometheus-stack"}}
    place = {"namespace": "shop", "port": "9541"}
    return monitoring.objects(settings, SOURCES, {"fleets.json": "{}"}, place, apis)


def test_a_cluster_with_the_operator_gets_its_kinds() -> None:
    found = in_a_cluster(OPERATOR)
    kinds = {thing["kind"]: thing for thing in found["present"]}
    assert list(kinds) == ["Service", "ServiceMonitor", "PrometheusRule", "ConfigMap"]
    assert "annotations" not in kinds["Service"]["metadata"]
    assert all(thing["metadata"]["labels"]["release"] == "kube-prometheus-stack" for thing in found["present"])
    assert all(thing["metadata"]["namespace"] == "shop" for thing in found["present"])
    rules = [rule for group in kinds["PrometheusRule"]["spec"]["groups"] for rule in group["rules"]]
    assert [rule["alert"] for rule in rules if "alert" in rule] == monitoring_files.alert_names(SOURCES["alerts"])
    [endpoint] = kinds["ServiceMonitor"]["spec"]["endpoints"]
    assert {
        "sourceLabels": ["__name__", "queue"],
        "regex": "celery_queue_length;(.*)",
        "targetLabel": "queue_name",
    } in (endpoint["metricRelabelings"])
    # Alerts look for a job with this in its name, and the job has that of the Service.
    assert "celery-autoscaler" in kinds["Service"]["metadata"]["name"]
    assert (
        kinds["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items()
        <= kinds["Service"]["metadata"]["labels"].items()
    )
    assert [thing["metadata"]["name"] for thing in found["absent"]] == ["celery-autoscaler-rules"]


def test_one_without_gets_annotations() -> None:
    found = in_a_cluster({"v1": {"Service": {}}})
    assert [thing["kind"] for thing in found["present"]] == ["Service", "ConfigMap", "ConfigMap"]
    assert found["present"][0]["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "9541",
        "prometheus.io/path": "/metrics",
    }
    assert monitoring_files.alert_names(found["present"][1]["data"]["celery.yml"])
    assert found["present"][2]["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["absent"] == []


def test_objects_as_files_are_the_objects() -> None:
    found = in_a_cluster(OPERATOR)["present"]
    written = monitoring.object_files(found)
    assert [yaml.safe_load(text) for text in written.values()] == found
    assert "service-celery-autoscaler.yaml" in written
