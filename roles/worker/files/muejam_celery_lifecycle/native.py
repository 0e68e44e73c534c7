# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gevent and eventlet have replaced, as it was."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def native(module: str, name: str) -> Any:
    """Return a function of a module of C, such as `_thread` or `select`, whatever stands in its place."""
    if "gevent.monkey" in sys.modules:
        return sys.modules["gevent.monkey"].get_original(module, name)
    if "eventlet.patcher" in sys.modules:
        return getattr(sys.modules["eventlet.patcher"].original(module), name)
    return getattr(importlib.import_module(module), name)
