# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role beat: what is refused, what a beat takes from its fleet, and what it is on a host and in a cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.muejam.celery.plugins.filter import beat as filters
from ansible_collections.muejam.celery.plugins.module_utils.fleet import beats, problems, spec
from ansible_collections.muejam.celery.plugins.plugin_utils import beat_role

ROLES = Path(__file__).parents[3] / "roles"
PASSWORD = "not-a-real-password"
WEB: dict[str, Any] = {
    "name": "web",
    "app": "shop.celery:app",
    "virtualenv": "/srv/shop/venv",
    "working_directory": "/srv/shop",
    "broker_url": f"redis://:{PASSWORD}@h/0",
    "environment": {"SHELF": "a-%i", "TOKEN": PASSWORD},
}
OWN_COMMAND = {
    "name": "flow",
    "command": ["/srv/flow/bin/airflow", "celery", "worker", "--celery-hostname", "flow-%i@%H"],
    "broker_url": "redis://h/0",
}
PLACE = {"hosts": ["app1", "app2"], "host": "app1", "here": "app1"}


def fleets(*own: dict[str, Any], platform: str = "systemd") -> list[spec.Fleet]:
    return spec.resolve(own or [WEB], platform=platform)


def found(*beats: Any, of: list[spec.Fleet] | None = None, platform: str = "systemd", **place: Any) -> list[str]:
    return filters.beat_problems(list(beats), of or fleets(), {**PLACE, **place}, platform)


def resolved(of: list[spec.Fleet] | None = None, **own: Any) -> beat_role.Beat:
    return filters.resolve_beats([{"fleet": "web", **own}], of or fleets(), "app1")[0]


def test_good_ones_have_no_fault() -> None:
    assert found() == []
    assert found({"fleet": "web"}) == []
    assert found({"fleet": "web", "host": "app2", "scheduler": "redbeat.RedBeatScheduler", "watchdog": 0}) == []
    # Elsewhere the fleet need not be described.
    assert found({"fleet": "web"}, of=fleets(OWN_COMMAND), here="app2") == []
    other = {**WEB, "name": "blog", "app": "blog"}
    assert found({"fleet": "web"}, {"fleet": "blog"}, of=fleets(WEB, other)) == []


@pytest.mark.parametrize(
    ("beat", "says"),
    [
        ("web", "celery_beats[0]: must be a dictionary, is a text"),
        ({}, "celery_beats[0].fleet: missing"),
        ({"fleet": "web", "schedler": "x"}, "celery_beats[0].schedler: unknown key, did you mean scheduler?"),
        ({"fleet": "web", "host": "app3"}, "celery_beats[0].host: app3 is none of celery_beat_hosts: app1, app2"),
        ({"fleet": "web", "watchdog": 20}, "celery_beats[0].watchdog: 20 s is shorter than an attempt to connect"),
        ({"fleet": "web", "extra_args": ["-S", "django"]}, "celery_beats[0].extra_args[0]: -S: use the key scheduler"),
        ({"fleet": "web", "extra_args": ["-Sdjango"]}, "extra_args[0]: -S: use the key scheduler"),
        ({"fleet": "web", "extra_args": ["--loglevel=INFO"]}, "extra_args[0]: --loglevel: use the key log_level"),
        ({"fleet": "web", "volume_claim": "x"}, "celery_beats[0].volume_claim: has no meaning on systemd"),
        ({"fleet": "wbe"}, "there is no fleet wbe in celery_worker_fleets (there are: web)"),
        ({"fleet": "web", "environment": {"NOTIFY_SOCKET": "x"}}, "environment.NOTIFY_SOCKET: is not yours to set"),
    ],
)
def test_a_fault_is_told_with_its_place(beat: Any, says: str) -> None:
    [fault] = found(beat)
    assert says in fault


def test_two_senders_of_the_same_are_refused() -> None:
    assert found({"fleet": "web"}, {"fleet": "web"})[0] == (
        "celery_beats[1].fleet: web has a beat in celery_beats[0] already, keep one"
    )
    twin = {**WEB, "name": "mail"}
    [fault] = found({"fleet": "web"}, {"fleet": "mail"}, of=fleets(WEB, twin))
    assert fault.startswith(
        "celery_beats[1].fleet: has the same app as celery_beats[0], and both would send everything"
    )
    sender = {**twin, "extra_args": ["-B"]}
    assert problems.find([WEB, sender]) == []
    [fault] = found({"fleet": "web"}, of=fleets(WEB, sender))
    assert "fleet mail has --beat in extra_args for the same app" in fault
    assert found({"fleet": "web"}, of=fleets(WEB, {**sender, "app": "blog"})) == []


def on_each(given: list[dict[str, Any]], *own: dict[str, Any], moved_to: str = "app1") -> list[str]:
    """What two hosts say of beats and fleets that both have."""
    noted = {}
    for here in ("app1", "app2"):
        assert found(*given, of=fleets(*own), host=moved_to, here=here) == []
        runs = [one for one in filters.resolve_beats(given, fleets(*own), moved_to) if one["host"] == here]
        noted[here] = beats.senders(fleets(*own), [one for one in runs if one["state"] == "present"])
    assert PASSWORD not in str(noted)
    return beats.of_hosts(noted)


def test_two_beats_of_an_app_on_two_hosts_are_refused() -> None:
    twin = {**WEB, "name": "mail"}
    given = [{"fleet": "web"}, {"fleet": "mail", "host": "app2"}]
    [fault] = on_each(given, WEB, twin)
    assert fault.startswith(
        "shop.celery:app: app1 (beat of fleet web) and app2 (beat of fleet mail) would each send everything that is "
        "scheduled: keep one. Take the others out of celery_beats"
    )
    assert on_each(given, WEB, {**twin, "app": "blog"}) == []
    assert on_each([given[0], {**given[1], "state": "absent"}], WEB, twin) == []
    # It moves by the inventory.
    assert on_each([{"fleet": "web"}], moved_to="app2") == []


def test_a_beat_beside_workers_that_send_on_another_host_is_refused() -> None:
    mine = filters.resolve_beats([{"fleet": "web"}], fleets(), "app1")
    noted = {"app1": beats.senders(fleets(), mine), "app2": beats.senders(fleets({**WEB, "extra_args": ["-B"]}))}
    [fault] = beats.of_hosts(noted)
    assert "app1 (beat of fleet web) and app2 (fleet web, extra_args) would each send" in fault


def test_a_fleet_with_a_command_of_its_own_has_no_app_to_beat_for() -> None:
    [fault] = found({"fleet": "flow"}, of=fleets(OWN_COMMAND))
    assert "flow has a command of its own, and beat needs an app" in fault


def test_the_unit_runs_one_beat_with_the_fleets_environment() -> None:
    beat = resolved(scheduler="django", max_interval=30, environment={"TOKEN": "another"}, extra_args=["--quiet", "%i"])
    service = filters.FilterModule().filters()["beat_service"](beat)
    assert service["exec_start"] == (
        "/srv/shop/venv/bin/celery -A shop.celery:app beat --loglevel=INFO "
        "--scheduler=muejam_celery_lifecycle.beat:scheduler --schedule=/var/lib/celery-beat/web/schedule "
        "--max-interval=30 --quiet %%i"
    )
    variables = dict(line.split("=", 1) for line in service["file_environment"])
    assert variables["CELERY_BROKER_URL"] == f'"redis://:{PASSWORD}@h/0"'
    assert variables["CELERY_LIFECYCLE_BEAT_SCHEDULER"] == '"django"'
    assert variables["TOKEN"] == '"another"'
    assert variables["SHELF"] == '"a-beat"'
    assert variables["PYTHONPATH"] == '"/opt/muejam-celery/worker"'
    assert "CELERY_LIFECYCLE_STATUS_FILE" not in variables
    assert PASSWORD not in service["exec_start"]


def test_settings_of_the_fleet_are_those_of_beat() -> None:
    of = fleets({**WEB, "celery_settings": {"task_default_queue": "mail"}})
    assert 'task.default_queue=(json)\\"mail\\"' in beat_role.service(resolved(of))["exec_start"]


def objects(**own: Any) -> dict[str, Any]:
    shop = {
        "name": "web",
        "app": "shop",
        "image": "shop:1",
        "broker_url": WEB["broker_url"],
        "memory_max": "4G",
        "pod_options": {"metadata": {"labels": {"team": "shop"}}},
    }
    of = fleets(shop, platform="kubernetes")
    assert found({"fleet": "web", **own}, of=of, platform="kubernetes") == []
    made = filters.beat_objects_of(resolved(of, **own), "shop", {"beat.py": "", "__init__.py": ""})
    assert [one["kind"] for one in made][-1] == "Deployment"
    return {one["kind"]: one for one in made}


def test_in_a_cluster_it_is_one_pod_that_is_gone_before_the_next_one() -> None:
    made = objects(memory_max="256M", start_timeout=60, watchdog=90)
    assert {one["metadata"]["name"] for one in made.values()} == {"celery-beat-web"}
    spec_ = made["Deployment"]["spec"]
    assert (spec_["replicas"], spec_["strategy"]) == (1, {"type": "Recreate"})
    selected = {"app.kubernetes.io/name": "celery-beat", "app.kubernetes.io/instance": "web"}
    assert spec_["selector"]["matchLabels"] == selected
    assert selected.items() <= spec_["template"]["metadata"]["labels"].items()
    pod = spec_["template"]["spec"]
    [container] = pod["containers"]
    assert container["command"][4:8] == ["celery", "-A", "shop", "beat"]
    assert container["envFrom"] == [{"secretRef": {"name": "celery-beat-web"}}]
    assert pod["serviceAccountName"] == "celery-beat-web"
    assert {"name": "lifecycle", "configMap": {"name": "celery-beat-web"}} in pod["volumes"]
    assert "/var/lib/celery-beat/web" in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["resources"]["limits"] == {"memory": "256Mi"}
    assert container["livenessProbe"]["failureThreshold"] == 9
    # Nobody takes it for a worker.
    assert '"celery-worker"' not in str(made).replace("'", '"').replace('"celery-worker", "celery"', "")
    assert PASSWORD not in str({kind: one for kind, one in made.items() if kind != "Secret"})


def test_its_schedule_may_be_kept_on_a_volume() -> None:
    pod = objects(volume_claim="shop-beat")["Deployment"]["spec"]["template"]["spec"]
    [claimed] = [one for one in pod["volumes"] if "persistentVolumeClaim" in one]
    assert claimed["persistentVolumeClaim"] == {"claimName": "shop-beat"}
    [mount] = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == claimed["name"]]
    assert mount["mountPath"] == "/var/lib/celery-beat/web"


def test_what_goes_is_all_that_can_have_been_there() -> None:
    made = {(one["apiVersion"], one["kind"]) for one in objects().values()}
    gone = filters.beat_leftovers(["web"], "shop")
    assert {(one["apiVersion"], one["kind"]) for one in gone} == made
    assert {one["metadata"]["name"] for one in gone} == {"celery-beat-web"}


@pytest.mark.parametrize("role", ["beat", "flower"])
def test_every_default_is_described_and_no_other(role: str) -> None:
    described = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    defaults = yaml.safe_load((ROLES / role / "defaults/main.yml").read_text())
    assert described.keys() == defaults.keys()
    for name, option in described.items():
        # What is reckoned from the inventory is described in words.
        assert option.get("default", defaults[name]) == defaults[name]
        assert option["description"]


def test_what_roles_share_has_the_same_defaults_everywhere() -> None:
    shared = yaml.safe_load((ROLES / "_common/defaults/main.yml").read_text())
    worker = yaml.safe_load((ROLES / "worker/defaults/main.yml").read_text())
    assert shared.items() <= worker.items()


def test_the_example_of_the_readme_is_good() -> None:
    readme = (ROLES / "beat/README.md").read_text(encoding="utf-8")
    example = yaml.safe_load(re.sub(r"{{.*?}}", "x", re.findall(r"```yaml\n(.*?)```", readme, re.S)[0]))
    workers = example["celery_workers"]
    own = workers["vars"]
    assert problems.find(own["celery_worker_fleets"]) == []
    hosts = list(workers["hosts"])
    place = {"hosts": hosts, "host": own["celery_beat_host"], "here": hosts[0]}
    assert filters.beat_problems(own["celery_beats"], spec.resolve(own["celery_worker_fleets"]), place, "systemd") == []
