# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image of a systemd host, built once from the distribution's packages.

It holds what an installed minimal Debian has (systemd, Python, apt, sudo, sshd) and nothing of what the roles install.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from .shell import CHECKOUT, BedError, as_root, one_at_a_time, run, say

RELEASES = ("bookworm", "trixie")
REPOSITORY = "muejam-celery-host"
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "python3",
    "python3-apt",
    "sudo",
    "iproute2",
    "ca-certificates",
    "procps",
    "openssh-server",
)
DEFAULT_MIRROR = "http://deb.debian.org/debian"
CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# A container must not wait for a console or name servers of its own; the engine sets up its network.
MASKED_UNITS = ("getty.target", "console-getty.service", "systemd-resolved.service", "systemd-networkd.service")


def mirror() -> str:
    """Return the Debian mirror: MUEJAM_DEBIAN_MIRROR, else the one this machine itself uses, else Debian's own."""
    chosen = os.environ.get("MUEJAM_DEBIAN_MIRROR")
    if chosen:
        return chosen
    targets = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Identifier: Packages"], check=False
    )
    for uri, release in (line.split(" ", 1) for line in targets.stdout.splitlines()):
        if uri.rstrip("/").endswith("/debian") and "-" not in release:
            return uri.rstrip("/")
    return DEFAULT_MIRROR


def apt_options() -> list[str]:
    """Return this machine's own apt settings that say how to reach a mirror (proxy, retries, clock checks)."""
    wanted = ("Acquire::http::", "Acquire::https::", "Acquire::Retries", "Acquire::Check-")
    dump = run(["apt-config", "dump", "Acquire"], check=False).stdout.splitlines()
    return [line for line in dump if line.startswith(wanted) and not line.endswith('"";')]


def extra_authorities() -> str:
    """Return the certificates that this machine was told to trust by CA_VARIABLES, as PEM text; empty if none."""
    for variable in CA_VARIABLES:
        path = os.environ.get(variable)
        if path and Path(path).is_file():
            return Path(path).read_text(encoding="utf-8")
    return ""


def tag(release: str) -> str:
    """Return the image's name; its tag carries a fingerprint of everything that goes into it."""
    recipe = [release, PACKAGES, MASKED_UNITS, mirror(), apt_options(), extra_authorities(), _SETUP]
    return f"{REPOSITORY}:{release}-{hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]}"


# Each certificate goes into a file of its own, because update-ca-certificates takes one per file.
# Those the distribution has already are left out.
_SETUP = r"""
set -eu
mkdir -p /usr/local/share/ca-certificates
if [ -s /root/authorities.pem ]; then
  python3 - <<'PYTHON'
import pathlib, re
block = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.S)
known = {"".join(c.split()) for c in block.findall(pathlib.Path("/etc/ssl/certs/ca-certificates.crt").read_text())}
given = block.findall(pathlib.Path("/root/authorities.pem").read_text())
for number, pem in enumerate(c for c in given if "".join(c.split()) not in known):
    pathlib.Path(f"/usr/local/share/ca-certificates/of-this-machine-{number}.crt").write_text(pem + "\n")
PYTHON
  update-ca-certificates
fi
rm -f /root/authorities.pem
install -d -m 0700 /root/.ssh
printf 'UsePAM no\nUseDNS no\nMaxSessions 100\n' >/etc/ssh/sshd_config.d/bed.conf
"""


def exists(name: str) -> bool:
    """Say whether the engine has this image."""
    return run(["docker", "image", "inspect", name], check=False).returncode == 0


def ensure_image(release: str) -> str:
    """Return the name of the host image for a Debian release, built if the engine does not have it.

    Raises BedError when the release is unknown or the build fails.
    """
    if release not in RELEASES:
        raise BedError(f"no recipe for release '{release}': choose one of {', '.join(RELEASES)}")
    name = tag(release)
    with one_at_a_time(f"image-{release}"):
        if not exists(name):
            _build(release, name)
    return name


def _build(release: str, name: str) -> None:
    subprocess.run([str(CHECKOUT / "tests/bed/packages.sh"), "image"], check=True)
    say(f"building the {release} host image from {mirror()} (about a minute, once)")
    with tempfile.TemporaryDirectory(prefix="muejam-bed-") as scratch:
        authorities = Path(scratch, "authorities.pem")
        authorities.write_text(extra_authorities(), encoding="utf-8")
        setup = Path(scratch, "setup.sh")
        setup.write_text(_SETUP, encoding="utf-8")
        # The user who builds may not be the one mmdebstrap runs hooks as.
        for path in (Path(scratch), authorities, setup):
            path.chmod(0o755)
        log = Path(scratch, "mmdebstrap.log")
        mask = shlex.join(["systemctl", "mask", *MASKED_UNITS])
        command = [
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            *(f"--aptopt={option}" for option in apt_options()),
            f"--customize-hook=copy-in {shlex.quote(str(authorities))} {shlex.quote(str(setup))} /root",
            '--customize-hook=chroot "$1" sh /root/setup.sh',
            '--customize-hook=rm "$1/root/setup.sh"',
            f'--customize-hook=chroot "$1" {mask}',
            # Every container makes a machine id of its own at its first start.
            '--customize-hook=: > "$1/etc/machine-id"',
            release,
            "-",
            mirror(),
        ]
        with log.open("w", encoding="utf-8") as errors:
            builder = subprocess.Popen(as_root(command), stdout=subprocess.PIPE, stderr=errors)
            importer = subprocess.run(
                ["docker", "import", "--change", 'CMD ["/lib/systemd/systemd"]', "-", name],
                stdin=builder.stdout,
                capture_output=True,
                text=True,
                check=False,
            )
            if builder.stdout is not None:
                builder.stdout.close()
            status = builder.wait()
        if status != 0 or importer.returncode != 0:
            run(["docker", "image", "rm", name], check=False)
            tail = "\n".join(log.read_text(encoding="utf-8").splitlines()[-20:])
            raise BedError(f"the {release} host image could not be built:\n{tail}\n{importer.stderr}".rstrip())
