# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Redis and RabbitMQ servers of a test's own, on loopback, in a directory of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import ssl
import subprocess
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from muejam_bed.ports import free_port
from muejam_bed.shell import wait_until

START_SECONDS = 20.0
RABBITMQ_START_SECONDS = 90.0
RABBITMQ_BIN = Path("/usr/lib/rabbitmq/bin")


class MissingServer(Exception):
    """A program that the test needs is not installed."""


def find_program(name: str, package: str) -> str:
    """Return the path of a server program, or say which package brings it."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        raise MissingServer(f"{name} is not installed; install the package {package}")
    return path


def stop_running(pids: list[int]) -> None:
    """Stop processes, and wait until none of their threads runs: on a busy machine one may answer once more."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)

    def stopped() -> bool:
        threads = [path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/stat")]
        return all(path.read_text().rpartition(") ")[2].startswith(("T", "t", "Z")) for path in threads)

    wait_until(stopped, 30, "stopped")


def stop_process(process: subprocess.Popen[Any], seconds: float = 10.0) -> None:
    """End a server that may be stopped by SIGSTOP or deaf to SIGTERM."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(seconds)


@dataclasses.dataclass(frozen=True)
class Certificates:
    """Files of a certificate authority and of one server certificate for localhost, 127.0.0.1 and others asked for."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(directory: Path, *addresses: str) -> Certificates:
    """Make a throw-away certificate authority and a server certificate with openssl.

    :param addresses: further IP addresses of the server.
    """
    openssl = find_program("openssl", "openssl")
    directory.mkdir(parents=True, exist_ok=True)
    authority, authority_key = directory / "ca.crt", directory / "ca.key"
    certificate, key, request = directory / "server.crt", directory / "server.key", directory / "server.csr"
    names = directory / "names.cnf"
    ips = "".join(f",IP:{address}" for address in ("127.0.0.1", *addresses))
    names.write_text(f"subjectAltName=DNS:localhost{ips}\n")
    commands = [
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Test authority",
         "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", authority_key, "-out", authority],
        ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", key, "-out", request],
        ["x509", "-req", "-in", request, "-CA", authority, "-CAkey", authority_key, "-CAcreateserial", "-days", "2",
         "-extfile", names, "-out", certificate],
    ]  # fmt: skip
    for command in commands:
        subprocess.run([openssl, *map(str, command)], check=True, capture_output=True)
    for path in directory.iterdir():
        path.chmod(0o644)
    return Certificates(authority, certificate, key)


@dataclasses.dataclass
class RedisServer:
    """A redis-server of the test's own.

    C(url) is what Celery takes as broker_url. The process can be frozen and
    thawed (a broker that hangs) and killed (one that dies).
    """

    directory: Path
    port: int
    socket_path: Path
    url: str
    process: subprocess.Popen[bytes]
    password: str = ""
    tls: Certificates | None = None

    @property
    def socket_url(self) -> str:
        """Broker URL of the same server over its unix socket."""
        login = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis+socket://{login}{self.socket_path}"

    @property
    def log(self) -> str:
        """What the server wrote, for the message of a failing test."""
        return (self.directory / "redis.log").read_text(errors="replace")

    def cli(self, *arguments: str, db: int = 0) -> str:
        """Run redis-cli against the server (over its socket) and return its raw output."""
        command = [find_program("redis-cli", "redis-tools"), "-s", str(self.socket_path), "-n", str(db), "--raw"]
        environment = {**os.environ, "REDISCLI_AUTH": self.password} if self.password else dict(os.environ)
        done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True, env=environment)
        return done.stdout.rstrip("\n")

    def client(self, db: int = 0) -> Any:
        """Return a redis-py client as the server's administrator."""
        import redis

        return redis.Redis(unix_socket_path=str(self.socket_path), password=self.password or None, db=db)

    def freeze(self) -> None:
        """Stop the server from running; connections stay open and unanswered."""
        stop_running([self.process.pid])

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the server without a farewell."""
        self.process.kill()
        self.process.wait(10)

    def leave(self) -> None:
        """End the server, which keeps what it has for when it comes back."""
        # It ends in place of an answer.
        with contextlib.suppress(subprocess.CalledProcessError):
            self.cli("SHUTDOWN", "SAVE")
        self.process.wait(30)

    def come_back(self) -> None:
        """Start a server that has left, at the same port and with what it had."""
        command = [find_program("redis-server", "redis-server"), str(self.directory / "redis.conf")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self.answers, START_SECONDS, "redis-server answers")

    def answers(self) -> bool:
        """Say whether it answers. Raises AssertionError when it has ended."""
        if self.process.poll() is not None:
            raise AssertionError(f"redis-server ended with {self.process.returncode}:\n{self.log}")
        with contextlib.suppress(subprocess.CalledProcessError):
            return self.cli("PING") == "PONG"
        return False

    def stop(self) -> None:
        """End the server."""
        stop_process(self.process)


def start_redis(
    directory: Path,
    *,
    password: str = "",
    tls: Certificates | None = None,
    settings: dict[str, str] | None = None,
    sentinel: bool = False,
    address: str = "127.0.0.1",
) -> RedisServer:
    """Start a redis-server and return when it answers.

    :param address: of this machine, on which it listens; others may connect to one that is not a loopback address.
    :param password: of the default user.
    :param tls: serve TLS (only) on the TCP port; the unix socket stays plain.
    :param settings: further lines of redis.conf.
    :param sentinel: run as a sentinel.
    """
    program = find_program("redis-server", "redis-server")
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    # The path of a unix socket may not be longer than 107 bytes, and pytest's directories can be.
    socket_path = Path(f"/tmp/mj-redis-{os.getpid()}-{uuid.uuid4().hex[:12]}.sock")
    lines = {
        "bind": address,
        "protected-mode": "no",
        "unixsocket": str(socket_path),
        "dir": str(directory),
        "logfile": str(directory / "redis.log"),
        "daemonize": "no",
        "port": str(port),
    }
    if not sentinel:
        lines.update({"save": '""', "appendonly": "no", "maxmemory-policy": "noeviction"})
    if tls is not None:
        lines.update(
            {
                "port": "0",
                "tls-port": str(port),
                "tls-cert-file": str(tls.certificate),
                "tls-key-file": str(tls.key),
                "tls-ca-cert-file": str(tls.authority),
                "tls-auth-clients": "no",
            }
        )
    if password:
        lines["requirepass"] = password
    lines.update(settings or {})
    config = directory / "redis.conf"
    config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    command = [program, str(config), *(["--sentinel"] if sentinel else [])]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    login = f":{quote(password, safe='')}@" if password else ""
    scheme = "rediss" if tls else "redis"
    server = RedisServer(
        directory=directory,
        port=port,
        socket_path=socket_path,
        url=f"{scheme}://{login}{address}:{port}/0",
        process=process,
        password=password,
        tls=tls,
    )

    try:
        wait_until(server.answers, START_SECONDS, "redis-server answers")
    except BaseException:
        stop_process(process)
        raise
    return server


@contextlib.contextmanager
def redis_running(directory: Path, **options: Any) -> Iterator[RedisServer]:
    """Run C(start_redis) for the length of a with block."""
    server = start_redis(directory, **options)
    try:
        yield server
    finally:
        server.stop()
        with contextlib.suppress(FileNotFoundError):
            server.socket_path.unlink()


@dataclasses.dataclass
class RabbitServer:
    """A RabbitMQ node of the test's own, with the management plugin and a TLS listener."""

    directory: Path
    port: int
    tls_port: int
    management_port: int
    tls: Certificates
    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    user: str = "guest"
    password: str = "guest"
    address: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """Broker URL of the default virtual host."""
        return self.vhost_url("/")

    @property
    def management_url(self) -> str:
        """URL of the management API with the login in it."""
        return f"http://{self.user}:{self.password}@{self.address}:{self.management_port}"

    def vhost_url(self, vhost: str, *, user: str = "", password: str = "", tls: bool = False) -> str:
        """Return the broker URL for a virtual host, optionally as another user or over TLS."""
        scheme, port = ("amqps", self.tls_port) if tls else ("amqp", self.port)
        login = f"{quote(user or self.user, safe='')}:{quote(password or self.password, safe='')}"
        return f"{scheme}://{login}@{self.address}:{port}/{quote(vhost, safe='')}"

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Call the management API; C(path) follows /api/. Returns the parsed answer, or None for an empty one."""
        token = b64encode(f"{self.user}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            f"http://{self.address}:{self.management_port}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def add_vhost(self, vhost: str) -> str:
        """Make a virtual host and return its broker URL."""
        self.api("PUT", f"vhosts/{quote(vhost, safe='')}", {})
        self.allow(self.user, vhost)
        return self.vhost_url(vhost)

    def delete_vhost(self, vhost: str) -> None:
        """Delete a virtual host with all its queues."""
        self.api("DELETE", f"vhosts/{quote(vhost, safe='')}")

    def add_user(self, user: str, password: str, tags: str = "") -> None:
        """Make a user."""
        self.api("PUT", f"users/{quote(user, safe='')}", {"password": password, "tags": tags})

    def allow(self, user: str, vhost: str, configure: str = ".*", write: str = ".*", read: str = ".*") -> None:
        """Set a user's permissions in a virtual host."""
        path = f"permissions/{quote(vhost, safe='')}/{quote(user, safe='')}"
        self.api("PUT", path, {"configure": configure, "write": write, "read": read})

    @property
    def log(self) -> str:
        """What the node wrote, for the message of a failing test."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("log/*.log")))

    def control(self, *arguments: str) -> None:
        """Run rabbitmqctl on the node."""
        command = [str(RABBITMQ_BIN / "rabbitmqctl"), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    @contextlib.contextmanager
    def memory_alarm(self) -> Iterator[None]:
        """Let the node run out of memory, as it believes, so that it blocks who publishes."""
        self.control("set_vm_memory_high_watermark", "0.00001")
        try:
            yield
        finally:
            self.control("set_vm_memory_high_watermark", "0.4")

    def freeze(self) -> None:
        """Stop the node from running; connections stay open and unanswered."""
        stop_running(self.pids())

    def thaw(self) -> None:
        """Let a frozen node go on."""
        for pid in self.pids():
            os.kill(pid, signal.SIGCONT)

    def pids(self) -> list[int]:
        """Return the processes of the node: all that share the process group made for it."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.getpgid(int(entry.name)) == self.process.pid:
                        found.append(int(entry.name))
        return found

    def kill(self) -> None:
        """End the node without a farewell."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def stop(self) -> None:
        """End the node and everything it started in its process group."""
        if self.process.poll() is None:
            self.thaw()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        self.kill()


@contextlib.contextmanager
def rabbitmq_running(directory: Path, address: str = "127.0.0.1") -> Iterator[RabbitServer]:
    """Run a RabbitMQ node (with an epmd of its own) for the length of a with block.

    :param address: of this machine, on which it listens; others may connect to one that is not a loopback address.
    """
    program = RABBITMQ_BIN / "rabbitmq-server"
    if not program.exists():
        raise MissingServer("rabbitmq-server is not installed; install the package rabbitmq-server")
    epmd = find_program("epmd", "erlang-base")
    directory.mkdir(parents=True, exist_ok=True)
    tls = make_certificates(directory / "tls", address)
    port, tls_port, management_port = free_port(), free_port(), free_port()
    dist_port, epmd_port = free_port(), free_port()
    (directory / "enabled_plugins").write_text("[rabbitmq_management].\n")
    (directory / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = {address}:{port}\n"
        f"listeners.ssl.1 = {address}:{tls_port}\n"
        f"ssl_options.cacertfile = {tls.authority}\n"
        f"ssl_options.certfile = {tls.certificate}\n"
        f"ssl_options.keyfile = {tls.key}\n"
        "ssl_options.verify = verify_none\n"
        f"management.tcp.ip = {address}\nmanagement.tcp.port = {management_port}\n"
        # The user guest may come from elsewhere too.
        "loopback_users = none\n"
        # The node shares the disk with everything else here; its alarm would block publishers.
        "disk_free_limit.absolute = 50MB\n"
        "collect_statistics_interval = 1000\n"
    )
    environment = {
        **os.environ,
        "HOME": str(directory),
        "RABBITMQ_NODENAME": f"mj{uuid.uuid4().hex[:10]}@localhost",
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "none.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "none.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_DIST_PORT": str(dist_port),
        # The emulator spins while it waits for work unless told not to.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd_port),
    }
    with contextlib.ExitStack() as stack:
        # Started here in the foreground, or the node would leave a daemon of it behind.
        registry = subprocess.Popen(
            [epmd, "-address", "127.0.0.1", "-port", str(epmd_port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(stop_process, registry)
        output = stack.enter_context((directory / "output.log").open("wb"))
        process = subprocess.Popen(
            [str(program)], env=environment, cwd=directory, stdout=output, stderr=output, start_new_session=True
        )
        server = RabbitServer(directory, port, tls_port, management_port, tls, process, environment, address=address)
        stack.callback(server.stop)

        def answers() -> bool:
            if process.poll() is not None:
                raise AssertionError(
                    f"rabbitmq-server ended with {process.returncode}:\n"
                    f"{(directory / 'output.log').read_text(errors='replace')}\n{server.log}"
                )
            with contextlib.suppress(OSError):
                return bool(server.api("GET", "health/checks/port-listener/" + str(port))["status"] == "ok")
            return False

        wait_until(answers, RABBITMQ_START_SECONDS, "rabbitmq-server answers")
        yield server


def tls_context(certificates: Certificates) -> ssl.SSLContext:
    """Return a client context that trusts the test's authority only."""
    return ssl.create_default_context(cafile=str(certificates.authority))
