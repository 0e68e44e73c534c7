# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requirements of a virtual environment are judged by its files, as pip would judge them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.deploy.requirements import unmet

INSTALLED = {
    "celery-5.7.0": [
        "kombu>=5.6",
        'redis<9,>=4.5; extra == "redis"',
        'boto3; extra == "sqs"',
        'old; python_version < "3"',
    ],
    "kombu-5.7.0": ["vine==5.1.0"],
    "vine-5.1.0": ["celery"],
    "redis-8.1.0": [],
    "Some_Thing-1.0rc1": [],
}


@pytest.fixture
def virtualenv(tmp_path: Path) -> Path:
    """A virtual environment, as far as its files tell."""
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.2\n")
    for name, required in INSTALLED.items():
        folder = tmp_path / f"lib/python3.11/site-packages/{name}.dist-info"
        folder.mkdir(parents=True)
        lines = [f"Name: {name}", *(f"Requires-Dist: {one}" for one in required)]
        (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))
    return tmp_path


@pytest.mark.parametrize(
    "met",
    [
        "celery",
        "celery[redis]==5.7.0",
        "Celery>=5,<6",
        "some.thing",
        'absent; python_version < "3.11"',
        'celery; python_version == "3.11"',
    ],
)
def test_met(virtualenv: Path, met: str) -> None:
    assert unmet(virtualenv, [met]) == []


@pytest.mark.parametrize(
    "requirement",
    [
        "celery==5.6.0",
        "celery[sqs]",
        "absent",
        "celery @ https://example.com/celery.tar.gz",
        "git+https://example.com/celery.git",
        "/srv/shop",
        "-r requirements.txt",
        "",
    ],
)
def test_unmet_or_not_to_be_judged(virtualenv: Path, requirement: str) -> None:
    assert unmet(virtualenv, ["celery", requirement]) == [requirement]


def test_what_something_required_requires_counts(virtualenv: Path) -> None:
    (virtualenv / "lib/python3.11/site-packages/vine-5.1.0.dist-info").rename(virtualenv / "gone")
    assert unmet(virtualenv, ["celery", "redis"]) == ["celery"]


def test_where_there_is_no_environment_nothing_is_met(tmp_path: Path) -> None:
    assert unmet(tmp_path / "none", ["celery"]) == ["celery"]
