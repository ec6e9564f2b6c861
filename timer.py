"""Inside the running server: what has to happen at its time, done by one of the workers."""

import logging
import os
import threading
from pathlib import Path

import expiry
import lock
import models
from storage import Storage

EVERY = 20.0  # seconds; a file is to be gone within a minute of its time
log = logging.getLogger("kissa")


class Timer:
    """A thread that ends files whose time is over. Each worker has one, and the first that takes
    the lock works; the lock ends with its process, and then another one does.

    Args:
        database: the lock lies beside it.
        store: the files.
        every: seconds between two looks.
    """

    def __init__(self, database: Path, store: Storage, *, every: float = EVERY) -> None:
        self._database = database
        self._store = store
        self._every = every
        self._lock: int | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timer", daemon=True)

    def start(self) -> None:
        """Begin; after a fork, since a thread does not come along."""
        self._thread.start()

    def stop(self, patience: float = 10.0) -> None:
        """End, once what is under way is done; after `patience` seconds the process may go all the
        same, as after a power cut."""
        self._end.set()
        self._thread.join(patience)
        if self._lock is not None and not self._thread.is_alive():
            os.close(self._lock)
            self._lock = None

    def _run(self) -> None:
        try:
            while not self._end.wait(self._every):
                try:
                    if self._is_ours():
                        expiry.end_due(self._store)
                except Exception:
                    log.exception("files whose time is over could not be deleted; trying again")
        finally:
            models.disconnect()

    def _is_ours(self) -> bool:
        if self._lock is None:
            try:
                self._lock = lock.take(self._database, kind="timer")
            except lock.LockTaken:
                return False
        return True
