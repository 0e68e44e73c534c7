# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a virtual environment has what it shall have: asked without pip, which takes seconds to say so."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any


def unmet(virtualenv: Path, requirements: Sequence[str]) -> list[str]:
    """The requirements that the environment does not meet, with all that they require in turn.

    Only its files are read, and nothing of it is run. What cannot be judged here, such as a path or the address of a
    repository, counts as unmet: pip knows.
    """
    parse = _parser()
    found = virtualenv.glob("lib/python3*/site-packages/*.dist-info")
    installed = {_normal(_name_and_version(path)[0]): path for path in found}
    if parse is None or not installed:
        return list(requirements)
    judge = _Judge(parse, installed, _python(virtualenv))
    return [requirement for requirement in requirements if not judge.meets(requirement)]


class _Judge:
    def __init__(self, parse: Any, installed: Mapping[str, Path], python: Mapping[str, str]) -> None:
        self._parse = parse
        self._installed = installed
        self._python = python
        self._seen: set[tuple[str, str]] = set()

    def meets(self, text: str, extras_of_owner: Collection[str] = ("",)) -> bool:
        try:
            wanted = self._parse(text)
        except Exception:  # of a class that differs by where the parser comes from
            return False
        if wanted.marker is not None and not any(
            wanted.marker.evaluate({**self._python, "extra": extra}) for extra in extras_of_owner
        ):
            return True
        path = self._installed.get(_normal(wanted.name))
        if path is None or wanted.url:
            return False
        if not wanted.specifier.contains(_name_and_version(path)[1], prereleases=True):
            return False
        return all(self._extra_met(path, extra) for extra in ("", *sorted(wanted.extras)))

    def _extra_met(self, path: Path, extra: str) -> bool:
        key = (path.name, extra)
        if key in self._seen:
            return True
        self._seen.add(key)
        required = importlib.metadata.Distribution.at(path).requires or []
        return all(self.meets(one, {"", extra}) for one in required)


def _parser() -> Any:
    # Where neither is, ansible.builtin.pip could not compare versions either.
    for name in ("packaging.requirements", "pkg_resources.extern.packaging.requirements"):
        try:
            return importlib.import_module(name).Requirement
        except ImportError:
            continue
    return None


def _name_and_version(path: Path) -> tuple[str, str]:
    name, _dash, version = path.name[: -len(".dist-info")].rpartition("-")
    return name, version


def _python(virtualenv: Path) -> dict[str, str]:
    """The version of the environment's Python, which may be another one than runs this."""
    try:
        text = (virtualenv / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return {}
    found = re.search(r"^version\s*=\s*((\d+\.\d+)[.\w]*)", text, re.M)
    return {"python_full_version": found[1], "python_version": found[2]} if found else {}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
