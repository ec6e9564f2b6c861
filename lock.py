"""Who is at work on a database: one server or one restore, and any number of commands."""

import fcntl
import os
import time
from pathlib import Path


class LockTaken(Exception):
    """Another process holds the lock."""


def take(
    database: Path, patience: float = 0.0, *, kind: str = "server", shared: bool = False
) -> int:
    """Take a lock of `database`, which need not exist yet.

    A server holds `server`; a command that opens the database shares `commands`; a restore holds
    both for itself, since a sweep that began before it would take the restored files for orphans.

    Args:
        patience: seconds to wait for who holds it.

    Returns:
        a descriptor: the lock is held until it is closed, by this process and those forked from it.

    Raises:
        LockTaken: somebody else holds it.
    """
    fd = os.open(f"{database}.{kind}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(fd)
                raise LockTaken from None
            time.sleep(0.1)
        except OSError:
            return fd  # no file locks here; the server's notes say so
        else:
            return fd
