"""Uploads in pieces under kill -9 and power cuts: an offset that was acknowledged is on disk."""

import hashlib
import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.faults.conftest import Host, begin_again, rows
from tests.faults.disks import Disks, run
from tests.faults.support import choose
from tests.live.conftest import PATIENCE, until

pytestmark = pytest.mark.live
KILLS = choose(20, 200)
CUTS = choose(3, 25)
SPELL = (0.1, choose(0.3, 1.0))  # seconds between a start and its kill
CLIENTS = 3
SIZES = (200_000, 3_000_000)  # bytes of a file
PIECES = (1_000, 400_000)
PATH = "/api/files/tus/"
REMOVAL = Path(__file__).with_name("removal")
NO_PIECES = ("storage_local_partial.py", "            os.fsync(self.fd)\n", "            pass\n")
_POOL = random.Random(0).randbytes(2 * SIZES[1])


@dataclass(slots=True)
class Sent:
    """One upload as its client knows it; `name` is empty until the server has said it."""

    content: bytes
    name: str = ""
    acked: int = 0
    url: str = ""


class Client(threading.Thread):
    """Sends one file after the other in pieces of all sizes, until told to end or the server is
    gone; the one after the next goes on where it stood."""

    def __init__(self, port: int, person: Person, uploads: list[Sent], seed: int) -> None:
        super().__init__(daemon=True)
        self.port, self.person, self.uploads = port, person, uploads
        self.random = random.Random(seed)
        self.stopping = threading.Event()
        self.odd: list[object] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            while not self.stopping.is_set():
                self.go_on(connection)
        except (OSError, http.client.HTTPException):
            pass  # killed
        finally:
            connection.close()

    def go_on(self, connection: http.client.HTTPConnection) -> None:
        """Finish what is unfinished, else begin another one."""
        upload = self.uploads[-1] if self.uploads else None
        if upload is None or upload.url:
            upload = self.begin(connection)
        elif upload.name:
            answer = self.ask(connection, "HEAD", PATH + upload.name)
            self.hear(upload, answer)
        else:  # nobody was told that it has begun
            self.uploads.pop()
            return
        while not upload.url and not self.stopping.is_set():
            smallest, largest = PIECES
            size = int(smallest * (largest / smallest) ** self.random.random())
            piece = upload.content[upload.acked : upload.acked + size]
            headers = {"Upload-Offset": str(upload.acked)}
            headers["Content-Type"] = "application/offset+octet-stream"
            self.hear(upload, self.ask(connection, "PATCH", PATH + upload.name, headers, piece))

    def begin(self, connection: http.client.HTTPConnection) -> Sent:
        size = self.random.randint(*SIZES)
        start = self.random.randrange(SIZES[1])
        upload = Sent(self.random.randbytes(16) + _POOL[start : start + size - 16])
        self.uploads.append(upload)
        headers = {"Upload-Length": str(size)}
        answer = self.ask(connection, "POST", PATH, headers)
        upload.name = str(answer.getheader("Location")).rpartition("/")[2]
        return upload

    def ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> http.client.HTTPResponse:
        given = self.person.by_token | {"Tus-Resumable": "1.0.0"} | (headers or {})
        connection.request(method, path, body, given)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            self.odd.append((method, answer.status, text))
            raise http.client.HTTPException
        return answer

    def hear(self, upload: Sent, answer: http.client.HTTPResponse) -> None:
        offset = int(answer.getheader("Upload-Offset") or -1)
        if offset < upload.acked:
            self.odd.append(("fell back", upload.acked, offset))
        upload.acked, upload.url = offset, answer.getheader("X-File-URL") or ""


class Clients:
    """All of them at once, over many starts of one server."""

    def __init__(self, host: Host) -> None:
        self.host, self.person = host, host.person("alice")
        self.uploads: list[list[Sent]] = [[] for _ in range(CLIENTS)]
        self.odd: list[object] = []
        self.round = 0
        self.threads: list[Client] = []

    def start(self) -> None:
        self.round += 1
        self.threads = [
            Client(self.host.port, self.person, mine, CLIENTS * self.round + number)
            for number, mine in enumerate(self.uploads)
        ]
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        for thread in self.threads:
            thread.stopping.set()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
            self.odd += thread.odd

    def end_nameless(self) -> None:
        """Give up what was begun and never said: a user may have twenty unfinished uploads."""
        names = {name for (name,) in self.host.rows("select name from resumable")}
        for name in names - {upload.name for upload in self.all}:
            headers = self.person.by_token | {"Tus-Resumable": "1.0.0"}
            url = f"{self.host.url}{PATH}{name}"
            assert self.host.session.delete(url, headers=headers).status_code == 204

    @property
    def finished(self) -> int:
        return len([upload for upload in self.all if upload.url])

    @property
    def all(self) -> list[Sent]:
        return [upload for mine in self.uploads for upload in mine if upload.name]

    @property
    def acked(self) -> int:
        """Bytes that were acknowledged."""
        return sum(upload.acked for upload in self.all)


def lost(database: Path, uploads: Path, sent: list[Sent]) -> list[object]:
    """The uploads of which an acknowledged byte is not there, and why."""
    found: list[object] = []
    query = "select offset, item_id from resumable where name = ?"
    for upload in sent:
        known = rows(database, query, upload.name)
        if not known or known[0][0] < upload.acked:
            found.append((upload.name, upload.acked, known))
            continue
        ((offset, item),) = known
        path = uploads / ".resumable" / upload.name
        if item is not None:
            ((name, digest),) = rows(database, "select name, sha256 from item where id = ?", item)
            path = uploads / name
            if digest != hashlib.sha256(upload.content).digest():
                found.append((upload.name, "wrong hash"))
        elif upload.url:
            found.append((upload.name, "is no item"))
        if not path.exists() or path.read_bytes()[:offset] != upload.content[:offset]:
            found.append((upload.name, offset, "bytes"))
    return found


def test_kill_9_loses_no_acknowledged_byte(make_host: Callable[..., Host]) -> None:
    host = make_host(uploads_max_size_mb=10, server_workers=2)
    clients = Clients(host)
    began = time.monotonic()
    missing: list[object] = []
    for _ in range(KILLS):
        before = clients.acked
        clients.start()
        time.sleep(random.uniform(*SPELL))
        until(lambda: clients.acked > before, "something is acknowledged")  # noqa: B023
        host.kill()
        clients.end()
        missing += lost(host.database, host.uploads, clients.all)
        host.start()
        missing += lost(host.database, host.uploads, clients.all)
        clients.end_nameless()
    finished = clients.finished
    print(
        f"kill, in pieces: kills={KILLS} uploads={len(clients.all)} finished={finished}"
        f" acked={clients.acked} lost={len(missing)} seconds={time.monotonic() - began:.0f}"
    )
    assert missing == []
    assert clients.odd == []
    clients.start()
    until(lambda: clients.finished >= finished + CLIENTS, "more are finished")
    clients.end()
    # Whatever was cut short: one item for each upload, and nothing that nobody knows.
    ((items,),) = host.rows("select count(*) from item")
    ((ended,),) = host.rows("select count(*) from resumable where item_id is not null")
    assert items == ended >= finished > 0
    host.restart()
    unfinished = {f".resumable/{name}" for (name,) in host.rows(
        "select name from resumable where item_id is null"
    )}  # fmt: skip
    names = {name for (name,) in host.rows("select name from item")}
    assert host.files() == unfinished | names
    host.require_quiet()


def cut(disks: Disks, make_host: Callable[..., Host], cuts: int, *, blind: bool) -> list[object]:
    """Cut the power under clients, with the database on another disk; what was lost."""
    disk, beside = disks.file(choose(192, 512)), disks.file(64)
    variables = {"PYTHONPATH": str(REMOVAL), "REMOVED_SAFEGUARD": json.dumps([NO_PIECES])}
    host = make_host(
        disk=disk.path,
        database_disk=beside.path,
        variables=variables if blind else {},
        uploads_max_size_mb=10,
    )
    for one in (disk, beside):
        run("sync", "-f", str(one.path))
    clients = Clients(host)
    missing: list[object] = []
    clients.start()
    try:
        for _ in range(cuts):
            before = clients.acked
            until(lambda: clients.acked > before + 1_000_000, "pieces")  # noqa: B023
            with ExitStack() as stack:
                host.pause()
                stack.callback(host.resume)
                time.sleep(0.1)  # what was answered before the pause arrives
                sent = [Sent(one.content, one.name, one.acked, one.url) for one in clients.all]
                images = [disks.cut(disk), disks.cut(beside)]
                files, database = (disks.mounted(image, stack) for image in images)
                begin_again(host.folder, database / "kissa.db", files / "uploads")
                missing += lost(database / "kissa.db", files / "uploads", sent)
    finally:
        host.kill()
        clients.end()
    print(
        f"power cut, in pieces{', control' if blind else ''}: cuts={cuts}"
        f" uploads={len(clients.all)} acked={clients.acked} lost={len(missing)}"
    )
    if not blind:
        assert clients.odd == []
        host.require_quiet()
    return missing


def test_power_cut_loses_no_acknowledged_byte(disks: Disks, make_host: Callable[..., Host]) -> None:
    assert cut(disks, make_host, CUTS, blind=False) == []


def test_power_cut_sees_a_missing_sync_of_pieces(
    disks: Disks, make_host: Callable[..., Host]
) -> None:
    assert cut(disks, make_host, 3, blind=True) != []
