"""A machine of one core and 512 MB: at rest, under ten large uploads at once, and with thumbnails.

The uploads are four times the memory: their pages in the cache count, and have to be written and
dropped in time. Where no control group can be made, what the processes take is looked at all the
same.
"""

import hashlib
import io
import os
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Person
from tests.live.conftest import Server, until
from tests.live.machine import MIB, Machine, processes, share
from tests.live.wire import FORM, form, head

pytestmark = pytest.mark.live
MEMORY = 512 * MIB
TINY = 128 * MIB  # enough for the server, and not for a large picture
AT_REST = 70 * MIB
UPLOADS, LARGE = 10, 200 * MIB
GROWTH = 24 * MIB  # of ten uploads together, of which each holds a block or two of 256 KiB
SMALL = 100 * 1024
PICTURES = 5  # as many as are made or waited for at once
THREADS = 16


def as_set_up(folder: Path) -> Path:
    """A folder of modules that hides what `make setup` does not bring: Peewee imports PostgreSQL's
    driver wherever there is one, which takes 17 MB in each process."""
    folder = folder / "hidden"
    folder.mkdir()
    (folder / "psycopg.py").write_text("raise ImportError\n")
    return folder


@contextmanager
def small(memory: int) -> Iterator[tuple[Machine, Server]]:
    """A machine with so many bytes of memory, and a server on it."""
    machine = Machine(memory)
    print(f"one core; memory limited by {machine.limited_by}")
    parent = disk(Path(tempfile.gettempdir()), Path("/var/tmp"), Path(__file__).parent)
    with tempfile.TemporaryDirectory(prefix="kissa-small-", dir=parent) as folder:
        server = Server(Path(folder), uploads_max_size_mb=200, uploads_per_minute=0)
        server.before = [*machine.command, "env", f"PYTHONPATH={as_set_up(Path(folder))}"]
        try:
            yield machine, server.migrate().start()
        finally:
            server.end()
            server.session.close()
            machine.close()
        server.require_quiet()


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Machine, Server]]:
    with small(MEMORY) as running:
        yield running


@pytest.fixture(scope="module")
def machine(running: tuple[Machine, Server]) -> Machine:
    return running[0]


@pytest.fixture(scope="module")
def server(running: tuple[Machine, Server]) -> Server:
    return running[1]


@pytest.fixture(scope="module")
def alice(server: Server) -> Person:
    """Somebody; every thread of the server has worked, and all that is loaded late is loaded."""
    alice = server.person("alice")
    with ThreadPoolExecutor(THREADS) as clients:
        list(clients.map(lambda _: upload(server, alice, os.urandom(SMALL)), range(4 * THREADS)))
    for path in ("/", "/signin", "/api/v2/items", "/api/openapi.json"):
        assert server.get(path).status_code == 200
    return alice


def disk(*folders: Path) -> Path:
    """The first of these folders that does not lie in memory, where files would count as such."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    for folder in folders:
        around = [(len(place), kind) for place, kind in mounts if folder.is_relative_to(place)]
        if max(around)[1] not in ("tmpfs", "ramfs"):
            return folder
    raise AssertionError(f"all of these lie in memory: {folders}")


def used(server: Server) -> int:
    """Bytes of memory that all processes of the server take (PSS)."""
    assert server.process is not None
    return sum(map(share, processes(server.process.pid)))


def upload(server: Server, person: Person, content: bytes, name: str = "a.bin") -> str:
    """The stored name, over a connection of its own."""
    body = form(content, name=name)
    fields = {"token": person.token, "Content-Type": FORM, "Accept": "text/plain"}
    with server.wire() as wire:
        wire.send(head("POST", "/api/files/upload", fields | {"Content-Length": str(len(body))}))
        wire.send(body)
        answer = wire.answer()
    assert answer.status == 200, answer
    return answer.body.decode().strip().rpartition("/")[2]


@contextmanager
def repeated(act: Callable[[], object]) -> Iterator[list[float]]:
    """Calls `act` again and again beside the body; gives the list of the seconds each took."""
    stop, seconds = threading.Event(), list[float]()

    def run() -> None:
        while not stop.is_set():
            began = time.monotonic()
            act()
            seconds.append(time.monotonic() - began)
            stop.wait(0.02)

    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(run)
        try:
            yield seconds
        finally:
            stop.set()
        running.result()


def test_at_rest(server: Server, alice: Person) -> None:
    server.session.close()
    total = used(server)
    print(f"at rest: {total / MIB:.1f} MiB in all processes (PSS)")
    assert 0 < total < AT_REST


def large(number: int) -> Iterator[bytes]:
    """The blocks of a large file, another one for each number."""
    block = number.to_bytes(4, "big") * (MIB // 4)
    for index in range(LARGE // MIB):
        yield index.to_bytes(4, "big") + block[4:]


def test_ten_large_uploads_at_once(machine: Machine, server: Server, alice: Person) -> None:
    start, _, end = form(b"@@@", name="large.bin").partition(b"@@@")
    fields = {"token": alice.token, "Content-Type": FORM, "Accept": "text/plain"}
    fields["Content-Length"] = str(len(start) + LARGE + len(end))
    begun = threading.Barrier(UPLOADS)

    def send(number: int) -> tuple[int, str]:
        with server.wire() as wire:
            wire.send(head("POST", "/api/files/upload", fields) + start)
            begun.wait()  # all ten are being received now
            for block in large(number):
                wire.send(block)
            wire.send(end)
            answer = wire.answer()
        return answer.status, answer.body.decode().strip().rpartition("/")[2]

    idle = used(server)
    peaks = [idle]
    began = time.monotonic()

    def look() -> None:
        assert server.is_healthy()
        peaks.append(max(peaks[-1], used(server)))

    with repeated(look) as healthy, ThreadPoolExecutor(UPLOADS) as clients:
        answers = list(clients.map(send, range(UPLOADS)))
    print(
        f"{UPLOADS} uploads of {LARGE // MIB} MiB in {time.monotonic() - began:.1f} s: memory"
        f" {idle / MIB:.1f} MiB, at its peak {(peaks[-1] - idle) / MIB:+.1f} MiB;"
        f" {len(healthy)} health checks, the slowest {max(healthy):.2f} s"
    )
    assert [status for status, _ in answers] == [200] * UPLOADS
    rows = dict(server.rows("select name, sha256 from item where size = ?", LARGE))
    for number, (_, name) in enumerate(answers):
        assert (server.uploads / name).stat().st_size == LARGE
        if number in (0, UPLOADS - 1):
            digest = hashlib.sha256()
            for block in large(number):
                digest.update(block)
            assert rows[name] == digest.digest()
            with (server.uploads / name).open("rb") as file:
                assert hashlib.file_digest(file, "sha256").digest() == digest.digest()
        server.ask("/api/files/delete", alice.by_token | {"file": name})
    assert machine.killed() == 0
    assert peaks[-1] - idle < GROWTH
    assert len(server.workers()) == 1
    assert healthy


def picture() -> bytes:
    """A photograph's worth of pixels, 24 million, that take their time: a PNG has no short cut."""
    buffer = io.BytesIO()
    Image.new("RGB", (6000, 4000), (30, 90, 120)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


class Children:
    """The processes that make thumbnails, as they were seen."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.most = 0
        self.seen: set[int] = set()
        self.stepped_back: set[int] = set()

    def look(self) -> None:
        assert self.server.process is not None
        pids = [pid for pid in processes(self.server.process.pid) if is_child(pid)]
        self.most = max(self.most, len(pids))
        self.seen |= set(pids)
        self.stepped_back |= {pid for pid in pids if has_stepped_back(pid)}


def is_child(pid: int) -> bool:
    with suppress(OSError):
        return b"thumbnail_child.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def has_stepped_back(pid: int) -> bool:
    """Whether the kernel prefers the server, for the processor and when memory ends."""
    with suppress(OSError):
        nice = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[16])
        victim = int(Path(f"/proc/{pid}/oom_score_adj").read_text())
        group = Path(f"/proc/{pid}/autogroup")
        found = re.search(r"nice (-?\d+)", group.read_text()) if group.exists() else None
        return nice >= 10 and victim == 1000 and (found is None or int(found[1]) >= 10)
    return False


def test_thumbnails_leave_uploads_alone(machine: Machine, server: Server, alice: Person) -> None:
    photograph = picture()
    names = [upload(server, alice, photograph, "a.png") for _ in range(PICTURES)]
    content = os.urandom(SMALL)

    def send() -> None:
        upload(server, alice, content)

    def thumbnail(name: str) -> bytes:
        with server.wire() as wire:
            wire.send(head("GET", f"/t/{name}"))
            answer = wire.answer()
        assert answer.status == 200, answer
        return answer.body

    with repeated(send) as alone:
        until(lambda: len(alone) >= 20, "twenty uploads")
    children = Children(server)
    with ThreadPoolExecutor(PICTURES) as viewers, repeated(children.look), repeated(send) as beside:
        made = list(viewers.map(thumbnail, names))
    print(
        f"{len(beside)} uploads beside {len(made)} thumbnails of 24 megapixels: median"
        f" {statistics.median(beside) * 1000:.1f} ms, without them"
        f" {statistics.median(alone) * 1000:.1f} ms; at most {children.most} made at once"
    )
    assert all(Image.open(io.BytesIO(data)).size == (400, 267) for data in made)
    assert len(beside) > PICTURES  # and each was answered 200
    assert children.most == 1
    assert children.seen
    assert children.stepped_back
    assert machine.killed() == 0


def test_memory_ends_with_the_thumbnail_and_not_with_the_server() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (5000, 5000), (30, 90, 120)).save(buffer, "AVIF", speed=10)
    with small(TINY) as (machine, server):
        alice = server.person("alice")
        workers = server.workers()
        name = upload(server, alice, buffer.getvalue(), "a.avif")
        status = server.get(f"/t/{name}").status_code
        print(f"a thumbnail that takes too much: {status}, {machine.killed()} process ended")
        if machine.is_limited:
            assert (status, machine.killed()) == (404, 1)
        assert server.workers() == workers
        assert upload(server, alice, b"afterwards")
