"""Work that waits together shares a commit, and nothing else: not its failures, not its result."""

import fcntl
import threading
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from peewee import OperationalError

import models
from models import Tag
from sqlite import Sqlite
from tests import database

THREADS = 6


class Syncs:
    """Stands where the folders' sync stands: counts, and fails when told to."""

    def __init__(self) -> None:
        self.count = 0
        self.error: OSError | None = None

    def __call__(self) -> None:
        self.count += 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def syncs(tmp_path: Path) -> Iterator[Syncs]:
    syncs = Syncs()
    database.make(tmp_path / "kissa.db")
    models.open_database(tmp_path / "kissa.db", before_commit=syncs)
    yield syncs
    models.close_database()


def until_there_are(number: int, queue: Sized) -> None:
    deadline = time.monotonic() + 10
    while len(queue) < number and time.monotonic() < deadline:
        threading.Event().wait(0.001)  # not time.sleep, in whose place a test puts this
    assert len(queue) == number


def connection() -> int:
    return id(models.database.connection())


def refuse() -> None:
    raise ValueError("no")


def test_all_threads_write_with_one_connection_and_read_with_their_own(syncs: Syncs) -> None:
    def look() -> None:
        own = connection()
        used.append((own, models.write(connection)))
        with pytest.raises(ValueError, match="no"):
            models.write(refuse)
        assert connection() == own
        models.disconnect()

    used: list[tuple[int, int]] = []
    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (first, writing), (second, writing_too) = used
    assert writing == writing_too
    assert writing not in (first, second)


def test_a_transaction_left_open_stops_one_piece_of_work_alone(syncs: Syncs) -> None:
    writing = models.write(lambda: models.database.connection())
    writing.execute("begin immediate")
    with pytest.raises(OperationalError, match="within a transaction"):
        models.write(lambda: Tag.create(name="lost"))
    models.write(lambda: Tag.create(name="kept"))
    assert [tag.name for tag in Tag.select()] == ["kept"]


def test_without_a_write_ahead_log_a_thread_writes_where_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.make(tmp_path / "kissa.db")
    real = fcntl.flock

    def fail(file: int, kind: int) -> None:
        if kind & fcntl.LOCK_SH:
            raise OSError
        real(file, kind)

    monkeypatch.setattr("writer.fcntl.flock", fail)
    assert not models.open_database(tmp_path / "kissa.db")
    cursor = models.database.execute_sql("select name from sqlite_master")
    assert cursor.fetchone()  # and others follow: on two connections, the write would wait for it
    assert models.write(connection) == connection()
    models.write(lambda: Tag.create(name="new"))
    models.close_database()


def together(works: list[Callable[[], Any]]) -> list[Any]:
    """Hand all works in while the turn is held, so that they wait together; what each became."""
    outcomes: list[Any] = [None] * len(works)
    assert isinstance(models._engine, Sqlite)
    writer = models._engine.writer

    def hand_in(place: int) -> None:
        try:
            outcomes[place] = models.write(works[place])
        except Exception as error:
            outcomes[place] = error

    threads = [threading.Thread(target=hand_in, args=(place,)) for place in range(len(works))]
    with writer:
        for thread in threads:
            thread.start()
        until_there_are(len(works), writer._queue)
    for thread in threads:
        thread.join(10)
    return outcomes


def add(name: str) -> Callable[[], str]:
    def work() -> str:
        Tag.insert(name=name).execute()
        return name

    return work


def names() -> list[str]:
    return sorted(name for (name,) in models.rows(Tag.select(Tag.name)))


def test_one_commit_and_each_its_result(syncs: Syncs) -> None:
    wanted = [f"tag{number}" for number in range(THREADS)]
    assert together([add(name) for name in wanted]) == wanted
    assert names() == wanted
    assert syncs.count == 1


def test_more_than_one_batch(syncs: Syncs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("writer.MOST", 2)
    wanted = [f"tag{number}" for number in range(THREADS)]
    assert together([add(name) for name in wanted]) == wanted
    assert names() == wanted
    assert syncs.count == THREADS // 2


def test_a_failure_undoes_its_own_work_alone(syncs: Syncs) -> None:
    def fail() -> None:
        Tag.insert(name="half done").execute()
        raise ValueError("a fault of this one")

    first, failed, last = together([add("first"), fail, add("last")])
    assert (first, last) == ("first", "last")
    assert isinstance(failed, ValueError)
    assert names() == ["first", "last"]


def test_a_failed_sync_undoes_all(syncs: Syncs) -> None:
    syncs.error = OSError(5, "Input/output error")
    outcomes = together([add("first"), add("second")])
    assert outcomes == [syncs.error, syncs.error]
    assert names() == []
    syncs.error = None
    assert models.write(add("third")) == "third"
    assert names() == ["third"]


def test_a_commit_of_one_has_no_savepoint(syncs: Syncs) -> None:
    with pytest.raises(ValueError, match="mine"):
        models.write(lambda: (_ for _ in ()).throw(ValueError("mine")))
    assert models.write(add("next")) == "next"
    assert names() == ["next"]


def test_who_is_done_does_not_wait_for_the_next_commit(syncs: Syncs) -> None:
    assert isinstance(models._engine, Sqlite)
    writer = models._engine.writer
    first, second, go_on = threading.Event(), threading.Event(), threading.Event()

    def sync() -> None:
        if not first.is_set():
            first.set()
            deadline = time.monotonic() + 10
            while not writer._queue and time.monotonic() < deadline:
                time.sleep(0.001)
        else:
            second.set()
            go_on.wait(10)

    writer.before_commit = sync
    early = threading.Thread(target=models.write, args=(lambda: None,))
    late = threading.Thread(target=models.write, args=(lambda: None,))
    early.start()
    assert first.wait(10)
    late.start()
    assert second.wait(10)  # the second commit is under way, and stays so
    early.join(10)
    assert not early.is_alive()
    assert late.is_alive()
    go_on.set()
    late.join(10)
    assert not late.is_alive()


def test_a_lock_that_fails_fails_all_that_waits_and_nothing_after(
    syncs: Syncs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(models._engine, Sqlite)
    writer = models._engine.writer
    with monkeypatch.context() as patched:
        patched.setattr(writer, "_lock", _refuse)
        with pytest.raises(OSError, match="no locks"):
            models.write(lambda: Tag.create(name="lost"))
    assert models.write(lambda: Tag.create(name="kept").name) == "kept"
    assert [tag.name for tag in Tag.select()] == ["kept"]


def _refuse() -> None:
    raise OSError("no locks")


@contextmanager
def on_its_way() -> Iterator[None]:
    """Another thread has said that it comes."""
    has_come, ends = threading.Event(), threading.Event()

    def come() -> None:
        with models.expect_write():
            has_come.set()
            ends.wait(10)

    thread = threading.Thread(target=come)
    thread.start()
    assert has_come.wait(10)
    yield
    ends.set()
    thread.join(10)


@pytest.mark.parametrize(
    ("durable", "coming", "soon", "waits"),
    [(0, 2, 60, 1), (0, 1, 60, 0), (0, 2, 0, 0), (1, 2, 60, 0)],
    ids=["comes", "nobody comes", "has stalled", "syncs"],
)
def test_a_commit_that_syncs_nothing_waits_for_who_comes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    durable: int,
    coming: int,
    soon: int,
    waits: int,
) -> None:
    """And for nobody else, or uploads one after the other would each wait in vain."""
    monkeypatch.setattr("writer.SOON", soon)
    syncs = Syncs()
    database.make(tmp_path / "kissa.db")
    models.open_database(tmp_path / "kissa.db", durable=bool(durable), before_commit=syncs)
    assert isinstance(models._engine, Sqlite)
    queue = models._engine.writer._queue
    second = threading.Thread(target=lambda: models.write(add("second")))
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        second.start()
        until_there_are(2, queue)

    monkeypatch.setattr("writer.time.sleep", wait)
    with on_its_way() if coming > 1 else nullcontext(), models.expect_write():
        models.write(add("first"))
    if not waits:
        second.start()
    second.join(10)
    assert names() == ["first", "second"]
    assert (len(waited), syncs.count) == (waits, 2 - waits)
    models.close_database()
