# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role monitoring on a real host: what it scrapes, what it refuses, and that a broken broker is told of.

What takes longer, with the other alerts, is in test_alerts_delivered.py.
"""

from __future__ import annotations

from grafana_standing_in import standing_in
from monitored_host import PASSWORD, SLACK, TOKEN, Monitored, changes
from told import Told

from muejam_bed.shell import wait_until

SECRETS = (TOKEN, SLACK, PASSWORD)
GRAFANA_TOKEN = "not-a-real-token-of-grafana-90ad"
GRAFANA_PASSWORD = "not-a-real-password-of-grafana-5b2e"


def test_a_rehearsal_on_a_host_that_has_nothing(untouched: Monitored) -> None:
    printed = untouched.monitor("--check", "--diff", "-vvv")
    assert "prometheus, prometheus-alertmanager would be installed" in printed
    assert not [secret for secret in SECRETS if secret in printed]
    assert untouched.host.run("test", "-e", "/etc/prometheus", check=False).returncode != 0


def test_it_is_set_up_and_no_secret_is_in_sight(watched: Monitored) -> None:
    assert "repeat_interval: 5h" in watched.printed
    assert not [secret for secret in SECRETS if secret in watched.printed]
    for secret in SECRETS[:2]:
        files = watched.host.run("grep", "-rl", secret, "/etc/prometheus", "/etc/default", "/var/log", check=False)
        assert [path for path in files.stdout.split() if not path.startswith("/etc/prometheus/celery-secrets/")] == []
        assert secret not in watched.host.run("journalctl", "--no-pager", check=False).stdout
        assert secret not in watched.host.output("ps", "axww", "-o", "args")
    modes = watched.host.output("sh", "-c", "stat --format='%a %U %G' /etc/prometheus/celery-secrets/*")
    assert set(modes.splitlines()) == {"640 root prometheus"}
    assert watched.host.output("stat", "--format=%a %G", "/etc/prometheus/celery-secrets") == "750 prometheus"


def test_what_was_asked_for_is_in_force(watched: Monitored) -> None:
    flags = watched.asked("status/flags")
    assert flags["storage.tsdb.retention.time"] == "30d"
    assert flags["storage.tsdb.retention.size"] == "1GiB"
    # Neither can be had from elsewhere, and Alertmanager looks for no others of its kind.
    listening = watched.host.output("ss", "-Hltn")
    assert "127.0.0.1:9090" in listening
    assert "127.0.0.1:9093" in listening
    assert ":9094" not in listening
    rules = [rule for group in watched.asked("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    links = {rule["annotations"]["runbook_url"] for rule in rules if rule["type"] == "alerting"}
    assert all(link.startswith("https://git.example.org/celery/blob/main/docs/runbooks/") for link in links)


def test_it_scrapes_what_the_inventory_has(watched: Monitored) -> None:
    fleets = {"celery_worker_fleets": [watched.fleet]}
    watched.others = {
        "app9": {**fleets, "celery_autoscaler_metrics_address": "0.0.0.0", "ansible_host": "127.0.0.9"},
        "app8": {"celery_worker_fleets": []},
        "app7": {
            **fleets,
            "celery_monitoring_target_address": "127.0.0.7",
            "celery_monitoring_target_port": 443,
            "celery_monitoring_target_scheme": "https",
        },
    }
    printed = watched.monitor()
    assert "has to be let in at TCP port 9541 of 127.0.0.9" in printed
    # Nothing answers there.
    assert "Prometheus does not reach these autoscalers yet" in printed
    assert watched.targets() == {watched.host.name: "up", "app9": "down", "app7": "down"}
    urls = {one["scrapeUrl"] for one in watched.asked("targets", state="active")["activeTargets"]}
    own = "http://127.0.0.1:9541/metrics"
    assert urls == {own, "http://127.0.0.9:9541/metrics", "https://127.0.0.7:443/metrics"}


def test_an_autoscaler_that_nobody_else_can_reach_is_refused(watched: Monitored) -> None:
    watched.others = {"app9": {"celery_worker_fleets": [watched.fleet]}}
    printed = watched.monitor(check=False)
    assert "app9: its autoscaler listens on 127.0.0.1 alone" in printed
    assert "celery_monitoring_target_address" in printed
    assert changes(printed) == 0


def test_what_is_wrong_is_refused_and_nothing_changed(watched: Monitored) -> None:
    watched.others = {}
    sums = ("sh", "-c", "sha256sum /etc/prometheus/*.yml /etc/prometheus/celery/*.*")
    before = watched.host.output(*sums)
    printed = watched.monitor(
        check=False,
        celery_monitoring_alerts={"CeleryAtCeiling": {"expr": "up ==="}},
        celery_monitoring_scrape_configs=[{"job_name": "x", "no_such_key": 1}],
    )
    assert "celery.yml" in printed
    assert "no_such_key" in printed
    assert watched.host.output(*sums) == before


def test_a_host_that_leaves_is_forgotten_and_a_grafana_that_came_gets_its_files(watched: Monitored) -> None:
    # Folders and a unit stand in for Grafana, which no distribution has: that it reads them is not shown here.
    watched.host.run("mkdir", "-p", "/etc/grafana/provisioning")
    watched.host.put("/etc/systemd/system/grafana-server.service", "[Service]\nExecStart=/usr/bin/sleep infinity\n")
    watched.monitor()
    # The list of targets is read by itself.
    wait_until(lambda: watched.targets() == {watched.host.name: "up"}, 30, watched.targets)
    shown = watched.host.output("ls", "/etc/prometheus/celery/dashboards")
    assert shown.split() == ["autoscaler.json", "fleets.json", "tasks.json", "workers.json"]
    source = watched.host.output("cat", "/etc/grafana/provisioning/datasources/celery.yaml")
    assert "url: http://127.0.0.1:9090" in source


def test_a_grafana_elsewhere_gets_them_by_its_api(watched: Monitored) -> None:
    with standing_in(GRAFANA_TOKEN, "celery", GRAFANA_PASSWORD) as grafana:
        elsewhere = {
            "celery_monitoring_grafana_url": f"http://{watched.gateway}:{grafana.port}",
            "celery_monitoring_grafana_prometheus_url": "http://192.0.2.7:9090",
        }
        with_token = {**elsewhere, "celery_monitoring_grafana_token": GRAFANA_TOKEN}
        login = {"celery_monitoring_grafana_user": "celery", "celery_monitoring_grafana_password": GRAFANA_PASSWORD}
        printed = watched.monitor("--diff", "-vvv", **with_token)
        assert grafana.sources["Celery"]["url"] == "http://192.0.2.7:9090"
        assert [folder["title"] for folder in grafana.folders] == ["Celery"]
        titles = sorted(each["dashboard"]["title"] for each in grafana.dashboards.values())
        assert titles == ["Celery / Autoscaler", "Celery / Fleets", "Celery / Tasks", "Celery / Workers"]
        assert {each["meta"]["folderId"] for each in grafana.dashboards.values()} == {7}
        again = watched.monitor("--diff", "-vvv", **elsewhere, **login)
        assert changes(again) == 0
        assert GRAFANA_TOKEN not in printed
        assert GRAFANA_PASSWORD not in again
        grafana.logins.clear()
        assert "Unauthorized" in watched.monitor(check=False, **with_token)


def test_a_second_run_changes_nothing(watched: Monitored) -> None:
    assert changes(watched.monitor()) == 0


def test_a_broker_that_is_away_is_told_and_that_it_is_back(watched: Monitored, told: Told) -> None:
    wait_until(lambda: not watched.firing(), 60, watched.firing)
    told.forget()
    watched.host.run("systemctl", "stop", "redis-server")
    try:
        wait_until(lambda: told.names("firing"), 120, watched.firing)
    finally:
        watched.host.run("systemctl", "start", "redis-server")
    wait_until(lambda: "CeleryBrokerUnreadable" in told.names("resolved"), 120, watched.firing)
    assert told.names("firing") == {"CeleryBrokerUnreadable"}
    assert set(told.tokens) == {f"Bearer {TOKEN}"}
    [alert] = told.alerts("firing")[:1]
    assert alert["labels"] | {"fleet": "web", "severity": "critical", "instance": watched.host.name} == alert["labels"]
    assert alert["annotations"]["summary"] == "The queues of the fleet web cannot be read"
    assert not [secret for secret in SECRETS if secret in str(told.messages)]
