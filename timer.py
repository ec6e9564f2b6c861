"""Inside the running server: what has to happen at its time, done by one of the workers."""

import logging
import threading

import expiry
import models
from errors import Moving
from storage import Storage

EVERY = 20.0  # seconds; a file is to be gone within a minute of its time
log = logging.getLogger("kissa")


class Timer:
    """A thread that ends files whose time is over. Each worker has one; when it is time, the first
    that gets the turn does the work.

    Args:
        store: the files.
        every: seconds between two looks.
    """

    def __init__(self, store: Storage, *, every: float = EVERY) -> None:
        self._store = store
        self._every = every
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

    def _run(self) -> None:
        try:
            while not self._end.wait(self._every):
                try:
                    with models.turn("timer") as is_ours:
                        if is_ours:
                            expiry.end_due(self._store)
                except Moving:
                    pass  # who has moved goes on with it
                except Exception:
                    log.exception("files whose time is over could not be deleted; trying again")
        finally:
            models.disconnect()
