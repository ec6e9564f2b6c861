"""PostgreSQL: connections that are lost, commits without an answer, writes beside each other."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest

import errors
import models
import postgres
from bench.trips import turns
from models import Day, Item, Tag, User
from storage_local import LocalStorage
from tests.conftest import Kissa, Person
from tests.postgres import Cluster, cluster

pytestmark = pytest.mark.postgresql
THREADS = 8


@pytest.fixture
def own_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A server that a test may stop, beside the one that all others share."""
    with cluster(synchronous_commit="on") as running:  # some of these crash
        yield running


@pytest.fixture
def own(own_cluster: Cluster, start: Callable[..., Kissa]) -> Kissa:
    return start(database_url=own_cluster.create("own"))


def where() -> dict[str, Any]:
    """How to reach the database that is open."""
    params = models.database.obj.connect_params
    known = {key: params[key] for key in ("host", "port", "user")}
    return known | {"dbname": models.database.obj.database, "autocommit": True}


def end_connections() -> None:
    """What a server that is restarted does to everybody else's connections."""
    with psycopg.connect(**where()) as other:
        other.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where pid <> pg_backend_pid() and application_name = 'kissa'"
        )


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each of these became, done by threads at the same moment."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return work()
        except Exception as error:
            return error
        finally:
            models.disconnect()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


# Connections


def test_a_restart_between_requests_costs_none(kissa: Kissa, alice: Person) -> None:
    assert kissa.upload(alice).status_code == 200
    end_connections()
    assert kissa.upload(alice).status_code == 200
    end_connections()
    assert kissa.post("/api/token/valid", alice.by_token).status_code == 200


def test_a_connection_lost_within_a_write_is_one_503(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, publish = kissa.files(), kissa.services.storage.publish

    def lose(*args: Any) -> bool:
        done = publish(*args)
        end_connections()
        return done

    with monkeypatch.context() as patch:
        patch.setattr(kissa.services.storage, "publish", lose)
        answer = kissa.upload(alice)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.text == "The database does not answer just now; try again soon."
    assert kissa.files() == before  # nothing is left behind
    assert kissa.upload(alice).status_code == 200
    assert Item.select().count() == 1


def test_a_write_that_cannot_connect_is_503(kissa: Kissa, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection was lost after the request's first look."""
    end_connections()
    handle = models.database.obj

    def refuse() -> None:
        raise psycopg.OperationalError("the database system is starting up")

    with monkeypatch.context() as patch:
        patch.setattr(handle, "_connect", refuse)
        with pytest.raises(errors.Unavailable):
            models.write(lambda: Tag.create(name="a"))
    assert models.write(lambda: Tag.create(name="a").id)


def test_a_server_that_is_down_is_503_for_every_door(own: Kissa, own_cluster: Cluster) -> None:
    alice = own.person("alice")
    assert own.upload(alice).status_code == 200
    own_cluster.stop(signal.SIGQUIT)
    assert own.upload(alice).status_code == 503
    assert own.list_item(alice).status_code == 503
    assert own.get("/").status_code == 503
    assert own.get("/healthz").status_code == 503
    own_cluster.start()
    assert own.get("/healthz").status_code == 200
    assert own.upload(alice).status_code == 200
    assert Item.select().count() == 2


def test_opening_says_what_is_wrong(postgresql: Cluster) -> None:
    for url, told in (
        (postgresql.create("other", "locale 'C.UTF-8' template template0"), "locale C.UTF-8"),
        (postgresql.create("latin", "encoding 'SQL_ASCII'  template template0"), "SQL_ASCII"),
        (postgresql.url("nosuchone"), 'database "nosuchone" does not exist'),
        ("postgresql://kissa@127.0.0.1:1/kissa", "Connection refused"),
    ):
        with pytest.raises(errors.Unavailable, match=told):
            models.open_database(url)
    assert models.database.obj is None


# Commits whose answer is lost


@pytest.mark.parametrize("is_made", [True, False])
def test_a_commit_without_an_answer_is_asked_about(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch, is_made: bool
) -> None:
    """The connection dies after the commit, or before it: only the server knows which."""
    commit = peewee.PostgresqlDatabase.commit

    def lose(handle: Any) -> None:
        if is_made:
            commit(handle)
        end_connections()
        peewee.Database.execute_sql(handle, "select 1")

    with monkeypatch.context() as patch:
        patch.setattr(peewee.PostgresqlDatabase, "commit", lose)
        answer = kissa.upload(alice)
    assert answer.status_code == (200 if is_made else 503), answer.text
    assert Item.select().count() == len(kissa.files()) == int(is_made)


@pytest.mark.parametrize("others", [0, 9])
def test_a_crash_before_the_commit(
    start: Callable[..., Kissa], monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """The server has forgotten our transaction's id, and may give it to others that commit."""
    commit = peewee.PostgresqlDatabase.commit
    with cluster(synchronous_commit="on", wal_writer_delay="10s") as running:
        kissa = start(database_url=running.create("own"))
        alice = kissa.person("alice")

        def crash(handle: Any) -> None:
            monkeypatch.setattr(peewee.PostgresqlDatabase, "commit", commit)
            running.stop(signal.SIGQUIT)
            running.start()
            with psycopg.connect(running.url("own"), autocommit=True) as other:
                for _ in range(others):
                    other.execute("update counter set value = value")
            peewee.Database.execute_sql(handle, "select 1")

        monkeypatch.setattr(peewee.PostgresqlDatabase, "commit", crash)
        assert kissa.upload(alice).status_code == 503
        assert Item.select().count() == 0
        assert len(kissa.files()) == (1 if others else 0)  # for the sweep: nobody can be sure
        assert kissa.upload(alice).status_code == 200


def test_a_commit_before_a_crash(own: Kissa, own_cluster: Cluster) -> None:
    alice, commit = own.person("alice"), peewee.PostgresqlDatabase.commit

    def crash(handle: Any) -> None:
        commit(handle)
        own_cluster.stop(signal.SIGQUIT)
        own_cluster.start()
        peewee.Database.execute_sql(handle, "select 1")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peewee.PostgresqlDatabase, "commit", crash)
        assert own.upload(alice).status_code == 200
    assert Item.select().count() == len(own.files()) == 1


@pytest.mark.parametrize("act", ["upload", "approve"])
def test_bytes_stay_while_nobody_knows(
    start: Callable[..., Kissa], monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """With the server away, a row may be there: the sweep decides when it is back."""
    kissa = start(gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    item_id = kissa.item_id(alice) if act == "approve" else 0
    commit = peewee.PostgresqlDatabase.commit

    def lose(handle: Any) -> None:
        commit(handle)
        end_connections()
        patch.setattr(handle, "_connect", refuse)
        peewee.Database.execute_sql(handle, "select 1")

    def refuse() -> None:
        raise psycopg.OperationalError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(postgres, "PATIENCE", 0.3)
        patch.setattr(peewee.PostgresqlDatabase, "commit", lose)
        if act == "upload":
            assert kissa.upload(alice).status_code == 503
        else:
            answer = kissa.post(f"/api/v2/queue/{item_id}/approve", admin.by_admin_token)
            assert answer.status_code == 503
    item = Item.get()
    assert item.state == ("listed" if act == "approve" else "unlisted")
    assert item.name in kissa.files()


# Writes beside each other


def test_uploads_of_one_user_never_pass_the_quota(start: Callable[..., Kissa]) -> None:
    kissa = start(uploads_quota_mb=1, uploads_max_size_mb=1)
    alice = kissa.person("alice")

    def send() -> int:
        return kissa.upload(alice, os.urandom(300_000)).status_code

    answers = at_once(*[send] * THREADS)
    assert sorted(answers) == [200] * 3 + [507] * (THREADS - 3)
    assert User.get(User.username == "alice").bytes == 900_000


def test_counters_of_uploads_and_deletes_at_once_are_right(kissa: Kissa) -> None:
    people = [kissa.person(f"user{number}") for number in range(4)]
    tags = ["a, b, c", "c, b, a", "b, a, d", "d, c, b"]

    def live(number: int) -> None:
        for turn in range(5):
            answer = kissa.list_item(people[number], tags=f"{tags[number]}, new{turn}")
            assert answer.status_code == 200, answer.text
            name = kissa.upload_name(people[number])
            if turn % 2:
                gone = kissa.post("/api/files/delete", people[number].by_token | {"file": name})
                assert gone.status_code == 200

    assert at_once(*[lambda n=n: live(n) for n in range(4)]) == [None] * 4
    assert models.total("files") == Item.select().count() == 4 * 8
    assert {user.file_count for user in User.select()} == {8}
    assert models.rows(Day.select(peewee.fn.SUM(Day.uploads))) == [(40,)]


def test_an_upload_that_waits_and_makes_room_beside_one_that_does_not(kissa: Kissa) -> None:
    """Both count in the same rows, and neither waits for what the other holds."""
    alice, bob = kissa.person("alice"), kissa.person("bob")
    old = Item.get(Item.name == kissa.upload_name(bob))
    pid = models.database.execute_sql("select pg_backend_pid()").fetchone()[0]
    columns = "user_id, original_name, size, sha256, is_oc, is_shitpost, deletion_hash, created"
    comes = (
        f"insert into item (name, state, pending_name, {columns})"
        f" select 'waiting', 'pending', 'x', {columns} from item where id = %s"
    )
    waits = "select 1 from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"

    def make_room() -> None:
        deadline = time.monotonic() + 10
        while True:  # a connection that counts in the same rows
            with psycopg.connect(**where()) as other:
                if other.info.backend_pid % 16 != pid % 16:
                    continue
                with other.transaction():
                    other.execute(comes, (old.id,))
                    held.set()
                    with psycopg.connect(**where()) as looking:
                        while not looking.execute(waits, (pid,)).fetchone():
                            assert time.monotonic() < deadline
                            time.sleep(0.01)
                    other.execute("delete from item where id = %s", (old.id,))
                return

    held = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(make_room)
        assert held.wait(10)
        answer = kissa.upload(alice)
        made.result(30)
    assert answer.status_code == 200, answer.text
    assert models.total("files") == 1


def test_a_write_of_no_one_user_is_alone(kissa: Kissa, alice: Person) -> None:
    """What it reads stays true until its end."""
    entered, leave, seen = threading.Event(), threading.Event(), []

    def hold() -> None:
        def work() -> None:
            seen.append(Item.select().count())
            entered.set()
            leave.wait(60)
            seen.append(Item.select().count())

        models.write(work)
        models.disconnect()

    def send() -> int:
        try:
            return kissa.upload(alice).status_code
        finally:
            models.disconnect()

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(10)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send)
        with psycopg.connect(**where()) as other:
            waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
            deadline = time.monotonic() + 10
            while other.execute(waiting).fetchone() != (1,):
                assert time.monotonic() < deadline
                time.sleep(0.01)
        leave.set()
        thread.join()
        assert answer.result(30) == 200
    assert seen == [0, 0]
    assert Item.select().count() == 1


def test_who_waits_too_long_is_told(kissa: Kissa, alice: Person) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        def work() -> None:
            entered.set()
            leave.wait(60)

        models.write(work)
        models.disconnect()

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(10)
    models.database.execute_sql("set lock_timeout = 100")
    answer = kissa.upload(alice)
    leave.set()
    thread.join()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert kissa.files() == set()
    assert kissa.upload(alice).status_code == 200


def test_only_one_has_the_turn(kissa: Kissa) -> None:
    with models.turn("timer") as is_ours:
        assert is_ours

        def ask() -> bool:
            with models.turn("timer") as too:
                return too

        assert at_once(ask) == [False]
    assert at_once(lambda: ask()) == [True]


def test_the_order_of_an_upload(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes, their name and its folder are on disk before the row is."""
    acts: list[str] = []
    handle, store = models.database.obj, kissa.services.storage
    assert isinstance(store, LocalStorage)
    run, commit, fsync, link = handle.execute_sql, handle.commit, os.fsync, os.link

    def noted(sql: str, params: Any = None) -> Any:
        if "insert into item" in sql:
            acts.append("insert item")
        return run(sql, params)

    def noted_commit() -> None:
        acts.append("commit")
        commit()

    def noted_link(*args: Any, **more: Any) -> None:
        acts.append("link")
        link(*args, **more)

    def noted_fsync(fd: int) -> None:
        acts.append("sync uploads" if fd == store._root else "sync file")
        fsync(fd)

    monkeypatch.setattr(handle, "execute_sql", noted)
    monkeypatch.setattr(handle, "commit", noted_commit)
    monkeypatch.setattr(os, "link", noted_link)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    assert kissa.upload(alice).status_code == 200
    assert acts == ["sync file", "link", "insert item", "sync uploads", "commit"]


def test_an_upload_is_few_round_trips(kissa: Kissa, alice: Person, tmp_path: Path) -> None:
    """The sender, the rate, the beginning with its locks, rights, rate, row, commit."""
    for _ in range(8):  # psycopg prepares what it has seen five times
        kissa.upload(alice)
    trace = tmp_path / "trace"
    with trace.open("wb") as file:
        connection = models.database.obj.connection().pgconn
        connection.trace(file.fileno())
        answer = kissa.upload(alice)
        connection.untrace()
    assert answer.status_code == 200
    assert turns(trace.read_text(errors="replace")) == 7


# The tables


def test_ids_are_never_used_twice(kissa: Kissa) -> None:
    first = models.write(lambda: Tag.create(name="a").id)
    models.write(lambda: Tag.delete().execute())
    assert models.write(lambda: Tag.create(name="b").id) > first


def test_the_audit_is_append_only(kissa: Kissa, admin: Person) -> None:
    for statement in ("delete from audit", "update audit set act = ''", "truncate audit"):
        with pytest.raises(peewee.IntegrityError, match="append-only"):
            models.write(partial(models.database.execute_sql, statement))


def test_text_keeps_every_character_but_nul(kissa: Kissa) -> None:
    odd = "\u202eä🐈\x01%s?"
    models.write(lambda: Tag.create(name=odd))
    assert Tag.get(Tag.name == odd).name == odd
    assert Tag.get_or_none(Tag.name == "\0") is None
