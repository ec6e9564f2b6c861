"""A host of thousands of files moves to PostgreSQL and S3 and back, under uploads and deletes."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

import accounts
import credentials
import home
import models
import move_rows
from tests.conftest import PASSWORD, Person
from tests.faults.support import choose
from tests.live.conftest import BIN, ROOT, Server, until
from tests.moving import fill
from tests.postgres import Cluster
from tests.servers.rclone import Rclone

pytestmark = pytest.mark.live
FILES = choose(3000, 10_000)
LONG = 300.0  # seconds
PAUSE = 0.1  # seconds between two requests of one person


class Traffic:
    """People who upload and delete until they are told that the host is being moved.

    Attributes:
        files: what there must be, by what was acknowledged.
        deleted: the names of what must be gone.
    """

    def __init__(self, server: Server, person: Person, files: dict[str, bytes]) -> None:
        self.files, self.deleted = files, set[str]()
        self.uploaded: list[str] = []
        self._server, self._person = server, person
        self._end = threading.Event()
        # From both ends: what is copied first, and what is copied last.
        self._victims = [*sorted(files)[:300], *reversed(sorted(files)[-FILES // 5 :])]
        self._threads = [threading.Thread(target=act) for act in (self._upload, self._delete)]
        self.faults: list[object] = []

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _upload(self) -> None:
        number = 0
        with requests.Session() as session:
            session.trust_env = False
            while not self._end.wait(PAUSE):
                number += 1
                content = b"upload %d" % number
                answer = session.post(
                    f"{self._server.url}/api/files/upload",
                    headers=self._person.by_token,
                    files={"uploadFile": ("a.txt", content)},
                )
                if answer.status_code == 200:
                    name = answer.json()["url"].rpartition("/")[2]
                    self.files[name] = content
                    self.uploaded.append(name)
                elif not is_moving(answer):
                    self.faults.append(answer.text)

    def _delete(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            for name in self._victims:
                if self._end.wait(PAUSE):
                    return
                answer = session.post(
                    f"{self._server.url}/api/files/delete",
                    headers=self._person.by_token | {"file": name},
                )
                if answer.status_code == 200:
                    del self.files[name]
                    self.deleted.add(name)
                elif not is_moving(answer):
                    self.faults.append(answer.text)


def is_moving(answer: requests.Response) -> bool:
    return (answer.status_code, answer.text) == (503, home.BANNER) and bool(
        answer.headers["Retry-After"]
    )


def spawn(server: Server, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / "flask", "move", *command],
        cwd=ROOT,
        env=server.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def summaries(url: str) -> list[move_rows.Summary]:
    models.open_database(url)
    found = [move_rows.summary(models.database.obj, table) for table in move_rows.TABLES]
    models.close_database()
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def person_of(server: Server) -> Person:
    login = {"username": "root", "password": PASSWORD}
    token = server.ask("/api/token/get", login)["token"]
    key = server.ask("/api/user/keys/create", {"token": token, "name": "tests"})["key"]
    return Person(username="root", password=PASSWORD, token=token, api_key=key, admin_token="")


def require_links(server: Server, person: Person, traffic: Traffic, number: int) -> None:
    """What worked before works: links, a login, tokens, keys, a link for deletion."""
    for name in [*traffic.uploaded[:20], *traffic.uploaded[-20:], *sorted(traffic.files)[::500]]:
        if name in traffic.files:
            assert server.get(f"/f/{name}").content == traffic.files[name]
    for name in sorted(traffic.deleted)[::20]:
        assert server.get(f"/f/{name}").status_code == 404
    assert server.post("/api/token/valid", person.by_token).status_code == 200
    assert server.ask("/api/token/get", person.by_password)["token"] == person.token
    answer = server.post("/api/v2/upload", person.by_key, data={"rating": "x"})
    assert answer.status_code == 400  # and not 401
    name = f"F{number:06d}.txt"
    link = f"/delete/{name}/{number:022d}"
    assert server.get(link).status_code == 200
    own = {"Origin": server.url}
    assert server.post(link, own).status_code == 200
    assert server.get(f"/f/{name}").status_code == 404
    del traffic.files[name]
    assert int(server.get("/api/info").json()["totalfiles"]) == len(traffic.files)


def require_only_read(server: Server, traffic: Traffic) -> None:
    """The old server goes on: it can be read, and says why no more."""
    assert server.session.get(f"{server.url}/").text.count(home.BANNER) == 1
    name = traffic.uploaded[-1]
    assert server.session.get(f"{server.url}/f/{name}").content == traffic.files[name]
    assert server.is_healthy()


def test_there_and_back(
    make_server: Callable[..., Server], postgresql: Cluster, rclone: Rclone
) -> None:
    bucket = rclone.bucket()
    server = make_server(start=False)
    folder = server.folder
    back = folder / "back"
    back.mkdir()
    common = {
        **bucket.configuration(),
        "database_state": folder / "away",
        "storage_durable": "false",
        "uploads_per_minute": 0,
        "server_workers": 2,
    }
    first = common | {"database_url": "sqlite:///kissa.db", "storage_backend": "local"}
    away = common | {"database_url": postgresql.create("live"), "storage_backend": "s3"}
    away["storage_directory"] = back / "uploads"
    last = away | {"database_url": f"sqlite:///{back}/kissa.db", "storage_backend": "local"}
    server.configure(**first)

    models.open_database(folder / "kissa.db", durable=False)
    secret = credentials.load_secret(folder / "kissa.secret")
    accounts.create_admin(secret, 4, "root", PASSWORD)
    files = fill(server.uploads, FILES)
    models.close_database()
    server.start()
    person = person_of(server)

    with Traffic(server, person, files) as traffic:
        words = ("--to-database", str(away["database_url"]), "--to-storage", "s3")
        there = rclone.folder / "data" / bucket.name / "files"
        with spawn(server, *words) as killed:
            until(lambda: there.exists() and len(os.listdir(there)) > FILES // 5, "some are copied")
            killed.send_signal(signal.SIGKILL)
        with spawn(server, *words) as moved:
            told, _ = moved.communicate(timeout=LONG)
        assert moved.returncode == 0, told
        require_only_read(server, traffic)
    assert not traffic.faults
    assert len(traffic.uploaded) > 20
    assert len(traffic.deleted) > 20
    assert contents(there) == traffic.files
    assert summaries(str(away["database_url"])) == summaries(f"sqlite:///{folder}/kissa.db")
    assert server.stop() == 0
    server.spawn()  # it says that it has moved
    assert server.wait() == 1
    assert "this host has moved to postgresql://(hidden)@127.0.0.1" in server.log
    server.configure(**away)
    server.start()
    require_links(server, person, traffic, FILES // 2 + 1)

    with Traffic(server, person, traffic.files) as traffic:
        words = ("--to-database", str(last["database_url"]), "--to-storage", "local")
        with spawn(server, *words) as moved:
            told, _ = moved.communicate(timeout=LONG)
        assert moved.returncode == 0, told
        require_only_read(server, traffic)
    assert not traffic.faults
    assert len(traffic.uploaded) > 20
    assert len(traffic.deleted) > 20
    assert contents(back / "uploads") == traffic.files
    assert summaries(str(last["database_url"])) == summaries(str(away["database_url"]))
    assert server.stop() == 0
    server.configure(**last)
    server.start()
    require_links(server, person, traffic, FILES // 2 + 2)
