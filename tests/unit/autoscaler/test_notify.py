# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the service manager hears, by the way that it names."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.notify import Notifier


@pytest.mark.parametrize("abstract", [False, True])
def test_all_of_it_arrives(tmp_path: Path, abstract: bool) -> None:
    name = f"muejam-notify-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{name}" if abstract else name)
        heard.settimeout(10)
        notifier = Notifier({"NOTIFY_SOCKET": f"@{name}" if abstract else name})
        notifier.tell("WATCHDOG=1", "READY=1")
        notifier.tell("STOPPING=1")
        assert [heard.recv(100), heard.recv(100)] == [b"WATCHDOG=1\nREADY=1", b"STOPPING=1"]
        notifier.close()


def test_nobody_who_listens_is_no_fault(tmp_path: Path) -> None:
    Notifier({}).tell("READY=1")
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")})
    notifier.tell("READY=1")
    notifier.close()
