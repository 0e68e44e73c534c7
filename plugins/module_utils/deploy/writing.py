# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put files and directories in place: what is right is left alone, what is not is written whole."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.deploy import tree
from ansible_collections.muejam.celery.plugins.module_utils.deploy.commands import run
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.redaction import redact
from ansible_collections.muejam.celery.plugins.module_utils.whole_files import write_whole

HIDDEN = "(secret, not shown)\n"


@dataclass(frozen=True)
class Place:
    """A directory, or what a file has in common with one."""

    path: str
    owner: str
    group: str
    mode: int


@dataclass(frozen=True)
class File(Place):
    """A file.

    :ivar secret: whether no diff shows it.
    :ivar unit: name under which systemd is asked whether it takes the text as a unit; empty is no unit.
    :ivar validate: command that ends with 0 when the text is right; C(%s) in it stands for a file with the text.
    :ivar label: how messages call it.
    """

    text: str = ""
    secret: bool = False
    unit: str = ""
    validate: Sequence[str] = ()
    label: str = ""


@dataclass
class Written:
    """What was changed, or would be.

    :ivar diff: as Ansible shows differences.
    """

    paths: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)

    def note(self, path: str, before: str, after: str) -> None:
        """Add a change."""
        self.paths.append(path)
        self.diff.append({"before_header": path, "after_header": path, "before": before, "after": after})


def put(
    directories: Sequence[Place],
    trees: Mapping[str, Mapping[str, str]],
    files: Sequence[File],
    check: bool,
) -> Written:
    """Put all of it in place, or with C(check) only say what would be. Nothing is written where a text is refused.

    :raises OperationError: when a text is refused, or something cannot be written.
    """
    present = [_text_on_disk(one.path) for one in files]
    refused = list(_refused([one for one, before in zip(files, present) if before != one.text], check))
    if refused:
        raise OperationError("write files", "; ".join(refused), "Nothing was written.", refused=refused)
    written = Written()
    for place in directories:
        _put_directory(place, written, check)
    for directory, wanted in trees.items():
        _put_tree(Path(directory), wanted, written, check)
    for one, before in zip(files, present):
        _put_file(one, before, written, check)
    return written


def _put_directory(place: Place, written: Written, check: bool) -> None:
    path = Path(place.path)
    if not path.is_dir():
        written.note(place.path, "", f"directory of {place.owner}:{place.group}, mode {place.mode:04o}\n")
        if not check:
            _tried(place.path, lambda: path.mkdir(mode=0o700, parents=True))
            _give(place, path)
    else:
        _correct(place, path, written, check)


def _put_tree(root: Path, wanted: Mapping[str, str], written: Written, check: bool) -> None:
    present = tree.texts(root)
    write = sorted(path for path, text in wanted.items() if present.get(path) != text)
    remove = sorted(present.keys() - wanted.keys())
    lines = [*(f"write {path}\n" for path in write), *(f"remove {path}\n" for path in remove)]
    if not lines:
        return
    # Their texts would be thousands of lines.
    written.note(str(root), "", "".join(lines))
    if check:
        return
    for path in remove:
        (root / path).unlink()
    for path in write:
        place = root / path
        for parent in reversed(place.parents):
            if not parent.exists():
                parent.mkdir()
                parent.chmod(0o755)
        # Somebody may import from here at this moment: he sees the old file or the new one, whole.
        write_whole(place, wanted[path], 0o644)


def _put_file(wanted: File, before: str | None, written: Written, check: bool) -> None:
    path, after = Path(wanted.path), wanted.text
    if before == after:
        _correct(wanted, path, written, check)
        return
    if wanted.secret:
        before, after = ("", HIDDEN) if before is None else (HIDDEN, "(another secret, not shown)\n")
    written.note(wanted.path, before or "", after)
    if not check:
        _tried(wanted.path, lambda: write_whole(path, wanted.text, wanted.mode, _ids(wanted)))


def _correct(place: Place, path: Path, written: Written, check: bool) -> None:
    """Give a file or a directory that is there its owner, group and mode."""
    found = path.stat()
    try:
        owner, group = _ids(place)
    except OperationError:
        # A user that a rehearsal has not created cannot own anything.
        if check:
            return
        raise
    if (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != (owner, group, place.mode):
        before = f"owner {found.st_uid}, group {found.st_gid}, mode {stat.S_IMODE(found.st_mode):04o}\n"
        written.note(place.path, before, f"owner {owner}, group {group}, mode {place.mode:04o}\n")
        if not check:
            _give(place, path)


def _give(place: Place, path: Path) -> None:
    owner, group = _ids(place)
    os.chown(path, owner, group)
    path.chmod(place.mode)


def _ids(place: Place) -> tuple[int, int]:
    try:
        return pwd.getpwnam(place.owner).pw_uid, grp.getgrnam(place.group).gr_gid
    except KeyError as error:
        raise OperationError(f"give {place.path} its owner", error, "Create the user and the group first.") from None


def _text_on_disk(path: str) -> str | None:
    """What is there, none where there is no plain file: a link is replaced, and what it points to is left alone."""
    try:
        plain = stat.S_ISREG(os.lstat(path).st_mode)
        return Path(path).read_text(encoding="utf-8", errors="replace") if plain else None
    except (FileNotFoundError, NotADirectoryError):
        return None


def _tried(path: str, act: Any) -> None:
    try:
        act()
    except OSError as error:
        raise OperationError(
            f"write {path}", error, "Check that nothing else is in its place, and that its disk has space."
        ) from None


def _refused(files: Sequence[File], check: bool) -> Iterator[str]:
    if not any(one.unit or one.validate for one in files):
        return
    # Nobody else can look into it: the texts may be secret.
    with tempfile.TemporaryDirectory(prefix="muejam-celery-") as scratch:
        yield from _refused_units([one for one in files if one.unit], Path(scratch))
        for number, one in enumerate(files):
            # In a rehearsal the program on the host may be missing, or an older one than would try it.
            if one.validate and not check:
                yield from _refused_by_command(one, Path(scratch, str(number)))


def _refused_units(files: Sequence[File], scratch: Path) -> Iterator[str]:
    """What systemd has to say of units: at a start it merely warns of a directive that it does not know."""
    if not files:
        return
    for one in files:
        (scratch / one.unit).write_text(one.text, encoding="utf-8")
    try:
        checked = run(["systemd-analyze", "verify", *(str(scratch / one.unit) for one in files)])
    except FileNotFoundError as error:
        raise OperationError(
            "check units with systemd-analyze", error, "Install it: it comes with the package systemd."
        ) from None
    for line in (checked.stdout + checked.stderr).splitlines():
        for one in files:
            # It speaks of other units of the host, too.
            _before, found, fault = line.partition(f"{scratch}/{one.unit}:")
            if found:
                yield f"{one.label}: line {fault}"


def _refused_by_command(wanted: File, path: Path) -> Iterator[str]:
    path.write_text(wanted.text, encoding="utf-8")
    try:
        checked = run([str(path) if word == "%s" else word for word in wanted.validate])
    except FileNotFoundError:
        yield f"{wanted.label}: it cannot be checked, there is no program {wanted.validate[0]}"
        return
    if checked.returncode != 0:
        # amtool has the reason on the one, and on the other only that it failed.
        parts = [part for part in (checked.stdout.strip(), checked.stderr.strip()) if part]
        said = redact("\n".join(parts)).replace(str(path), wanted.path)
        yield f"{wanted.label}: {said or f'{wanted.validate[0]} ended with {checked.returncode}'}"
