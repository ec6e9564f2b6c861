"""After traffic of every kind: no secret in logs, database or error bodies, no name of the gone."""

import base64
import http.client
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import ADMIN_KEY, PNG
from tests.faults.support import choose, serving
from tests.live.conftest import Server, until
from tests.live.wire import head

pytestmark = pytest.mark.live
ROUNDS = choose(2, 50)
GONE = "Vanishing.Person"


@pytest.fixture(params=["text", "json"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(
        server_log_format=request.param,
        accounts_invite_only="true",
        accounts_admin_registration="true",
        accounts_admin_key=ADMIN_KEY,
        accounts_failures=500,
        gallery_manual_approval="true",
    ) as server:
        yield server


class Traffic:
    """Sends requests; keeps every secret that was in them or in their answers, and every
    refusal: a token is shown where it is asked for, but never in a refusal."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.secrets = {ADMIN_KEY}
        self.refusals: list[bytes] = []
        self.count = 0

    def send(
        self, path: str, headers: dict[str, str] | None = None, method: str = "POST", body: str = ""
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, 30)
        length = {"Content-Length": str(len(body.encode()))}
        connection.request(method, path, body.encode(), length | (headers or {}))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.count += 1
        if answer.status >= 400:
            self.refusals.append(content + str(answer.getheaders()).encode())
        return answer.status, content, {name.lower(): value for name, value in answer.getheaders()}

    def get(self, key: str, path: str, headers: dict[str, str]) -> str:
        """A secret of an answer."""
        status, content, _ = self.send(path, headers)
        assert status == 200, content
        value = str(json.loads(content)[key])
        self.secrets.add(value)
        return value

    def upload(self, path: str, headers: dict[str, str], field: str) -> str:
        """The path of the deletion link of an upload."""
        files: dict[str, Any] = {
            field: ("a.png", PNG),
            "rating": (None, "sfw"),
            "tags": (None, "a,b,c"),
        }
        answer = self.server.session.post(
            self.server.url + path, headers=headers, files=files, timeout=30
        )
        assert answer.status_code == 200, answer.text
        self.count += 1
        link = answer.headers["X-Deletion-URL"].removeprefix(self.server.url)
        self.secrets.add(link.rpartition("/")[2])
        return link

    def malform(self, data: bytes) -> None:
        with self.server.wire() as wire:
            wire.send(data)
            try:
                answer = wire.answer()
            except (ConnectionError, ValueError, IndexError):
                return
            self.refusals.append(answer.body + str(answer.headers).encode())


def live(traffic: Traffic, name: str, admin: dict[str, str], number: int) -> None:
    """A user's whole life, with every mistake that one can make."""
    password, renewed = f"pass word {name} {number} é", f"new pass {name} {number}"
    wrong = f"mistyped {name} {number}"
    traffic.secrets |= {password, renewed, wrong}
    send, get = traffic.send, traffic.get

    def login(word: str) -> dict[str, str]:
        return {"username": name, "password": word.encode().decode("latin-1")}

    regkey = get("regkey", "/api/admin/regkeygen", admin)
    send("/api/user/signup", login(password) | {"regkey": "no such " + regkey})
    assert send("/api/user/signup", login(password) | {"regkey": regkey})[0] == 200
    send("/api/user/signup", login(password) | {"regkey": regkey})
    send("/api/user/signup", {}, body=json.dumps(login(password) | {"regkey": regkey}))
    send("/api/token/get", login(wrong))
    send("/api/token/get?password=" + quote(password), login(wrong))
    token = get("token", "/api/token/get", login(password))
    assert send("/api/token/regen", {"token": token})[0] == 200
    send("/api/user/info", {"token": token})
    token = get("token", "/api/token/get", login(password))
    key = get("key", "/api/user/keys/create", {"token": token, "name": "x"})
    assert send("/api/user/passreset", login(password) | {"newpassword": renewed})[0] == 200
    send("/api/user/passreset", login(password) | {"newpassword": "short"})
    for path in ("/api/user/sharex", "/api/files/list", "/api/user/keys/list", "/metrics"):
        send(path, {"token": token, "Cookie": f"session={key}", "Authorization": f"Bearer {token}"})
        send(f"{path}?token={token}&key={key}", method="PUT")
    for path in ("/api/admin/list/users", "/api/admin/regkeygen", "/api/v2/queue", "/metrics"):
        send(path, {"token": token})
        send(path, {"token": token}, "GET")
    links = [traffic.upload("/api/files/upload", {"token": token}, "uploadFile") for _ in range(3)]
    links += [traffic.upload("/api/v2/upload", {"X-Api-Key": key}, "file") for _ in range(2)]
    for path in ("/api/files/upload", "/api/v2/upload"):
        send(path, {"token": token, "X-Api-Key": key, "Content-Type": "multipart/form-data"})
        send(path, {"token": key, "X-Api-Key": token}, body=f"token={token}")
    for way in ("", "//", "/x/..", "/%64", "?token=" + token):
        link = links[0] + way if way.startswith("?") else way + links[0]
        send(link, method="GET")
        send(link, method="DELETE")
    send(links[1])
    send(links[1])
    for line in (
        f"POST /api/info HTTP/9.9\r\ntoken: {token}\r\n\r\n",
        f"POST /api/info?{key} HTTP/1.1\r\nHost: x\r\ntoken {token}\r\n\r\n",
        f"POST /api/info HTTP/1.1\r\nHost: x\r\nto ken: {token}\r\npassword: {password}\r\n\r\n",
        f"{token} {key}\r\n\r\n",
        f"GET {links[0]} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {key}\r\n{key}\r\n\r\n",
        f"POST /api/token/get HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {renewed}\r\n\r\n",
        f"POST {links[0]} HTTP/1.1\r\nHost: x\r\nContent-Length: {token}\r\n\r\n",
        "A" * 9000 + token + " HTTP/1.1\r\n\r\n",
    ):
        traffic.malform(line.encode())
    whole = head("POST", "/api/files/upload", {"token": token, "Content-Length": "99"})
    traffic.malform(whole.replace(b"token", b"tok\x00en"))


def spellings(secret: str) -> set[bytes]:
    """How a secret may stand somewhere."""
    raw = secret.encode()
    found = {raw, quote(secret).encode(), json.dumps(secret)[1:-1].encode()}
    found.add(repr(raw)[2:-1].encode())
    encoded = base64.b64encode(raw).rstrip(b"=")
    found.add(encoded[: len(encoded) - 2])
    plain = secret.replace("-", "")
    if len(plain) in (32, 64) and all(char in "0123456789abcdef" for char in plain):
        found |= {plain.encode(), bytes.fromhex(plain)}
    return found


def kept(server: Server) -> dict[str, bytes]:
    """Every file of the server but those in which the secrets belong: configuration and secret."""
    own = {"config.ini", "kissa.secret"}
    found = (path for path in server.folder.rglob("*") if path.is_file() and path.name not in own)
    return {str(path.relative_to(server.folder)): path.read_bytes() for path in found}


def require_absent(server: Server, what: set[bytes], refusals: list[bytes]) -> int:
    """See that these bytes are nowhere. Returns in how many bytes they were looked for."""
    places = kept(server) | {f"refusal {n}": body for n, body in enumerate(refusals)}
    assert {"kissa.db", "kissa.db-wal", "server.log"} <= set(places)
    hits = [
        (place, one, data[-500:]) for place, data in places.items() for one in what if one in data
    ]
    assert hits == []
    return sum(map(len, places.values()))


def test_no_secret_anywhere(server: Server) -> None:
    traffic = Traffic(server)
    send = traffic.send
    root = {"username": "root", "password": "the password of root"}
    traffic.secrets.add(root["password"])
    send("/api/admin/signup", root | {"adminkey": "a wrong admin key"})
    traffic.secrets.add("a wrong admin key")
    assert send("/api/admin/signup", root | {"adminkey": ADMIN_KEY})[0] == 200
    admin = {"token": traffic.get("token", "/api/admin/token/get", root)}
    people = [f"person{number}" for number in range(ROUNDS)]
    for number, name in enumerate([*people, GONE]):
        live(traffic, name, admin, number)
        for item in range(8):
            send(f"/api/v2/queue/{item}/{'approve' if item % 2 else 'reject'}", admin)
    for path in ("/api/admin/list/users", "/api/admin/list/uploads", "/api/admin/ban/user"):
        send(path, admin | {"username": people[0]})
    send("/metrics", admin, "GET")
    assert send("/api/admin/token/regen", admin)[0] == 200
    send("/api/admin/list/users", admin)
    server_secret = (server.folder / "kissa.secret").read_bytes()
    admin = {"token": traffic.get("token", "/api/admin/token/get", root)}
    secrets = {server_secret, server_secret.hex().encode()}
    secrets = secrets.union(*(spellings(secret) for secret in traffic.secrets))
    until(lambda: len(server.log.splitlines()) >= traffic.count, "all is logged")
    looked = require_absent(server, secrets, traffic.refusals)
    print(
        f"secrets used={len(traffic.secrets)} spellings={len(secrets)} requests={traffic.count}"
        f" refusals={len(traffic.refusals)} bytes={looked} hits=0"
    )
    require_gone(traffic, admin)


def require_gone(traffic: Traffic, admin: dict[str, str]) -> None:
    """Delete a user, and see that nothing names them any more."""
    server = traffic.server
    ((number,),) = server.rows("SELECT id FROM user WHERE username = ?", GONE)
    assert traffic.send("/api/admin/delete/user", admin | {"username": GONE})[0] == 200
    names = {GONE.encode(), GONE.lower().encode()}
    database = server.folder / "kissa.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        rows = "\n".join(opened.iterdump()).encode()
    listed = "\n".join(str(path) for path in server.folder.rglob("*")).encode()
    assert server.rows("SELECT act FROM audit WHERE target = ?", f"#{number}"), "the audit has it"
    places = {"rows": rows, "names of files": listed, "log": server.log.encode()}
    places |= {name: data for name, data in kept(server).items() if not name.startswith("kissa.db")}
    assert [place for place, data in places.items() for name in names if name in data] == []
    assert server.stop() == 0  # the last connection brings the WAL into the database
    left = [
        path.name
        for path in sorted(Path(server.folder).glob("kissa.db*"))
        for name in names
        if name in path.read_bytes()
    ]
    print(f"account deleted: in rows, files, log 0 hits; in the raw bytes of {left or 'no file'}")
    assert left == []
