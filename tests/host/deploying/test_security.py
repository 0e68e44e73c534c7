# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker is confined, and its secrets are where only root and the worker itself can read them."""

from __future__ import annotations

import re
from pathlib import Path
from shlex import quote

import pytest
from deployment import PASSWORD, TOKEN, variables

from muejam_bed.shell import wait_until
from muejam_bed.systemd_host import SystemdHost

EXPOSURE = 3.0


def test_exposure(deployed: SystemdHost) -> None:
    report = deployed.run(
        "systemd-analyze", "security", "--no-pager", "celery-worker-web@1.service", check=False
    ).stdout
    found = re.search(r"exposure level for .*: ([0-9.]+)", report)
    assert found, report
    assert float(found.group(1)) <= EXPOSURE, report


def test_the_sandbox_refuses_nothing_that_real_applications_do(deployed: SystemdHost) -> None:
    # Under the worker's own unit, with another program in place of Celery.
    program = "/opt/celery-demo/real_application.py"
    source = Path(__file__).with_name("real_application.py").read_text(encoding="utf-8")
    deployed.put(program, source)
    deployed.run("chmod", "0644", program)
    edits = (
        f"s,^ExecStart=.*,ExecStart=/opt/celery-demo/venv/bin/python {program},",
        "s,^Type=.*,Type=oneshot,",
        # Else its end would take the directory of the worker that runs.
        "s,^RuntimeDirectory=.*,RuntimeDirectory=real-application,",
        "/^WatchdogSec=/d",
        "/^Restart/d",
    )
    unit = "celery-worker-web@.service"
    copy = "/run/systemd/system/real-application@.service"
    deployed.run(
        "sh", "-c", f"sed {' '.join(f'-e {quote(edit)}' for edit in edits)} /etc/systemd/system/{unit} >{copy}"
    )
    deployed.run("systemctl", "daemon-reload")
    try:
        done = deployed.run("systemctl", "start", "real-application@1.service", check=False)
        said = deployed.output("journalctl", "--no-pager", "--output=cat", "--unit=real-application@1.service")
        assert done.returncode == 0, said
    finally:
        deployed.run("rm", copy, program)
        deployed.run("systemctl", "daemon-reload")


@pytest.mark.parametrize(
    "look",
    [
        "ps axww -o args",
        "cat /etc/systemd/system/celery-worker-*",
        "systemctl show 'celery-worker-web@*'",
        "journalctl --no-pager",
        "cat /run/celery-worker/*/status.json",
        "find / -xdev -type f -perm /044 -size -4M \\( -path '/etc/*' -o -path '/run/*' -o -path '/var/lib/*'"
        " -o -path '/opt/muejam-celery/*' \\) ! -path '/var/lib/celery-demo/*' -exec cat {} +",
    ],
    ids=["processes", "units", "systemd", "journals", "status files", "readable files"],
)
def test_no_secret_is_in_sight(deployed: SystemdHost, look: str) -> None:
    # A search on the host would itself be a process with the secret on its command line.
    seen = deployed.run("sh", "-c", f"{look} | tr -d '\\000' | iconv -c -t ascii", check=False).stdout
    assert seen
    for secret in (PASSWORD, TOKEN):
        assert secret not in seen


def test_no_secret_is_printed_by_a_run_that_changes_much(deployed: SystemdHost) -> None:
    main_pid = deployed.output("systemctl", "show", "--property=MainPID", "celery-worker-web@1.service")
    token = "not-a-real-token-c3e9"
    changed = variables(environment={"API_TOKEN": token}, concurrency=2)
    for flags in (["--check"], []):
        done = deployed.playbook("playbooks/deploy.yml", "-vvv", "--diff", *flags, extra_vars=changed)
        for secret in (PASSWORD, TOKEN, token):
            assert secret not in done.stdout + done.stderr
    # It did change the worker, which has the new secret.
    assert deployed.output("systemctl", "show", "--property=MainPID", "celery-worker-web@1.service") != main_pid
    pid = deployed.output("systemctl", "show", "--property=MainPID", "--value", "celery-worker-web@1.service")
    wait_until(lambda: token in deployed.output("cat", f"/proc/{pid}/environ"), 10)
    deployed.playbook("playbooks/deploy.yml", extra_vars=variables())
