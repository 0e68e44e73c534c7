# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of KEDA's source, on a small one of the same form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from muejam_bed.shell import BedError
from muejam_cluster import keda_source

FILES = (
    *("pkg/scalers/scaler.go", "pkg/scalers/redis_scaler.go", "pkg/scalers/redis_scaler_test.go"),
    *("pkg/scalers/kafka_scaler.go", "pkg/scalers/aws/a.go", "pkg/scalers/azure/b.go", "pkg/scalers/gcp/c.go"),
    *("pkg/eventemitter/eventemitter.go", "pkg/eventemitter/azure_event_grid_topic_handler.go"),
    *(f"pkg/scaling/resolver/{name}_handler.go" for name in ("aws_secretmanager", "azure_keyvault")),
    *("pkg/scaling/resolver/gcp_secretmanager_handler.go", "pkg/scaling/resolver/hashicorpvault_handler.go"),
)
LIST = "pkg/scaling/scalers_builder.go"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A module of KEDA's form, which may not be written to."""
    module = tmp_path / "keda"
    cases = "".join(f'\tcase "{each}":\n\t\treturn scalers.New(config)\n' for each in ("kafka", *keda_source.TRIGGERS))
    for name in (*FILES, LIST):
        path = module / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"switch {{\n{cases}\tdefault:\n}}\n" if name == LIST else "package x\n", encoding="utf-8")
        path.chmod(0o444)
    return module


def names(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*.go")}


def test_what_needs_clouds_is_left_out_and_stood_in_for(source: Path, tmp_path: Path) -> None:
    keda_source.write(source, tmp_path / "new")
    kept = {LIST, *FILES[:2], "pkg/eventemitter/eventemitter.go", "pkg/scaling/resolver/hashicorpvault_handler.go"}
    assert names(tmp_path / "new") == kept | names(keda_source.STANDING_IN)
    listed = re.findall('case "(.*)"', (tmp_path / "new" / LIST).read_text(encoding="utf-8"))
    assert listed == list(keda_source.TRIGGERS)
    assert "default:" in (tmp_path / "new" / LIST).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["pkg/scaling/resolver/azure_keyvault_handler.go", LIST])
def test_another_form_is_told(source: Path, tmp_path: Path, name: str) -> None:
    if name == LIST:
        (source / name).chmod(0o644)
        (source / name).write_text("nothing that is known", encoding="utf-8")
    else:
        (source / name).unlink()
    with pytest.raises(BedError, match=re.escape(name)):
        keda_source.write(source, tmp_path / "new")
