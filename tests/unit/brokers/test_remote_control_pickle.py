# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pickled answers are read, and nothing in them is run."""

from __future__ import annotations

import pickle
from collections import Counter, OrderedDict, deque
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.brokers.plain_pickle import plain_unpickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_are_read(protocol):
    answer = {"w@h": {"total": Counter({"a": 2}), "pool": {"processes": [1, 2]}, "share": 0.5, "name": "é", "no": None}}
    assert plain_unpickle(pickle.dumps(answer, protocol)) == answer


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_that_would_do_something_does_nothing(protocol, tmp_path):
    path = tmp_path / "touched"
    answer = plain_unpickle(pickle.dumps({"w@h": [Touch(path)]}, protocol))
    assert len(answer["w@h"]) == 1
    assert not path.exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects_of_the_app_are_counted(protocol):
    objects = [Decimal(1), datetime.now(timezone.utc), OrderedDict(a=1), deque([1, 2]), Path("x"), {1, 2}, object()]
    tasks = [{"args": [one]} for one in objects]
    assert len(plain_unpickle(pickle.dumps({"w@h": tasks}, protocol))["w@h"]) == len(tasks)
