"""Full disks: 507 and nothing left behind, every delete works, and then there is room again."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import space
from tests.conftest import Person
from tests.faults.conftest import Found, Host
from tests.faults.disks import Disks
from tests.faults.load import Load, Record
from tests.faults.support import choose
from tests.live.conftest import PATIENCE
from tests.live.wire import FORM, chunk, form, head

pytestmark = pytest.mark.live
MIB = 1024 * 1024
ROUNDS = choose(1, 10)
LARGE = (300_000, 900_000)
SMALL = (100, 1000)


def fill(
    host: Host, person: Person, record: Record, seed: int, sizes: tuple[int, int] = LARGE
) -> int:
    """Upload by four clients until they are refused. Returns how often they were."""
    begun = len(record.odd)
    with Load(host.port, person, record, seed=seed, deletes=0, sizes=sizes) as load:
        load.refused(8)
    return len(record.odd) - begun


def empty(host: Host, person: Person, record: Record, seed: int) -> None:
    """Delete everything, by four clients."""
    with Load(host.port, person, record, seed=seed, deletes=1.0) as load:
        load.until(len(record.kept))
    assert not record.kept
    assert not record.uncertain


def burst(host: Host, person: Person, record: Record) -> int:
    """Eight uploads at once whose sizes are not announced, larger together than all the disk: only
    the disk itself can refuse them. Returns how many were refused."""
    body = form(bytes(15 * MIB))
    headers = {"token": person.token, "Content-Type": FORM, "Transfer-Encoding": "chunked"}
    answers: list[tuple[int, str]] = []

    def send() -> None:
        with host.wire() as wire:
            wire.send(head("POST", "/api/files/upload", headers | {"Accept": "text/plain"}))
            for start in range(0, len(body), 256 * 1024):
                wire.send(chunk(body[start : start + 256 * 1024]))
            wire.send(chunk(b""))
            answer = wire.answer()
            answers.append((answer.status, answer.body.decode()))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(answers) == 8
    for status, text in answers:
        if status == 200:
            name = text.strip().rpartition("/")[2]
            host.ask("/api/files/delete", person.by_token | {"file": name})
        else:
            record.odd.append((status, text))
    return sum(status != 200 for status, _ in answers)


@contextmanager
def ballast(disk: Path, keep: int) -> Iterator[None]:
    """Somebody else's file, that leaves `keep` bytes of the disk."""
    status = os.statvfs(disk)
    room = status.f_bavail * status.f_frsize - keep
    with (disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while room > 0:
            room -= file.write(bytes(min(room, 64 * 1024)))
    yield
    (disk / "ballast").unlink()


def compare(host: Host, record: Record) -> None:
    """Rows, files and acknowledgements agree without any sweep, and nothing is half received."""
    found = Found(host.database, host.uploads, record)
    assert found.faults == {}
    assert found.files == found.names == set(record.kept)
    assert host.unnamed_files() == []


def report(disk: str, host: Host, record: Record, refused: int) -> None:
    odd = [answer for answer in record.odd if answer[0] != 507]
    print(
        f"full disk, {disk}: {record.figures} refused={refused} other_answers={len(odd)}"
        f" files={len(record.kept)}"
    )
    assert odd == []
    assert refused > 0
    assert record.deleted
    host.require_quiet()


def test_full_uploads(disks: Disks, make_host: Callable[..., Host], tmp_path: Path) -> None:
    disk = disks.memory("size=64m")
    host = make_host(disk=disk, database_disk=tmp_path)
    person = host.person("alice")
    record, refused = Record(), 0
    for number in range(ROUNDS):
        refused += burst(host, person, record)
        compare(host, record)
        refused += fill(host, person, record, number)
        compare(host, record)
        with ballast(disk, 0):  # somebody else took the reserve too: not a byte is left
            refused += fill(host, person, record, 100 + number)
            compare(host, record)
            assert not host.is_healthy()
            empty(host, person, record, number)
        compare(host, record)
        assert host.is_healthy()
    host.upload(person, b"room again")
    report("uploads", host, record, refused)


def test_full_database(disks: Disks, make_host: Callable[..., Host], tmp_path: Path) -> None:
    disk = disks.memory("size=64m")
    host = make_host(disk=tmp_path, database_disk=disk)
    person = host.person("alice")
    record, refused = Record(), 0
    reserve = space.reserve(os.statvfs(disk))
    for number in range(ROUNDS):
        # Each round has to outgrow the pages that the rounds before it have left free.
        with ballast(disk, reserve + (MIB if number == 0 else MIB // 8)):
            refused += fill(host, person, record, number, SMALL)
            compare(host, record)
            empty(host, person, record, number)  # on what the reserve has kept
            compare(host, record)
        with Load(host.port, person, record, seed=100 + number, deletes=0, sizes=SMALL) as load:
            load.until(50)
    # Without a reserve SQLite cannot promise a delete. It is refused, and can be done again.
    with ballast(disk, 0):
        asked = 0
        for name in list(record.kept):
            answer = host.post("/api/files/delete", person.by_token | {"file": name})
            assert answer.status_code in (200, 507), answer.text
            asked += answer.status_code == 200
            if answer.status_code == 200:
                record.deleted.add(name)
                del record.kept[name]
    empty(host, person, record, 1)
    compare(host, record)
    host.upload(person, b"room again")
    report("database", host, record, refused)


def test_no_inodes(disks: Disks, make_host: Callable[..., Host], tmp_path: Path) -> None:
    disk = disks.memory("size=64m,nr_inodes=60")
    host = make_host(disk=disk, database_disk=tmp_path)
    person = host.person("alice")
    record, refused = Record(), 0
    for number in range(ROUNDS):
        with Load(host.port, person, record, seed=number, deletes=0, sizes=(100, 10_000)) as load:
            load.refused(20)
        refused = len(record.odd)
        compare(host, record)
        assert len(record.kept) > 40
        empty(host, person, record, number)
        compare(host, record)
    host.upload(person, b"room again")
    report("inodes", host, record, refused)
