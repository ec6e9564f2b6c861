"""Restoring a backup: everything is verified and laid ready beside what is there, then exchanged.

A journal is written when all lies ready. Cut short before it, a restore has changed nothing, and
what lies ready is removed; cut short after it, it is finished. Both are done by the next start of
the server, by the next restore, and by any other command that opens the database.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import archive
import credentials
import lock
import models
from archive import BackupError, Entry, Manifest, Progress
from config import Config
from storage import NAME_PATTERN

_BESIDE = ("-wal", "-shm", "-journal", "")  # what belongs to an SQLite file, itself at the end
_OWN_FOLDERS = (".pending", ".thumbnails", ".resumable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did.

    Args:
        manifest: of the backup.
        linked, copied: how many files were brought back by a hard link, or as a copy.
        aside: the ending of the names under which what was there before lies now; empty when
            there was nothing.
        notes: what was done about an earlier restore that was cut short.
    """

    manifest: Manifest
    linked: int
    copied: int
    aside: str
    notes: list[str]


class _Places:
    """The paths of a restore."""

    def __init__(self, config: Config) -> None:
        database = config.database.path
        self.uploads = config.storage.directory
        self.database = database
        self.secret = credentials.secret_path(database)
        self.new_database = database.with_name(f"{database.name}.restored")
        self.new_secret = database.with_name(f"{database.name}.restored-secret")
        # Inside, because the folder may be a filesystem of its own. Dot-folders are never served.
        self.new_uploads = self.uploads / ".restored"
        self.journal = database.with_name(f"{database.name}.restoring")
        self.new_journal = database.with_name(f"{database.name}.restoring-new")

    def unfinished(self) -> list[Path]:
        """What a restore that was cut short left behind."""
        ready = (self.new_database, self.new_secret, self.new_uploads, self.new_journal)
        return [path for path in (self.journal, *ready) if os.path.lexists(path)]

    def has_aside(self, ending: str) -> bool:
        """Whether anything was moved aside under names with this ending."""
        beside = (self.uploads / ending, f"{self.database}{ending}", f"{self.secret}{ending}")
        return any(os.path.lexists(path) for path in beside)

    def sync(self) -> None:
        archive.sync(self.uploads)
        archive.sync(self.database.parent)


def restore(config: Config, source: Path, progress: Progress, *, force: bool = False) -> Restored:
    """Bring back the backup in the folder `source`, while no server runs.

    Args:
        progress: told of bytes done and all: all of the backup is read once to verify it, and
            once more where it is copied.
        force: although there are uploads or accounts; they are moved aside.

    Raises:
        BackupError: the backup is not whole, or something stands in the way; nothing was changed.
        OSError: the disk refused; nothing was changed, or the next start or restore goes on.
    """
    if not config.database.is_file:
        raise BackupError(["PostgreSQL has its own backups: pg_restore, see docs/scaling.md"])
    if config.storage.backend != "local":
        raise BackupError([archive.IN_A_BUCKET])
    places = _Places(config)
    with _locked(config, 0.0):
        notes = _finish_or_undo(places)
        manifest = archive.verify(source, lambda done, total: progress(done, 2 * total))
        if not force:
            _require_empty(places)
        places.uploads.mkdir(parents=True, exist_ok=True)
        try:
            linked = _lay_ready(places, source, manifest, progress)
        except BaseException:
            _undo(places)
            raise
        time = _new_time(places)
        _write_journal(places, "aside", time)
        _exchange(places)
    ending = _ending(time)
    return Restored(
        manifest=manifest,
        linked=linked,
        copied=manifest.count - linked,
        aside=ending if places.has_aside(ending) else "",
        notes=notes,
    )


def recover(config: Config, patience: float = 0.0) -> list[str]:
    """Finish or undo a restore that was cut short. Returns lines for the operator.

    Args:
        patience: seconds to wait for a server or restore that runs.

    Raises:
        BackupError: a restore is running.
        OSError: the disk refused.
    """
    places = _Places(config)
    if not places.unfinished():
        return []
    with _locked(config, patience):
        return _finish_or_undo(places)


@contextmanager
def _locked(config: Config, patience: float) -> Iterator[None]:
    path = config.database.path
    with ExitStack() as stack:
        for kind, what in (("server", "a server or a restore"), ("commands", "another command")):
            try:
                fd = lock.take(path, patience, kind=kind)
            except lock.LockTaken:
                told = f"{what} is at work on this database; end it first"
                raise BackupError([f"{path}: {told}"]) from None
            stack.callback(os.close, fd)
        yield


def _finish_or_undo(places: _Places) -> list[str]:
    if places.journal.exists():
        ending = _exchange(places)
        return [f"a restore that was cut short is finished; what was there before: *{ending}"]
    if places.unfinished():
        _undo(places)
        return ["a restore that was cut short is undone; it had changed nothing"]
    return []


def _undo(places: _Places) -> None:
    for path in places.unfinished():
        if path == places.new_uploads:
            shutil.rmtree(path)
        else:
            path.unlink()


def _require_empty(places: _Places) -> None:
    if any(True for _ in _uploads(places.uploads)):
        raise BackupError([f"{places.uploads}: there are uploads; --force moves them aside"])
    if places.database.exists() and not _is_fresh(places.database):
        told = "there are accounts or uploads in it; --force moves it aside"
        raise BackupError([f"{places.database}: {told}"])


def _uploads(folder: Path) -> Iterator[str]:
    """The names of all our files, public and pending, and of what is made of them."""
    for name in os.listdir(folder) if folder.exists() else ():
        is_own_folder = name in _OWN_FOLDERS and os.listdir(folder / name)
        if is_own_folder or NAME_PATTERN.fullmatch(name):
            yield name


def _is_fresh(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            query = "select exists (select 1 from user) or exists (select 1 from item)"
            return database.execute(query).fetchone() == (0,)
    except sqlite3.Error:
        return False  # whatever it is, it is not ours to judge


def _lay_ready(places: _Places, source: Path, manifest: Manifest, progress: Progress) -> int:
    """Bring all of the backup to where it is needed, and to disk. Returns how many were linked."""
    total, linked = manifest.bytes, 0
    done = total  # verifying was the first half

    def step(size: int) -> None:
        nonlocal done
        done += size
        progress(done, 2 * total)

    pending = places.new_uploads / ".pending"
    places.new_uploads.mkdir(mode=0o700)
    pending.mkdir(mode=0o755)
    for where, folder in (("public", places.new_uploads), ("pending", pending)):
        for name, entry in manifest.files[where].items():
            linked += _bring(source / archive.FOLDERS[where] / name, folder / name, entry, step)
    archive.sync(pending)
    archive.sync(places.new_uploads)
    # Never links: what is written to them would change the backup too.
    quiet: Callable[[int], None] = lambda size: None  # noqa: E731
    for name, path, entry in (
        (archive.DATABASE, places.new_database, manifest.database),
        (archive.SECRET, places.new_secret, manifest.secret),
    ):
        _copy(source / name, path, 0o600, entry, quiet)
    places.sync()
    return linked


def _bring(source: Path, path: Path, entry: Entry, step: Callable[[int], None]) -> bool:
    """Bring a file by a hard link, or else as a copy. Returns whether by a link."""
    try:
        os.link(source, path, follow_symlinks=False)
    except FileNotFoundError:
        raise BackupError([f"{source}: it disappeared"]) from None
    except OSError:
        _copy(source, path, 0o644, entry, step)
        return False
    step(entry.size)
    return True


def _copy(source: Path, path: Path, mode: int, entry: Entry, step: Callable[[int], None]) -> None:
    opened = archive.open_regular(source)
    if opened is None:
        raise BackupError([f"{source}: it disappeared"])
    with opened:
        if archive.copy(opened, path, mode, step) != entry:
            raise BackupError([f"{source}: it changed meanwhile"])


def _write_journal(places: _Places, phase: str, time: str) -> None:
    with places.new_journal.open("w") as file:
        json.dump({"phase": phase, "time": time}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(places.new_journal, places.journal)
    archive.sync(places.journal.parent)


def _exchange(places: _Places) -> str:
    """Move aside what is there, then bring in what lies ready: each step may be done again.

    Returns:
        the ending of the names of what was moved aside.
    """
    journal = json.loads(places.journal.read_bytes())
    time = str(journal["time"])
    ending = _ending(time)
    aside = places.uploads / ending
    if journal["phase"] == "aside":
        aside.mkdir(mode=0o700, exist_ok=True)
        for name in os.listdir(places.uploads):
            if NAME_PATTERN.fullmatch(name) or name in _OWN_FOLDERS:
                os.rename(places.uploads / name, aside / name)
        for suffix in _BESIDE:
            _move(Path(f"{places.database}{suffix}"), Path(f"{places.database}{ending}{suffix}"))
        _move(places.secret, Path(f"{places.secret}{ending}"))
        archive.sync(aside)
        places.sync()
        _write_journal(places, "in", time)
    if places.new_uploads.exists():
        for name in os.listdir(places.new_uploads):
            os.rename(places.new_uploads / name, places.uploads / name)
        places.new_uploads.rmdir()
    _move(places.new_secret, places.secret)
    _move(places.new_database, places.database)
    with suppress(OSError):
        aside.rmdir()  # when nothing was there before
    places.sync()
    places.journal.unlink()
    archive.sync(places.journal.parent)
    return ending


def _move(source: Path, path: Path) -> None:
    if os.path.lexists(source):
        os.rename(source, path)


def _new_time(places: _Places) -> str:
    """The time for the names of what is moved aside, with a number if a restore has used it."""
    time = now = models.now().strftime("%Y%m%dT%H%M%SZ")
    number = 1
    while places.has_aside(_ending(time)):
        number += 1
        time = f"{now}-{number}"
    return time


def _ending(time: str) -> str:
    return f".before-restore-{time}"
