"""Uploads in pieces with files in a bucket: several hosts, what a crash or an absent store leaves
behind, and that in the end nothing is left but the file."""

import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import resumable
import storage_s3_partial
import upkeep
from errors import Conflict, Unsure
from models import Item, Resumable
from resumable import Desk, Sender
from storage_s3_files import PART
from tests.answers import TEXT, told
from tests.bucket import BucketKissa, Place, place_on
from tests.conftest import PNG, Kissa
from tests.live.conftest import until
from tests.pieces import PATH, PIECE, Pieces, by_token

ROOT = Path(__file__).parent.parent
MIB = 1024 * 1024
LARGE = os.urandom(MIB) * 19 + b"the end"  # three objects


@pytest.fixture
def place(rclone: Any) -> Place:
    return place_on(rclone)


@pytest.fixture
def kissa(start: Callable[..., Kissa], place: Place, tmp_path: Path) -> BucketKissa:
    (tmp_path / "uploads").mkdir()
    kissa = start(**place.keys, uploads_per_minute=0)
    return BucketKissa(kissa.app, kissa.services, place)


@pytest.fixture
def pieces(kissa: BucketKissa) -> Pieces:
    return by_token(kissa, kissa.person("alice"))


class SecondHost:
    """Another process on the same database and bucket, going on with an upload."""

    def __init__(self, kissa: BucketKissa, path: str, offset: int) -> None:
        database = kissa.services.config.database
        folder = database.path.parent
        environ = os.environ | kissa.place.environ | {
            "KISSA_CONFIG": str(folder / "config.ini"),
            "KISSA_DATABASE_URL": database.url,
            "KISSA_DATABASE_STATE": str(database.state),
            "KISSA_STORAGE_DIRECTORY": str(folder / "uploads"),
            "KISSA_SITE_URL": "http://kissa.example/",
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.second_host", path.rpartition("/")[2], str(offset)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.hear() == "ready"

    def hear(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def outcome(self) -> Any:
        """What became of it, once no more comes."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.hear()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()


@pytest.fixture
def second_host(kissa: BucketKissa) -> Iterator[Callable[[str, int], SecondHost]]:
    hosts: list[SecondHost] = []

    def begin(path: str, offset: int) -> SecondHost:
        hosts.append(SecondHost(kissa, path, offset))
        return hosts[-1]

    yield begin
    for host in hosts:
        host.end()


def chunks(kissa: BucketKissa) -> list[str]:
    return sorted(key for key in kissa.place.objects() if key.startswith("resumable/"))


def is_whole(kissa: BucketKissa, content: bytes) -> None:
    """There is one item of these bytes, and nothing else."""
    item = Item.get()
    assert Item.select().count() == 1
    assert item.sha256 == hashlib.sha256(content).digest()
    assert kissa.content(item.name) == content
    assert kissa.place.objects() == {f"files/{item.name}"}
    assert kissa.place.uploads() == []


@pytest.mark.parametrize("server", ["rclone", "ceph"])
def test_a_large_one(
    request: pytest.FixtureRequest, start: Callable[..., Kissa], tmp_path: Path, server: str
) -> None:
    """In objects of 8 MiB, but for the last of each piece."""
    (tmp_path / "uploads").mkdir()
    place = place_on(request.getfixturevalue(server))
    started = start(**place.keys)
    kissa = BucketKissa(started.app, started.services, place)
    pieces = by_token(kissa, kissa.person("alice"))
    path = pieces.begin(len(LARGE), "film.mp4")
    assert pieces.send(path, 0, LARGE[: 9 * MIB]).headers["Upload-Offset"] == str(9 * MIB)
    assert pieces.send(path, 9 * MIB, LARGE[9 * MIB : 10 * MIB]).status_code == 204
    assert list((tmp_path / "uploads").iterdir()) == []
    sizes = [size for _, size in json.loads(Resumable.get().parts or "")]
    assert sizes == [PART, MIB, MIB]
    assert len(chunks(kissa)) == 3
    assert pieces.send(path, 10 * MIB, LARGE[10 * MIB :]).status_code == 204
    assert Resumable.get().parts is None
    is_whole(kissa, LARGE)


def test_hosts_take_turns(
    kissa: BucketKissa, pieces: Pieces, second_host: Callable[[str, int], SecondHost]
) -> None:
    path = pieces.begin(len(LARGE))
    pieces.send(path, 0, LARGE[:100])
    host = second_host(path, 100)
    host.send(LARGE[100 : 9 * MIB])
    assert host.outcome() == {"offset": 9 * MIB, "finished": False}
    assert pieces.offset(path) == 9 * MIB
    pieces.send(path, 9 * MIB, LARGE[9 * MIB : 10 * MIB])
    host = second_host(path, 10 * MIB)
    host.send(LARGE[10 * MIB :])
    assert host.outcome() == {"offset": len(LARGE), "finished": True}
    assert "X-File-URL" in pieces.ask("HEAD", path).headers
    is_whole(kissa, LARGE)


def test_of_two_hosts_at_once_one_wins(
    kissa: BucketKissa, pieces: Pieces, second_host: Callable[[str, int], SecondHost]
) -> None:
    path = pieces.begin(2000)
    slow = second_host(path, 0)
    slow.send(b"x" * 500)
    assert pieces.send(path, 0, b"y" * 1000).status_code == 204
    assert slow.outcome() == {"status": 409}
    assert len(chunks(kissa)) == 1  # of who has lost there is nothing
    last = second_host(path, 1000)
    last.send(b"x" * 999)
    assert pieces.send(path, 1000, b"y" * 1000).status_code == 204
    last.send(b"x")
    assert last.outcome() == {"status": 409}
    is_whole(kissa, b"y" * 2000)


def test_a_host_that_is_killed(
    kissa: BucketKissa, pieces: Pieces, second_host: Callable[[str, int], SecondHost]
) -> None:
    """It costs what came after its last whole object."""
    path = pieces.begin(len(LARGE))
    host = second_host(path, 0)
    host.send(LARGE[: 12 * MIB])
    until(lambda: Resumable.get().offset == PART, "the first object is acknowledged")
    host.process.kill()
    host.process.wait()
    assert pieces.offset(path) == PART
    kissa.place.put(chunks(kissa)[0].rpartition("/")[0] + "/" + "x" * 16, b"left behind")
    assert pieces.send(path, PART, LARGE[PART:]).status_code == 204
    is_whole(kissa, LARGE)


def test_the_store_is_away(kissa: BucketKissa, pieces: Pieces, place: Place) -> None:
    path = pieces.begin(10)
    pieces.send(path, 0, b"12345")
    place.server.stop()
    try:
        assert pieces.send(path, 5, b"67").status_code == 503
        assert pieces.send(path, 5, b"67890").status_code == 503
        assert pieces.offset(path) == 5
        other = pieces.begin(10)
        assert pieces.ask("DELETE", other).status_code == 204
        headers = {"Upload_Length": "10", "Content_Type": PIECE}
        assert pieces.ask("POST", PATH, b"12345", **headers).status_code == 503
        assert Resumable.select().count() == 1
    finally:
        place.server.start()
    assert pieces.send(path, 5, b"67890").status_code == 204
    is_whole(kissa, b"1234567890")


def test_what_is_refused_leaves_nothing(
    kissa: BucketKissa, pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pieces.begin(10)
    pieces.send(path, 0, b"12345")
    before = chunks(kissa)
    monkeypatch.setattr(storage_s3_partial, "MOST", 1)
    answer = pieces.send(path, 5, b"6")
    assert told(answer) == (
        400, TEXT, "The upload came in too many pieces; begin again with larger ones."
    )  # fmt: skip
    monkeypatch.undo()
    assert chunks(kissa) == before
    assert pieces.send(path, 5, b"67890").status_code == 204
    is_whole(kissa, b"1234567890")


def test_what_may_be_acknowledged_stays(kissa: BucketKissa, pieces: Pieces) -> None:
    """Only a refusal is sure: after any other failure the row may speak of the bytes."""
    path = pieces.begin(10)
    store, name = kissa.services.storage, path.rpartition("/")[2]
    for error, left in ((Conflict("no"), 0), (OSError("who knows"), 1), (Unsure("or that"), 2)):

        def fail(size: int, parts: str | None, error: Exception = error) -> None:
            raise error

        with store.resume(name) as file:
            file.go_to(0, None)
            file.write(b"12345")
            with pytest.raises(type(error)):
                file.save(fail)
        assert len(chunks(kissa)) == left


def test_bytes_that_are_gone(kissa: BucketKissa, pieces: Pieces) -> None:
    path = pieces.begin(10)
    pieces.send(path, 0, b"12345")
    kissa.services.storage.discard(path.rpartition("/")[2], where="resumable")
    assert pieces.send(path, 5, b"67890").status_code == 404
    assert Item.select().count() == 0
    assert pieces.ask("DELETE", path).status_code == 204
    assert kissa.place.objects() == set()


class Zeros:
    """A body of many bytes."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int, /) -> bytes:
        size = min(size, self.left)
        self.left -= size
        return bytes(size)


def test_memory_does_not_grow_with_the_file(kissa: BucketKissa, pieces: Pieces) -> None:
    path, services = pieces.begin(56 * MIB), kissa.services
    desk = Desk(config=services.config, store=services.storage, secret=services.secret)
    sender = Sender(user_id=Resumable.get().user_id, api="nekos")
    peaks = []
    for offset, size in ((0, 28 * MIB), (28 * MIB, 28 * MIB)):
        tracemalloc.start()
        try:
            name, body = path.rpartition("/")[2], Zeros(size)
            resumable.receive(desk, sender, name, body, offset=offset, size=size)
            peaks.append(tracemalloc.get_traced_memory()[1] / MIB)
        finally:
            tracemalloc.stop()
    print(f"peak MiB: {peaks}")
    assert max(peaks) < 28
    assert Item.get().sha256 == hashlib.sha256(bytes(56 * MIB)).digest()


def test_sweep(kissa: BucketKissa, pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects of no unfinished upload go, an hour after they came; others stay."""
    store = kissa.services.storage
    assert pieces.whole(PNG).status_code == 204
    kept = pieces.begin(10)
    pieces.send(kept, 0, b"12345")
    (mine,) = chunks(kissa)
    for name in ("one", "two"):
        kissa.place.put(f"resumable/{'x' * 32}/{name}", b"left behind")
    assert upkeep.look(store, young=True).orphans == []
    monkeypatch.setattr(upkeep, "AGE", -5)
    found = upkeep.look(store)
    assert found.orphans == [("resumable", "x" * 32)]
    upkeep.remove(store, found)
    assert chunks(kissa) == [mine]
    assert resumable.forget_expired(store) == 0
