"""The drill: a backup under load, everything destroyed, restored, and every link works."""

import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from tests.conftest import ADMIN_KEY, Person
from tests.live.conftest import PATIENCE, Server

pytestmark = pytest.mark.live


@dataclass
class Client:
    """Uploads and deletes without a pause, and remembers what was promised and when."""

    server: Server
    person: Person
    stop: threading.Event
    stored: dict[str, bytes] = field(default_factory=dict)
    uploaded: dict[str, float] = field(default_factory=dict)  # acknowledged at
    deleting: dict[str, float] = field(default_factory=dict)  # asked at
    deleted: dict[str, float] = field(default_factory=dict)  # acknowledged at

    def run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not self.stop.is_set():
                self.upload(session)
                alive = [name for name in self.uploaded if name not in self.deleting]
                if len(alive) > 20 and random.random() < 0.7:
                    self.delete(session, random.choice(alive))

    def upload(self, session: requests.Session) -> None:
        content = os.urandom(random.randrange(1, 60_000))
        listed = random.random() < 0.3
        path, name = ("v2/upload", "file") if listed else ("files/upload", "uploadFile")
        answer = session.post(
            f"{self.server.url}/api/{path}",
            headers=self.person.by_key if listed else self.person.by_token,
            files={name: ("shot.png", content)},
            data={"rating": "sfw", "tags": "a, b, c", "comment": "fine"} if listed else {},
            timeout=PATIENCE,
        )
        assert answer.status_code == 200, answer.text
        if listed:
            url = session.get(f"{self.server.url}/api/v2/items/{answer.json()['itemid']}")
            stored = str(url.json()["file"]).rpartition("/")[2]
        else:
            stored = str(answer.json()["url"]).rpartition("/")[2]
        self.stored[stored] = content
        self.uploaded[stored] = time.monotonic()

    def delete(self, session: requests.Session, name: str) -> None:
        self.deleting[name] = time.monotonic()
        answer = session.post(
            f"{self.server.url}/api/files/delete",
            headers=self.person.by_token | {"file": name},
            timeout=PATIENCE,
        )
        assert answer.status_code == 200, answer.text
        self.deleted[name] = time.monotonic()


def run(server: Server, *command: str) -> str:
    done = server.flask(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_drill(make_server: Callable[..., Server], tmp_path: Path) -> None:
    server = make_server(
        uploads_per_minute=0, accounts_admin_registration="on", accounts_admin_key=ADMIN_KEY
    )
    people = [server.person("root", admin=True), server.person("alice"), server.person("bob")]
    stop = threading.Event()
    clients = [Client(server, person, stop) for person in people]
    faults: list[BaseException] = []

    def work(client: Client) -> None:
        try:
            client.run()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    run(server, "backup", str(tmp_path / "first"))
    began = time.monotonic()
    told = run(server, "backup", str(tmp_path / "second"))
    ended = time.monotonic()
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert faults == []
    server.require_quiet()

    refused = server.flask("restore", str(tmp_path / "second"), "--force")
    assert refused.returncode == 1
    assert "at work" in refused.stderr
    server.kill()
    for path in server.folder.iterdir():
        if path.name.startswith("kissa"):
            path.unlink()
    shutil.rmtree(server.uploads)
    run(server, "restore", str(tmp_path / "second"))
    assert "all fine" in run(server, "check", "--hash")
    server.start()

    kept = dropped = 0
    for client in clients:
        for name, content in client.stored.items():
            answer = server.get(f"/f/{name}")
            if client.uploaded[name] < began and client.deleting.get(name, ended + 1) > ended:
                assert answer.status_code == 200, name
                kept += 1
            if client.deleted.get(name, began + 1) < began:
                assert answer.status_code == 404, name
                dropped += 1
            if answer.status_code == 200:
                assert answer.content == content, name
        info = server.ask("/api/user/info", client.person.by_token)
        names = server.ask("/api/files/list", client.person.by_token)
        assert info["filecount"] in (len(names), str(len(names)))
    acked = sum(len(client.uploaded) for client in clients)
    print(f"acked={acked} kept={kept} deleted={dropped} lost=0: {told}")
    assert kept > 5
    assert dropped > 0
    assert "all fine" in run(server, "check")
    server.stop()
