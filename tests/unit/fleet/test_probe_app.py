# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe of an app, run as the role runs it, on real apps that are broken in the ways that apps are."""

from __future__ import annotations

import getpass
import grp
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import known_schemes

FILES = Path(__file__).parents[3] / "roles/worker/files"
PROBE = (FILES / "run_texts.py").read_text(encoding="utf-8")
TEXTS = {
    package: {path.name: path.read_text(encoding="utf-8") for path in (FILES / package).glob("*.py")}
    for package in ("muejam_celery_probe", "muejam_celery_lifecycle")
}
APP = "from celery import Celery\napp = Celery('proj')\n"


def probe(directory: Path, files: dict[str, str], **request: Any) -> dict[str, Any]:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    whole = {
        "app": "proj",
        "pool": "prefork",
        "python": sys.executable,
        "user": getpass.getuser(),
        "group": grp.getgrgid(os.getgid()).gr_name,
        "directory": str(directory),
        "environment": {"CELERY_BROKER_URL": "redis://:not-a-real-password@127.0.0.1/0", "PATH": "/usr/bin:/bin"},
        "include": None,
        "settings": {},
        "setting_arguments": [],
        "timeout": 60,
        "queues": [],
        "schemes": known_schemes(),
        "makes": [],
        "needs": [],
        "rehearsal": False,
        "texts": TEXTS,
        **request,
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE, PROBE], input=json.dumps(whole), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert "not-a-real" not in done.stdout + done.stderr
    return dict(answer)


def test_a_good_app_has_no_problem_and_tells_its_limits(tmp_path: Path) -> None:
    settings = (
        "app.conf.update(task_time_limit=60, broker_transport_options={'visibility_timeout': 99})\nprint('noise')"
    )
    answer = probe(tmp_path, {"proj.py": APP + settings})
    assert answer["problems"] == []
    assert (answer["app_time_limit"], answer["app_visibility_timeout"]) == (60, 99)
    assert answer["celery"].startswith("5.")


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"proj.py": APP}, "proj"),
        ({"proj.py": APP}, "proj:app"),
        ({"proj.py": APP}, "proj.app"),
        ({"proj.py": APP.replace("app =", "other =")}, "proj"),
        ({"proj/__init__.py": "", "proj/celery.py": APP}, "proj"),
        # The `celery` command looks in the current directory for the app alone.
        ({"proj.py": APP, "celery.py": "raise ImportError\n"}, "proj"),
        ({"proj/__init__.py": "from .celery import app\n", "proj/celery.py": APP}, "proj.celery:app"),
    ],
)
def test_apps_are_found_where_celery_finds_them(tmp_path: Path, files: dict[str, str], name: str) -> None:
    assert probe(tmp_path, files, app=name)["problems"] == []


@pytest.mark.parametrize(
    ("files", "request_", "says"),
    [
        ({}, {}, ["app: there is no module proj", "working_directory"]),
        (
            {"proj.py": "import foo_missing\n" + APP},
            {},
            ["No module named 'foo_missing' while importing proj", "line 1"],
        ),
        (
            {
                "proj/__init__.py": "",
                "proj/celery.py": "from proj.tasks import x\n",
                "proj/tasks.py": "import nope_x\n",
            },
            {"app": "proj.celery"},
            ["No module named 'nope_x' while importing proj.celery", "tasks.py, line 1"],
        ),
        ({"proj.py": "from os import nonesuch\n" + APP}, {}, ["cannot import name 'nonesuch'", "proj.py, line 1"]),
        ({"proj.py": APP}, {"app": "proj:other"}, ["app: there is no Celery app at proj:other"]),
        ({"proj.py": "x = 1\n"}, {}, ["app: there is no Celery app at proj:", "such as proj:app"]),
        ({"proj.py": "x = 1\n"}, {"app": "proj:x"}, ["app: proj:x is no Celery app but a int"]),
        (
            {"proj/__init__.py": "", "proj/celery.py": "import nope_y\n"},
            {},
            ["No module named 'nope_y' while importing proj", "celery.py, line 1"],
        ),
        ({"proj.py": "def f(:\n"}, {}, ["SyntaxError", "while importing proj"]),
        ({"proj.py": "1 / 0\n"}, {}, ["ZeroDivisionError", "proj.py, line 1"]),
        ({"proj.py": "None.x\n"}, {}, ["NoneType", "proj.py, line 1"]),
        (
            {"proj.py": "import os; raise RuntimeError(os.environ['CELERY_BROKER_URL'])\n"},
            {},
            ["RuntimeError: ********"],
        ),
        ({"proj.py": "import os; print('bye', flush=True); os._exit(3)\n"}, {}, ["ended with code 3", "bye"]),
        ({"proj.py": "import time; time.sleep(60)\n"}, {"timeout": 2}, ["longer than start_timeout, 2 s"]),
        ({"proj.py": APP}, {"python": "/nonexistent/python"}, ["user: cannot run /nonexistent/python"]),
        (
            {"proj.py": APP},
            {"include": "lifecycle", "texts": {**TEXTS, "lifecycle": {"__init__.py": "import nope_z"}}},
            ["notify: lifecycle cannot be loaded"],
        ),
        (
            {"proj.py": APP + "app.conf.broker_read_url = 'redis://127.0.0.2/3'\n"},
            {},
            ["broker_url: the app insists on another broker"],
        ),
        (
            {"proj.py": APP},
            {"settings": {"task_akcs_late": True}, "setting_arguments": ["task.akcs_late=(json)true"]},
            ["celery_settings.task_akcs_late: neither celery nor the app knows"],
        ),
        (
            {"proj.py": APP, "gevent.py": "raise ImportError('No module named gevent')\n"},
            {"pool": "gevent", "environment": {"CELERY_BROKER_URL": "redis://h", "PYTHONPATH": "."}},
            ["pool: gevent cannot be imported by"],
        ),
        (
            {"proj.py": APP, "celery.py": "raise ImportError('No module named celery')\n"},
            {"environment": {"CELERY_BROKER_URL": "redis://h", "PYTHONPATH": "."}},
            ["environment.PYTHONPATH: ", "celery.py is taken for the library celery", "rename it"],
        ),
        (
            {"proj.py": APP, "kombu/__init__.py": ""},
            {"environment": {"CELERY_BROKER_URL": "redis://h", "PYTHONPATH": "."}},
            ["environment.PYTHONPATH: ", "kombu/__init__.py is taken for the library kombu"],
        ),
        ({"celery.py": APP}, {"app": "celery"}, ["app: celery is the library itself", "proj.celery"]),
        (
            {"proj.py": "from urllib.parse import urlsplit\nurlsplit('redis://:not-a-real#-password@h').port\n"},
            {},
            ["ValueError: Port could not be cast to integer value as ********"],
        ),
        (
            {"proj.py": "raise OSError('cannot reach redis://u:not-a-real/#-password@h')\n"},
            {},
            ["OSError: cannot reach redis://u:********@h"],
        ),
        (
            {"proj.py": "import os; raise OSError(os.environ['BROKER_ADDRESS'][14:24])\n"},
            {"environment": {"CELERY_BROKER_URL": "redis://h", "BROKER_ADDRESS": "amqp://u:host#not-a-real@h"}},
            ["OSError: ********"],
        ),
    ],
)
def test_a_broken_app_is_told_apart(
    tmp_path: Path, files: dict[str, str], request_: dict[str, Any], says: list[str]
) -> None:
    problems = probe(tmp_path, files, **request_)["problems"]
    assert len(problems) == 1, problems
    for part in says:
        assert part in problems[0]


def test_settings_arrive_in_the_app(tmp_path: Path) -> None:
    answer = probe(
        tmp_path,
        {"proj.py": APP},
        settings={"task_acks_late": True, "task_routes": {"a.*": {"queue": "b"}}},
        setting_arguments=["task.acks_late=(json)true", 'task.routes=(json){"a.*": {"queue": "b"}}'],
    )
    assert answer["problems"] == []


def test_a_rehearsal_says_what_is_missing(tmp_path: Path) -> None:
    answer = probe(tmp_path, {}, needs=[str(tmp_path / "python")], rehearsal=True)
    assert answer == {"problems": [], "missing": [str(tmp_path / "python")]}


DJANGO = (
    "from celery import Celery\n"
    "class Settings:\n"
    "    CELERY_BROKER_URL = 'redis://:app-password@shop.example.com/3'\n"
    "    CELERY_TASK_DEFAULT_QUEUE = 'shop'\n"
    "    CELERY_WORKER_ENABLE_REMOTE_CONTROL = False\n"
    "    CELERY_TASK_DEFAULT_PRIORITY = 4\n"
    "    CELERY_CONTROL_EXCHANGE = 'control'\n"
    "    CELERY_BROKER_TRANSPORT_OPTIONS = {'sep': ':', 'priority_steps': range(0, 9, 4), \n"
    "        'global_keyprefix': 'shop:',\n"
    "        'visibility_timeout': 99, 'queue_order_strategy': 'priority',\n"
    "        'sentinel_kwargs': {'password': 'sentinels'}}\n"
    "app = Celery('proj')\n"
    "app.config_from_object(Settings, namespace='CELERY')\n"
)
LIFECYCLE = {"include": "muejam_celery_lifecycle"}


def test_an_app_tells_what_it_sets_for_the_transport(tmp_path: Path) -> None:
    answer = probe(tmp_path, {"proj.py": DJANGO})
    assert answer["problems"] == []
    assert answer["transport_options"] == {
        "global_keyprefix": "shop:",
        "priority_steps": [0, 4, 8],
        "queue_order_strategy": "priority",
        "sep": ":",
        "visibility_timeout": 99,
    }
    assert (answer["queues"], answer["remote_control"], answer["sets_priorities"]) == (["shop"], False, True)
    assert answer["other_broker"] == "redis://shop.example.com:6379/3"
    assert (answer["app_visibility_timeout"], answer["app"]) == (99, "proj")
    assert (answer["control_exchange"], answer["event_exchange"]) == ("control", "celeryev")


def test_a_plain_app_tells_that_it_sets_nothing(tmp_path: Path) -> None:
    answer = probe(tmp_path, {"proj.py": APP})
    assert (answer["transport_options"], answer["queues"], answer["sets_priorities"]) == ({}, ["celery"], False)
    assert (answer["remote_control"], answer["other_broker"]) == (True, None)


def test_the_lifecycle_module_need_not_be_on_the_host(tmp_path: Path) -> None:
    assert probe(tmp_path, {"proj.py": APP}, **LIFECYCLE)["problems"] == []


def environment(**variables: str) -> dict[str, str]:
    return {"CELERY_BROKER_URL": "redis://:not-a-real-password@127.0.0.1/0", "PATH": "/usr/bin:/bin", **variables}


def test_the_fleets_options_are_in_force_or_it_is_a_problem(tmp_path: Path) -> None:
    request = {**LIFECYCLE, "environment": environment(CELERY_LIFECYCLE_TRANSPORT_OPTIONS='{"visibility_timeout": 7}')}
    assert probe(tmp_path, {"proj.py": DJANGO}, **request)["problems"] == []
    stubborn = (
        "from celery import Celery\n"
        "class Stubborn(Celery):\n"
        "    def connection_for_read(self, url=None, **more):\n"
        "        return super().connection_for_read(url, transport_options={'visibility_timeout': 99}, **more)\n"
        "app = Stubborn('proj')\n"
    )
    (problem,) = probe(tmp_path, {"proj.py": stubborn}, **request)["problems"]
    assert problem.startswith("broker_transport_options.visibility_timeout: 99 is in force, not 7")


def test_a_queue_that_the_app_may_not_make_is_a_problem(tmp_path: Path) -> None:
    strict = APP + "app.conf.task_create_missing_queues = False\napp.conf.task_default_queue = 'shop'\n"
    (problem,) = probe(tmp_path, {"proj.py": strict}, queues=["shop", "nope"])["problems"]
    assert problem.startswith("queues: the app does not know nope, and task_create_missing_queues is off")
    assert problem.endswith("it knows shop")


def test_what_the_role_makes_is_not_blamed_on_the_app(tmp_path: Path) -> None:
    python = str(tmp_path / "venv/bin/python")
    assert probe(tmp_path, {}, makes=[python], python=python) == {"problems": [], "missing": [python]}
    assert probe(tmp_path, {"proj.py": APP}, user="nobody-such")["missing"] == ["user nobody-such"]
