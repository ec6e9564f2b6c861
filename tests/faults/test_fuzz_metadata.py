"""Broken pictures: each is stored, stripped or as it is, without a fault and in time.

The pictures are good ones in which bytes are changed, lost, doubled or cut off. Where Pillow still
decodes one of them, the stripped one decodes to the same pixels.
"""

import io
import os
import random
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import metadata
from storage_local import LocalStorage
from tests.conftest import Kissa
from tests.faults.support import choose
from tests.tagged import plain, tagged

IMAGES = choose(1_500, 10_000)
LENGTHS = (b"\0\0", b"\0\1", b"\0\2", b"\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff")
MARKERS = (b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xe1", b"\xff\xfe", b"\xff\xff", b"\xff\0")
WORDS = (*LENGTHS, *MARKERS, b"IEND", b"eXIf", b"IDAT", b"EXIF", b"VP8X", b"II*\0", b"MM\0*")


def broken(chance: random.Random, good: list[bytes]) -> bytes:
    """One of the good pictures after one to three accidents."""
    data = chance.choice(good)
    for _ in range(chance.randint(1, 3)):
        # Half of them in the first part, where the headers are.
        at = chance.randrange(chance.choice((min(len(data), 900), len(data))) + 1)
        length = chance.choice((1, 2, 4, chance.randint(1, 400)))
        match chance.randrange(6):
            case 0:
                data = data[:at] + chance.randbytes(length) + data[at + length :]
            case 1:
                data = data[:at] + data[at + length :]
            case 2:
                data = data[:at] + data[at : at + length] + data[at:]
            case 3:
                word = chance.choice(WORDS)
                data = data[:at] + word + data[at + len(word) :]
            case 4:
                data = data[:at] + chance.choice(WORDS) + data[at:]
            case 5:
                data = data[: max(at, 1)]
    return data


def decoded(data: bytes) -> bytes | None:
    """The first frame as Pillow decodes it, if it does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
                if image.width * image.height > 1_000_000:
                    return None
                return image.tobytes()
    except Exception:  # what decoders raise over broken files is their own affair
        return None


def test_broken_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(20261122)
    good = [*plain().values(), *tagged().values()]
    reads = 0
    pread = os.pread

    def counted(fd: int, length: int, offset: int) -> bytes:
        nonlocal reads
        reads += 1
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    store = LocalStorage(tmp_path / "uploads", durable=False)
    outcomes: Counter[str] = Counter()
    compared = 0
    for number in range(IMAGES):
        data = broken(chance, good)
        incoming = store.open()
        incoming.write(data)
        reads = 0
        stripped = metadata.strip(store, incoming)
        outcomes[str(stripped.outcome)] += 1
        # Work ends: every few reads a part of the file is done with.
        assert reads <= 4 * len(data) + 10, number
        with incoming, stripped.file as file:
            kept = file.read_at(file.size, 0)
            if stripped.outcome != "removed":
                assert kept == data, number
                continue
            before = decoded(data)
            if before is not None:
                compared += 1
                assert decoded(kept) == before, number
            again = metadata.strip(store, file)
            with again.file:
                assert again.outcome == "clean", number
    store.close()
    print(f"{IMAGES} broken pictures: {dict(outcomes)}, {compared} decoded and compared")
    assert min(outcomes[kind] for kind in ("removed", "clean", "unparsed", "untouched")) > 0
    assert compared > IMAGES // 10


def test_uploads_of_broken_pictures(start: Callable[..., Kissa]) -> None:
    kissa = start(
        uploads_strip_metadata="all", uploads_per_minute=0, storage_durable="false", site_name="K"
    )
    alice = kissa.person("alice")
    chance = random.Random(20261123)
    good = [*plain().values(), *tagged().values()]
    answers = Counter(
        (answer.status_code, answer.headers["X-Metadata"])
        for answer in (kissa.upload(alice, broken(chance, good)) for _ in range(IMAGES))
    )
    print(f"{IMAGES} uploads of broken pictures: {dict(answers)}")
    assert {status for status, _ in answers} == {200}
    assert len(kissa.files()) == IMAGES
