# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image of the autoscaler for a cluster: build it if the engine does not have it, and print its name.

BASE in the environment names the image that it is built on. Without it, it is the image of a bare host, which is there
where no registry answers; it is larger than it need be.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile

from muejam_bed.container import PIP_VARIABLES, PROXY_VARIABLES
from muejam_bed.engine import ensure_engine
from muejam_bed.image import ensure_image, exists
from muejam_bed.shell import CHECKOUT, BedError, one_at_a_time, say

REPOSITORY = "muejam-celery-autoscaler"
CONTEXT = ("plugins/module_utils", "roles/_common/files", "roles/autoscaler/files")
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def context() -> bytes:
    """Return what goes into the image as an archive that is the same for the same files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        files = (path for folder in CONTEXT for path in (CHECKOUT / folder).rglob("*") if path.is_file())
        for path in sorted(path for path in files if path.suffix != ".pyc"):
            entry = archive.gettarinfo(path, path.relative_to(CHECKOUT).as_posix())
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime, entry.mode = 0, 0o755 if entry.mode & 0o100 else 0o644
            with path.open("rb") as file:
                archive.addfile(entry, file)
    return packed.getvalue()


def ensure_autoscaler_image() -> str:
    """Return the name of the image, built if the engine does not have it.

    Raises BedError when it cannot be built.
    """
    own = os.environ.get("BASE")
    base, packed = own or ensure_image("bookworm"), context()
    # The image of a host trusts what this machine trusts, and pip is to do so too.
    certificates = {} if own else {"PIP_CERT": AUTHORITIES}
    passed = {key: os.environ[key] for key in (*PIP_VARIABLES, *PROXY_VARIABLES) if key in os.environ}
    name = f"{REPOSITORY}:{hashlib.sha256(base.encode() + packed).hexdigest()[:12]}"
    with one_at_a_time("autoscaler-image"):
        if not exists(name):
            say(f"building {name} on {base} (a minute or two)")
            arguments = [
                f"--build-arg={key}={value}" for key, value in ({"BASE": base} | certificates | passed).items()
            ]
            command = [
                "docker",
                "build",
                "--quiet",
                *arguments,
                f"--tag={name}",
                "-f",
                f"{CONTEXT[-1]}/Containerfile",
                "-",
            ]
            built = subprocess.run(command, input=packed, capture_output=True, check=False)
            if built.returncode != 0:
                said = (built.stdout + built.stderr).decode("utf-8", "replace").strip().splitlines()[-20:]
                raise BedError("\n".join(["the image of the autoscaler could not be built:", *said]))
    return name


def main() -> int:
    """Build it and print its name."""
    try:
        ensure_engine()
        print(ensure_autoscaler_image())
    except BedError as error:
        print(f"bed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
