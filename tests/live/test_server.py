"""gunicorn with our settings: how it starts, what it refuses, what it logs."""

import json
import os
import re
import socket
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import ADMIN_KEY, PASSWORD, PNG, Person
from tests.live.conftest import PATIENCE, ROOT, Server, until
from tests.live.wire import Wire, head

pytestmark = pytest.mark.live
Make = Callable[..., Server]


def sockets_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]


def test_from_an_empty_folder_to_an_admin(make_server: Make) -> None:
    server = make_server(start=False, migrate=False)
    assert {path.name for path in server.folder.iterdir()} == {"config.ini"}
    assert server.flask("migrate").stdout.startswith("Applied: 0001_initial")
    assert server.flask("migrate").stdout == "The database is up to date.\n"
    secret = server.folder / "kissa.secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    server.start()
    # gunicorn's control socket would lie in the home folder or the runtime folder
    assert sockets_of(server.folder) == []
    assert not list(ROOT.glob("*.ctl"))
    hint = "there is no admin yet; make one with: .venv/bin/flask create-admin NAME"
    assert server.log.count(hint) == 1
    made = server.flask("create-admin", "root", stdin=f"{PASSWORD}\n")
    assert (made.returncode, made.stdout) == (0, "root is an admin now.\n"), made.stderr
    login = {"username": "root", "password": PASSWORD}
    token = server.ask("/api/admin/token/get", login)["token"]
    assert server.ask("/api/admin/list/users", {"token": token}) == ["root"]
    server.restart()
    assert server.log.count(hint) == 1
    assert server.stop() == 0


def test_each_worker_takes_a_core(make_server: Make) -> None:
    usable = os.sched_getaffinity(0)
    server = make_server(server_workers=2)
    assert server.process is not None

    def homes() -> list[set[int]]:
        return [os.sched_getaffinity(worker) for worker in server.workers()]

    until(lambda: [len(home) for home in homes()] == [1, 1], "both workers take a core")
    assert len(set.union(*homes())) == min(2, len(usable))
    assert os.sched_getaffinity(server.process.pid) == usable


def refusal(server: Server) -> list[str]:
    """The lines that a server which does not start leaves."""
    server.spawn()
    assert server.wait() == 1, server.log
    lines = server.log.splitlines()
    server.log_path.unlink()
    # gunicorn names itself before it asks us
    return [line for line in lines if "[INFO] Starting gunicorn" not in line]


def test_refuses_a_faulty_configuration_with_all_faults(make_server: Make) -> None:
    server = make_server(start=False)
    server.configure(
        server_workers=0,
        server_bind="nowhere",
        uploads_name_length="short",
        gallery_visitors="cats",
        accounts_admin_registration="true",
        accounts_admin_key="tooshort",
        storage_folder="x",
    )
    lines = refusal(server)
    assert len(lines) == 6, lines
    wanted = ("workers", "bind", "name_length", "visitors", "admin_key", "folder")
    for word in wanted:
        assert any(word in line for line in lines), (word, lines)
    assert not any("tooshort" in line for line in lines)


def test_refuses_without_a_database(make_server: Make) -> None:
    server = make_server(start=False, migrate=False)
    (line,) = refusal(server)
    assert line.endswith("there is no database yet; run: flask migrate")


def test_refuses_an_old_schema(make_server: Make) -> None:
    server = make_server(start=False, migrate=False)
    (server.folder / "kissa.db").touch()
    (line,) = refusal(server)
    assert line.startswith("the database lacks 0001_initial")
    assert line.endswith("run: flask migrate")


def test_refuses_a_lost_secret_and_one_that_others_can_read(make_server: Make) -> None:
    server = make_server(start=False)
    secret = server.folder / "kissa.secret"
    secret.chmod(0o644)
    (line,) = refusal(server)
    assert "others can read the server secret" in line
    secret.chmod(0o600)
    assert server.flask("create-admin", "root", stdin=f"{PASSWORD}\n").returncode == 0
    secret.rename(server.folder / "elsewhere")
    (line,) = refusal(server)
    assert "the server secret is missing" in line


def test_refuses_to_serve_a_database_twice(make_server: Make) -> None:
    first = make_server()
    second = make_server(start=False, migrate=False)
    second.configure(
        database_url=f"sqlite:///{first.folder}/kissa.db", storage_directory=first.uploads
    )
    (line,) = refusal(second)
    assert line.endswith("another Kissa serves this database already")
    assert first.is_healthy()
    assert first.stop() == 0


TEXT_LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (GET|POST|HEAD) (/\S*) (\d{3}) (\d+) [\d.]+ms user=(\d+|-)"
)

JSON_START = re.compile(r'\{"time": "[^"]+", "method": ')


def use_every_secret(server: Server) -> tuple[int, set[str]]:
    """Send every kind of credential, good and bad. Returns the number of requests, and them."""
    count = 0
    secrets = {PASSWORD, ADMIN_KEY}

    def send(path: str, method: str = "POST", **headers: str) -> dict[str, str]:
        nonlocal count
        count += 1
        answer = server.session.request(
            method, server.url + path, headers=headers, timeout=PATIENCE, allow_redirects=False
        )
        is_json = answer.headers["Content-Type"] == "application/json" and answer.ok
        return dict(answer.json()) if is_json else {}

    login = {"username": "alice", "password": PASSWORD}
    root = {"username": "root", "password": PASSWORD}
    send("/api/admin/signup", **root, adminkey=ADMIN_KEY)
    send("/api/admin/signup", **root, adminkey="a wrong admin key")
    admin_token = send("/api/admin/token/get", **root)["token"]
    regkey = send("/api/admin/regkeygen", token=admin_token)["regkey"]
    send("/api/user/signup", **login, regkey=regkey)
    send("/api/user/signup", username="bob", password=PASSWORD, regkey="a wrong regkey")
    send("/api/token/get", username="alice", password="a wrong password")
    send("/api/user/passreset", **login, newpassword="another password")
    login["password"] = "another password"
    token = send("/api/token/get", **login)["token"]
    key = send("/api/user/keys/create", token=token, name="tests")["key"]
    send("/api/user/sharex", token=token)
    send(f"/api/user/info?token={token}&password={PASSWORD}")  # where it does not belong
    for path, header, value, field in (
        ("/api/files/upload", "token", token, "uploadFile"),
        ("/api/v2/upload?rating=sfw&tags=a,b,c", "X-Api-Key", key, "file"),
    ):
        answer = server.post(path, {header: value}, files={field: ("a.png", PNG)})
        link = answer.headers["X-Deletion-URL"].removeprefix(server.url)
        send(link, "GET")
        for strange in ("/delete//", "//delete/", "/%64elete/", "/delete%2F", "/Delete/"):
            send(link.replace("/delete/", strange), "GET")
        send(link, Authorization=f"Bearer {token}", Cookie=f"session={key}")
        count += 1
        secrets.add(link.rpartition("/")[2])
    secrets |= {"a wrong admin key", "a wrong regkey", "a wrong password", "another password"}
    return count, secrets | {admin_token, regkey, token, key}


def logged_server(make_server: Make, log_format: str) -> Server:
    return make_server(
        server_log_format=log_format,
        accounts_invite_only="true",
        accounts_admin_registration="true",
        accounts_admin_key=ADMIN_KEY,
    )


def request_lines(server: Server, count: int) -> list[str]:
    """The log lines of requests after the health checks, once there are `count`."""

    def lines() -> list[str]:
        found = [line for line in server.log.splitlines() if "/healthz" not in line]
        return [line for line in found if TEXT_LINE.fullmatch(line) or JSON_START.match(line)]

    until(lambda: len(lines()) >= count, "every request is logged")
    return lines()


def test_text_log_has_one_line_a_request_and_no_secret(make_server: Make) -> None:
    server = logged_server(make_server, "text")
    count, secrets = use_every_secret(server)
    lines = request_lines(server, count)
    assert len(lines) == count
    assert any(re.search(r"Z POST /api/files/upload 200 \d+ [\d.]+ms user=\d+$", x) for x in lines)
    assert server.stop() == 0
    leaks = [secret for secret in secrets if secret in server.log]
    assert leaks == [], server.log


def test_json_log_has_one_object_a_request_and_no_secret(make_server: Make) -> None:
    server = logged_server(make_server, "json")
    count, secrets = use_every_secret(server)
    lines = [json.loads(line) for line in request_lines(server, count)]
    assert len(lines) == count
    assert all(
        list(line) == ["time", "method", "path", "status", "bytes", "ms", "user"] for line in lines
    )
    with server.wire() as wire:
        wire.send(b"nonsense\r\n\r\n")
        assert wire.answer().status == 400
    assert server.stop() == 0
    leaks = [secret for secret in secrets if secret in server.log]
    assert leaks == [], server.log
    others = [line for line in map(json.loads, server.log.splitlines()) if "method" not in line]
    assert all(list(line) == ["time", "level", "process", "message"] for line in others)
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:]{8}Z", line["time"]) for line in others)
    messages = {(line["level"], line["message"].partition(" (")[0]) for line in others}
    assert ("info", f"Listening at: http://127.0.0.1:{server.port}") in messages
    assert any(level == "warning" and "malformed" in message for level, message in messages)


def test_json_log_of_a_fault_and_of_a_refused_start(make_server: Make) -> None:
    server = make_server(server_log_format="json")
    with closing(sqlite3.connect(server.folder / "kissa.db")) as connection:
        connection.execute("DROP TABLE counter")
    answer = server.get("/api/info")
    assert answer.status_code == 500
    (error_id,) = re.findall(r"error ([0-9a-f]{8})", answer.text)
    lines = [json.loads(line) for line in server.log.splitlines()]
    (fault,) = [line for line in lines if error_id in line.get("message", "")]
    assert list(fault) == ["time", "level", "process", "message", "traceback"]
    assert fault["level"] == "error"
    assert "no such table" in fault["traceback"]
    assert server.stop() == 0
    server.log_path.unlink()  # of a fault that was meant
    (server.folder / "kissa.db").unlink()
    server.spawn()
    assert server.wait() == 1
    last = json.loads(server.log.splitlines()[-1])
    assert last["level"] == "critical"
    assert last["message"].endswith("there is no database yet; run: flask migrate")


def test_malformed_requests_do_not_put_their_credentials_into_the_log(server: Server) -> None:
    secret = "0a1b2c3d-dead-4bee-8fee-0123456789ab"
    broken = [
        f"GET / HTTP/1.1\r\nHost: a\r\ntoken {secret}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\ntoken : {secret}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\ntoken: {secret}\0\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\ntoken: x\r\n {secret}\r\n\r\n",
        f"token: {secret}\r\n\r\n",
        f"GET /?token={secret} HTTP/9.9\r\n\r\n",
        f"GET /?token={secret}\r\n\r\n",
        f"G{{}}T /?token={secret} HTTP/1.1\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {secret}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {secret}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\nExpect: {secret}\r\n\r\n",
        f"GET /api/{secret * 400} HTTP/1.1\r\nHost: a\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\ntoken: {secret * 400}\r\n\r\n",
    ]
    for text in broken:
        with server.wire() as wire:
            wire.send(text.encode())
            try:
                answer = wire.answer()
            except ConnectionError:
                continue
            assert answer.status in (400, 405, 414, 417, 431, 501), (text, answer)
    assert server.is_healthy()
    assert secret not in server.log, [x for x in server.log.splitlines() if secret in x]


@pytest.fixture(scope="module")
def server(make_server: Make) -> Server:
    """A server for whatever leaves it as it was."""
    return make_server()


@pytest.fixture(scope="module")
def alice(server: Server) -> Person:
    return server.person("alice")


def test_unix_socket_behind_one_proxy(make_server: Make) -> None:
    server = make_server(start=False)
    path = server.folder / "kissa.sock"
    server.configure(server_bind=f"unix:{path}", server_proxy_hops=1, accounts_failures=1)
    server.spawn()

    def listens() -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(path)) == 0

    until(listens, "it listens on the socket")

    def ask(method: str, where: str, headers: dict[str, str]) -> tuple[int, bytes]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(path))
            with Wire(connection) as wire:
                wire.send(head(method, where, headers | {"Content-Length": "0"}))
                answer = wire.answer()
                return answer.status, answer.body

    assert ask("GET", "/healthz", {}) == (200, b"ok\n")
    login = {"username": "alice", "password": PASSWORD}

    def guess(forwarded: str) -> int:
        return ask("POST", "/api/token/get", login | {"X-Forwarded-For": forwarded})[0]

    # Guesses count for the address that our own proxy saw, whatever the client wrote before it.
    assert guess("203.0.113.1") == 401
    assert guess("203.0.113.1") == 429
    assert guess("198.51.100.9, 203.0.113.1") == 429
    assert guess("203.0.113.2") == 401
    assert server.stop() == 0
    assert sockets_of(server.folder) == []
