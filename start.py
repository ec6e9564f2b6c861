"""Before the first request: what must hold for a server to start, and what a crash left undone."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from peewee import PeeweeException

import accounts
import config as configuration
import credentials
import lock
import models
import move
import restore
import upkeep
from archive import BackupError
from config import Config
from errors import ServiceError, Unavailable
from storage import Storage
from storage_opening import open_storage

AT_ONCE = 20_000  # files that are swept before the first request; more are swept beside the server
PATIENCE = 5.0  # seconds in which the workers of a killed server notice that it is gone


class StartError(Exception):
    """The server cannot start; `faults` holds one line for each reason."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What the start found.

    Args:
        lock: a descriptor; while it is open, no other server starts on this database.
        notes: lines for the operator.
        sweep_later: whether there are too many files to sweep before the first request.
    """

    lock: int
    notes: list[str]
    sweep_later: bool


def prepare(config: Config) -> Started:
    """See that everything a server needs is there, and finish what a crash cut short. Leaves
    nothing open but the lock, so that workers may be forked after it.

    Raises:
        StartError: the server must not start.
    """
    faults = configuration.writable_faults(config)
    notes: list[str] = []
    if config.database.is_file and not faults:
        try:
            notes += restore.recover(config, PATIENCE)
        except BackupError as error:
            faults += error.faults
        except OSError as error:
            faults.append(f"{config.database.path}: a restore cannot be finished: {error}")
    if config.database.is_file and not config.database.path.exists() and not faults:
        faults.append(f"{config.database.path}: there is no database yet; run: flask migrate")
    if faults:
        raise StartError(faults)
    held = _lock(config)
    try:
        return _prepare(config, held, notes)
    except StartError:
        os.close(held)
        raise
    except (OSError, PeeweeException, ServiceError, credentials.SecretError) as error:
        os.close(held)
        raise StartError([f"{_shown(config)}: {error}"]) from error
    finally:
        models.close_database()


def _prepare(config: Config, held: int, notes: list[str]) -> Started:
    store = _open_storage(config, notes)
    if not config.storage.durable:
        notes.append("durable = false: a power cut loses the last uploads")
    if not models.open_database(
        config.database.url,
        durable=config.storage.durable,
        before_commit=store.sync,
        backend=config.storage.backend,
    ):
        notes.append("this filesystem has no file locks: journal_mode=PERSIST instead of WAL")
    require_schema()
    if (elsewhere := move.find_elsewhere(config.storage.backend)) is not None:
        raise StartError([elsewhere])
    if not accounts.secret_fits(_secret(config)):
        path = credentials.secret_path(config.database.path)
        raise StartError([f"{path}: this secret does not belong to the database; restore its own"])
    accounts.finish_deletions(store)
    upkeep.tidy(store)
    # On PostgreSQL other servers may be at work, and what is young be theirs.
    sweep_later = config.database.is_file and models.total("files") > AT_ONCE
    if config.database.is_file and not sweep_later:
        notes += _sweep(store)
    if not accounts.has_admin():
        notes.append("there is no admin yet; make one with: .venv/bin/flask create-admin NAME")
    store.close()
    return Started(lock=held, notes=notes, sweep_later=sweep_later)


def _sweep(store: Storage) -> list[str]:
    found = upkeep.look(store, young=True, rows=False)
    removed = upkeep.remove(store, found)
    if found.held_back and (found.orphans or found.temporary):
        return [f"nothing was swept: {found.held_back}"]
    return [f"{removed} files without an upload were removed"] if removed else []


def _open_storage(config: Config, notes: list[str]) -> Storage:
    try:
        store = open_storage(config)
        notes += store.check()
    except Unavailable as error:
        raise StartError([error.message]) from error
    return store


def sweep_beside() -> "subprocess.Popen[bytes]":
    """Start the sweep as a process of its own, beside a server with very many files."""
    command = [sys.executable, "-m", "flask", "sweep", "--apply", "--young"]
    return subprocess.Popen(command, cwd=Path(__file__).parent, stdin=subprocess.DEVNULL)


def require_schema() -> None:
    """See that the open database has the schema of this Kissa.

    Raises:
        StartError: it is older, or from a newer Kissa.
    """
    pending, unknown = models.pending_migrations(), models.unknown_migrations()
    if unknown:
        raise StartError([f"the database is of a newer Kissa ({', '.join(unknown)}); upgrade this"])
    if pending:
        raise StartError([f"the database lacks {', '.join(pending)}; run: flask migrate"])


def _secret(config: Config) -> bytes:
    path = credentials.secret_path(config.database.path)
    if not path.exists() and models.User.select().exists():
        raise StartError(
            [f"{path}: the server secret is missing, and no token works without it; restore it"]
        )
    return credentials.load_secret(path)


def _shown(config: Config) -> str:
    database = config.database
    return str(database.path) if database.is_file else configuration.without_password(database.url)


def _lock(config: Config) -> int:
    """The server's lock on this host. Forked workers share it: it ends with the last of them."""
    try:
        return lock.take(config.database.path, PATIENCE)
    except lock.LockTaken:
        message = "another Kissa serves this database already"
        if not config.database.is_file:
            message = "another Kissa of this host uses this [database] state already"
        raise StartError([f"{config.database.path}: {message}"]) from None
