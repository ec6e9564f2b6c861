"""Moving to another database and another store for the files, and back: what comes along, what is
refused, and what a move that was cut short leaves."""

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import home
import lock
import models
import move
import move_files
import move_rows
import start as starting
from models import Album, AlbumItem, Audit, Comment, Item, ItemTag, Tag, User
from space import Gauge
from tests.conftest import Clock, Kissa
from tests.moving import Moving, killed
from tests.people import Browser
from tests.pieces import TUS
from tests.postgres import Cluster
from tests.servers.rclone import Rclone
from tests.servers.s3 import S3Server

FILES = 30


@pytest.fixture
def moving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgresql: Cluster, rclone: S3Server
) -> Moving:
    """A host with something in every table."""
    made = Moving(tmp_path, monkeypatch, postgresql, rclone.bucket())
    made.installation.person("root", admin=True)
    alice = made.installation.person("alice")
    made.fill(FILES)
    made.installation.upload(alice, b"waiting", "pending")
    made.installation.upload(alice, "ünï".encode())
    with made.installation.opened():
        _fill_tables(alice)
    return made


def _fill_tables(alice: int) -> None:
    moment = models.now()
    later = moment + timedelta(days=1)
    Item.update(state="rejected", reason="no", reviewed=moment).where(Item.id == 3).execute()
    Path(models.database.obj.database).with_name("uploads").joinpath("F000002.txt").unlink()
    Tag.insert_many([("cat",), ("größe ✓",), ("dog",)], [Tag.name]).execute()
    ItemTag.insert_many([(1, 1), (2, 1), (2, 4)], [ItemTag.tag, ItemTag.item]).execute()
    Tag.delete().where(Tag.name == "dog").execute()  # its id is never given again
    Comment.create(item=1, user=alice, text="tab\tnewline\nbackslash \\N 😀 'quote' %s ?")
    models.ApiKey.create(user=alice, key_hash=b"\0\xff", name="x", last4="abcd")
    models.RegistrationKey.create(key_hash=b"k", last4="abcd", maker=1)
    models.Expired.create(id=900, user=alice, name="gone.png", was_listed=True, at=moment)
    models.Resumable.create(
        user=alice, name="r" * 32, api="web", length=9, metadata="", expires=later, item=5
    )
    models.Session.create(user=alice, secret_hash=b"s", device="")
    models.Report.create(item=1, user=alice, text="look")
    models.RefusedContent.create(sha256=b"h", reason="", admin=1)
    models.Notice.create(user=alice, name="n", original_name="n", reason="", is_refused=True)
    models.Failure.create(name_bucket=None, address_bucket=b"a")
    Audit.create(act="ban", target="#7", actor_id=None)
    Album.create(user=alice, name="a" * 22, title="Ä", title_key="ä")
    AlbumItem.insert_many(
        [(1, 2, 10), (1, 1, 20)], [AlbumItem.album, AlbumItem.item, AlbumItem.position]
    ).execute()


def begins(moving: Moving) -> None:
    """See that a server starts on the configuration in force, with all counters right."""
    os.close(starting.prepare(moving.config).lock)
    assert "all fine" in moving.does("check", "--hash")


# Everything comes along


def test_there_and_back(moving: Moving) -> None:
    rows, files = moving.rows("home"), moving.files()
    assert all(rows.values())  # no table is empty
    with moving.installation.opened():
        later = models.now() + timedelta(days=1)
        unfinished = {"user": 2, "name": "u" * 32, "api": "web", "length": 9, "metadata": ""}
        models.Resumable.create(**unfinished, expires=later)
    rows["last ids"]["resumable"] += 1
    told = moving.does(*moving.away())
    assert "1 unfinished uploads in pieces have to begin anew." in told
    assert f"{FILES + 1} files of" in told
    assert moving.rows("away") == rows
    assert moving.objects() == files
    secret = moving.folder / "state/kissa.secret"
    assert f"copied to {secret}" in told
    assert secret.read_bytes() == (moving.folder / "kissa.secret").read_bytes()
    assert secret.stat().st_mode & 0o777 == 0o600
    moving.at("away")
    begins(moving)

    # Something happens there, and ids and totals go on behind those of before.
    models.open_database(moving.url)
    assert Tag.create(name="bird").id == 4
    bob = {"username": "bob", "username_key": "bob", "password_hash": ""}
    assert User.create(**bob, token_nonce=b"", token_hash=b"").id == 3
    User.delete().where(User.id == 3).execute()
    with pytest.raises(Exception, match="append-only"):
        Audit.delete().execute()
    Item.delete().where(Item.id == 5).execute()
    total = models.total("files")
    models.close_database()
    assert total == FILES - 1

    moving.bucket.client().delete_object(Bucket=moving.bucket.name, Key="files/F000004.txt")
    rows = moving.rows("away")
    assert "1 deleted meanwhile were removed" in moving.does(*moving.home())
    assert moving.rows("home") == rows
    del files["files/F000004.txt"]
    assert moving.files() == files
    moving.at("home")
    begins(moving)
    with moving.installation.opened():
        assert Tag.create(name="fish").id == 5
        with pytest.raises(Exception, match="append-only"):
            Audit.delete().execute()
        assert models.total("files") == total


def test_ceph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgresql: Cluster, ceph: S3Server
) -> None:
    """A server that checks what it is told, and keeps a taken name."""
    moving = Moving(tmp_path, monkeypatch, postgresql, ceph.bucket())
    moving.installation.person("alice")
    moving.fill(FILES)
    moving.installation.upload(1, os.urandom(1024) * 9000)
    moving.installation.upload(1, b"waiting", "pending")
    rows, files = moving.rows("home"), moving.files()
    moving.does(*moving.away())
    moving.at("away")
    begins(moving)
    assert (moving.rows("away"), moving.objects()) == (rows, files)
    for path in moving.installation.uploads.glob("F00000*"):
        path.unlink()
    assert moving.does(*moving.home()).startswith("10 files of 60 B copied")
    moving.at("home")
    begins(moving)
    assert (moving.rows("home"), moving.files()) == (rows, files)


def test_one_of_the_two(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the files, then the rows, then back in the other order."""
    rows, files = moving.rows("home"), moving.files()
    moving.does("move", "--to-storage", "s3")
    assert moving.rows("home") == rows
    with pytest.raises(starting.StartError, match=r"have moved .* \[storage\] backend = s3"):
        starting.prepare(moving.config)
    monkeypatch.setenv("KISSA_STORAGE_BACKEND", "s3")
    begins(moving)
    moving.does("move", "--to-database", moving.url)
    moving.at("away")
    begins(moving)
    assert (moving.rows("away"), moving.objects()) == (rows, files)
    moving.does("move", "--to-storage", "local")
    monkeypatch.setenv("KISSA_STORAGE_BACKEND", "local")
    begins(moving)
    moving.does("move", "--to-database", moving.here)
    moving.at("home")
    begins(moving)
    assert (moving.rows("home"), moving.files()) == (rows, files)


def test_files_that_are_there_are_not_copied_again(moving: Moving) -> None:
    client = moving.bucket.client()
    for name, content in (("F000001.txt", b"file 1"), ("F000007.txt", b"short")):
        client.put_object(Bucket=moving.bucket.name, Key=f"files/{name}", Body=content)
    told = moving.does("move", "--to-storage", "s3")
    assert told.startswith(f"{FILES} files of")
    assert "; 1 were there." in told
    assert moving.objects() == moving.files()
    moving.does("move", "--undo")
    client.put_object(Bucket=moving.bucket.name, Key="files/F000001.txt", Body=b"wrong!")
    client.close()
    assert moving.does("move", "--to-storage", "s3", "--verify").startswith("1 files of 6 B copied")
    assert moving.objects() == moving.files()


def test_a_large_file(moving: Moving) -> None:
    """One that goes in parts is read back."""
    content = os.urandom(1024) * 9000
    name = moving.installation.upload(2, content)
    moving.does("move", "--to-storage", "s3")
    assert moving.objects()[f"files/{name}"] == content


def test_what_is_not_as_its_row_says_is_told_and_comes_along(moving: Moving) -> None:
    moving.installation.path("F000008.txt").write_bytes(b"other")
    moving.installation.path("F000009.txt").unlink()
    result = moving.run("move", "--to-storage", "s3")
    assert result.exit_code == 0
    assert "F000008.txt: not the bytes that were uploaded" in result.stderr
    assert "F000009.txt: an upload without its file" in result.stderr
    assert moving.objects() == moving.files()


# Refusals: one line, and nothing has changed


def refused(moving: Moving, *command: str) -> str:
    before = moving.rows("home"), moving.files(), moving.bucket.objects()
    line = moving.refuses(*command)
    assert (moving.rows("home"), moving.files(), moving.bucket.objects()) == before
    assert line.count("\n") == 1
    moving.does("invite")  # it can be written to
    return line


def test_nothing_to_move(moving: Moving) -> None:
    line = refused(moving, "move", "--to-database", moving.here, "--to-storage", "local")
    assert line == "there is nothing to move: everything is there already\n"
    assert moving.run("move").exit_code == moving.run("move", "--to-storage", "x").exit_code == 2
    assert moving.run("move", "--undo", "--to-storage", "s3").exit_code == 2
    assert moving.does("move", "--undo") == "Nothing is moved.\n"


def test_a_database_in_use(moving: Moving) -> None:
    models.open_database(moving.url)
    models.migrate()
    row = {"username": "x", "username_key": "x", "password_hash": ""}
    User.create(**row, token_nonce=b"", token_hash=b"")
    models.close_database()
    line = refused(moving, *moving.away())
    assert "it is in use; name an empty database" in line
    with psycopg.connect(moving.url) as there:
        assert there.execute('select username from "user"').fetchall() == [("x",)]


def test_a_database_of_something_else(moving: Moving) -> None:
    with psycopg.connect(moving.url) as there:
        there.execute("create table song (title text)")
    assert "it is in use" in refused(moving, *moving.away())
    with psycopg.connect(moving.url) as there:
        found = there.execute("select tablename from pg_tables where schemaname = 'public'")
        assert found.fetchall() == [("song",)]


def test_a_database_that_cannot_be(moving: Moving, postgresql: Cluster) -> None:
    for url, told in (
        ("postgresql://kissa@127.0.0.1:1/kissa", "Connection refused"),
        (postgresql.url("nosuchone"), "does not exist"),
        ("mysql://somewhere/kissa", "expected sqlite"),
        ("sqlite:////nowhere/kissa.db", "No such file or directory"),
        (f"sqlite:///{moving.folder}/uploads/kissa.db", "a folder without the database"),
    ):
        assert told in refused(moving, "move", "--to-database", url)


def test_a_file_that_is_served(moving: Moving) -> None:
    other = moving.folder / "other.db"
    held = lock.take(other)
    line = refused(moving, "move", "--to-database", f"sqlite:///{other}")
    os.close(held)
    assert line == f"{other}: a server is at work on it\n"


def test_another_secret(moving: Moving) -> None:
    secret = moving.folder / "state/kissa.secret"
    secret.touch(0o600)
    secret.write_bytes(b"x" * 32)
    line = refused(moving, *moving.away())
    assert line == f"{secret}: another secret than this host's; move it away first\n"


def test_a_bucket_in_use(moving: Moving) -> None:
    client = moving.bucket.client()
    client.put_object(Bucket=moving.bucket.name, Key="files/Abcdefg.png", Body=b"another's")
    client.close()
    line = refused(moving, *moving.away())
    assert "1 of the 1 files there are none of this host's; empty it" in line


def test_a_bucket_that_is_not_there(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISSA_STORAGE_BUCKET", "nosuchbucket")
    assert "there is no such bucket" in refused(moving, *moving.away())
    monkeypatch.setenv("KISSA_STORAGE_BUCKET", "")
    assert "expected bucket to be set" in refused(moving, *moving.away())


def test_the_wrong_folder(moving: Moving) -> None:
    for path in moving.installation.uploads.glob("F*"):
        path.unlink()
    line = moving.refuses(*moving.away())
    assert line == f"{FILES - 1} of {FILES + 1} files are missing; see: flask check\n"
    moving.does("invite")


def test_without_the_packages(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("postgres", "storage_s3"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            assert "; run: make setup WITH=" in refused(moving, *moving.away())


def test_no_space(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gauge, "has_room", lambda gauge, size: size == 0)
    moving.does(*moving.away())
    moving.at("away")
    for path in moving.installation.uploads.glob("F*"):
        path.unlink()
    assert moving.refuses(*moving.home()) == "There is no space left on this server.\n"
    begins(moving)


def test_ended_in_order(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a service manager, or with the connection to the terminal: it takes back what it began."""
    # As it is in a terminal; a run of tests in the background has it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):

        def end(*args: Any, number: int = number) -> None:
            assert not models.is_open()
            os.kill(os.getpid(), number)
            time.sleep(1)

        with monkeypatch.context() as patch:
            patch.setattr(move_files, "finish", end)
            assert moving.run(*moving.away()).exit_code == 1
        begins(moving)
        moving.does("invite")
    signal.signal(signal.SIGINT, before)


def test_two_at_once(moving: Moving) -> None:
    held = lock.take(moving.installation.database, kind="move")
    assert "another flask move is at work" in refused(moving, *moving.away())
    os.close(held)


@pytest.mark.parametrize("moment", ["copying", "reading"])
def test_the_store_fails_on_the_way(
    moving: Moving, rclone: Rclone, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Then the host goes on as before, and the next call where this one ended."""
    monkeypatch.setattr(move_files, "_BATCH", 10)
    real = move_files._Copy._bring_all

    def fail(copying: Any, pool: Any, there: Any, batch: Any) -> None:
        is_reading = models.find_home() is not None
        if is_reading == (moment == "reading") and batch[0].id > 10:
            rclone.stop()
        real(copying, pool, there, batch)
        if is_reading:
            copying._target.require_answer()

    with monkeypatch.context() as patch:
        patch.setattr(move_files._Copy, "_bring_all", fail)
        line = moving.refuses(*moving.away())
    assert line.endswith("The file store does not answer just now; try again soon.\n")
    assert line.count("\n") == 1
    rclone.start()
    moving.does("invite")
    begins(moving)
    there = len(moving.bucket.objects())
    assert there >= 9
    assert f"; {there} were there." in moving.does(*moving.away())
    assert moving.objects() == moving.files()


def test_the_database_fails_on_the_way(
    moving: Moving, monkeypatch: pytest.MonkeyPatch, postgresql: Cluster
) -> None:
    real = move_rows._copy_table

    def fail(handle: Any, table: Any) -> Any:
        if table is Comment:
            with psycopg.connect(postgresql.url(), autocommit=True) as other:
                other.execute(
                    "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                    " where pid <> pg_backend_pid() and application_name = 'kissa'"
                )
        return real(handle, table)

    with monkeypatch.context() as patch:
        patch.setattr(move_rows, "_copy_table", fail)
        line = moving.refuses("move", "--to-database", moving.url)
    assert line.count("\n") == 1
    moving.does("invite")
    begins(moving)
    rows = moving.rows("home")
    moving.does("move", "--to-database", moving.url)
    assert moving.rows("away") == rows


def test_rows_that_arrive_otherwise(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(move_rows, "_reader", lambda field: lambda value: value)
    line = moving.refuses("move", "--to-database", moving.url)
    assert line.endswith("other rows were read than written: user, item, expired, notice\n")
    moving.does("invite")


# Cut short


def _in(module: Any, name: str, call: int = 1) -> Any:
    """Killed when this function is called for the so-manieth time."""

    def at(patch: pytest.MonkeyPatch, die: Callable[[], None]) -> None:
        calls = []
        real = getattr(module, name)

        def fatal(*args: Any, **more: Any) -> Any:
            calls.append(1)
            if len(calls) == call:
                die()
            return real(*args, **more)

        patch.setattr(module, name, fatal)

    return at


BEFORE = [
    pytest.param(_in(move_files._Copy, "_bring_all", 3), id="files"),
    pytest.param(_in(move, "_begin"), id="before reading"),
]
WITHIN = [
    pytest.param(_in(move_files, "finish"), id="reading"),
    pytest.param(_in(move_files._Copy, "remove_surplus"), id="last files"),
    pytest.param(_in(move_rows, "_copy_table", 5), id="rows"),
    pytest.param(_in(move_rows, "require_same"), id="rows written"),
    pytest.param(_in(move, "_end"), id="before the end"),
]
LAST = [pytest.param(_in(move_rows, "write_home", 2), id="between")]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(move_files, "_BATCH", 10)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("at", BEFORE)
def test_killed_while_it_is_served(moving: Moving, at: Any) -> None:
    """It was never known to anybody."""
    killed(at, *moving.away())
    begins(moving)
    moving.does("invite")
    rows = moving.rows("home")
    moving.does(*moving.away())
    assert (moving.rows("away"), moving.objects()) == (rows, moving.files())
    moving.at("away")
    begins(moving)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("at", WITHIN)
def test_killed_while_it_is_read(moving: Moving, at: Any) -> None:
    """It stays so, and says what to do; it goes on, or is taken back."""
    rows = moving.rows("home")
    killed(at, *moving.away())
    config = moving.config
    with pytest.raises(starting.StartError, match="run the same flask move again to end that, or"):
        starting.prepare(config)
    result = moving.run("invite")
    assert result.exit_code == 1
    assert "flask move --undo" in result.stderr
    assert result.stderr.endswith(f"{home.BANNER}\n")
    moving.at("away")
    with pytest.raises(starting.StartError, match="arriving here"):
        starting.prepare(moving.config)
    moving.at("home")

    moving.does(*moving.away())
    assert (moving.rows("away"), moving.objects()) == (rows, moving.files())
    moving.at("away")
    begins(moving)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("at", [WITHIN[1], WITHIN[3]])
def test_killed_and_taken_back(moving: Moving, at: Any) -> None:
    rows = moving.rows("home")
    killed(at, *moving.away())
    moving.at("away")
    models.open_database(moving.url)
    is_empty = not User.select().exists()
    models.close_database()
    assert moving.run("move", "--undo").exit_code == (0 if is_empty else 1)
    moving.at("home")
    assert moving.does("move", "--undo") == "Uploads are taken here again.\n"
    assert moving.rows("home") == rows
    begins(moving)
    moving.does("invite")
    rows = moving.rows("home")
    moving.does(*moving.away())
    assert moving.rows("away") == rows


@pytest.mark.parametrize("at", LAST)
def test_killed_before_the_last_word(moving: Moving, at: Any) -> None:
    """The old database is closed, the new one not open yet."""
    rows = moving.rows("home")
    killed(at, *moving.away())
    assert "has moved to postgresql://" in moving.refuses("move", "--to-storage", "s3")
    moving.at("away")
    with pytest.raises(starting.StartError, match="arriving here"):
        starting.prepare(moving.config)
    moving.at("home")
    assert moving.does(*moving.away()).startswith("It has moved already.\n")
    assert moving.rows("away") == rows
    moving.at("away")
    begins(moving)


def test_an_end_that_is_taken_back(moving: Moving) -> None:
    moving.does(*moving.away())
    config = moving.config
    with pytest.raises(starting.StartError, match="this host has moved to postgresql://"):
        starting.prepare(config)
    assert "has moved to" in moving.refuses("invite")
    moving.does("move", "--undo")
    begins(moving)
    moving.does("invite")
    assert "it is in use" in moving.refuses(*moving.away())  # somebody may have begun to


# While it can only be read


def begin(state: str = home.MOVING, storage: str = "s3") -> None:
    models.write_home(lambda: move._set(move._row(state, storage, "postgresql://there")))


@pytest.mark.parametrize(
    ("state", "storage", "is_open"),
    [
        (home.HERE, "local", True),
        (home.HERE, "s3", False),
        (home.MOVING, "local", False),
        (home.ARRIVING, "local", False),
        (home.LEFT, "local", False),
    ],
)
def test_who_may_write(kissa: Kissa, state: str, storage: str, is_open: bool) -> None:
    alice = kissa.person("alice")
    begin(state, storage)
    assert models.is_open() is is_open
    assert kissa.upload(alice).status_code == (200 if is_open else 503)
    assert Item.select().count() == len(kissa.files()) == int(is_open)


def test_every_door_says_so_in_its_shape(kissa: Kissa, clock: Clock) -> None:
    alice = kissa.person("alice")
    name, item_id = kissa.upload_name(alice), kissa.item_id(alice)
    browser = Browser(kissa, "alice")
    files = kissa.files()
    assert home.BANNER not in kissa.get("/").text
    begin()
    clock.advance(hours=2)  # a session's and a key's use would be noted
    by_name = alice.by_token | {"file": name}
    tus = TUS | alice.by_token | {"Upload-Length": "5"}
    for answer in (
        kissa.upload(alice),
        kissa.post("/api/files/delete", by_name),
        kissa.post("/api/token/regen", alice.by_token),
        kissa.post("/api/files/tus/", tus),
    ):
        assert (answer.status_code, answer.text) == (503, home.BANNER)
        assert answer.headers["Retry-After"] == "10"
    for answer in (
        kissa.list_item(alice),
        kissa.client.delete(f"/api/v2/items/{item_id}", headers=alice.by_key),
    ):
        assert answer.status_code == 503
        assert answer.get_json() == {"success": False, "msg": home.BANNER}
        assert answer.headers["Retry-After"] == "10"
    answer = browser.send()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert home.BANNER in answer.text
    assert kissa.files() == files

    for path in ("/", f"/{item_id}", f"/v/{name}", "/signin", f"/f/{name}", "/healthz"):
        assert kissa.get(path).status_code == 200, path
    assert home.BANNER in kissa.get("/").text
    assert home.BANNER in browser.get("/files").text
    assert kissa.post("/api/files/list", alice.by_token).get_json()
    assert kissa.get(f"/api/v2/items/{item_id}/file", alice.by_key).status_code == 200
    begin(home.HERE, "local")
    assert home.BANNER not in kissa.get("/").text
    assert kissa.upload(alice).status_code == 200
