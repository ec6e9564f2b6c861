"""How a server ends: in order, with what is under way finished; or killed, with nothing lost."""

import http.client
import random
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import requests

from tests.conftest import Person
from tests.live.conftest import PATIENCE, Server, until
from tests.live.wire import FORM, form, upload

pytestmark = pytest.mark.live
KILLS = 6
CLIENTS = 4


def test_sigterm_lets_an_upload_in_flight_finish(make_server: Callable[..., Server]) -> None:
    server = make_server()
    alice = server.person("alice")
    content = random.Random(1).randbytes(2_000_000)
    whole = upload(alice.token, content, Accept="text/plain")
    assert server.process is not None
    with server.wire() as wire:
        wire.send(whole[:1_500_000])  # it reads in blocks of a MiB
        until(server.unnamed_files, "the server receives it")
        server.session.close()
        server.process.send_signal(signal.SIGTERM)

        def is_refused() -> bool:
            try:
                socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE).close()
            except ConnectionRefusedError:
                return True
            return False

        until(is_refused, "new connections are refused", 5)
        for start in range(1_500_000, len(whole), 100_000):
            wire.send(whole[start : start + 100_000])
            assert server.process.poll() is None
        answer = wire.answer()
        assert answer.status == 200, answer
    assert server.wait() == 0
    name = answer.body.decode().strip().rpartition("/")[2]
    assert (server.uploads / name).read_bytes() == content
    assert server.rows("SELECT name, size FROM item") == [(name, len(content))]
    server.start()
    assert server.get(f"/f/{name}").content == content
    assert server.stop() == 0


def test_a_stopping_server_says_so_before_it_refuses(make_server: Callable[..., Server]) -> None:
    """A load balancer that asks for its health has time to send nobody any more."""
    server = make_server(server_drain_seconds=2)
    alice = server.person("alice")
    assert server.get("/healthz").status_code == 200
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)

    def ask() -> str:
        return requests.get(f"{server.url}/healthz", timeout=PATIENCE).text  # on a new connection

    until(lambda: ask() == "stopping\n", "it says that it stops")
    answer = server.session.post(
        f"{server.url}/api/files/upload",
        headers=alice.by_token,
        files={"uploadFile": ("a.txt", b"in time")},
    )
    assert answer.status_code == 200
    server.session.close()
    assert server.wait() == 0


@dataclass(slots=True)
class Acknowledged:
    """What the server promised to one client."""

    kept: dict[str, bytes] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    uncertain: set[str] = field(default_factory=set)  # deletes whose answer never came


class Client(threading.Thread):
    """Uploads, and deletes a quarter of it, until the server is gone."""

    def __init__(self, server: Server, person: Person, seed: int) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.person = person
        self.random = random.Random(seed)
        self.seen = Acknowledged()
        self.odd: list[object] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        try:
            while not self.stopping.is_set():
                if self.seen.kept and self.random.random() < 0.25:
                    self.delete(connection)
                else:
                    self.upload(connection)
        except (OSError, http.client.HTTPException):
            pass  # killed
        finally:
            connection.close()

    def upload(self, connection: http.client.HTTPConnection) -> None:
        content = self.random.randbytes(self.random.choice((100, 5_000, 60_000, 900_000)))
        headers = {"token": self.person.token, "Content-Type": FORM, "Accept": "text/plain"}
        connection.request("POST", "/api/files/upload", form(content), headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 200:
            self.seen.kept[body.decode().strip().rpartition("/")[2]] = content
        else:
            self.odd.append((answer.status, body))

    def delete(self, connection: http.client.HTTPConnection) -> None:
        name = self.random.choice(sorted(self.seen.kept))
        content = self.seen.kept.pop(name)
        self.seen.uncertain.add(name)
        headers = {"token": self.person.token, "file": name}
        connection.request("POST", "/api/files/delete", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        self.seen.uncertain.discard(name)
        if answer.status == 200:
            self.seen.deleted.add(name)
        else:
            self.seen.kept[name] = content
            self.odd.append((answer.status, body))


def until_loaded(clients: list[Client]) -> None:
    """Wait until the clients have something to lose."""
    until(lambda: sum(len(client.seen.kept) for client in clients) > 20, "load")


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_loses_nothing_acknowledged(
    make_server: Callable[..., Server], workers: int
) -> None:
    server = make_server(server_workers=workers, uploads_per_minute=0)
    person = server.person("alice")
    clients: list[Client] = []
    for kill in range(KILLS // 2):
        current = [Client(server, person, 100 * kill + number) for number in range(CLIENTS)]
        for client in current:
            client.start()
        until_loaded(current)
        server.kill()
        for client in current:
            client.stopping.set()
            client.join(PATIENCE)
            assert not client.is_alive()
        clients += current
        server.start()
        rows = {name for (name,) in server.rows("SELECT name FROM item")}
        uncertain = set[str]().union(*(client.seen.uncertain for client in clients))
        files = server.files()
        assert files <= rows, "no orphan after the start"
        assert rows - files <= uncertain
    kept = {name: content for client in clients for name, content in client.seen.kept.items()}
    deleted = [name for client in clients for name in client.seen.deleted]
    lost = [name for name, content in kept.items() if server.get(f"/f/{name}").content != content]
    back = [name for name in deleted if server.get(f"/f/{name}").status_code != 404]
    listed = set(server.ask("/api/files/list", person.by_token))
    print(
        f"workers={workers} kills={KILLS // 2} acked={len(kept)} deletes={len(deleted)}"
        f" lost={len(lost)} back={len(back)}"
    )
    assert (lost, back) == ([], [])
    assert set(kept) <= listed
    assert listed.isdisjoint(deleted)
    assert [answer for client in clients for answer in client.odd] == []
    for name in listed - server.files():  # a delete cut short: it can be done again
        server.ask("/api/files/delete", person.by_token | {"file": name})
    swept = server.flask("sweep")
    assert "0 without an upload, 0 unfinished, 0 missing" in swept.stdout, swept.stdout
    assert server.stop() == 0
