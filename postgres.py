"""The database on a PostgreSQL server, for several Kissa servers beside each other."""

import logging
import select
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

from peewee import (
    DatabaseError,
    DataError,
    InterfaceError,
    OperationalError,
    PeeweeException,
    PostgresqlDatabase,
)
from peewee import __exception_wrapper__ as _peewees  # type: ignore[attr-defined]
from psycopg import Error
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

import home
from errors import Busy, NoSpace, Unavailable, Unsure

log = logging.getLogger("kissa")
PATIENCE = 10.0  # seconds in which a commit whose answer was lost is asked about
_LOCKS = 0x4B697373  # the first half of our advisory locks' keys; the second is one of these:
_WRITING, _MIGRATING = 1, 2
_TURNS = {"timer": 3, "move": 4}
_WAITED = 10_000  # milliseconds for a lock
# Each list has its index, and a page of it takes some milliseconds. A plan made without the values
# knows neither a rare tag from a common one nor how short a page is (with ten million items 60 ms
# instead of 3); one for slow disks reads ten times the rows, in their order on disk; a merge of two
# lists begins at the newest of all, however far down the page is; and a worker's start takes longer
# than the page. What an upload says has plans that are kept, see _entry.
_PLANS = (
    "-c plan_cache_mode=force_custom_plan -c random_page_cost=1.1 -c enable_mergejoin=off"
    " -c max_parallel_workers_per_gather=0 -c jit=off"
)
_GONE = "The database does not answer just now; try again soon."
# What became of a transaction, and whether that is surely ours: a server that crashes forgets ids
# whose log was not on its disk, and gives them out again. Ours are those that its last checkpoint
# knew (one follows each crash), and those that began after it.
_ASKED = """
    select pg_xact_status(%s::text::xid8),
        redo_lsn < %s::pg_lsn
        or (split_part(next_xid, ':', 1)::bigint << 32 | split_part(next_xid, ':', 2)::bigint) > %s
    from pg_control_checkpoint()
"""
_DEFAULTS = {
    "application_name": "kissa",
    "connect_timeout": "3",
    # A server that is gone without a word is noticed within half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}


class _Unanswered(Exception):
    """The connection was lost while a commit was under way."""


@dataclass(slots=True)
class _Entry:
    """How a transaction begins, and what was answered: the rows of each statement that has some."""

    sql: str = "begin"
    found: list[list[Any]] = field(default_factory=list)

    @property
    def transaction(self) -> tuple[int, str]:
        """Its id, and how far the server's log was on its disk, to ask about it later."""
        number, flushed, _ = self.found[0][0]
        return int(number), str(flushed)


class _Handle(PostgresqlDatabase):
    """PostgreSQL whose lost connections are noticed, told in our words, and made anew."""

    # Whole numbers of 64 bits, as SQLite's all are.
    field_types = PostgresqlDatabase.field_types | {"AUTO": "BIGSERIAL", "INT": "BIGINT"}

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Raises, beside peewee's own: Unavailable, Busy, NoSpace."""
        self._renew()
        if params and any(isinstance(value, str) and "\0" in value for value in params):
            # PostgreSQL takes no NUL; nothing that is kept holds one, so such a search is in vain.
            params = [v.replace("\0", "\ufffd") if isinstance(v, str) else v for v in params]
        try:
            return super().execute_sql(sql, params)
        except (InterfaceError, DatabaseError) as error:
            translated = _translated(error)
            if translated is None:
                raise
            raise translated from error

    def begin(self, isolation_level: Any = None) -> None:
        """Begin a transaction, on a connection that is alive.

        Args:
            isolation_level: peewee's name of what `atomic` was given; here an _Entry, or nothing.

        Raises:
            Unavailable, Busy: as execute_sql.
        """
        self._renew()
        entry: _Entry = isolation_level or _Entry()
        try:
            cursor = self.cursor()  # which connects, if need be
            with _peewees:  # its exceptions instead of psycopg's
                # One round trip for several statements; they cannot be prepared together.
                cursor.execute(entry.sql, prepare=False)
        except (InterfaceError, DatabaseError) as error:
            with suppress(PeeweeException):
                self.rollback()
            raise _translated(error) or error from error
        while cursor.nextset():
            if cursor.description:
                entry.found.append(cursor.fetchall())

    def commit(self) -> None:
        """Raises _Unanswered when nobody knows what became of it."""
        try:
            super().commit()
        except (OperationalError, InterfaceError) as error:
            if self.is_broken():
                raise _Unanswered from error
            raise

    def rollback(self) -> None:
        """A lost connection has been rolled back by the server."""
        if not self.is_broken():
            super().rollback()

    def is_broken(self) -> bool:
        """Whether this thread's connection was lost."""
        return not self.is_closed() and bool(self.connection().closed)

    def _renew(self) -> None:
        """Replace a connection that was lost since its last use: on an idle one there is nothing
        to read, unless the server has said goodbye. So a restart costs no request an error that
        did not run just then."""
        if self.is_closed() or self.in_transaction():
            return
        connection = self.connection()
        if connection.info.transaction_status == TransactionStatus.IDLE and not connection.closed:
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            if not poll.poll(0):
                return
            with suppress(Error):
                connection.execute("select 1")  # a notice is no goodbye
        if self.is_broken():
            self.close()  # the next statement makes a new one


class Postgres:
    """A PostgreSQL database; see `models.Engine`.

    Writes run beside each other, as far as each concerns one user: they share a lock, and each
    holds its user's row. Any other has that lock for itself, so that what it reads stays true
    until its end, as on SQLite.

    Args:
        url: as libpq takes it, https://www.postgresql.org/docs/15/libpq-connect.html.
        durable: False commits without waiting for the server's disk.
        before_commit, backend: see `models.open_database`.
    """

    has_wal = True

    def __init__(
        self, url: str, durable: bool, before_commit: Callable[[], None], backend: str
    ) -> None:
        self.before_commit = before_commit
        self.backend = backend
        given: dict[str, Any] = conninfo_to_dict(url)
        options = f"-c lock_timeout={_WAITED} {_PLANS}"
        if not durable:
            options += " -c synchronous_commit=off"
        options = f"{options} {given.pop('options', '')}".strip()
        name = given.pop("dbname", "")
        more = {**_DEFAULTS, **given, "options": options, "prefer_psycopg3": True}
        self.handle = _Handle(name, **more)

    def connect(self) -> None:
        """Connect this thread, for the first time.

        Raises:
            Unavailable: there is no such server, or it does not let us in.
        """
        try:
            self.handle.connect()
        except OperationalError as error:
            raise Unavailable(f"PostgreSQL: {_first_line(error)}") from error
        asked = (
            "select datcollate, pg_encoding_to_char(encoding) from pg_database"
            " where datname = current_database()"
        )
        locale, encoding = self.handle.execute_sql(asked).fetchone()
        if locale not in ("C", "POSIX") or encoding != "UTF8":
            # In another order, pages would lack names or repeat them, and indexes not serve lists.
            told = f"the database has locale {locale} and encoding {encoding}"
            raise Unavailable(f"PostgreSQL: {told}; expected C and UTF8, see docs/scaling.md")

    def run(self, work: Callable[[], Any], of_user: int | None) -> Any:
        """See `models.write`."""
        entry = _entry(of_user)
        try:
            with self.handle.atomic(entry):
                home.require_open(entry.found[-1], self.backend)
                result = work()
                self.before_commit()
        except _Unanswered as error:
            self._require_committed(entry.transaction, error)
        return result

    def expect(self) -> AbstractContextManager[None]:
        """Nobody waits for another's write: PostgreSQL shares commits by itself."""
        return nullcontext()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Nobody else migrates meanwhile."""
        run = self.handle.execute_sql
        run("set lock_timeout = 0")
        try:
            run("select pg_advisory_lock(%s, %s)", (_LOCKS, _MIGRATING))
            try:
                yield
            finally:
                run("select pg_advisory_unlock(%s, %s)", (_LOCKS, _MIGRATING))
        finally:
            run(f"set lock_timeout = {_WAITED}")

    def fill(self, into: str, width: int, rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert very many rows, within a transaction, into a table and its columns as SQL."""
        try:
            with (
                self.handle.connection().cursor() as cursor,
                cursor.copy(f"copy {into} from stdin") as table,
            ):
                for row in rows:
                    table.write_row(row)
        except Error as error:
            raise _translated(error) or DatabaseError(_first_line(error)) from error

    @contextmanager
    def turn(self, kind: str) -> Iterator[bool]:
        """Whether nobody else is at this kind of work; then nobody is, until this is left."""
        key = (_LOCKS, _TURNS[kind])
        run = self.handle.execute_sql
        is_ours = run("select pg_try_advisory_lock(%s, %s)", key).fetchone()[0]
        try:
            yield is_ours
        finally:
            if is_ours:
                run("select pg_advisory_unlock(%s, %s)", key)

    def has_space(self) -> bool:
        """The server says so itself, when it has none left."""
        return True

    def size(self) -> int:
        """Bytes on the server's disk."""
        asked = "select pg_database_size(current_database())"
        return int(self.handle.execute_sql(asked).fetchone()[0])

    def find_damage(self) -> list[str]:
        """Nothing: for that PostgreSQL has pg_amcheck."""
        return []

    def checkpoint(self) -> None:
        """Nothing: the server does."""

    def disconnect(self) -> None:
        """Close this thread's connection."""
        self.handle.close()

    def close(self) -> None:
        """Nothing is held beside the connections."""

    def _require_committed(self, transaction: tuple[int, str], error: _Unanswered) -> None:
        """See that a commit was made whose answer was lost.

        Raises:
            Unavailable: it was not.
            Unsure: nobody can be asked.
        """
        deadline = time.monotonic() + PATIENCE
        number, flushed = transaction
        while time.monotonic() < deadline:
            status, is_ours = "", False
            try:
                row = self.handle.execute_sql(_ASKED, (number, flushed, number)).fetchone()
                status, is_ours = row
            except DataError:
                status = "aborted"  # forgotten: no transaction has this id yet
            except (Unavailable, PeeweeException):
                pass  # whatever it is, it says nothing about the commit
            if status == "aborted":
                raise Unavailable(_GONE, retry_after=5) from error
            if status == "committed":
                if is_ours:
                    return
                break
            time.sleep(0.2)
        raise Unsure(_GONE, retry_after=5) from error


def _entry(of_user: int | None) -> _Entry:
    """How a write begins: its id and its locks, and, last, where the host is, as whoever had the
    lock for themself has left it. What an upload says within it, by its text and by triggers, is
    short enough for plans that are kept: they save a third of the server's work."""
    shared, row = "", ""
    if of_user is not None:
        shared = "_shared"
        row = f';select 1 from "user" where id = {int(of_user)} for no key update'
    ids = "pg_current_xact_id()::text, pg_current_wal_flush_lsn()::text"
    lock = f"pg_advisory_xact_lock{shared}({_LOCKS}, {_WRITING})"
    plans = "set local plan_cache_mode = auto"
    return _Entry(f"begin;{plans};select {ids}, {lock}{row};{home.SELECT}")


def _translated(error: BaseException) -> Exception | None:
    """What a fault of the server's is in our words; None for a fault of the statement's."""
    original = getattr(error, "orig", error)  # psycopg's, within peewee's
    state = getattr(original, "sqlstate", None) or ""
    if state in ("53100", "54000"):
        return NoSpace("There is no space left on this server.")
    if state in ("40P01", "40001", "55P03", "57014"):  # deadlock, lock or statement timeout
        return Busy("The database is busy; try again soon.", retry_after=1)
    is_lost = not state and isinstance(error, OperationalError | InterfaceError)
    if is_lost or state[:2] in ("08", "53", "57", "58") or state == "25006":
        log.warning("the database does not answer: %s", _first_line(error))
        return Unavailable(_GONE, retry_after=5)
    return None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
