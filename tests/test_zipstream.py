"""Archives: complete, as long as announced, readable by others, in little memory."""

import io
import os
import random
import shutil
import subprocess
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest

import models
import zipstream
from errors import Busy
from models import Item
from tests.conftest import Kissa, Person
from tests.people import Browser
from zipstream import Archive, Entry, Slots, safe_names

AT = datetime(2026, 7, 23, 20, 42, 22, tzinfo=UTC)
SIZES = (0, 1, 1000, zipstream.BLOCK - 1, zipstream.BLOCK, zipstream.BLOCK + 1, 700_000, 3)
Made = tuple[bytes, list[str]]


def archive(gone: frozenset[int] = frozenset()) -> tuple[Archive, dict[str, bytes]]:
    """An archive of one file of each size, and what it should hold but for those `gone`."""
    chance = random.Random(1)
    files = [chance.randbytes(size) for size in SIZES]
    names = safe_names(f"cät {number % 2}.jpg" for number in range(len(files)))
    entries = [
        Entry(key=str(number), name=name, size=len(content), modified=AT)
        for number, (name, content) in enumerate(zip(names, files, strict=True))
    ]

    def open_file(key: str) -> BinaryIO | None:
        return None if int(key) in gone else io.BytesIO(files[int(key)])

    kept = {
        name: content
        for number, (name, content) in enumerate(zip(names, files, strict=True))
        if number not in gone
    }
    return Archive(entries, open_file), kept


@pytest.fixture(params=["narrow", "first-wide", "some-wide", "offsets-wide"])
def wide(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ZIP64 records where sizes and offsets would need them, at other limits than 4 GiB."""
    limits = {"first-wide": 0, "some-wide": 1001, "offsets-wide": 1_000_000}
    if request.param in limits:
        monkeypatch.setattr(zipstream, "_WIDE", limits[request.param])


GONE = [frozenset(), frozenset({0}), frozenset({7}), frozenset({2, 3, 6})]


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("gone", GONE, ids=str)
def test_others_read_it(tmp_path: Path, gone: frozenset[int]) -> None:
    made, expected = archive(gone)
    content = b"".join(made.stream())
    assert len(content) == made.length
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        assert found.testzip() is None
        assert {one.filename: found.read(one) for one in found.infolist()} == expected
        assert {one.date_time for one in found.infolist()} == {(2026, 7, 23, 20, 42, 22)}
        assert {one.compress_type for one in found.infolist()} == {zipfile.ZIP_STORED}
    path = tmp_path / "made.zip"
    path.write_bytes(content)
    programs = [["unzip", "-tqq"], ["bsdtar", "-tf"], ["7z", "t"]]
    if zipstream._WIDE == 0xFFFFFFFF:  # it does not know ZIP64
        programs.append(["busybox", "unzip", "-t"])
    for program in programs:
        if shutil.which(program[0]):
            subprocess.run([*program, path], check=True, capture_output=True)


@pytest.mark.parametrize("found", [b"", b"short", b"much longer"])
def test_files_of_another_size_are_left_out(found: bytes) -> None:
    entries = [Entry(key=name, name=name, size=10, modified=AT) for name in ("bad", "good")]
    files = {"bad": found, "good": b"0123456789"}
    made = Archive(entries, lambda key: io.BytesIO(files[key]))
    content = b"".join(made.stream())
    assert len(content) == made.length
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"good": files["good"]}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.png", "A.PNG", "a.png"], ["a.png", "A (2).PNG", "a (3).png"]),
        (["a", "a (2)", "a"], ["a", "a (2)", "a (3)"]),
        (["../../etc/passwd", "c:\\x"], ["_.._.._etc_passwd", "c__x"]),
        (["..", ".", "", " "], ["_", "_ (2)", "_ (3)", "_ (4)"]),
        (["CON", "con.txt", "Lpt1.png", "console"], ["_CON", "_con.txt", "_Lpt1.png", "console"]),
        (["a. ", ".bashrc", 'a"<>|?*b'], ["a", "_.bashrc", "a______b"]),
        (["ü" * 255 + ".jpeg"], ["ü" * 117 + ".jpeg"]),
        (["日" * 200, "日" * 200], ["日" * 80, "日" * 78 + " (2)"]),
    ],
    ids=str,
)
def test_names(names: list[str], expected: list[str]) -> None:
    assert safe_names(names) == expected
    assert all(len(name.encode()) <= 255 for name in expected)


def test_slots() -> None:
    slots = Slots(3, 2)
    backs = [slots.take("a"), slots.take("a")]
    with pytest.raises(Busy):
        slots.take("a")
    backs.append(slots.take("b"))
    with pytest.raises(Busy) as refused:
        slots.take("c")
    assert refused.value.retry_after
    backs[0]()
    backs[0]()
    slots.take("c")
    with pytest.raises(Busy):
        slots.take("d")


# Over HTTP


def fill(kissa: Kissa, person: Person, count: int, content: Callable[[int], bytes]) -> str:
    """The path of an album of `count` files."""
    for number in range(count):
        answer = kissa.upload(person, content(number), f"n{number}.bin", album="Many")
        assert answer.status_code == 200
    return answer.headers["X-Album-URL"].removeprefix("http://kissa.example")


def test_download(kissa: Kissa, alice: Person) -> None:
    path = fill(kissa, alice, 3, lambda number: os.urandom(1000 * number + 1))
    kissa.upload(alice, b"same name", "N0.bin", album="Many")
    visitor = Browser(kissa)
    answer = visitor.get(f"{path}.zip")
    assert answer.status_code == 200
    assert answer.content_type == "application/zip"
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="Many.zip"')
    assert answer.headers["X-Accel-Buffering"] == "no"
    with zipfile.ZipFile(io.BytesIO(answer.data)) as found:
        assert found.namelist() == ["n0.bin", "n1.bin", "n2.bin", "N0 (2).bin"]
        assert [len(found.read(name)) for name in found.namelist()] == [1, 1001, 2001, 9]
    head = visitor.client.head(f"{path}.zip")
    assert head.data == b""
    assert head.headers["Content-Length"] == answer.headers["Content-Length"]


def test_a_file_that_goes_meanwhile_is_left_out(kissa: Kissa, alice: Person) -> None:
    path = fill(kissa, alice, 4, lambda _: os.urandom(300_000))
    answer = kissa.client.get(f"{path}.zip")
    blocks = answer.iter_encoded()
    begun = [next(blocks)]
    name = Item.get_by_id(3).name
    assert kissa.post("/api/files/delete", alice.by_token | {"file": name}).status_code == 200
    content = b"".join([*begun, *blocks])
    answer.close()
    assert len(content) == int(answer.headers["Content-Length"])
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        assert found.testzip() is None
        assert found.namelist() == ["n0.bin", "n1.bin", "n3.bin"]


def test_few_at_once(kissa: Kissa, alice: Person) -> None:
    path = fill(kissa, alice, 1, lambda _: b"x")
    running = [kissa.client.get(f"{path}.zip") for _ in range(2)]
    refused = kissa.client.get(f"{path}.zip")
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "10"
    assert kissa.client.head(f"{path}.zip").status_code == 200  # holds nothing
    assert kissa.get(path).status_code == 200
    next(running[0].iter_encoded())
    for answer in running:
        answer.close()  # the one begun, the other not
    for _ in range(5):
        assert kissa.get(f"{path}.zip").status_code == 200


@pytest.mark.sqlite  # no matter of the database
def test_memory_does_not_grow_with_the_album(start: Callable[..., Kissa]) -> None:
    """A thousand files, 50 MB: what Python allocates at most while it goes out."""
    kissa = start(uploads_per_minute=0, storage_durable="false")
    path = fill(kissa, kissa.person("alice"), 1000, lambda number: bytes(50_000 + number))
    models.database.close()
    before = kissa.files()
    tracemalloc.start()
    answer = kissa.client.get(f"{path}.zip")
    listed, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    size = 0
    for block in answer.iter_encoded():
        size += len(block)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    answer.close()
    assert size == int(answer.headers["Content-Length"]) > 50_000_000
    print(f"1,000 files, {size / 1e6:.1f} MB: +{(peak - listed) / 1e6:.2f} MB at its peak")
    assert peak - listed < 4_000_000
    assert kissa.files() == before
