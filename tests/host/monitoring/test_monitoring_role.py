# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role monitoring on a real host: what it scrapes, what it refuses, and that a broken broker is told of.

What takes longer, with the other alerts, is in test_alerts_delivered.py.
"""

from __future__ import annotations

from pathlib import Path

from broker_servers import make_certificates
from grafana_standing_in import standing_in
from mail_server import mail_server
from monitored_host import PASSWORD, SLACK, TOKEN, Monitored, changes
from told import Told, listening

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
    # The role takes this for a duration, and Alertmanager does not.
    printed = watched.monitor(check=False, celery_monitoring_group_interval="0s", celery_monitoring_retention="9d")
    assert "group_interval" in printed
    assert "alertmanager.yml" in printed
    assert changes(printed) == 0
    assert watched.host.output(*sums) == before
    assert watched.asked("status/flags")["storage.tsdb.retention.time"] == "30d"


def receivers_of(watched: Monitored, *labels: str) -> set[str]:
    command = ("amtool", "config", "routes", "test", "--config.file=/etc/prometheus/alertmanager.yml")
    return set(watched.host.output(*command, *labels).split(","))


def test_who_has_fleets_is_told_of_these_and_of_what_is_of_none(watched: Monitored) -> None:
    mine = ("alertname=CeleryAtCeiling", "severity=warning", "fleet=nobody-has-this-one")
    assert receivers_of(watched, *mine) == {"test", "team"}
    assert receivers_of(watched, "alertname=CeleryAtCeiling", "severity=warning", "fleet=web") == {"test"}
    for alert in ("CeleryBacklogNotShrinking", "CeleryConfigurationRefused"):
        assert receivers_of(watched, f"alertname={alert}", "severity=warning") == {"test", "team"}
    assert receivers_of(watched, "alertname=CeleryAutoscalerGone", "severity=critical") == {"test"}


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


def test_urls_of_a_proxy_with_a_path_and_another_storage(watched: Monitored) -> None:
    # After those that wait for alerts: the storage that it goes back to has no word of what left meanwhile.
    watched.monitor(
        celery_monitoring_prometheus_url="https://mon.example.com/prometheus",
        celery_monitoring_alertmanager_url="https://mon.example.com/alertmanager",
        celery_monitoring_storage_path="/srv/celery-metrics",
        celery_monitoring_retention="9d",
    )
    flags = watched.asked("status/flags")
    assert flags["web.external-url"] == "https://mon.example.com/prometheus"
    assert flags["storage.tsdb.path"] == "/srv/celery-metrics"
    assert flags["storage.tsdb.retention.time"] == "9d"
    assert watched.host.output("stat", "--format=%U", "/srv/celery-metrics/wal") == "prometheus"
    # Alerts reach the Alertmanager: none is lost at an address that answers nothing.
    sent = 'prometheus_notifications_sent_total{alertmanager="http://127.0.0.1:9093/api/v2/alerts"}'
    page = "import urllib.request as web; print(web.urlopen('http://127.0.0.1:9090/metrics').read().decode())"
    assert sent in watched.host.output("python3", "-c", page)
    status = "import urllib.request as web; print(web.urlopen('http://127.0.0.1:9093/api/v2/status').status)"
    assert watched.host.output("python3", "-c", status) == "200"


def test_mail_and_slack_are_delivered(watched: Monitored, tmp_path: Path) -> None:
    tls = make_certificates(tmp_path / "tls", watched.gateway)
    watched.host.put("/usr/local/share/ca-certificates/test.crt", tls.authority.read_text(encoding="utf-8"))
    watched.host.run("update-ca-certificates")
    # It has read what the host trusts when it started.
    watched.host.run("systemctl", "restart", "prometheus-alertmanager")
    summary, description = "The fleet web may not grow", "The fleet web has all its workers"
    runbook = "https://git.example.org/celery/blob/main/docs/runbooks/celery-at-ceiling.md"
    secret = f"{TOKEN}-of-slack"
    with mail_server(tls) as post, listening() as slack:
        mail = {
            "to": "team@example.com",
            "from": "alerts@example.com",
            "smarthost": f"{watched.gateway}:{post.port}",
            "username": "alerts",
            "password": PASSWORD,
        }
        channel = {"url": f"http://{watched.gateway}:{slack.port}/services/{secret}", "channel": "#celery"}
        watched.monitor(
            celery_monitoring_receivers=[{"name": "team", "fleets": ["web"], "mail": mail, "slack": channel}]
        )
        watched.host.run(
            *("amtool", "alert", "add", "--alertmanager.url=http://127.0.0.1:9093"),
            *("CeleryAtCeiling", "fleet=web", "severity=warning", "instance=app1"),
            *(f"--annotation=summary={summary}", f"--annotation=description={description}"),
            f"--annotation=runbook_url={runbook}",
        )
        journal = ("journalctl", "--no-pager", "--lines=20", "--unit=prometheus-alertmanager")
        wait_until(lambda: post.mail and slack.messages, 60, lambda: watched.host.output(*journal))
    [letter] = post.mail
    assert letter.to == ["team@example.com"]
    assert letter.login == ("alerts", PASSWORD)
    assert letter.message["From"] == "alerts@example.com"
    assert letter.message["Subject"].startswith("[FIRING:1] CeleryAtCeiling web")
    assert [part for part in (summary, description, runbook, "fleet = web") if part not in letter.text] == []
    [message] = slack.messages
    assert message["channel"] == "#celery"
    [shown] = message["attachments"]
    assert shown["title"] == "FIRING: CeleryAtCeiling"
    assert [part for part in (summary, description, f"<{runbook}|What to do>") if part not in shown["text"]] == []
    told = f"{letter.message} {letter.text} {message}"
    assert [one for one in (PASSWORD, secret, TOKEN) if one in told] == []
