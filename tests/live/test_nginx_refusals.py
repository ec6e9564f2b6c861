"""What nginx refuses by itself, in the dialect of the path; what it hides, limits and logs."""

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import PASSWORD, PNG, Person
from tests.live.conftest import PATIENCE
from tests.live.nginx import FILES, SITE, Nginx, running
from tests.live.wire import FORM, Answer, Wire, form, head, upload

pytestmark = pytest.mark.live
MIB = 1024 * 1024
NOBODY = "00000000-0000-4000-8000-000000000000"
DIALECTS = {
    "/api/files/upload": "nekos",
    "/api/": "nekos",
    "/api/v2/upload": "v2",
    "/api/v2": "v2",
    "/api/v2/items/1/file?x=/api/token": "v2",
    "/apiary": "page",
    "/": "page",
    "/d/aB3dE6g.png": "page",
}


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    with running(accounts_failures=3) as nginx:
        yield nginx


@pytest.fixture(scope="module")
def alice(nginx: Nginx) -> Person:
    return nginx.server.person("alice")


def require_dialect(answer: Answer, dialect: str) -> None:
    """One sentence, in the shape of its door, under every header."""
    kind = {"nekos": "text/plain; charset=utf-8", "v2": "application/json"}
    assert answer.headers["content-type"] == kind.get(dialect, "text/html; charset=utf-8")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    if dialect == "v2":
        told = json.loads(answer.body)
        assert set(told) == {"success", "msg"}
        assert told["success"] is False
        text = told["msg"]
    elif dialect == "nekos":
        text = answer.body.decode()
    else:
        assert answer.body.startswith(b"<!doctype html>")
        assert f"<title>{answer.status}</title>".encode() in answer.body
        text = re.findall("<p>(.*)</p>", answer.body.decode())[0]
    assert re.fullmatch(r"[A-Z][^.<>]+\.", text), text


# Dialects


@pytest.mark.parametrize("path", DIALECTS)
def test_too_large(nginx: Nginx, path: str) -> None:
    with nginx.wire() as wire:
        wire.send(head("POST", path, {"Content-Length": str(101 * MIB + 1)}))
        answer = wire.answer()
    assert answer.status == 413
    require_dialect(answer, DIALECTS[path])


def test_the_limit_is_the_app_s(nginx: Nginx, alice: Person) -> None:
    """One byte over the file's limit is refused by the app, in its own words."""
    body = form(b"")
    content = b"\0" * (100 * MIB + 1)
    with nginx.wire() as wire:
        wire.send(upload(alice.token, content))
        answer = wire.answer()
    assert len(content) + len(body) < 101 * MIB
    assert (answer.status, answer.body) != (413, b"The request is larger than this host accepts.")
    assert answer.status == 413


def test_too_large_in_chunks(nginx: Nginx, alice: Person) -> None:
    fields = {"token": alice.token, "Content-Type": FORM, "Transfer-Encoding": "chunked"}
    with nginx.wire() as wire:
        wire.send(head("POST", "/api/files/upload", fields) + b"%x\r\n" % (102 * MIB) + b"x")
        answer = wire.answer()
    assert answer.status == 413
    require_dialect(answer, "nekos")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /api/info HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01 nonsense\r\n\r\n", 400),
        (b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000 + b"\r\n\r\n", 431),
    ],
    ids=["above", "no host", "no http", "nul", "long", "large headers"],
)
def test_malformed(nginx: Nginx, request_bytes: bytes, status: int) -> None:
    for host in (b"x", FILES.encode()):
        with nginx.wire() as wire:
            wire.send(request_bytes.replace(b"Host: x", b"Host: " + host))
            answer = wire.answer()
        assert answer.status == status
        require_dialect(answer, "page" if status == 431 else "nekos")


def test_metrics_stay_inside(nginx: Nginx) -> None:
    for path in ("/metrics", "/%6detrics", "//metrics", "/x/../metrics", "/metrics?a"):
        answer = nginx.ask(path)
        assert answer.status == 404
        require_dialect(answer, "page")


def test_without_gunicorn(nginx: Nginx, alice: Person) -> None:
    name = nginx.server.upload(alice, PNG)
    assert nginx.server.stop() == 0
    try:
        for path, dialect in DIALECTS.items():
            answer = nginx.ask(path)
            assert (answer.status, answer.headers["retry-after"]) == (502, "5"), path
            require_dialect(answer, dialect)
        assert nginx.file(name).body == PNG  # what nginx serves by itself goes on
    finally:
        nginx.start_gunicorn()


def test_gunicorn_that_hangs() -> None:
    with running(read_timeout=1) as nginx:
        (worker,) = nginx.server.workers()
        subprocess.run(["kill", "-STOP", str(worker)], check=True)
        try:
            with ThreadPoolExecutor() as pool:
                answers = list(pool.map(nginx.ask, DIALECTS))
        finally:
            subprocess.run(["kill", "-CONT", str(worker)], check=True)
        for answer, dialect in zip(answers, DIALECTS.values(), strict=True):
            assert answer.status == 504
            require_dialect(answer, dialect)


def test_no_place_for_a_body() -> None:
    """A full disk below nginx's buffer is 507, as a full one below the uploads is."""
    with running() as nginx:
        body = nginx.folder / "body"
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0777", "none", str(body)]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("only root can mount a small filesystem")
        try:
            for path in ("/api/files/upload", "/api/v2/upload", "/signin"):
                with nginx.wire() as wire:
                    wire.send(head("POST", path, {"Content-Length": str(3 * MIB)}))
                    wire.send(b"\0" * 3 * MIB)
                    answer = wire.answer()
                assert answer.status == 507
                require_dialect(answer, DIALECTS.get(path, "page"))
        finally:
            nginx.end_nginx()  # it keeps its file open for a while
            subprocess.run(["umount", str(body)], check=True)


# Addresses and limits


def from_address(nginx: Nginx, address: str, headers: dict[str, str]) -> Answer:
    """A log-in sent from `address`, one of this machine's own."""
    source = (address, 0)
    connection = socket.create_connection(("127.0.0.1", nginx.port), PATIENCE, source)
    with Wire(connection) as wire:
        fields = {"Content-Length": "0", "username": "alice", "password": "wrong one"}
        wire.send(head("POST", "/api/token/get", fields | headers))
        return wire.answer()


def test_a_forged_address_is_not_believed(nginx: Nginx, alice: Person) -> None:
    names = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X_Forwarded_For", "Client-IP")
    seen = []
    for number in range(4):
        forged = dict.fromkeys(names, f"for=192.0.2.{number}, 198.51.100.{number}")
        forged["X-Forwarded-For"] = f"192.0.2.{number}"
        seen.append(from_address(nginx, "127.0.0.7", forged).status)
    assert seen == [401, 401, 401, 429]
    # another address has guesses of its own, even when it says that it is the first
    other = from_address(nginx, "127.0.0.8", {"X-Forwarded-For": "127.0.0.7"})
    assert other.status == 401


def test_guesses_are_limited_by_address(nginx: Nginx) -> None:
    limited = [
        ("/api/token/get", "nekos"),
        ("/api/%74oken/./get", "nekos"),
        ("/api/user/signup", "nekos"),
        ("/api/user/passreset", "nekos"),
        ("/api/user/delete", "nekos"),
        ("/api/admin/signup", "nekos"),
        ("/api/admin/token/get", "nekos"),
        ("/signin", "page"),
        ("/signup", "page"),
    ]

    def send(address: str, path: str, method: str = "POST") -> Answer:
        source = (address, 0)
        connection = socket.create_connection(("127.0.0.1", nginx.port), PATIENCE, source)
        with Wire(connection) as wire:
            wire.send(head(method, path, {"Content-Length": "0"}))
            return wire.answer()

    first = [send("127.0.0.9", "/api/token/get").status for _ in range(30)]
    assert first[:21] == [400] * 21
    assert 429 in first[21:]
    for path, dialect in limited:
        # other requests let one more through every two seconds
        answer = next(a for a in (send("127.0.0.9", path) for _ in range(3)) if a.status == 429)
        assert answer.headers["retry-after"] == "2"
        require_dialect(answer, dialect)
    assert send("127.0.0.10", "/api/token/get").status == 400
    for path in ("/api/info", "/healthz", "/"):
        assert send("127.0.0.9", path, "GET").status == 200
    assert send("127.0.0.9", "/api/token/valid").status == 401


def test_early_refusals_are_seen(nginx: Nginx) -> None:
    whole = upload(NOBODY, b"\xff" * 5 * MIB)
    seen: list[object] = []
    for _ in range(40):
        with nginx.wire() as wire:
            try:
                wire.send(whole)
                seen.append(wire.answer().status)
            except ConnectionError as error:
                seen.append(error)
    assert seen == [401] * 40
    print("early 401 with 5 MB: 40 of 40")


# Logs


def test_logs_hold_no_credential(nginx: Nginx, alice: Person) -> None:
    answer = nginx.server.post(
        "/api/files/upload", alice.by_token, files={"uploadFile": ("a.png", PNG)}
    )
    link = answer.headers["X-Deletion-URL"].removeprefix(f"http://{SITE}")
    _, _, name, secret = link.split("/")
    ways = [
        link,
        f"{link}?x",
        f"/{link}",
        f"/%64elete/{name}/{secret}",
        f"/delete%2f{name}%2F{secret}",
    ]
    ways += [
        f"/delete/{name}%2f{secret}",
        f"/x/..{link}",
        f"/delete//{secret}",
        f"/DELETE/{name}/{secret}",
    ]
    for path in ways:
        nginx.ask(path)
    nginx.ask(link, {"Content-Length": str(200 * MIB)}, method="POST")
    nginx.ask(link, {"Host": "a b"})
    nginx.ask("/signup?key=" + alice.api_key)
    nginx.ask(f"/api/info?token={alice.token}", {"Referer": f"http://{SITE}{link}"})
    nginx.ask("/api/v2/items?" + alice.api_key, alice.by_key | {"Cookie": "__Host-x=" + secret})
    nginx.ask("/api/token/get", alice.by_password, method="POST")
    assert nginx.server.stop() == 0
    try:
        nginx.ask(link)
        nginx.ask("/signup?key=" + alice.api_key)
    finally:
        nginx.start_gunicorn()
    nginx.ask(link, method="POST")
    assert nginx.file(name).status == 404
    log = nginx.site_log.read_text()
    assert f'"GET /delete/{name}/- HTTP/1.1" 200 ' in log
    assert f'"POST /delete/{name}/- HTTP/1.1" 200 ' in log
    assert '"GET /api/info HTTP/1.1" 200 ' in log
    errors = "".join(path.read_text() for path in nginx.folder.glob("*error.log"))
    others = (nginx.folder / "main-access.log").read_text() + nginx.server.log
    for text in (log, errors, others):
        for word in (secret, alice.token, alice.api_key, PASSWORD, PASSWORD.replace(" ", "%20")):
            assert word not in text


def test_nginx_ends_in_order(nginx: Nginx) -> None:
    assert nginx.process is not None
    assert nginx.process.poll() is None
    nginx.process.send_signal(signal.SIGHUP)  # as after a renewed certificate
    time.sleep(0.2)
    assert nginx.ask("/healthz").status == 200
