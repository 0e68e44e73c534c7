# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node that is a whole Kubernetes: up, down, and what others need to use it."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from muejam_bed import container
from muejam_bed.engine import ensure_engine
from muejam_bed.shell import CHECKOUT, BedError, checkout_key, one_at_a_time, run, say, wait_until

from .images import ensure_demo, ensure_pause
from .node_image import FILES, RELEASE, ensure_node_image
from .programs import KEDA, KUBERNETES, METRICS_SERVER, PROMETHEUS_OPERATOR, Programs, ensure_programs

READY_SECONDS = 120
# What a node needs beyond a systemd host. The engine's --privileged wants more than it may give in some containers.
CAPABILITIES = ("DAC_READ_SEARCH", "IPC_LOCK", "SYSLOG", "SYS_PTRACE")
_MOUNTED = "/opt/kubernetes"
_KUBECONFIG = CHECKOUT / ".cache" / "cluster" / "kubeconfig"
# Which of the engine's images the node has.
_LOADED = "/var/lib/containerd/loaded"
_BUILT = (KUBERNETES, KEDA, METRICS_SERVER)
_FIRST_UNITS = ("etcd", "containerd", "kube-apiserver")
_UNITS = (*_FIRST_UNITS, "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
_ADDONS = ("keda-operator", "keda-adapter", "metrics-server")
_APIS = ("v1beta1.external.metrics.k8s.io", "v1beta1.metrics.k8s.io")


def name() -> str:
    """Return the name of this checkout's node, which is a container."""
    return f"muejam-{checkout_key()}-cluster"


def kubeconfig() -> Path:
    """Return the kubeconfig of this checkout's cluster. Raises BedError when there is no such cluster."""
    _require_running()
    if not _KUBECONFIG.exists():
        raise BedError(f"{_KUBECONFIG} is gone: make the cluster anew with 'make cluster-down cluster-up'")
    return _KUBECONFIG


def _require_running() -> None:
    if not container.is_running(name()):
        raise BedError(f"no cluster of {CHECKOUT} runs: start it with 'make cluster-up'")


def kubectl() -> Path:
    """Return the path of kubectl, built if need be."""
    return ensure_programs(KUBERNETES) / "kubectl"


def gateway() -> str:
    """Return the address of this machine at which the node and its pods reach servers that listen on it."""
    form = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}"
    return container.docker("inspect", "--format", form, name()).stdout.strip()


def up() -> Path:
    """Bring the cluster up and return its kubeconfig when the node and what runs beside it are ready.

    One that runs is kept. Raises BedError when it does not get ready.
    """
    with one_at_a_time(name()):
        return _up()


def prepare() -> None:
    """Make what a node and its tests begin with: what is needed from elsewhere first, then what takes long."""
    ensure_engine()
    ensure_node_image()
    ensure_demo()
    ensure_programs(PROMETHEUS_OPERATOR)
    _programs()
    ensure_pause()


def _programs() -> dict[Programs, Path]:
    return {programs: ensure_programs(programs) for programs in _BUILT}


def _up() -> Path:
    built = _programs()
    ensure_engine()
    image = ensure_node_image()
    flags = (
        *(f"--cap-add={capability}" for capability in CAPABILITIES),
        "--security-opt=systempaths=unconfined",
        "--device=/dev/kmsg",
        "--device-cgroup-rule=a *:* rwm",
        # overlayfs does not lie on overlayfs.
        "--volume=/var/lib/containerd",
        "--volume=/var/lib/kubelet",
        *(f"--volume={directory}:/opt/{programs.name}/bin:ro" for programs, directory in built.items()),
        f"--volume={FILES}:{_MOUNTED}/node:ro",
        f"--env=PATH={_MOUNTED}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    )
    fresh = not (_KUBECONFIG.exists() and container.is_running(name()) and _answers())
    container.up(name(), RELEASE, fresh=fresh, image=image, flags=flags)
    if fresh:
        _set_up()
    return _KUBECONFIG


def _kubectl(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run([str(kubectl()), "--kubeconfig", str(_KUBECONFIG), *arguments], check=check)


def _answers() -> bool:
    return _kubectl("--request-timeout=10s", "get", "--raw", "/readyz", check=False).returncode == 0


def _set_up() -> None:
    node = name()
    container.execute(node, ["sh", f"{_MOUNTED}/node/setup.sh"])
    say("starting Kubernetes")
    try:
        container.execute(node, ["systemctl", "start", *_FIRST_UNITS])
        _take_kubeconfig()
        # The others would be refused until it has made the rights that they have.
        wait_until(_answers, READY_SECONDS, "the API is ready")
        load_image(ensure_pause())
        container.execute(node, ["systemctl", "start", *_UNITS])
        # There is nothing to wait for until the node has made itself known.
        wait_until(lambda: _kubectl("get", "node", "--output=name").stdout, READY_SECONDS, "the node is known")
        _wait_for("node", "--all", "--for=condition=Ready")
        say("starting KEDA and metrics-server")
        _start_addons()
    except BedError as error:
        journals = "\n".join(container.journal(node, unit, lines=15) for unit in (*_UNITS, *_ADDONS))
        raise BedError(f"Kubernetes did not come up in {node}: {error}\n{journals}") from error


def _wait_for(*what: str) -> None:
    _kubectl("wait", f"--timeout={READY_SECONDS}s", *what)


def _start_addons() -> None:
    manifest = (FILES / "addons.yml").read_text(encoding="utf-8").replace("NODE_ADDRESS", container.address(name()))
    command = [str(kubectl()), "--kubeconfig", str(_KUBECONFIG), "apply", "--server-side", "--filename=-"]
    run(command, stdin=manifest)
    definitions = ensure_programs(KEDA) / "bases"
    _kubectl("apply", "--server-side", f"--filename={definitions}")
    _wait_for("--for=condition=Established", f"--filename={definitions}")
    container.execute(name(), ["systemctl", "start", *_ADDONS])
    _wait_for("apiservice", *_APIS, "--for=condition=Available")


def _take_kubeconfig() -> None:
    text = container.execute(name(), ["cat", "/etc/kubernetes/admin.kubeconfig"]).stdout
    _KUBECONFIG.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(_KUBECONFIG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def down() -> None:
    """Remove the cluster with everything in it; nothing happens when there is none."""
    ensure_engine()
    container.down(name())
    _KUBECONFIG.unlink(missing_ok=True)


def load_image(image: str) -> None:
    """Give the node an image that the Docker engine has; nothing happens when it has it already.

    Raises BedError when the engine does not have it or the node refuses it.
    """
    _require_running()
    with one_at_a_time(f"images-of-{name()}"):
        _load_image(image)


def _load_image(image: str) -> None:
    node = name()
    wanted = container.docker("image", "inspect", "--format", "{{.Id}}", image).stdout.strip()
    # Either side has digests of its own for the same image.
    note = f"{_LOADED}/{image.replace('/', '_')}"
    if container.execute(node, ["cat", note], check=False).stdout.strip() == wanted:
        return
    saving = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
    loading = subprocess.run(
        ["docker", "exec", "--interactive", node, "ctr", "--namespace", "k8s.io", "images", "import", "-"],
        stdin=saving.stdout,
        capture_output=True,
        text=True,
        check=False,
    )
    if saving.stdout is not None:
        saving.stdout.close()
    if saving.wait() != 0 or loading.returncode != 0:
        raise BedError(f"{image} could not be loaded into {node}: {loading.stdout}{loading.stderr}".rstrip())
    container.execute(node, ["sh", "-c", f"mkdir -p {_LOADED} && echo {wanted} >{shlex.quote(note)}"])
