# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the Python libraries that talk to brokers, if need be in the interpreter that the roles install."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import kind_of


def libraries_for(broker_url: str) -> tuple[str, ...]:
    """Return the names of the libraries needed for a broker URL."""
    kind = kind_of(broker_url)
    return ("celery", "kombu", *(kind.libraries if kind else ()))


def require_libraries(module: Any, missing_required_lib: Callable[..., str], respawn: Any) -> None:
    """Return when the libraries can be imported; otherwise go on in the tools' interpreter or fail.

    When they are missing and C(tools_python) exists, the module starts again there
    and this call does not return.

    :param module: an AnsibleModule with the options of the fragment C(broker).
    :param missing_required_lib: Ansible's, which modules alone import.
    :param respawn: so is this, C(ansible.module_utils.common.respawn).
    """
    try:
        for name in libraries_for(module.params["broker_url"]):
            importlib.import_module(name)
        return
    except ImportError:
        problem = traceback.format_exc()
    tools_python = module.params["tools_python"]
    # Not resolved: the Python of a virtual environment is a link to one that lacks its libraries.
    tried = respawn.has_respawned() or Path(sys.executable) == Path(tools_python)
    if not tried and os.access(tools_python, os.X_OK):
        respawn.respawn_module(tools_python)
    module.fail_json(
        msg=f"{missing_required_lib(name, url='https://docs.celeryq.dev/')} "
        f"Install it for that interpreter, or make an environment that has it and name its Python in tools_python "
        f"(now {tools_python}, which {'was tried too' if tried else 'is not there'}).",
        exception=problem,
    )
