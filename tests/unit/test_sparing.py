# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What spares the cores in a run of the tests does not hide what is tested: a module is built of its files of now."""

from __future__ import annotations

import base64
import importlib.util
import io
import os
import zipfile
import zipimport
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


def _value_of_part(archive: bytes, file: Path) -> object:
    file.write_bytes(archive)
    found: dict[str, object] = {}
    exec(zipimport.zipimporter(str(file)).get_code("part"), found)
    return found["VALUE"]


def test_modules_have_their_compiled_form_beside_the_source(
    sparing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = io.BytesIO()
    with zipfile.ZipFile(built, "w") as archive:
        archive.writestr("part.py", "VALUE = 1\n")
        archive.writestr("text.json", "{}")
    made = sparing.compiled(built.getvalue())
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.namelist() == ["part.py", "part.pyc", "text.json"]
        assert archive.read("part.py") == b"VALUE = 1\n"
        without_source = io.BytesIO()
        with zipfile.ZipFile(without_source, "w") as other:
            other.writestr("part.pyc", archive.read("part.pyc"))
    assert _value_of_part(without_source.getvalue(), tmp_path / "compiled.zip") == 1
    # A host with another Python takes the source.
    monkeypatch.setattr(importlib.util, "MAGIC_NUMBER", b"none")
    assert _value_of_part(sparing.compiled(built.getvalue()), tmp_path / "source.zip") == 1


def test_what_ansible_keeps_of_a_module_is_compiled(
    sparing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = sparing.module_common._CachedModule
    monkeypatch.setattr(kept, "dump", kept.dump)
    sparing.compile_modules()
    built = io.BytesIO()
    with zipfile.ZipFile(built, "w") as archive:
        archive.writestr("part.py", "VALUE = 1\n")
    module = kept(zip_data=base64.b64encode(built.getvalue()), metadata=None, source_mapping={})
    module.dump(str(tmp_path / "module"))
    loaded = kept.load(str(tmp_path / "module"))
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(loaded.zip_data))) as archive:
        assert archive.namelist() == ["part.py", "part.pyc"]
