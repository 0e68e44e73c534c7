# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaking to an API server over real HTTP, and what is said of everything that it refuses."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.base import Place
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.api import HttpApi
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.connection import connect
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.kubeconfig import Kubeconfig
from ansible_collections.muejam.celery.plugins.module_utils.platforms.kubernetes.refusals import Refused

TOKEN = "not-a-real-token"
PODS = "/api/v1/namespaces/muejam/pods"
DEPLOYMENT = "/apis/apps/v1/namespaces/muejam/deployments/celery-worker-web"


@dataclass
class Server:
    """Answers with what it is given, one answer for each call, the last one for all that follow."""

    answers: list[tuple[int, Any]] = field(default_factory=lambda: [(200, {})])
    calls: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def say(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key, its own authority."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=cluster", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(path), "-out", f"{path}.crt"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text(encoding="ascii") + Path(f"{path}.crt").read_text(encoding="ascii"), "ascii")
    return path


@pytest.fixture
def server(certificate: Path) -> Iterator[Server]:
    said = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            url = urlsplit(self.path)
            said.calls.append(
                {
                    "verb": self.command,
                    "path": url.path,
                    "query": {name: values[0] for name, values in parse_qs(url.query).items()},
                    "body": json.loads(self.rfile.read(length)) if length else None,
                    "type": self.headers.get("Content-Type"),
                    "login": self.headers.get("Authorization"),
                }
            )
            status, body = said.answers.pop(0) if len(said.answers) > 1 else said.answers[0]
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *_values: object) -> None:
            pass

    class Http(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Tell nothing of a client that does not like the certificate."""

    http = Http(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    # Connections are kept open, and the handshakes are those of their own threads.
    http.daemon_threads = True
    http.block_on_close = False
    http.socket = context.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    said.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, args=(0.05,))
    thread.start()
    yield said
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def account(tmp_path: Path, certificate: Path) -> Path:
    """What a pod finds of its ServiceAccount."""
    (tmp_path / "token").write_text(TOKEN, encoding="ascii")
    (tmp_path / "namespace").write_text("muejam", encoding="ascii")
    (tmp_path / "ca.crt").write_text(Path(f"{certificate}.crt").read_text(encoding="ascii"), encoding="ascii")
    return tmp_path


@pytest.fixture
def api(server: Server, account: Path) -> HttpApi:
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
    return HttpApi(connect(Place(), environment, account), timeout=5.0)


def refusal(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    assert TOKEN not in str(caught.value)
    assert "BEGIN" not in str(caught.value)
    return caught.value


def status(code: int, reason: str, message: str, **details: str) -> tuple[int, Any]:
    return code, {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


def test_calls_are_what_the_api_wants(api: HttpApi, server: Server) -> None:
    assert (api.server, api.namespace) == (server.url, "muejam")
    server.say((200, {"spec": {"replicas": 2}}))
    assert api.get(DEPLOYMENT)["spec"] == {"replicas": 2}
    api.patch(f"{DEPLOYMENT}/scale", {"spec": {"replicas": 3}}, dryRun="All")
    api.patch(DEPLOYMENT, {"a": 1}, "apply", fieldManager="me", force="true")
    api.post(PODS, {"kind": "Pod"})
    api.put(f"{PODS}/a", {"kind": "Pod"})
    api.delete(f"{PODS}/a", {"preconditions": {"uid": "u"}})
    shown = [(call["verb"], call["path"], call["query"], call["body"], call["type"]) for call in server.calls]
    assert shown == [
        ("GET", DEPLOYMENT, {}, None, None),
        ("PATCH", f"{DEPLOYMENT}/scale", {"dryRun": "All"}, {"spec": {"replicas": 3}}, "application/merge-patch+json"),
        (
            "PATCH",
            DEPLOYMENT,
            {"fieldManager": "me", "force": "true"},
            {"a": 1},
            "application/apply-patch+yaml",
        ),
        ("POST", PODS, {}, {"kind": "Pod"}, "application/json"),
        ("PUT", f"{PODS}/a", {}, {"kind": "Pod"}, "application/json"),
        ("DELETE", f"{PODS}/a", {}, {"preconditions": {"uid": "u"}}, "application/json"),
    ]
    assert {call["login"] for call in server.calls} == {f"Bearer {TOKEN}"}


def test_a_token_that_was_renewed_is_read_anew(api: HttpApi, server: Server, account: Path) -> None:
    api.get(DEPLOYMENT)
    renewed = account / "..token"
    renewed.write_text("not-a-real-token-2", encoding="ascii")
    renewed.rename(account / "token")
    api.get(DEPLOYMENT)
    assert [call["login"] for call in server.calls] == [f"Bearer {TOKEN}", f"Bearer {TOKEN}-2"]
    (account / "token").unlink()
    assert "the token" in refusal(lambda: api.get(DEPLOYMENT)).why


def test_a_list_is_read_in_pages(api: HttpApi, server: Server) -> None:
    server.say((200, {"items": [{"n": 1}], "metadata": {"continue": "more"}}), (200, {"items": [{"n": 2}]}))
    assert api.list(PODS, "a=b") == [{"n": 1}, {"n": 2}]
    assert [call["query"] for call in server.calls] == [
        {"limit": "500", "labelSelector": "a=b"},
        {"limit": "500", "labelSelector": "a=b", "continue": "more"},
    ]


def test_a_list_that_was_forgotten_is_begun_anew_once(api: HttpApi, server: Server) -> None:
    page = (200, {"items": [{"n": 1}], "metadata": {"continue": "more"}})
    gone = status(410, "Expired", "The provided continue parameter is too old")
    server.say(page, gone, page, (200, {"items": [{"n": 2}]}))
    assert api.list(PODS) == [{"n": 1}, {"n": 2}]
    server.say(page, gone, page, gone)
    error = refusal(lambda: api.list(PODS))
    assert (error.status, error.next_step) == (410, "The list changed too fast to be read in pages. Try again.")


def test_what_is_no_object_is_cut_where_it_is_too_much(api: HttpApi, server: Server) -> None:
    server.say((200, b"x" * 1000))
    assert api.text(f"{PODS}/a/log", 10, tailLines="5") == b"x" * 10
    assert api.text(f"{PODS}/a/log") == b"x" * 1000
    server.say((200, {"ok": 1}))
    assert api.get(PODS) == {"ok": 1}, "what was left over is not taken for an answer"


@pytest.mark.parametrize(
    ("call", "answer", "tried", "why", "next_step"),
    [
        (
            lambda api: api.list(PODS),
            status(403, "Forbidden", 'pods is forbidden: User "ci" cannot list resource "pods" in API group ""'),
            "list pods in namespace muejam of https://127.0.0.1",
            'User "ci" cannot list resource "pods"',
            'Add the rule {apiGroups: [""], resources: ["pods"], verbs: ["list"]} to a Role in namespace muejam',
        ),
        (
            lambda api: api.get("/api/v1/namespaces/muejam"),
            status(403, "Forbidden", 'namespaces "muejam" is forbidden: User "ci" cannot get resource "namespaces"'),
            "get namespaces muejam of https://127.0.0.1",
            "cannot get resource",
            'Add the rule {apiGroups: [""], resources: ["namespaces"], verbs: ["get"]} to a ClusterRole',
        ),
        (
            lambda api: api.text(f"{PODS}/a:8484/proxy/status"),
            status(403, "Forbidden", 'pods "a:8484" is forbidden: User "ci" cannot get resource "pods/proxy"'),
            "get pods/proxy a in namespace muejam",
            "cannot get",
            'resources: ["pods/proxy"], verbs: ["get"]',
        ),
        (
            lambda api: api.patch(DEPLOYMENT, {}, "apply"),
            status(
                403,
                "Forbidden",
                'deployments.apps "celery-worker-web" is forbidden: User "ci" cannot create resource "deployments" in '
                'API group "apps" in the namespace "muejam"',
            ),
            "patch deployments celery-worker-web",
            "cannot create",
            'Add the rule {apiGroups: ["apps"], resources: ["deployments"], verbs: ["create"]} to a Role in namespace',
        ),
        (
            lambda api: api.patch("/apis/rbac.authorization.k8s.io/v1/namespaces/muejam/roles/a", {}, "apply"),
            status(
                403,
                "Forbidden",
                'roles.rbac.authorization.k8s.io "a" is forbidden: user "ci" (groups=["ci"]) is attempting to grant '
                'RBAC permissions not currently held:\n{APIGroups:[""], Resources:["pods"], Verbs:["list"]}',
            ),
            "patch roles a in namespace muejam",
            "attempting to grant RBAC permissions",
            "Who makes a Role has to have all the rights in it himself: add those that are named to a Role",
        ),
        (
            lambda api: api.list(PODS),
            status(403, "Forbidden", 'pods is forbidden: User "system:anonymous" cannot list resource "pods"'),
            "list pods",
            "system:anonymous",
            "No login was sent: the pod's ServiceAccount has none, or it failed.",
        ),
        (
            lambda api: api.post(PODS, {}),
            status(403, "Forbidden", 'pods "a" is forbidden: exceeded quota: few, requested: pods=1, used: pods=2'),
            "create pods in namespace muejam",
            "exceeded quota: few",
            "Raise the ResourceQuota of namespace muejam",
        ),
        (
            lambda api: api.post(PODS, {}),
            status(403, "Forbidden", 'pods "a" is forbidden: violates PodSecurity "restricted:latest"'),
            "create pods",
            "violates PodSecurity",
            "A rule of the cluster forbids it",
        ),
        (
            lambda api: api.patch(f"{DEPLOYMENT}/scale", {}),
            status(409, "Conflict", "the object has been modified"),
            "patch deployments/scale celery-worker-web in namespace muejam",
            "the object has been modified",
            "Read it again and decide again",
        ),
        (
            lambda api: api.get(DEPLOYMENT),
            status(404, "NotFound", 'deployments.apps "celery-worker-web" not found', name="celery-worker-web"),
            "get deployments celery-worker-web",
            "not found",
            "Check the name and the namespace.",
        ),
        (
            lambda api: api.list("/apis/keda.sh/v1alpha1/namespaces/muejam/scaledobjects"),
            (404, b"404 page not found\n"),
            "list scaledobjects",
            "KEDA is not installed in this cluster",
            "Install it, or do without it.",
        ),
        (
            lambda api: api.list("/apis/metrics.k8s.io/v1beta1/namespaces/muejam/pods"),
            status(404, "NotFound", "the server could not find the requested resource"),
            "list pods",
            "this cluster has no pods of the API metrics.k8s.io",
            "Install it",
        ),
        (
            lambda api: api.get(DEPLOYMENT),
            status(401, "Unauthorized", "Unauthorized"),
            "get deployments",
            "Unauthorized",
            "The login of the pod's ServiceAccount is not accepted.",
        ),
        (
            lambda api: api.get(DEPLOYMENT),
            status(422, "Invalid", "spec.replicas: Invalid value: -1"),
            "get deployments",
            "spec.replicas",
            "Change what it names",
        ),
        (lambda api: api.get(DEPLOYMENT), (502, b"<html>"), "get deployments", "it answered 502", "Try again"),
        (
            lambda api: api.get(DEPLOYMENT),
            (200, b"<html>"),
            "get deployments",
            "did not send JSON",
            "proxies on the way",
        ),
    ],
)
def test_what_is_refused_says_what_to_do(
    api: HttpApi, server: Server, call: Callable[[HttpApi], object], answer: Any, tried: str, why: str, next_step: str
) -> None:
    server.say(answer)
    error = refusal(lambda: call(api))
    assert tried in error.tried
    assert why in error.why
    assert next_step in error.next_step
    if answer[0] == 404:
        assert error.no_such_api is ("Install" in next_step)


def test_a_server_that_is_not_there(account: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(free.getsockname()[1])}
        api = HttpApi(connect(Place(), environment, account), timeout=2.0)
        error = refusal(lambda: api.get(DEPLOYMENT))
    assert (error.status, "Connection refused" in error.why) == (None, True)
    assert "HTTPSConnection" not in error.why
    assert "Check that the API server runs" in error.next_step


def test_a_certificate_of_somebody_else(api: HttpApi, server: Server, account: Path, certificate: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "localhost", "KUBERNETES_SERVICE_PORT": str(server.port)}
    error = refusal(lambda: HttpApi(connect(Place(), environment, account), timeout=2.0).get(DEPLOYMENT))
    assert "its certificate is not accepted" in error.why
    assert "tls-server-name" in error.next_step


def test_a_pod_without_an_account(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="automountServiceAccountToken"):
        connect(Place(), {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_what_awx_hands_to_a_job_comes_before_the_pod_that_the_job_runs_in(
    server: Server, kubeconfig: Path, account: Path, certificate: Path
) -> None:
    variables = {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "K8S_AUTH_HOST": server.url,
        "K8S_AUTH_API_KEY": TOKEN,
        "K8S_AUTH_SSL_CA_CERT": f"{certificate}.crt",
    }
    for environment in (variables, {**variables, "K8S_AUTH_SSL_CA_CERT": "", "K8S_AUTH_VERIFY_SSL": "no"}):
        api = HttpApi(connect(Place(kubeconfig=str(kubeconfig)), environment, account))
        api.get(DEPLOYMENT)
        assert (api.server, api.namespace, server.calls[-1]["login"]) == (server.url, "default", f"Bearer {TOKEN}")
    with pytest.raises(OperationError, match="there is no K8S_AUTH_API_KEY"):
        connect(Place(), {"K8S_AUTH_HOST": server.url, "K8S_AUTH_USERNAME": "u"}, account)


@pytest.fixture
def kubeconfig(server: Server, tmp_path: Path, certificate: Path) -> Path:
    path = tmp_path / "kubeconfig"
    contexts = {"one": {"namespace": "muejam"}, "two": {}}
    values = {
        "current-context": "one",
        "clusters": [
            {"name": "c", "cluster": {"server": server.url, "certificate-authority": f"{certificate}.crt"}},
        ],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": n, "context": {"cluster": "c", "user": "u", **more}} for n, more in contexts.items()],
    }
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_by_a_kubeconfig(kubeconfig: Path, server: Server) -> None:
    api = HttpApi(connect(Place(kubeconfig=str(kubeconfig)), {}))
    api.get(DEPLOYMENT)
    assert (api.server, api.namespace, server.calls[0]["login"]) == (server.url, "muejam", f"Bearer {TOKEN}")
    in_a_pod = {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "K8S_AUTH_KUBECONFIG": str(kubeconfig),
        "K8S_AUTH_CONTEXT": "two",
    }
    assert HttpApi(connect(Place(), in_a_pod)).namespace == "default"
    assert HttpApi(connect(Place(namespace="other"), in_a_pod)).namespace == "other"


def log_in_by_a_program(kubeconfig: Path, folder: Path, **status: str) -> Path:
    """Have a kubeconfig log in by a program, and return the file that grows by a byte each time it does."""
    values = json.loads(kubeconfig.read_text(encoding="utf-8"))
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "not-a-real-token-of-exec", **status},
    }
    times = folder / "times"
    code = f"open({str(times)!r}, 'a').write('x'); print({json.dumps(credential)!r})"
    program = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", code],
        "interactiveMode": "Never",
    }
    values["users"][0]["user"] = {"exec": program}
    kubeconfig.write_text(json.dumps(values), encoding="utf-8")
    return times


def test_a_login_by_a_program(kubeconfig: Path, server: Server, tmp_path: Path) -> None:
    times = log_in_by_a_program(kubeconfig, tmp_path)
    api = HttpApi(connect(Place(kubeconfig=str(kubeconfig)), {}))
    api.get(DEPLOYMENT)
    api.get(DEPLOYMENT)
    assert [call["login"] for call in server.calls] == ["Bearer not-a-real-token-of-exec"] * 2
    assert times.read_text() == "x"


def test_a_login_is_renewed_before_it_is_over(kubeconfig: Path, server: Server, tmp_path: Path) -> None:
    soon = datetime.now(timezone.utc) + timedelta(seconds=60)
    times = log_in_by_a_program(kubeconfig, tmp_path, expirationTimestamp=soon.strftime("%Y-%m-%dT%H:%M:%SZ"))
    api = HttpApi(connect(Place(kubeconfig=str(kubeconfig)), {}))
    api.get(DEPLOYMENT)
    assert times.read_text() == "xx"
    kubeconfig.write_text("{}", encoding="utf-8")
    error = refusal(lambda: api.get(DEPLOYMENT))
    assert "a new one failed" in error.why
    assert "not-a-real-token" not in str(error)
    found = Kubeconfig("https://s", "", {"authorization": TOKEN}, None, True, "", "", "", "", None, {})
    assert TOKEN not in repr(found)


def test_a_client_with_a_certificate(kubeconfig: Path, server: Server, certificate: Path, tmp_path: Path) -> None:
    values = json.loads(kubeconfig.read_text(encoding="utf-8"))
    values["users"][0]["user"] = {"client-certificate": f"{certificate}.crt", "client-key": str(certificate)}
    values["clusters"][0]["cluster"].update(
        {"server": f"https://localhost:{server.port}", "tls-server-name": "127.0.0.1"}
    )
    kubeconfig.write_text(json.dumps(values), encoding="utf-8")
    HttpApi(connect(Place(kubeconfig=str(kubeconfig)), {})).get(DEPLOYMENT)
    assert server.calls[0]["login"] is None
    (tmp_path / "broken.crt").write_text("no certificate", encoding="utf-8")
    values["users"][0]["user"] = dict.fromkeys(("client-certificate", "client-key"), str(tmp_path / "broken.crt"))
    kubeconfig.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(OperationError, match="its certificates cannot be used"):
        connect(Place(kubeconfig=str(kubeconfig)), {})


def test_by_a_kubeconfig_the_client_library_is_loaded_elsewhere(kubeconfig: Path) -> None:
    program = (
        "import sys\n"
        f"from {connect.__module__} import connect\n"
        f"from {Place.__module__} import Place\n"
        "connect(Place(kubeconfig=sys.argv[1]), {})\n"
        "assert 'kubernetes' not in sys.modules and 'yaml' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(kubeconfig)], check=True)


@pytest.mark.parametrize(
    ("place", "why", "next_step"),
    [
        ({"context": "three"}, "three", "It has the contexts one, two. Name one of them in the option context"),
        ({"kubeconfig": "/nowhere/config"}, "there is no such file", "Name one that exists"),
    ],
)
def test_a_kubeconfig_that_does_not_lead_there(
    kubeconfig: Path, place: dict[str, str], why: str, next_step: str
) -> None:
    with pytest.raises(OperationError) as caught:
        connect(Place(**{"kubeconfig": str(kubeconfig), **place}), {})
    assert why in caught.value.why
    assert next_step in caught.value.next_step
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("users", {"name": "u", "token": TOKEN}),
        ("users", {"name": "u", "user": {"client-key-data": TOKEN, "client-certificate-data": "?"}}),
        ("contexts", {"name": "one", "token": TOKEN}),
        ("clusters", {"name": "c", "token": TOKEN}),
    ],
)
def test_nothing_of_a_login_is_told(kubeconfig: Path, part: str, wrong: dict[str, Any]) -> None:
    values = json.loads(kubeconfig.read_text(encoding="utf-8"))
    values[part] = [wrong]
    kubeconfig.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(OperationError, match="use the kubeconfig") as caught:
        connect(Place(kubeconfig=str(kubeconfig)), {})
    assert TOKEN not in str(caught.value)
    assert caught.value.why


def test_a_kubeconfig_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(OperationError, match="use the kubeconfig"):
        connect(Place(kubeconfig=str(path)), {})


def test_in_a_cluster_the_client_library_is_not_loaded(account: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        f"from {connect.__module__} import connect\n"
        f"from {Place.__module__} import Place\n"
        f"from {HttpApi.__module__} import HttpApi\n"
        "HttpApi(connect(Place(), {'KUBERNETES_SERVICE_HOST': '10.0.0.1'}, Path(sys.argv[1])))\n"
        "assert 'kubernetes' not in sys.modules and 'yaml' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(account)], check=True)
