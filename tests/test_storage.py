"""The files in a folder: names, modes, the order of syncs, full disks, and nothing left behind.
What a bucket promises too is in test_storage_promises.py."""

import errno
import gc
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import models
from errors import NoSpace
from models import Item
from space import reserve
from storage_local import LocalStorage
from tests import database
from tests.conftest import PNG, Kissa, Person
from tests.multipart import NEKOS, UNANNOUNCED, both_endpoints, check_refused, send
from tests.pieces import by_token

MIB = 1024 * 1024
NAME = "abcdefg.png"


def unsupported(*_: Any, **__: Any) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture(params=["unnamed", "named", "without-links"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalStorage]:
    """The three ways of a filesystem: O_TMPFILE, temporary names, and no hard links either."""
    store = LocalStorage(tmp_path / "uploads")
    assert store._anonymous, "this filesystem lacks O_TMPFILE, so that way goes untested"
    if request.param != "unnamed":
        store._anonymous = False
    if request.param == "without-links":
        monkeypatch.setattr(os, "link", unsupported)
    yield store
    store.close()


def put(store: LocalStorage, name: str = NAME, content: bytes = PNG) -> bool:
    with store.open() as incoming:
        incoming.write(content)
        incoming.seal()
        return store.publish(incoming, name)


def everything(store: LocalStorage) -> dict[str, bytes]:
    found = (path for path in store.directory.rglob("*") if path.is_file())
    return {str(path.relative_to(store.directory)): path.read_bytes() for path in found}


def test_publish_never_overwrites(store: LocalStorage) -> None:
    assert put(store, content=b"first")
    assert not put(store, content=b"second")
    (store.directory / "taken12").mkdir()
    (store.directory / "linked1").symlink_to(store.directory / "nowhere")
    assert not put(store, "taken12")
    assert not put(store, "linked1")
    assert everything(store) == {NAME: b"first"}


def test_everybody_may_read_whatever_the_umask(store: LocalStorage) -> None:
    old = os.umask(0o077)
    try:
        masked = LocalStorage(store.directory)  # it looks at the umask when it is opened
        masked._anonymous = store._anonymous
        assert put(masked)
        masked.close()
    finally:
        os.umask(old)
    assert (store.directory / NAME).stat().st_mode & 0o7777 == 0o644


def test_discarded_leaves_nothing(store: LocalStorage) -> None:
    gc.collect()  # what other tests have left open
    open_before = len(os.listdir("/proc/self/fd"))
    with store.open() as incoming:
        incoming.write(PNG)
        assert len(list(store.list_incoming())) == (0 if store._anonymous else 1)
    incoming.close()

    def fail() -> None:
        with store.open() as incoming:
            incoming.write(PNG)
            incoming.seal()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert everything(store) == {}
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_failed_move_leaves_no_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStorage(tmp_path / "uploads")
    store._anonymous = False
    monkeypatch.setattr(os, "link", unsupported)
    monkeypatch.setattr(os, "rename", unsupported)
    with pytest.raises(OSError):
        put(store)
    assert everything(store) == {}
    store.close()


def test_only_plain_files_of_our_pattern_are_listed_and_opened(store: LocalStorage) -> None:
    assert put(store)
    for name in ("readme.md", "album12", "UPPER12.PNG", ".htaccess", "a.b"):
        (store.directory / name).write_text("foreign")
    (store.directory / "folder1").mkdir()
    (store.directory / "symlink").symlink_to(store.directory / NAME)
    os.mkfifo(store.directory / "fifo123")
    assert set(store.list_public()) == {NAME, "album12", "readme.md"}
    for name in ("folder1", "symlink", "fifo123", "UPPER12.PNG", ".htaccess", "../uploads/" + NAME):
        assert store.open_file(name) is None


def test_sync_comes_after_what_it_is_for(
    store: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync by somebody else between a name's removal and its own must not count for it."""
    assert put(store)
    store.sync()
    unlink = os.unlink

    def unlink_with_a_sync_before(*args: Any, **named: Any) -> None:
        store.sync()
        unlink(*args, **named)

    monkeypatch.setattr(os, "unlink", unlink_with_a_sync_before)
    store.delete(NAME)
    assert store._unsynced == {store._root}


def test_sync_comes_after_a_new_name(store: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """On PostgreSQL another write's sync may run just before a name is given."""

    def after_a_sync(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            store.sync()
            return real(*args, **named)

        return call

    for name in ("link", "rename", "open"):
        monkeypatch.setattr(os, name, after_a_sync(getattr(os, name)))
    assert put(store)
    assert store._root in store._unsynced
    with store.open() as incoming:
        incoming.seal()
        waiting = store.hold(incoming)
    assert store._pending in store._unsynced
    store.release(waiting, "released.png")
    assert store._root in store._unsynced
    store.reserve_name()
    assert store.resumable in store._unsynced


# The order of things, recorded around the real calls


class Recorder:
    """Notes what happens to the disk, by the path it happens to, and does it."""

    def __init__(self, kissa: Kissa, patch: pytest.MonkeyPatch) -> None:
        self.acts: list[str] = []
        self.fail: dict[str, int] = {}
        store = kissa.folder
        places = {store._root: "uploads", store._pending: "pending", store._incoming: "incoming"}
        places[store.resumable] = "resumable"
        fsync, link, unlink = os.fsync, os.link, os.unlink

        def note(act: str) -> None:
            self.acts.append(act)
            if act in self.fail:
                number = self.fail.pop(act)
                raise OSError(number, os.strerror(number))

        def noted_fsync(fd: int) -> None:
            note(f"fsync {places.get(fd, 'file')}")
            fsync(fd)

        def noted_link(*args: Any, **named: Any) -> None:
            note(f"link {places[named['dst_dir_fd']]}")
            link(*args, **named)

        def noted_unlink(*args: Any, **named: Any) -> None:
            if named["dir_fd"] != store.thumbnails:  # what can be made again has no order
                note(f"unlink {places[named['dir_fd']]}")
            unlink(*args, **named)

        patch.setattr(os, "fsync", noted_fsync)
        patch.setattr(os, "link", noted_link)
        patch.setattr(os, "unlink", noted_unlink)
        database.trace(self._statement)

    def _statement(self, sql: str) -> None:
        words = sql.lower().replace('"', "").replace("or ignore ", "").split()
        act = words[0]
        if words[1:3] in (["into", "item"], ["from", "item"]):
            act += " item"
            if self.acts[-1] == act:
                return  # SQLite tells a statement again for each of its triggers
        elif act == "begin":
            act = " ".join(words)
        elif act not in ("commit", "rollback"):
            return
        self.acts.append(act)

    def take(self) -> list[str]:
        taken, self.acts = self.acts, []
        return taken


@pytest.fixture
def recorder(kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    kissa.list_item(alice)  # the key's last use is noted, and its tags are there
    recorder = Recorder(kissa, monkeypatch)
    yield recorder
    database.trace(None)


@pytest.mark.sqlite
def test_order_of_an_upload(kissa: Kissa, alice: Person, recorder: Recorder) -> None:
    for send_one in (kissa.upload, kissa.list_item):
        assert send_one(alice).status_code == 200
        assert recorder.take() == [
            "fsync file", "begin immediate", "link uploads", "insert item", "fsync uploads",
            "commit",
        ]  # fmt: skip


@pytest.mark.sqlite
def test_order_of_an_upload_in_pieces(kissa: Kissa, alice: Person, recorder: Recorder) -> None:
    pieces = by_token(kissa, alice)
    path = pieces.begin(10)
    assert recorder.take() == ["begin immediate", "fsync resumable", "commit"]
    assert pieces.send(path, 0, b"12345").status_code == 204
    assert recorder.take() == ["fsync file", "begin immediate", "commit"]
    assert pieces.send(path, 5, b"67890").status_code == 204
    assert recorder.take() == [
        "fsync file", "begin immediate", "link uploads", "insert item", "fsync uploads", "commit",
        "unlink resumable",
    ]  # fmt: skip


@pytest.mark.sqlite
@pytest.mark.parametrize("act", ["fsync file", "link uploads", "fsync uploads"])
def test_a_failing_disk_acknowledges_no_piece(
    kissa: Kissa, alice: Person, recorder: Recorder, act: str
) -> None:
    pieces = by_token(kissa, alice)
    path = pieces.begin(10)
    pieces.send(path, 0, b"123")
    before = kissa.files()
    recorder.fail[act] = errno.EIO
    rest = b"45" if act == "fsync file" else b"4567890"
    assert pieces.send(path, 3, rest).status_code == 500
    assert kissa.files() == before
    assert pieces.offset(path) == 3
    assert pieces.send(path, 3, b"4567890").status_code == 204
    name = Item.select().order_by(Item.id.desc()).get().name
    assert (kissa.uploads / name).read_bytes() == b"1234567890"


@pytest.mark.sqlite
def test_order_of_a_delete(kissa: Kissa, alice: Person, recorder: Recorder) -> None:
    name = kissa.upload_name(alice)
    recorder.take()
    kissa.post("/api/files/delete", alice.by_token | {"file": name})
    assert recorder.take() == [
        "begin immediate", "unlink uploads", "delete item", "fsync uploads", "commit",
    ]  # fmt: skip


@pytest.mark.sqlite
def test_order_of_an_end_of_an_account(kissa: Kissa, alice: Person, recorder: Recorder) -> None:
    kissa.upload_name(alice)
    recorder.take()
    assert kissa.post("/api/user/delete", alice.by_password).status_code == 200
    acts = recorder.take()
    gone = acts.index("unlink uploads")
    assert acts[gone - 1] == "commit"  # the mark
    assert acts[gone : gone + 6] == [
        "unlink uploads", "unlink uploads", "begin immediate", "delete item", "fsync uploads",
        "commit",
    ]  # fmt: skip
    assert acts.count("fsync uploads") == 1
    assert kissa.files() == set()


@pytest.mark.sqlite
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("act", ["fsync file", "link uploads", "fsync uploads"])
def test_failing_disk_leaves_nothing(
    kissa: Kissa, alice: Person, recorder: Recorder, act: str, number: int
) -> None:
    before = kissa.files()
    recorder.fail[act] = number
    response = kissa.upload(alice)
    full = number != errno.EIO
    if act == "fsync uploads" and full:
        assert response.status_code in (500, 507)
    else:
        assert response.status_code == (507 if full else 500), response.text
    assert str(kissa.uploads) not in response.text
    assert not recorder.fail
    assert "commit" not in recorder.acts
    assert kissa.files() == before
    assert Item.select().count() == len(before)
    assert kissa.upload(alice).status_code == 200


@pytest.mark.sqlite
@pytest.mark.parametrize("act", ["unlink uploads", "fsync uploads"])
def test_failing_delete_can_be_done_again(
    kissa: Kissa, alice: Person, recorder: Recorder, act: str
) -> None:
    name = kissa.upload_name(alice)
    recorder.fail[act] = errno.EIO
    wanted = alice.by_token | {"file": name}
    assert kissa.post("/api/files/delete", wanted).status_code == 500
    assert name in kissa.post("/api/files/list", alice.by_token).get_json()
    assert kissa.post("/api/files/delete", wanted).status_code == 200
    assert name not in kissa.files()


@pytest.mark.sqlite
def test_not_durable_syncs_nothing(
    start: Callable[..., Kissa], monkeypatch: pytest.MonkeyPatch
) -> None:
    kissa = start(storage_durable="false")
    alice = kissa.person("alice")
    recorder = Recorder(kissa, monkeypatch)
    kissa.upload_name(alice)
    assert "fsync" not in " ".join(recorder.take())


# Full disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 8 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@both_endpoints
def test_full_disk(
    start: Callable[..., Kissa], small_disk: Path, tmp_path: Path, endpoint: Any
) -> None:
    kissa = start(storage_directory=small_disk / "uploads")
    alice = kissa.person("alice")
    assert send(kissa, endpoint, alice, endpoint.body(b"x" * 4 * MIB)).status_code == 200
    stored = kissa.files()
    for environ in ({}, UNANNOUNCED):  # refused before the body, and by the disk itself
        response = send(kissa, endpoint, alice, endpoint.body(b"x" * 5 * MIB), **environ)
        check_refused(response, 507)
        assert kissa.files() == stored
    (name,) = stored
    (small_disk / "ballast").write_bytes(b"x" * (4 * MIB - 64 * 1024))
    check_refused(send(kissa, endpoint, alice, endpoint.body(b"x")), 507)
    assert kissa.get("/healthz").status_code == 503
    assert kissa.get(f"/f/{name}").status_code == 200
    assert kissa.post("/api/files/delete", alice.by_token | {"file": name}).status_code == 200
    assert kissa.files() == set()
    assert Item.select().count() == 0
    assert send(kissa, endpoint, alice, endpoint.body(b"x")).status_code == 200


def test_full_disk_of_the_database(start: Callable[..., Kissa], small_disk: Path) -> None:
    kissa = start(database_url=f"sqlite:///{small_disk / 'kissa.db'}")
    alice = kissa.person("alice")
    name = kissa.upload_name(alice)
    status = os.statvfs(small_disk)
    keep = reserve(status) - 4096
    (small_disk / "ballast").write_bytes(b"x" * (status.f_bavail * status.f_frsize - keep))
    check_refused(kissa.upload(alice), 507)
    assert kissa.files() == {name}
    assert kissa.post("/api/files/delete", alice.by_token | {"file": name}).status_code == 200
    assert kissa.files() == set()


def test_database_without_any_room(start: Callable[..., Kissa], small_disk: Path) -> None:
    kissa = start(database_url=f"sqlite:///{small_disk / 'kissa.db'}")
    alice = kissa.person("alice")
    with (small_disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(b"x" * 4096)
    entry = models.Audit.insert(act="x", target="y" * 1_000_000)
    with pytest.raises(NoSpace):
        models.write(entry.execute)
    (small_disk / "ballast").unlink()
    assert kissa.upload(alice).status_code == 200


def test_body_is_refused_unread_when_it_would_touch_the_reserve(
    start: Callable[..., Kissa], small_disk: Path
) -> None:
    kissa = start(storage_directory=small_disk / "uploads")
    alice = kissa.person("alice")
    for size in (8 * MIB, 99 * MIB):
        response = send(kissa, NEKOS, alice, b"", CONTENT_LENGTH=str(size))
        check_refused(response, 507)
