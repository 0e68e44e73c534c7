# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is told of the machine that it runs on."""

from __future__ import annotations

from muejam_bed.container import sshd_proxies


def test_sshd_is_told_of_all_proxies_in_one_line() -> None:
    environment = {"HOME": "/root", "http_proxy": "http://proxy:3128", "no_proxy": "one, two"}
    assert sshd_proxies(environment) == 'SetEnv "http_proxy=http://proxy:3128" "no_proxy=one, two"\n'
    assert sshd_proxies({"HOME": "/root"}) == ""
