"""Memory of the server's processes: at rest, while a large upload or a long list streams."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.live.conftest import Server
from tests.live.wire import BOUNDARY, FORM, form, head

pytestmark = pytest.mark.live
KIB = 1024
MIB = KIB * 1024
LARGE = 300 * MIB
ROWS = 100_000
GROWTH = 16 * MIB


def memory(pid: int, field: str, file: str = "status") -> int:
    """Bytes, as /proc tells them of a process."""
    text = Path(f"/proc/{pid}/{file}").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    assert found, f"{field} of {pid}"
    return int(found[1]) * KIB


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Server]) -> Server:
    return make_server(uploads_max_size_mb=400)


@pytest.fixture(scope="module")
def alice(server: Server) -> Person:
    """Somebody who did everything once, so that what is loaded at first use is loaded."""
    alice = server.person("alice")
    server.upload(alice, b"x" * MIB)
    server.ask("/api/files/list", alice.by_token)
    return alice


class Growth:
    """How far the one worker's memory grows from now on."""

    def __init__(self, server: Server) -> None:
        (self.pid,) = server.workers()
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the peak starts anew, see proc(5)
        self.idle = memory(self.pid, "VmRSS")

    def require_small(self, what: str, most: int = GROWTH) -> None:
        peak = memory(self.pid, "VmHWM") - self.idle
        kept = memory(self.pid, "VmRSS") - self.idle
        print(
            f"{what}: idle={self.idle / MIB:.1f} MiB, at its peak {peak / MIB:+.1f} MiB,"
            f" after it {kept / MIB:+.1f} MiB"
        )
        assert peak <= most
        assert kept <= most


def test_at_rest(server: Server, alice: Person) -> None:
    assert server.process is not None
    pids = [server.process.pid, *server.workers()]
    shares = [memory(pid, "Pss", "smaps_rollup") for pid in pids]
    print("at rest (PSS):", ", ".join(f"{share / MIB:.1f} MiB" for share in shares))
    assert sum(shares) < 80 * MIB


def test_a_large_upload(server: Server, alice: Person) -> None:
    start, _, end = form(b"@@@").partition(b"@@@")
    assert BOUNDARY.encode() in end
    fields = {"token": alice.token, "Content-Type": FORM, "Accept": "text/plain"}
    fields["Content-Length"] = str(len(start) + LARGE + len(end))
    block = bytes(range(256)) * (MIB // 256)
    growth = Growth(server)
    with server.wire() as wire:
        wire.send(head("POST", "/api/files/upload", fields) + start)
        for _ in range(LARGE // MIB):
            wire.send(block)
        wire.send(end)
        answer = wire.answer()
    assert answer.status == 200, answer
    growth.require_small("an upload of 300 MB")
    name = answer.body.decode().strip().rpartition("/")[2]
    assert (server.uploads / name).stat().st_size == LARGE
    with server.session.get(f"{server.url}/f/{name}", stream=True, timeout=30) as download:
        got = sum(len(part) for part in download.iter_content(MIB))
    assert got == LARGE
    growth.require_small("its download too")
    server.ask("/api/files/delete", alice.by_token | {"file": name})


def test_an_album_as_zip(server: Server, alice: Person) -> None:
    headers, count = alice.by_token | {"album": "Many"}, 100
    for number in range(count):
        files = {"uploadFile": (f"{number}.bin", bytes(MIB))}
        answer = server.post("/api/files/upload", headers, files=files)
        assert answer.status_code == 200
    address = answer.headers["X-Album-URL"] + ".zip"
    server.get(address.removeprefix(server.url), {"Range": "bytes=0-0"})
    growth = Growth(server)
    with server.session.get(address, stream=True, timeout=30) as download:
        assert not list((server.uploads / ".incoming").iterdir())
        got = sum(len(part) for part in download.iter_content(MIB))
    assert got == int(download.headers["Content-Length"]) > count * MIB
    growth.require_small(f"a ZIP of {count} MB")
    with server.session.get(address, stream=True, timeout=30) as download:
        assert download.raw.read(4) == b"PK\x03\x04"  # and the client goes away
    assert server.is_healthy()
    for name in server.ask("/api/files/list", alice.by_token | {"limit": str(count)}):
        server.ask("/api/files/delete", alice.by_token | {"file": name})


def insert_rows(server: Server) -> None:
    """Give user 1 a hundred thousand items, while the server does not run."""
    fields = (
        "user_id, name, original_name, size, sha256, state, is_oc, is_shitpost, deletion_hash,"
        " created"
    )
    with closing(sqlite3.connect(server.folder / "kissa.db")) as database, database:
        database.executemany(
            f"INSERT INTO item ({fields})"
            " VALUES (1, ?, 'a.png', 1, x'00', 'unlisted', 0, 0, x'00', 0)",
            ((f"n{number:06}.png",) for number in range(ROWS)),
        )


def test_a_long_list(server: Server, alice: Person) -> None:
    server.stop()
    insert_rows(server)
    server.start()
    headers = alice.by_token
    server.ask("/api/files/list", headers | {"limit": "2000"})
    growth = Growth(server)
    names = server.ask("/api/files/list", headers)
    assert len(names) == ROWS + 1
    assert names[:2] == ["n099999.png", "n099998.png"]
    growth.require_small(f"a list of {ROWS} names")
    with server.session.post(
        f"{server.url}/api/files/list", headers=headers, stream=True, timeout=30
    ) as answer:
        assert answer.raw.read(20) == b'["n099999.png","n099'  # and the client goes away
    assert server.is_healthy()
    assert server.stop() == 0
