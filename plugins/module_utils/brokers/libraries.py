# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the Python libraries that talk to brokers, if need be in the interpreter that the roles install."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.module_utils.basic import missing_required_lib
from ansible.module_utils.common.respawn import has_respawned, respawn_module

from ansible_collections.muejam.celery.plugins.module_utils.brokers.registry import kind_of
from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import TOOLS_PYTHON

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def libraries_for(broker_url: str) -> tuple[str, ...]:
    """Return the names of the libraries needed for a broker URL."""
    kind = kind_of(broker_url)
    return ("celery", "kombu", *(kind.libraries if kind else ()))


def require_libraries(module: AnsibleModule) -> None:
    """Return when the libraries can be imported; otherwise go on in the tools' interpreter or fail.

    When they are missing and C(tools_python) exists, the module starts again there
    and this call does not return.
    """
    missing = ""
    problem = ""
    for name in libraries_for(module.params["broker_url"]):
        try:
            importlib.import_module(name)
        except ImportError:
            missing, problem = name, traceback.format_exc()
            break
    if not missing:
        return
    tools_python = str(module.params.get("tools_python") or TOOLS_PYTHON)
    # Not resolved: the Python of a virtual environment is a link to one that lacks its libraries.
    here = Path(sys.executable) == Path(tools_python)
    if not has_respawned() and not here and os.access(tools_python, os.X_OK):
        respawn_module(tools_python)
    module.fail_json(
        msg=f"{missing_required_lib(missing, url='https://docs.celeryq.dev/')} "
        f"Install it for that interpreter, or make an environment that has it and name its Python in tools_python "
        f"(now {tools_python}, which {'was tried too' if has_respawned() or here else 'is not there'}).",
        exception=problem,
    )
