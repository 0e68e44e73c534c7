# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What spares the cores in a run of the tests does not hide what is tested: a module is built of its files of now."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from muejam_bed.shell import CHECKOUT


@pytest.fixture
def sparing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plugin, for a checkout of one module and one file of its own."""
    path = CHECKOUT / "tests" / "bed" / "callback_plugins" / "sparing.py"
    spec = importlib.util.spec_from_file_location("sparing", path)
    assert spec is not None
    assert spec.loader is not None
    plugin: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    for name in ("modules/scale.py", "module_utils/fleet/keys.py"):
        file = tmp_path / "plugins" / name
        file.parent.mkdir(parents=True)
        file.write_text("KEY = 1\n", encoding="utf-8")
    monkeypatch.setattr(plugin, "CHECKOUT", tmp_path)
    monkeypatch.setattr(plugin.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    return plugin


def _same_size(file: Path) -> None:
    before = file.stat()
    file.write_text("KEY = 2\n", encoding="utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def _new(file: Path) -> None:
    file.with_name("more.py").write_text("", encoding="utf-8")


@pytest.mark.parametrize("name", ["modules/scale.py", "module_utils/fleet/keys.py"])
@pytest.mark.parametrize("change", [_same_size, _new, Path.unlink])
def test_changed_file_leads_to_other_modules(sparing: Any, tmp_path: Path, name: str, change: Any) -> None:
    before = sparing.shared_modules(tmp_path)
    assert sparing.shared_modules(tmp_path) == before
    change(tmp_path / "plugins" / name)
    assert sparing.shared_modules(tmp_path) != before


def test_modules_of_another_path_are_others(sparing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sparing.shared_modules(tmp_path)
    monkeypatch.setattr(sparing.constants, "COLLECTIONS_PATHS", [str(tmp_path)])
    assert sparing.shared_modules(tmp_path) != before


def test_what_ansible_built_is_kept_for_the_next(sparing: Any, tmp_path: Path) -> None:
    sparing.share_modules(tmp_path)
    cache = tmp_path / "ansiballz_cache"
    (cache / "module").touch()
    cache.unlink()
    sparing.share_modules(tmp_path)
    assert (cache / "module").exists()


def test_nothing_is_shared_without_locks_of_files(
    sparing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(sparing.module_common, "_locking")
    sparing.share_modules(tmp_path)
    assert not (tmp_path / "ansiballz_cache").exists()
