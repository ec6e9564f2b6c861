"""Mixed load for a while: memory and open files at the end are what they were at its beginning."""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import ADMIN_KEY, PASSWORD, Person
from tests.faults.support import choose, serving
from tests.live.conftest import Server
from tests.live.test_memory import memory

pytestmark = [pytest.mark.live, pytest.mark.alone]
MIB = 1024 * 1024
WARM, SECONDS = choose((3.0, 5.0), (60.0, 600.0))
CLIENTS = 4
SHARE = 1.10
SLACK = choose(6 * MIB, 0)  # in seconds, what is loaded or cached at first use weighs more
FILES_SLACK = choose(4, 0)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(
        uploads_per_minute=0,
        accounts_failures=0,
        accounts_admin_registration="true",
        accounts_admin_key=ADMIN_KEY,
    ) as server:
        yield server


class Client(threading.Thread):
    """Somebody who does all kinds of things, right and wrong ones."""

    def __init__(self, server: Server, person: Person, stop: threading.Event, seed: int) -> None:
        super().__init__()
        self.server, self.person, self.stopping = server, person, stop
        self.random = random.Random(seed)
        self.names: list[str] = []
        self.seen: Counter[int] = Counter()

    def run(self) -> None:
        while not self.stopping.is_set():
            with requests.Session() as session:
                session.trust_env = False
                for _ in range(50):
                    if not self.stopping.is_set():
                        self.act(session)

    def act(self, session: requests.Session) -> None:
        person, chance = self.person, self.random.random()

        def send(method: str, path: str, **more: object) -> requests.Response:
            url = self.server.url + path
            answer = session.request(method, url, timeout=30, **more)  # type: ignore[arg-type]
            self.seen[answer.status_code] += 1
            return answer

        if chance < 0.3 or not self.names:
            size = self.random.choice((100, 10_000, 300_000))
            files = {"uploadFile": ("a.png", os.urandom(size))}
            answer = send("POST", "/api/files/upload", headers=person.by_token, files=files)
            if answer.status_code == 200:
                self.names.append(answer.json()["url"].rpartition("/")[2])
        elif chance < 0.4:
            item: dict[str, Any] = {"file": ("b.png", os.urandom(5000)), "rating": (None, "sfw")}
            item["tags"] = (None, f"tag{self.random.randrange(50)}, b, c")
            answer = send("POST", "/api/v2/upload", headers=person.by_key, files=item)
            if answer.status_code == 200:
                send("DELETE", f"/api/v2/items/{answer.json()['itemid']}", headers=person.by_key)
        elif chance < 0.65:
            # as many as there come, so that lists do not grow
            name = self.names.pop(self.random.randrange(len(self.names)))
            send("GET", f"/f/{name}")
            send("POST", "/api/files/delete", headers=person.by_token | {"file": name})
        elif chance < 0.7:
            send("POST", "/api/token/get", headers={"username": "x", "password": PASSWORD})
        else:
            path = self.random.choice(("/", "/api/v2/items", "/api/info", "/f/nothing", "/99"))
            send("GET", path)
            send("POST", "/api/files/list", headers=person.by_token)


def measure(server: Server) -> tuple[int, int]:
    """Memory (PSS, bytes) and open files of all processes of the server, its connections ended."""
    assert server.process is not None
    pids = [server.process.pid, *server.workers()]
    shares = sum(memory(pid, "Pss", "smaps_rollup") for pid in pids)
    return shares, sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)


def load(server: Server, people: list[Person], seconds: float, seed: int) -> Counter[int]:
    stop = threading.Event()
    clients = [Client(server, person, stop, seed + n) for n, person in enumerate(people)]
    for client in clients:
        client.start()
    stop.wait(seconds)
    stop.set()
    seen: Counter[int] = Counter()
    for client in clients:
        client.join(60)
        assert not client.is_alive()
        seen += client.seen
        for name in client.names:
            server.ask("/api/files/delete", client.person.by_token | {"file": name})
    server.session.close()
    time.sleep(1)  # until the server has noticed that all are gone
    return seen


def test_soak(server: Server) -> None:
    people = [server.person(f"person{number}") for number in range(CLIENTS)]
    load(server, people, WARM, 0)
    before, open_before = measure(server)
    seen = load(server, people, SECONDS, 100)
    after, open_after = measure(server)
    print(
        f"soak seconds={SECONDS:.0f} requests={sum(seen.values())} answers={dict(seen)}"
        f" PSS {before / MIB:.1f} to {after / MIB:.1f} MiB,"
        f" open files {open_before} to {open_after}"
    )
    assert not any(status >= 500 and status != 503 for status in seen), seen
    assert after <= before * SHARE + SLACK
    assert open_after <= open_before * SHARE + FILES_SLACK
    assert server.is_healthy()
