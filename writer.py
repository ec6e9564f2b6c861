"""The one writer of a database: who may write, and how many pieces of work share one commit."""

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from peewee import Database, OperationalError

from errors import NoSpace

MOST = 64  # pieces of work in one transaction
SOON = 0.05  # seconds in which who comes is waited for: a client that stalls must not slow others


class _Coming:
    """Entered by who will hand work in soon."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}
        self._change = threading.Lock()

    def __enter__(self) -> None:
        with self._change:
            self._since[threading.get_ident()] = time.monotonic()

    def __exit__(self, *_: object) -> None:
        with self._change:
            del self._since[threading.get_ident()]

    def count(self) -> int:
        """How many are on their way, without those who have stalled there."""
        earliest = time.monotonic() - SOON
        with self._change:
            return sum(since > earliest for since in self._since.values())


class _Job:
    """One piece of work, and what became of it once it is `done`."""

    __slots__ = ("done", "error", "result", "wake", "work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self.wake = threading.Lock()  # released when the job is done, or when its thread leads
        self.wake.acquire()


class Writer:
    """The right to write: one thread of this process, then one process on this machine.

    SQLite 3.7.0 to 3.51.2 can corrupt a WAL that two connections write or checkpoint at once;
    with one writer at a time there is no second party, and "database is locked" cannot occur.

    Threads that want to write meanwhile queue their work, and whoever gets the turn does all that
    waits, in one transaction with one sync of the folders: with 2 ms for an fsync and 16 clients,
    that is several times the uploads of a commit for each. The first in the queue works for the
    others, so there is no thread of its own to start, to hand over to, or to end.

    Args:
        path: the database; the lock lies beside it.
        before_commit: brings to disk what the rows speak of; when it raises, all is rolled back.
        before_work: sees, inside the transaction, that anything may be written at all.
        linger: seconds to wait, before a commit, for those who have said that they come. A commit
            that waits for the disk needs none: meanwhile the next ones queue.

    Attributes:
        within: entered by the thread that works, while it does.
    """

    def __init__(
        self,
        path: Path,
        before_commit: Callable[[], None],
        before_work: Callable[[], None] = lambda: None,
        *,
        linger: float = 0.0,
    ) -> None:
        self._coming = _Coming()
        self._linger = linger
        self.within: AbstractContextManager[None] = nullcontext()
        self.before_commit = before_commit
        self.before_work = before_work
        self.file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.can_lock = True
        try:
            fcntl.flock(self.file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(self.file, fcntl.LOCK_UN)
        except BlockingIOError:
            pass  # somebody writes: locks work
        except OSError:
            self.can_lock = False
        self._turn = threading.Lock()  # held by who writes
        self._queue: deque[_Job] = deque()
        self._is_led = False  # whether a thread sees to the queue
        self._change = threading.Lock()  # held while the queue or its leader changes

    def __enter__(self) -> None:
        """Take the turn alone, for what is no piece of work: a migration, a checkpoint."""
        self._turn.acquire()
        try:
            self._lock()
        except BaseException:
            self._turn.release()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._unlock()
        finally:
            self._turn.release()

    def close(self) -> None:
        """Give the lock's descriptor back."""
        os.close(self.file)

    def expect(self) -> AbstractContextManager[None]:
        """Say, until this is left, that work will come: others wait a little to share a commit."""
        return self._coming if self._linger else nullcontext()

    def run(self, database: Database, work: Callable[[], Any]) -> Any:
        """Run `work` in a transaction of `database`, with whatever else waits, and commit.

        Returns:
            what `work` returned, once it is committed.

        Raises:
            NoSpace: the database has no room.
            whatever `work`, the sync or the commit raised; then nothing of it is kept.
        """
        job = _Job(work)
        with self._change:
            self._queue.append(job)
            leads, self._is_led = not self._is_led, True
        if not leads:
            job.wake.acquire()
        if not job.done:
            self._lead(database)
        if job.error is not None:
            raise job.error
        return job.result

    def _lead(self, database: Database) -> None:
        """Do what waits, and let the first of those that came meanwhile lead. Each thread whose
        work is done is woken by itself: waiting for the turn, it would sit through the next
        commit too."""
        if self._linger and self._coming.count() > len(self._queue):
            time.sleep(self._linger)
        try:
            self._run_batch(database)
        finally:
            with self._change:
                following = self._queue[0] if self._queue else None
                self._is_led = following is not None
            if following is not None:
                following.wake.release()

    def _lock(self) -> None:
        if self.can_lock:
            fcntl.flock(self.file, fcntl.LOCK_EX)

    def _unlock(self) -> None:
        if self.can_lock:
            fcntl.flock(self.file, fcntl.LOCK_UN)

    def _run_batch(self, database: Database) -> None:
        batch: list[_Job] = []
        try:
            with self:
                batch = self._take()
                with self.within, database.atomic("IMMEDIATE"):
                    self.before_work()
                    for job in batch:
                        self._run_job(database, job, alone=len(batch) == 1)
                    self.before_commit()
        except BaseException as error:
            batch = batch or self._take()  # the lock itself has failed
            for job in batch:
                job.error = job.error or _translated(error)
            if not isinstance(error, Exception):
                raise
        finally:
            for job in batch:
                job.done = True
                job.wake.release()

    def _take(self) -> list[_Job]:
        return [self._queue.popleft() for _ in range(min(MOST, len(self._queue)))]

    def _run_job(self, database: Database, job: _Job, *, alone: bool) -> None:
        """Alone, an error ends the transaction; among others, only what the job did is undone."""
        if alone:
            job.result = job.work()
            return
        database.execute_sql("savepoint job")
        try:
            job.result = job.work()
        except Exception as error:
            if not database.connection().in_transaction:
                raise  # a full disk or an I/O error has ended the whole transaction
            database.execute_sql("rollback to job")
            job.error = _translated(error)
        database.execute_sql("release job")


def _translated(error: BaseException) -> BaseException:
    if isinstance(error, OperationalError) and "full" in str(error):
        full = NoSpace("There is no space left on this server.")
        full.__cause__ = error
        return full
    return error
