# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print the directory in which Ansible and Python find this checkout as the collection muejam.celery."""

from __future__ import annotations

from muejam_bed.collection import collections_path

if __name__ == "__main__":
    print(collections_path())
