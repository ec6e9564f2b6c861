"""What every place for files promises: in a folder, on three kinds of filesystem, and in a bucket
of either S3 server."""

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import config
import storage_s3
from storage import Storage, Where
from storage_local import LocalStorage
from storage_opening import open_storage
from tests.bucket import Place, place_on
from tests.conftest import PNG

MIB = 1024 * 1024
NAME = "abcdefg.png"
LARGE = os.urandom(MIB) * 19 + b"the end"  # three parts in a bucket
BOTH_SIZES = pytest.mark.parametrize("content", [PNG, LARGE], ids=["small", "large"])


def unsupported(*_: Any, **__: Any) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture(params=["unnamed", "named", "without-links", "rclone", "ceph"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Storage]:
    """A folder by O_TMPFILE, by temporary names, and without hard links; two S3 servers."""
    environ = {"KISSA_STORAGE_DIRECTORY": str(tmp_path / "uploads")}
    if request.param in ("rclone", "ceph"):
        environ |= place_on(request.getfixturevalue(request.param)).environ
        (tmp_path / "uploads").mkdir()
    store = open_storage(config.load(environ=environ))
    if isinstance(store, LocalStorage):
        store._anonymous = request.param == "unnamed"
        if request.param == "without-links":
            monkeypatch.setattr(os, "link", unsupported)
    yield store
    store.close()


def put(store: Storage, name: str = NAME, content: bytes = PNG) -> bool:
    with store.open(name) as incoming:
        incoming.write(content)
        incoming.seal()
        return store.publish(incoming, name)


def hold(store: Storage, content: bytes = PNG) -> str:
    with store.open(NAME) as incoming:
        incoming.write(content)
        incoming.seal()
        return store.hold(incoming)


def read(store: Storage, name: str = NAME) -> bytes | None:
    file = store.open_file(name)
    if file is None:
        return None
    with file:
        return file.read()


def everything(store: Storage) -> set[tuple[Where, str]]:
    found: set[tuple[Where, str]] = {("public", name) for name in store.list_public()}
    found |= {("pending", name) for name in store.list_pending()}
    found |= {("incoming", name) for name in store.list_incoming()}
    return found | {("thumbnails", name) for name in store.list_thumbnails()}


class TestEveryPlace:
    @BOTH_SIZES
    def test_written_hashed_published(self, store: Storage, content: bytes) -> None:
        with store.open("shot.png") as incoming:
            for start in range(0, len(content), 300_000):
                incoming.write(content[start : start + 300_000])
            assert incoming.size == len(content)
            assert incoming.sha256 == hashlib.sha256(content).digest()
            assert everything(store) <= {("incoming", name) for name in store.list_incoming()}
            incoming.seal()
            name = incoming.likely_name or NAME
            assert store.publish(incoming, name)
        assert everything(store) == {("public", name)}
        assert read(store, name) == content

    @BOTH_SIZES
    def test_published_under_any_name(self, store: Storage, content: bytes) -> None:
        assert put(store, content=content)
        assert read(store) == content
        assert everything(store) == {("public", NAME)}

    @BOTH_SIZES
    def test_publish_never_overwrites(self, store: Storage, content: bytes) -> None:
        assert put(store, content=b"first")
        assert not put(store, content=content)
        assert read(store) == b"first"
        assert everything(store) == {("public", NAME)}

    @BOTH_SIZES
    def test_discarded_leaves_nothing(
        self, store: Storage, content: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage_s3, "ABANDONED", -60)  # to see all uploads by parts
        with store.open("shot.png") as incoming:
            incoming.write(content)
            assert len(list(store.list_incoming())) <= 1
        incoming.close()
        assert everything(store) == set()

        def fail() -> None:
            with store.open("shot.png") as incoming:
                incoming.write(content)
                incoming.seal()
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert everything(store) == set()

    @BOTH_SIZES
    def test_what_was_written_can_be_read_before_it_is_published(
        self, store: Storage, content: bytes
    ) -> None:
        with store.open("shot.png") as incoming:
            incoming.write(content)
            for offset in (0, 30, len(content) // 2, len(content) - 3, len(content)):
                assert incoming.read_at(5, offset) == content[offset : offset + 5]
            assert incoming.read_at(2 * MIB, 7) == content[7 : 7 + 2 * MIB]
            incoming.seal()
            assert store.publish(incoming, NAME)
        assert everything(store) == {("public", NAME)}
        assert read(store) == content

    @BOTH_SIZES
    def test_waiting_released_deleted(self, store: Storage, content: bytes) -> None:
        held = hold(store, content)
        assert everything(store) == {("pending", held)}
        assert store.open_file(held) is None
        file = store.open_pending(held)
        assert file is not None
        with file:
            assert file.read() == content
        store.release(held, NAME)
        assert read(store) == content
        store.delete_pending(held)
        assert everything(store) == {("public", NAME)}
        assert store.delete(NAME)
        assert everything(store) == set()
        store.delete(NAME)  # gone already is fine

    def test_release_can_be_withdrawn_and_takes_the_place_of_what_a_crash_left(
        self, store: Storage
    ) -> None:
        held = hold(store)
        assert not store.withdraw(NAME, held)
        put(store, content=b"left by a crash")
        store.release(held, NAME)
        assert read(store) == PNG
        assert store.withdraw(NAME, held)
        assert everything(store) == {("pending", held)}
        with pytest.raises(FileNotFoundError):
            store.release("x" * 32, NAME)

    def test_many_removed_at_once(self, store: Storage) -> None:
        held = hold(store)
        for number in range(5):
            put(store, f"name00{number}.png")
        names: list[tuple[Where, str]] = [("public", f"name00{n}.png") for n in range(4)]
        assert store.discard_all([*names, ("pending", held)]) == 5
        assert everything(store) == {("public", "name004.png")}
        assert store.discard_all([]) == 0

    def test_a_thumbnail_goes_with_its_file(self, store: Storage) -> None:
        held = hold(store)
        put(store)
        for key in (NAME, f"_{held}"):
            with store.new_thumbnail() as made:
                os.write(made.fd, b"RIFF")
                made.seal(is_made=True)
                made.publish(f"{key}.webp")
        with store.new_thumbnail() as made:
            os.write(made.fd, b"half of it")
            made.seal(is_made=False)
            made.publish("another.none")
        with store.new_thumbnail() as made:
            os.write(made.fd, b"never ended")
        thumbnails = set(store.list_thumbnails())
        assert thumbnails == {f"{NAME}.webp", f"_{held}.webp", "another.none"}
        file = store.open_thumbnail(NAME)
        assert file is not None
        with file:
            assert store.status(file).size == 4
            assert file.read() == b"RIFF"
        assert store.open_thumbnail("another") is None
        assert store.changed("another.none", where="thumbnails") is not None
        store.delete(NAME)
        store.delete_pending(held)
        assert set(store.list_thumbnails()) == {"another.none"}

    def test_read_from_anywhere(self, store: Storage) -> None:
        put(store, content=LARGE)
        file = store.open_file(NAME)
        assert file is not None
        with file:
            assert store.status(file).size == len(LARGE)
            assert file.seekable()
            for place in (12 * MIB, 3, len(LARGE) - 4):
                file.seek(place)
                assert file.read(4) == LARGE[place : place + 4]
                assert file.tell() == place + 4
            assert file.read() == b""
            file.seek(-7, os.SEEK_END)
            assert file.read() == b"the end"
            file.seek(0)
            with store.on_disk(file) as descriptor:
                assert os.pread(descriptor, 10, 5 * MIB) == LARGE[5 * MIB : 5 * MIB + 10]

    def test_only_names_of_ours_are_listed_and_opened(self, store: Storage) -> None:
        put(store)
        foreign = ("UPPER12.PNG", ".htaccess", "a.b", "folder1/abcdefg.png")
        if isinstance(store, LocalStorage):
            for name in foreign[:3]:
                (store.directory / name).write_text("foreign")
        else:
            assert isinstance(store, storage_s3.S3Storage)
            for name in foreign:
                store._bucket.put(store._key(name, "public"), b"foreign", {}, only_new=False)
        assert set(store.list_public()) == {NAME}
        for name in (*foreign, "../pending/x", ""):
            assert store.open_file(name) is None

    def test_when_it_changed(self, store: Storage) -> None:
        assert store.changed(NAME, where="public") is None
        assert not store.exists(NAME)
        put(store)
        assert store.exists(NAME)
        changed = store.changed(NAME, where="public")
        file = store.open_file(NAME)
        assert file is not None
        with file:
            assert changed is not None
            assert abs(changed - store.status(file).modified.timestamp()) < 2

    def test_it_can_be_worked_with(self, store: Storage) -> None:
        store.check()
        store.require_space(5)
        store.require_answer()
        store.sync()
        room = store.room()
        assert (room is None) is store.is_remote
        assert everything(store) == set()


def test_a_host_with_a_folder_imports_nothing_of_s3(tmp_path: Path) -> None:
    program = (
        "import sys, app, context, config; app.create_app();"
        " context.open_storage(config.load(environ={'KISSA_STORAGE_DIRECTORY': sys.argv[1]}));"
        " print([name for name in sys.modules if name.startswith(('boto', 'storage_s3'))])"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture(params=["rclone", "ceph"])
def place(request: pytest.FixtureRequest) -> Place:
    return place_on(request.getfixturevalue(request.param))


def test_an_upload_by_parts_is_seen_by_nobody_and_swept_after_a_day(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_storage(config.load(environ=place.environ))
    incoming = store.open("film.mp4")
    incoming.write(LARGE)
    assert place.objects() == set()
    assert place.uploads() == [f"files/{incoming.likely_name}"]
    assert list(store.list_incoming()) == []  # it may be another host's, at work
    monkeypatch.setattr(storage_s3, "ABANDONED", -60)
    (upload,) = store.list_incoming()
    assert store.changed(upload, where="incoming") is not None
    assert store.discard(upload, where="incoming")
    assert place.uploads() == []
    incoming.close()
    store.close()
