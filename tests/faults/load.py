"""Four clients that upload and delete without a pause, and what the server promised them."""

import hashlib
import http.client
import random
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.conftest import Person
from tests.live.conftest import PATIENCE, until
from tests.live.wire import FORM, form

CLIENTS = 4
SIZES = (100, 900_000)  # bytes of an upload
DELETES = 0.25
_POOL = random.Random(0).randbytes(2 * SIZES[1])


class Record:
    """What was acknowledged.

    kept: the SHA-256 by name of what has to be there. deleted: names that have to be gone.
    uncertain: deletes that were never answered, or with a fault; both states are right, but what
    is there has the right bytes. odd: answers that were no success, as status and text.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.kept: dict[str, bytes] = {}
        self.deleted: set[str] = set()
        self.uncertain: dict[str, bytes] = {}
        self.odd: list[tuple[int, str]] = []

    @property
    def acked(self) -> int:
        """How many uploads and deletes were answered with a success."""
        return len(self.kept) + len(self.uncertain) + 2 * len(self.deleted)

    @property
    def figures(self) -> str:
        return f"acked={self.acked} deletes={len(self.deleted)}"

    def copy(self) -> "Record":
        """As it stands just now."""
        copied = Record()
        with self.lock:
            copied.kept = dict(self.kept)
            copied.deleted = set(self.deleted)
            copied.uncertain = dict(self.uncertain)
            copied.odd = list(self.odd)
        return copied

    def fits(self, name: str, content: bytes) -> bool:
        """Whether these are the bytes that were sent."""
        digest = self.kept.get(name) or self.uncertain.get(name)
        return hashlib.sha256(content).digest() == digest


class Client(threading.Thread):
    """Uploads, and deletes some of what lies there, until told to end or the server is gone."""

    def __init__(
        self,
        port: int,
        person: Person,
        record: Record,
        seed: int,
        deletes: float = DELETES,
        sizes: tuple[int, int] = SIZES,
    ) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.person = person
        self.record = record
        self.random = random.Random(seed)
        self.deletes = deletes
        self.sizes = sizes
        self.stopping = threading.Event()

    def run(self) -> None:
        connection = self._connect()
        try:
            while not self.stopping.is_set():
                if self.random.random() >= self.deletes or not self.delete(connection):
                    if self.deletes >= 1:
                        return  # nothing is left to delete
                    self.upload(connection)
        except (OSError, http.client.HTTPException):
            pass  # killed
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def upload(self, connection: http.client.HTTPConnection) -> str | None:
        """The stored name, or None for a refusal."""
        smallest, largest = self.sizes
        size = int(smallest * (largest / smallest) ** self.random.random())
        start = self.random.randrange(SIZES[1])
        content = self.random.randbytes(16) + _POOL[start : start + size - 16]
        headers = {"token": self.person.token, "Content-Type": FORM, "Accept": "text/plain"}
        connection.request("POST", "/api/files/upload", form(content), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        with self.record.lock:
            if answer.status != 200:
                self.record.odd.append((answer.status, text))
                return None
            name = text.strip().rpartition("/")[2]
            self.record.kept[name] = hashlib.sha256(content).digest()
            return name

    def delete(self, connection: http.client.HTTPConnection) -> bool:
        """Delete one of the files; False when there is none."""
        with self.record.lock:
            if not self.record.kept:
                return False
            name = self.random.choice(list(self.record.kept))
            self.record.uncertain[name] = self.record.kept.pop(name)
        headers = {"token": self.person.token, "file": name}
        connection.request("POST", "/api/files/delete", headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        with self.record.lock:
            if answer.status == 200:
                del self.record.uncertain[name]
                self.record.deleted.add(name)
            else:
                self.record.odd.append((answer.status, text))
        return True


class Load:
    """The clients together. Use as a context manager, which waits for their end.

    Args:
        record: what they write down; several loads may share one.
        deletes: the share of deletes; with 1.0 they end when nothing is left.
    """

    def __init__(
        self,
        port: int,
        person: Person,
        record: Record,
        *,
        seed: int = 0,
        deletes: float = DELETES,
        sizes: tuple[int, int] = SIZES,
    ) -> None:
        self.record = record
        self.clients = [
            Client(port, person, record, 1000 * seed + number, deletes, sizes)
            for number in range(CLIENTS)
        ]

    def until(self, acked: int) -> None:
        """Wait until so many more acts are acknowledged."""
        wanted = self.record.acked + acked
        until(lambda: self.record.acked >= wanted or not self._runs(), "load")

    def refused(self, times: int) -> None:
        """Wait until so many requests were refused."""
        wanted = len(self.record.odd) + times
        until(lambda: len(self.record.odd) >= wanted, "refusals")

    def settle(self) -> Record:
        """The record once nothing has come in for a while: the server stands still."""
        seen = -1

        def is_quiet() -> bool:
            nonlocal seen
            before, seen = seen, self.record.acked + len(self.record.odd)
            return before == seen

        wait = threading.Event()
        until(lambda: wait.wait(0.02) or is_quiet(), "the clients wait")
        return self.record.copy()

    def _runs(self) -> bool:
        return any(client.is_alive() for client in self.clients)

    def __enter__(self) -> "Load":
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.stopping.set()
        for client in self.clients:
            client.join(PATIENCE)
        assert not self._runs(), "a request was never answered"


def once(port: int, person: Person, record: Record, act: Callable[..., object], seed: int) -> None:
    """One upload or delete (`Client.upload`, `Client.delete`) on a quiet server."""
    client = Client(port, person, record, seed)
    connection = client._connect()
    with suppress(OSError, http.client.HTTPException):
        act(client, connection)
    connection.close()
