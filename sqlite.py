"""The database as one SQLite file: the default."""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from peewee import PeeweeException, SqliteDatabase
from peewee import __exception_wrapper__ as _peewees  # type: ignore[attr-defined]

import home
import lock
from space import Gauge
from writer import Writer

# Seconds. Where nothing is synced, a commit is over before the next upload is there to share it,
# and takes a third of its time. 15 to 20 % more uploads by 8 clients, 40 % off the p99 of 32.
_LINGER = 0.001


class _Handle(SqliteDatabase):
    """SQLite that survives its own rollbacks."""

    _connect: Callable[[], sqlite3.Connection]  # Peewee's; its types leave both out
    _state: Any

    def rollback(self) -> None:
        # On a full disk or an I/O error SQLite rolls back by itself, and a second ROLLBACK raises
        # (https://sqlite.org/lang_transaction.html): the first error is the one to tell.
        if self.connection().in_transaction:
            super().rollback()

    def open_another(self) -> "_Lent":
        """A connection that is no thread's own."""
        with _peewees:  # errors are Peewee's, as of its own connections
            return _Lent(self, self._connect())


class _Lent:
    """A connection that the thread which enters this works with, instead of its own; one thread at
    a time.

    What a connection has read stays good only until another one commits. So there is one for all
    that is written: an upload reads 3 pages, where with one for each thread it read 9.
    """

    def __init__(self, handle: _Handle, connection: sqlite3.Connection) -> None:
        self._handle = handle
        self._connection = self._own = connection

    def __enter__(self) -> None:
        self._own = self._handle.connection()
        self._handle._state.conn = self._connection

    def __exit__(self, *_: object) -> None:
        self._handle._state.conn = self._own
        if self._connection.in_transaction:  # it would stop all that is written from now on
            self._connection.rollback()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Sqlite:
    """An opened SQLite file; see `models.Engine`.

    Args:
        path: the file; created with mode 0600 when missing.
        durable: False commits without fsync.
        before_commit, backend: see `models.open_database`.

    Raises:
        OSError, peewee.OperationalError: the file cannot be opened.
    """

    def __init__(
        self, path: Path, durable: bool, before_commit: Callable[[], None], backend: str
    ) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._path = path
        self.before_commit = before_commit
        self.backend = backend
        linger = 0.0 if durable else _LINGER
        self.writer = Writer(path, lambda: self.before_commit(), self._require_open, linger=linger)
        self._lent: _Lent | None = None
        self._space = Gauge(partial(os.statvfs, str(path.parent)))
        self.has_wal = self.writer.can_lock
        pragmas = {
            "journal_mode": "wal" if self.has_wal else "persist",
            "synchronous": "full" if durable else "off",
            "foreign_keys": 1,
            "journal_size_limit": 64 * 1024 * 1024,
            "temp_store": "memory",
            "secure_delete": 1,  # as Debian: who is deleted is not left in the file's free pages
        }
        self.handle = _Handle(str(path), pragmas=pragmas, timeout=5, check_same_thread=False)

    def connect(self) -> None:
        """Connect this thread, for the first time."""
        with self.writer:  # the switch to WAL is a write too
            self.handle.connect()
            if self.has_wal:  # without it, who writes waits for who reads, in the same thread too
                self.writer.within = self._lent = self.handle.open_another()

    def run(self, work: Callable[[], Any], of_user: int | None) -> Any:
        """See `models.write`. One writer at a time: whose work it is makes no difference."""
        return self.writer.run(self.handle, work)

    def expect(self) -> AbstractContextManager[None]:
        """See `models.expect_write`."""
        return self.writer.expect()

    def exclusive(self) -> AbstractContextManager[None]:
        """Nobody else writes meanwhile."""
        return self.writer

    def fill(self, into: str, width: int, rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert very many rows, within a transaction, into a table and its columns as SQL."""
        marks = ", ".join("?" * width)
        self.handle.connection().executemany(f"insert into {into} values ({marks})", rows)

    @contextmanager
    def turn(self, kind: str) -> Iterator[bool]:
        """Whether nobody else is at this kind of work; then nobody is, until this is left."""
        try:
            held = lock.take(self._path, kind=kind)
        except lock.LockTaken:
            yield False
            return
        try:
            yield True
        finally:
            os.close(held)

    def _require_open(self) -> None:
        home.require_open(self.handle.execute_sql(home.SELECT).fetchall(), self.backend)

    def has_space(self) -> bool:
        """Whether the file's filesystem keeps its reserve."""
        return self._space.has_room(0)

    def size(self) -> int:
        """Bytes on the disk."""
        paths = (f"{self._path}{suffix}" for suffix in ("", "-wal"))
        return sum(os.stat(path).st_size for path in paths if os.path.exists(path))

    def find_damage(self) -> list[str]:
        """What the database finds wrong in itself, one line each."""
        broken = self.handle.execute_sql("pragma foreign_key_check").fetchall()
        return integrity_faults(self.handle.connection()) + [
            f"the database is damaged: a {row[0]} belongs to no {row[2]}" for row in broken
        ]

    def checkpoint(self) -> None:
        """Bring the write-ahead log into the database and empty it."""
        with suppress(PeeweeException), self.writer:
            self.handle.execute_sql("pragma wal_checkpoint(truncate)").fetchall()

    def disconnect(self) -> None:
        """Close this thread's connection."""
        with self.writer:  # the last connection to close checkpoints
            self.handle.close()

    def close(self) -> None:
        """Give up what is held beside the threads' connections."""
        if self._lent is not None:
            with self.writer:  # see `disconnect`
                self._lent.close()
        self.writer.close()


def integrity_faults(database: sqlite3.Connection) -> list[str]:
    """What SQLite finds wrong in a database, one line each."""
    found = [str(row[0]) for row in database.execute("pragma quick_check(10)")]
    return [] if found == ["ok"] else [f"the database is damaged: {line}" for line in found]
