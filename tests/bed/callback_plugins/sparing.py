# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Spare the cores in a run of the tests: hundreds of processes of Ansible do the same work on the controller.

What is played and what a host runs stay the same. For tests alone, as none of it is Ansible's public interface.
"""

from __future__ import annotations

DOCUMENTATION = """
name: sparing
type: aggregate
short_description: Spare the cores of the controller in a run of the tests
description:
  - Modules that one process of Ansible has built are taken by the next ones.
  - Beside the source these have what Python makes of it, so that hosts do not compile it for each task.
  - Plugins that most tasks need are loaded before Ansible forks, not in each fork.
  - Ansible looks for results a hundred times a second, not a thousand times.
"""

import base64
import dataclasses
import gc
import hashlib
import importlib.util
import io
import marshal
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.executor import module_common
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import connection_loader, filter_loader, lookup_loader, test_loader
from ansible.release import __version__

POLL_SECONDS = 0.01
CHECKOUT = Path(__file__).resolve().parents[3]
# What becomes part of a module, of all that may change while tests run.
PARTS_OF_MODULES = ("plugins/modules", "plugins/module_utils")
# What the program "ansible" makes of a module: one fork.
ONE_TASK = "__adhoc_playbook__"
CONNECTION = "ansible.builtin.ssh"
_UNCHECKED = (0b01).to_bytes(4, "little") + bytes(8)
ANY_FILTER = "muejam.celery.resolve_fleets"


def _state_of_parts() -> Iterator[tuple[str, int, int]]:
    for parts in PARTS_OF_MODULES:
        for path in sorted((CHECKOUT / parts).rglob("*.py")):
            found = path.stat()
            yield str(path), found.st_mtime_ns, found.st_size


def shared_modules(run: Path) -> Path:
    """Return the directory, in that of this run, for modules that are built from the same files as they are now.

    Ansible finds a module in its cache by name alone.
    """
    paths = (constants.COLLECTIONS_PATHS, constants.DEFAULT_MODULE_PATH, constants.DEFAULT_MODULE_UTILS_PATH)
    state = repr((__version__, paths, list(_state_of_parts())))
    return run / hashlib.sha256(state.encode()).hexdigest()[:16]


def share_modules(run: Path) -> None:
    """Let this process of Ansible keep its built modules where others find them."""
    # From 2.19 on a lock of a file next to the module keeps two processes from building it at once; it is written
    # beside its place and renamed. Before that the lock is one of the forks of one process.
    if not hasattr(module_common, "_locking"):
        return
    directory = shared_modules(run)
    directory.mkdir(mode=0o700, exist_ok=True)
    # Ansible removes this place when it ends, and with it the link, not what it leads to.
    Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache").symlink_to(directory, target_is_directory=True)


def compiled(archive: bytes) -> bytes:
    """Return a zip archive with the compiled form beside each source; Pythons that it is not for take the source."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as before, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as after:
        for entry in before.infolist():
            content = before.read(entry)
            after.writestr(entry, content)
            if entry.filename.endswith(".py"):
                with warnings.catch_warnings(), suppress(SyntaxError):
                    warnings.simplefilter("ignore")
                    code = marshal.dumps(compile(content, entry.filename, "exec", dont_inherit=True))
                    # PEP 552: to be taken without a look at the source.
                    after.writestr(f"{entry.filename}c", importlib.util.MAGIC_NUMBER + _UNCHECKED + code)
    return made.getvalue()


def compile_modules() -> None:
    """Let this process of Ansible keep modules with their compiled forms."""
    kept = module_common._CachedModule
    dump = kept.dump

    def compile_and_dump(module: Any, path: str) -> None:
        archive = compiled(base64.b64decode(module.zip_data))
        dump(dataclasses.replace(module, zip_data=base64.b64encode(archive)), path)

    kept.dump = compile_and_dump


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Does its work when Ansible starts, and when it has read a playbook."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "sparing"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        constants.DEFAULT_INTERNAL_POLL_INTERVAL = POLL_SECONDS
        if hasattr(module_common, "_CachedModule"):
            compile_modules()
        share_modules(Path(os.environ["MUEJAM_MODULES"]))

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Load what forks would load, each of them anew, and have them leave alone what was there before them."""
        if playbook._file_name == ONE_TASK:
            return
        connection_loader.get(CONNECTION, class_only=True)
        lookup_loader.get("ansible.builtin.template", class_only=True)
        test_loader.get("ansible.builtin.defined")
        filter_loader.get(ANY_FILTER)
        gc.freeze()
