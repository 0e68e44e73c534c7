# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of Kubernetes, built from Go modules into a cache that checkouts share.

Each directory under C(programs/) is a Go module that says by its go.mod and go.sum what is built, with which sums. KEDA
and metrics-server share one, as they share most of what they are built of; they want other versions of it than
Kubernetes does.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from muejam_bed.shell import CHECKOUT, BedError, cache_dir, one_at_a_time, run, say

from . import keda_source

MODULES = CHECKOUT / "tests" / "cluster" / "programs"
# Where Go's own archive goes when it is unpacked as its makers say.
USUAL_PLACE = Path("/usr/local/go/bin/go")
# From this release on the go command fetches the one that a module asks for.
FETCHING = (1, 21)
BOOTSTRAP = "1.26.4"
# Others run tests on the same cores meanwhile.
NICENESS = 10


@dataclass(frozen=True)
class Programs:
    """What is built of one Go module of ours."""

    name: str
    module: str
    """Its directory under C(programs/)."""
    packages: Mapping[str, str] = field(hash=False)
    """Path of the Go package to build, by the name of the program; none where only files of a module are needed."""
    version_of: str
    """The required module whose version the programs are to tell."""
    kept: tuple[str, ...] = ()
    """Files and directories of that module that are needed beside the programs."""
    version_variables: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Go variables to set at linking, with %(version)s, %(major)s and %(minor)s in their values."""
    write_source: Callable[[Path, Path], None] | None = None
    """Writes what that module is to be built of to a new directory, where it is not built as it is."""
    made_of: Callable[[], list[Path]] = list
    """Returns the files by which that is done."""

    @property
    def directory(self) -> Path:
        """The Go module."""
        return MODULES / self.module


_KUBERNETES_VERSION = "k8s.io/component-base/version"
KUBERNETES = Programs(
    name="kubernetes",
    module="kubernetes",
    packages={
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-proxy",
            "kube-scheduler",
            "kubectl",
            "kubelet",
        )
    },
    version_of="k8s.io/kubernetes",
    kept=("build/pause/linux/pause.c",),
    # Clients refuse a server that does not know its version.
    version_variables={
        f"{_KUBERNETES_VERSION}.gitVersion": "%(version)s",
        f"{_KUBERNETES_VERSION}.gitMajor": "%(major)s",
        f"{_KUBERNETES_VERSION}.gitMinor": "%(minor)s",
        f"{_KUBERNETES_VERSION}.gitTreeState": "clean",
    },
)
KEDA = Programs(
    name="keda",
    module="addons",
    packages={f"keda-{part}": f"github.com/kedacore/keda/v2/cmd/{part}" for part in ("operator", "adapter")},
    version_of="github.com/kedacore/keda/v2",
    kept=("config/crd/bases",),
    version_variables={"github.com/kedacore/keda/v2/version.Version": "%(version)s"},
    write_source=keda_source.write,
    made_of=keda_source.made_of,
)
METRICS_SERVER = Programs(
    name="metrics-server",
    module="addons",
    packages={"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"},
    version_of="sigs.k8s.io/metrics-server",
)
# Its kinds alone: an API server refuses what they have no room for.
PROMETHEUS_OPERATOR = Programs(
    name="prometheus-operator",
    module="prometheus_operator",
    packages={},
    version_of="github.com/prometheus-operator/prometheus-operator",
    kept=("example/prometheus-operator-crd",),
)


@cache
def go() -> str:
    """Return the path of a go command that can fetch the Go that a module needs; installed if there is none.

    Raises BedError when it cannot be had.
    """
    for attempt in ("found", "installed"):
        command = shutil.which("go") or (str(USUAL_PLACE) if USUAL_PLACE.exists() else None)
        if command is not None:
            break
        if attempt == "found":
            subprocess.run([str(CHECKOUT / "tests/bed/packages.sh"), "go"], check=True)
    else:
        raise BedError("no Go was found after it was installed: put the go command on the PATH")
    return command if _release(command) >= FETCHING else _newer(command)


def _release(command: str) -> tuple[int, int]:
    found = re.search(r"go(\d+)\.(\d+)", run([command, "env", "GOVERSION"]).stdout)
    if found is None:
        raise BedError(f"{command} does not say which release of Go it is: put another go command on the PATH")
    return int(found.group(1)), int(found.group(2))


def _newer(command: str) -> str:
    """Fetch a newer Go as the module that it also is, for a go command of before it did so by itself."""
    machine = run([command, "env", "GOARCH"]).stdout.strip()
    module = f"golang.org/toolchain@v0.0.1-go{BOOTSTRAP}.linux-{machine}"
    say(f"fetching Go {BOOTSTRAP}, as {command} is older than {'.'.join(map(str, FETCHING))}")
    directory = Path(json.loads(run([command, "mod", "download", "-json", module]).stdout)["Dir"])
    programs = [directory / "bin", directory / "pkg" / "tool"]
    # An archive of a module does not say what may be run.
    run(["chmod", "--recursive", "a+x", *map(str, programs)])
    return str(directory / "bin" / "go")


def _go(programs: Programs, *arguments: str) -> str:
    # The module says which Go it needs; a newer release of the go command fetches that one by itself.
    environment = {"CGO_ENABLED": "0", "GOTOOLCHAIN": os.environ.get("GOTOOLCHAIN", "auto"), "GOWORK": "off"}
    command = ["nice", "-n", str(NICENESS), go(), "-C", str(programs.directory), *arguments]
    return run(command, env=environment).stdout


def version(programs: Programs) -> str:
    """Return the version of what is built, as Go writes it: C(v1.2.3)."""
    wanted = rf"^(?:require)?\s*{re.escape(programs.version_of)} (v\S+)"
    found = re.search(wanted, (programs.directory / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise BedError(f"{programs.directory / 'go.mod'} requires no {programs.version_of}")
    return found.group(1)


def ensure_programs(programs: Programs) -> Path:
    """Return the directory that has the programs, built if they are not there.

    Raises BedError with what Go said when the build fails.
    """
    with one_at_a_time(f"programs-{programs.name}"):
        directory = cache_dir("programs") / f"{programs.name}-{_fingerprint(programs)}"
        if not directory.exists():
            _build(programs, directory)
    return directory


def _fingerprint(programs: Programs) -> str:
    recipe = [
        *((programs.directory / name).read_text(encoding="utf-8") for name in ("go.mod", "go.sum")),
        *(path.read_text(encoding="utf-8") for path in programs.made_of()),
        _go(programs, "env", "GOVERSION", "GOARCH"),
        repr((sorted(programs.packages.items()), programs.kept)),
        repr(_flags(programs)),
    ]
    return hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:12]


def _flags(programs: Programs) -> list[str]:
    full = version(programs)
    major, minor = full.removeprefix("v").split(".")[:2]
    values = {"version": full, "major": major, "minor": minor}
    settings = (f"-X {name}={value % values}" for name, value in programs.version_variables.items())
    return ["-trimpath", "-buildvcs=false", f"-ldflags={' '.join(['-s', '-w', *settings])}"]


def _build(programs: Programs, directory: Path) -> None:
    if programs.packages:
        names = ", ".join(programs.packages)
        say(f"building {names} {version(programs)} in {programs.directory} (many minutes, once)")
    # Under another name until it is whole.
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=directory.parent) as scratch:
        built = Path(scratch, "bin")
        built.mkdir()
        source = Path(json.loads(_go(programs, "mod", "download", "-json", programs.version_of))["Dir"])
        if programs.packages:
            _compile(programs, source, Path(scratch, "source"), built)
        for name in programs.kept:
            _keep(source / name, built)
        built.chmod(0o755)
        built.rename(directory)


def _compile(programs: Programs, source: Path, own_source: Path, built: Path) -> None:
    arguments = []
    if programs.write_source:
        programs.write_source(source, own_source)
        arguments.append(f"-modfile={_module_with(own_source, programs)}")
    _go(programs, "build", *arguments, *_flags(programs), "-o", f"{built}/", *programs.packages.values())
    for name, package in programs.packages.items():
        (built / package.rpartition("/")[2]).rename(built / name)


def _module_with(source: Path, programs: Programs) -> Path:
    """Write the go.mod, and the go.sum, with which programs are built of a source of their own."""
    module = source.with_name("go.mod")
    text = (programs.directory / "go.mod").read_text(encoding="utf-8")
    module.write_text(f"{text}\nreplace {programs.version_of} => {source}\n", encoding="utf-8")
    shutil.copyfile(programs.directory / "go.sum", module.with_name("go.sum"))
    return module


def _keep(source: Path, directory: Path) -> None:
    # Go's own copy may not be written to, and a cache has to be removable.
    for path in [source] if source.is_file() else sorted(source.glob("*.yaml")):
        target = directory / source.name / path.name if source.is_dir() else directory / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
