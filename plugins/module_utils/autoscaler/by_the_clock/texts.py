# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The texts of what runs a schedule on a host: a timer with its service, or a crontab. All wake-ups, no numbers.

What runs reckons from the clock what holds. So a wake-up too many does no harm, and one that comes late is right.
"""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.muejam.celery.plugins.module_utils.fleet.names import TOOLS_DIRECTORY, TOOLS_PYTHON
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import DEFAULT

TRIED_FOR = 3600
"""Seconds for which a run by cron tries again: nobody else would."""

_LIBRARY = f"{TOOLS_DIRECTORY}/lib/ansible_collections/muejam/celery/plugins/module_utils"
_OURS = "# Of the schedule of a fleet of Celery workers: the module muejam.celery.schedule writes and removes it."


def command(fleet: str, platform: str, *options: str) -> str:
    """Return what sets a fleet of a platform to its schedule, for a unit and for a shell."""
    if platform != DEFAULT:
        options = ("--platform", platform, *options)
    # Isolated: nothing is imported from the current directory, nor from where the environment points.
    words = (TOOLS_PYTHON, "-I", "-B", f"{_LIBRARY}/launch.py", "autoscaler.by_the_clock.command", fleet, *options)
    return " ".join(words)


def timer(fleet: str, calendar: Iterable[str]) -> str:
    """Return the timer unit that comes at each of these times, as C(OnCalendar=) takes them."""
    times = "".join(f"OnCalendar={each}\n" for each in calendar)
    return f"""{_OURS}
[Unit]
Description=Edges of the schedule of the Celery fleet {fleet}

[Timer]
{times}# An edge that was slept through.
Persistent=yes
# A run that failed before a reboot is not known to have failed.
OnBootSec=15s
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


def service(fleet: str, platform: str = DEFAULT) -> str:
    """Return the service unit that the timer starts."""
    return f"""{_OURS}
# Root, as only root may start, stop and enable units. It reads no broker and takes nothing from anybody.
[Unit]
Description=Set the Celery fleet {fleet} to its schedule
# What failed is tried until it is done, and stands as "auto-restart" until then.
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart={command(fleet, platform)}
Restart=on-failure
RestartSec=30s
TimeoutStartSec=30min
MemoryMax=128M
TasksMax=16

# All that it needs is to talk to systemd, to hold a lock and to note what it set.
UMask=0022
NoNewPrivileges=true
CapabilityBoundingSet=
AmbientCapabilities=
IPAddressDeny=any
KeyringMode=private
LockPersonality=true
MemoryDenyWriteExecute=true
PrivateDevices=true
PrivateNetwork=true
PrivateTmp=true
ProtectClock=true
ProtectControlGroups=true
ProtectHome=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
ProtectProc=invisible
ProtectSystem=strict
StateDirectory=celery-schedule
# Where the locks of fleets are, which deployments hold too.
RuntimeDirectory=celery-worker-locks
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
"""


def crontab(fleet: str, lines: Iterable[str], platform: str = DEFAULT) -> str:
    """Return the file for C(/etc/cron.d) that runs at each of these times, as five fields, and after each boot."""
    run = f"root {command(fleet, platform, '--retry-for', str(TRIED_FOR))} >/dev/null"
    jobs = "".join(f"{fields} {run}\n" for fields in ["@reboot", *lines])
    return f"""{_OURS}
# What goes wrong is mailed by cron.
SHELL=/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
{jobs}"""
