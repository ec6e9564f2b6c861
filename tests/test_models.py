"""The database: schema and models agree, one writer at a time, counters that are right."""

import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from peewee import IntegrityError, OperationalError
from playhouse.schema_diff import diff_models

import models
from models import Audit, Counter, Item, Tag, User
from tests.conftest import Clock, Kissa, Person

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """An empty, open, migrated database."""
    path = tmp_path / "kissa.db"
    assert models.open_database(path)
    models.migrate()
    yield path
    models.close_database()


def schema(path: Path, kind: str = "table") -> dict[str, str]:
    """The names and texts of what the database holds but the record of its migrations."""
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "select name, sql from sqlite_master where type = ? and name not like 'sqlite_%'"
        " and tbl_name not like '%migration%'",
        (kind,),
    ).fetchall()
    connection.close()
    return dict(rows)


# Schema


def test_migrations_make_what_the_models_say(path: Path, tmp_path: Path) -> None:
    assert str(diff_models(models.database.obj, models.TABLES)) == ""
    assert set(models.database.get_tables()) >= {table._meta.table_name for table in models.TABLES}
    migrated = {kind: schema(path, kind) for kind in ("table", "index", "view")}
    models.close_database()
    fresh = tmp_path / "fresh.db"
    models.open_database(fresh)
    models.database.create_tables(models.TABLES, safe=False)
    assert migrated == {kind: schema(fresh, kind) for kind in ("table", "index", "view")}


def test_all_triggers_are_there(path: Path) -> None:
    triggers = {
        name: " ".join(sql.lower().split()) for name, sql in schema(path, "trigger").items()
    }
    for name, start in {
        "item_inserted": "after insert on item when new.state <> 'rejected' begin update user set "
        "file_count = file_count + 1, bytes = bytes + new.size where id = new.user_id;",
        "item_deleted": "after delete on item when old.state <> 'rejected' begin update user set "
        "file_count = file_count - 1, bytes = bytes - old.size where id = old.user_id;",
        "item_moved": "after update of state on item when old.state <> new.state begin ",
        "item_dated": "after insert on item begin insert into day (number, shard, uploads, bytes)",
        "audit_kept_from_delete": "before delete on audit begin select raise(abort,",
        "audit_kept_from_update": "before update on audit begin select raise(abort,",
    }.items():
        assert triggers.pop(name).startswith(f"create trigger {name} {start}")
    assert triggers == {}


def test_every_id_is_autoincrement(path: Path) -> None:
    for name, sql in schema(path).items():
        if name not in (
            "item_tag",
            "album_item",
            "counter",
            "day",
            "home",
        ):  # these have other keys
            assert '"id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT' in sql, name


def test_migrating_twice_changes_nothing(path: Path) -> None:
    before = schema(path), schema(path, "trigger")
    assert models.pending_migrations() == models.unknown_migrations() == models.migrate() == []
    assert before == (schema(path), schema(path, "trigger"))


def test_migrating_at_once(tmp_path: Path) -> None:
    path = tmp_path / "kissa.db"
    program = "import sys, pathlib, models; models.open_database(pathlib.Path(sys.argv[1]));"
    program += "print(models.migrate())"
    runs = [
        subprocess.Popen([sys.executable, "-c", program, path], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    answers = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * 4
    names = sorted(path.stem for path in models.MIGRATIONS.glob("*.py"))
    assert sorted(answers) == [f"{names}\n".encode(), b"[]\n", b"[]\n", b"[]\n"]


def test_database_is_for_its_owner_alone(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


# Connections and writes


def test_every_thread_has_the_pragmas(path: Path) -> None:
    found: list[dict[str, object]] = []

    def look() -> None:
        names = ("foreign_keys", "synchronous", "journal_mode")
        found.append(
            {name: models.database.execute_sql(f"pragma {name}").fetchone()[0] for name in names}
        )
        models.database.close()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
        thread.join()
    look()
    assert found == [{"foreign_keys": 1, "synchronous": 2, "journal_mode": "wal"}] * 5


def test_not_durable_waits_for_no_disk(tmp_path: Path) -> None:
    models.open_database(tmp_path / "kissa.db", durable=False)
    assert models.database.execute_sql("pragma synchronous").fetchone() == (0,)
    models.close_database()


WRITER = """
import pathlib, sys, threading, models
models.open_database(pathlib.Path(sys.argv[1]), durable=False)
models.write(lambda: models.database.execute_sql("pragma busy_timeout = 0"))
failed = []
def work():
    counter = models.Counter.get_by_id("writes")  # read, then write: what fails without IMMEDIATE
    counter.value += 1
    counter.save()
def run():
    for _ in range(400):
        try:
            models.write(work)
        except Exception as error:
            failed.append(error)
    models.database.close()
threads = [threading.Thread(target=run) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("locked=%d" % len(failed), failed[:1])
models.close_database()
"""


def test_writers_take_turns(path: Path) -> None:
    Counter.create(name="writes", value=0)
    command = [sys.executable, "-c", WRITER, str(path)]
    runs = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [run.communicate()[0] for run in runs] == ["locked=0 []\n"] * 2
    assert Counter.get_by_id("writes").value == 2 * 8 * 400
    assert models.database.execute_sql("pragma integrity_check").fetchone() == ("ok",)


class Refused(Exception):
    pass


def refuse() -> None:
    raise Refused


def test_failing_work_is_undone(path: Path) -> None:
    def work() -> None:
        Tag.create(name="outer")
        with models.database.atomic():
            Tag.create(name="inner")
        try:
            with models.database.atomic():
                Tag.create(name="inner refused")
                refuse()
        except Refused:
            pass
        assert {tag.name for tag in Tag.select()} == {"outer", "inner"}
        refuse()

    with pytest.raises(Refused):
        models.write(work)
    assert Tag.select().count() == 0
    assert not models.database.in_transaction()


def test_failing_sync_is_undone(tmp_path: Path) -> None:
    calls = []

    def before_commit() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise OSError(5, "Input/output error")

    models.open_database(tmp_path / "kissa.db", before_commit=before_commit)
    models.migrate()
    with pytest.raises(OSError):
        models.write(lambda: Tag.create(name="lost"))
    models.write(lambda: Tag.create(name="kept"))
    assert [tag.name for tag in Tag.select()] == ["kept"]
    models.close_database()


def test_failure_in_sqlite_itself_is_the_one_told(path: Path) -> None:
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        models.write(lambda: models.ApiKey.insert(
            user=7, key_hash=b"", name="x", last4="abcd"
        ).execute())  # fmt: skip

    def create_without_the_right() -> None:
        models.database.execute_sql("pragma query_only = 1")
        try:
            Tag.create(name="x")
        finally:
            models.database.execute_sql("pragma query_only = 0")

    with pytest.raises(OperationalError, match="readonly"):
        models.write(create_without_the_right)
    models.write(lambda: Tag.create(name="x"))


def test_audit_is_append_only(path: Path) -> None:
    models.write(lambda: Audit.insert(act="x", target="#1").execute())
    for query in (Audit.delete(), Audit.update(act="y")):
        with pytest.raises(IntegrityError, match="append-only"):
            models.write(query.execute)
    assert [row.act for row in Audit.select()] == ["x"]


def test_moments_are_utc(path: Path, clock: Clock) -> None:
    models.write(lambda: Audit.insert(act="x", target="#1").execute())
    assert Audit.get().at == clock.moment
    assert Audit.get().at.utcoffset() == timedelta(0)


# Ids and counters


def test_ids_are_never_given_twice(kissa: Kissa, admin: Person) -> None:
    items, users, keys = set(), set(), set()
    for _ in range(3):
        alice = kissa.person("alice")
        users.add(User.get(User.username == "alice").id)
        item_id = kissa.item_id(alice)
        assert item_id not in items
        items.add(item_id)
        key = kissa.post("/api/user/keys/create", alice.by_token | {"name": "x"}).get_json()["id"]
        assert key not in keys
        keys.add(key)
        assert kissa.post("/api/user/delete", alice.by_password).status_code == 200
        assert kissa.get(f"/{item_id}").status_code == 404
    assert len(users) == 3
    assert Item.select().count() == 0


def check_counters() -> None:
    total = Item.select().where(Item.state.in_(("unlisted", "listed"))).count()
    assert models.total("files") == total
    for user in User.select():
        kept = [
            item.size for item in Item.select().where(Item.user == user, Item.state != "rejected")
        ]
        assert (user.file_count, user.bytes) == (len(kept), sum(kept))


@pytest.mark.parametrize("seed", range(3))
def test_counters_are_right(start: Callable[..., Kissa], seed: int) -> None:
    kissa = start(gallery_manual_approval="true", uploads_per_minute=0, storage_durable="false")
    admin = kissa.person("admin", admin=True)
    people = [kissa.person("alice"), kissa.person("bob")]
    chance = random.Random(seed)

    def any_item(*states: str) -> int:
        ids = [item.id for item in Item.select(Item.id).where(Item.state.in_(states))]
        return chance.choice(ids) if ids else 0

    for _ in range(80):
        person = chance.choice(people)
        act = chance.choice(["send", "send", "list", "list", "approve", "reject", "delete", "take"])
        content = b"x" * chance.randrange(1, 5000)
        if act == "send":
            assert kissa.upload(person, content).status_code == 200
        elif act == "list":
            assert kissa.list_item(person, content).status_code == 200
        elif act in ("approve", "reject"):
            waiting = any_item("pending")
            answer = kissa.post(f"/api/v2/queue/{waiting}/{act}", admin.by_admin_token)
            assert answer.status_code == (200 if waiting else 404)
        else:
            headers = admin.by_admin_token if act == "take" else person.by_key
            any_id = any_item("unlisted", "listed", "pending", "rejected")
            kissa.client.delete(f"/api/v2/items/{any_id}", headers=headers)
        check_counters()
    info = kissa.get("/api/info").get_json()
    assert info["totalfiles"] == models.total("files")
    assert kissa.post("/api/user/delete", people[0].by_password).status_code == 200
    check_counters()
    stored = {
        item.pending_name or item.name for item in Item.select().where(Item.state != "rejected")
    }
    assert {name.rpartition("/")[2] for name in kissa.files()} == stored
