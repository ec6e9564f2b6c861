"""Making a backup while the server runs: the database first, then the files that it names."""

import errno
import fcntl
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import archive
import credentials
import models
from archive import BackupError, Entry, ItemRow, Manifest, Progress
from config import Config
from sqlite import integrity_faults
from storage import Storage
from storage_local import LocalStorage

_NO_LINKS = (
    errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES,
)  # fmt: skip
SPARED = 10  # more rows without a file than so many, and than SPARED_SHARE, is taken for a mistake
SPARED_SHARE = 0.01
_PARTIAL = ".partial"


@dataclass(slots=True, kw_only=True)
class Made:
    """What became of the files of a backup, as counts.

    Args:
        linked: hard links to the files of the server.
        reused: hard links to the files of an earlier backup.
        copied, copied_bytes: what was read and written anew.
        deleted: deleted while the backup was made; their rows are not in it.
        lost: names of rows whose file is missing; these rows are not in it either.
    """

    manifest: Manifest
    linked: int = 0
    reused: int = 0
    copied: int = 0
    copied_bytes: int = 0
    deleted: int = 0
    lost: list[str] = field(default_factory=list)


def backup(
    config: Config, store: Storage, target: Path, progress: Progress, *, force: bool = False
) -> Made:
    """Make a backup in the new folder `target`, beside a running server or without one. The
    database is open (`models`), in whatever schema.

    Args:
        progress: told of bytes done and all.
        force: make it although many files are missing.

    Raises:
        BackupError: it cannot be made; nothing is left behind.
        OSError, sqlite3.Error: disk or database refused; nothing is left behind.
    """
    if not isinstance(store, LocalStorage):
        raise BackupError([archive.IN_A_BUCKET])
    target = Path(os.path.abspath(target))
    if target.name.endswith(_PARTIAL):
        raise BackupError([f"{target}: this ending marks backups that are not finished"])
    if os.path.lexists(target):
        raise BackupError([f"{target}: there is something already; name a new folder"])
    if not target.parent.is_dir():
        raise BackupError([f"{target.parent}: there is no such folder"])  # a disk not mounted?
    if not config.database.is_file:
        raise BackupError(["PostgreSQL has its own backups: pg_dump, see docs/scaling.md"])
    if target.parent.resolve().is_relative_to(store.directory):
        raise BackupError([f"{target}: this lies among the uploads, which are public"])
    manifest = Manifest(time=models.now().strftime("%Y-%m-%dT%H:%M:%SZ"))
    with _unfinished(target) as folder:
        _copy_database(folder / archive.DATABASE)
        made = Made(manifest=manifest)
        with closing(sqlite3.connect(folder / archive.DATABASE, isolation_level=None)) as copied:
            faults = integrity_faults(copied)
            if faults:
                raise BackupError(faults)
            _keep_secret(config, folder, copied, manifest)
            _keep_files(store, folder, copied, made, progress, force)
            manifest.users = copied.execute("select count(*) from user").fetchone()[0]
        _seal(folder, manifest)
    return made


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A locked folder beside `target` that becomes it at the end, or disappears."""
    partial = target.with_name(target.name + _PARTIAL)
    _clean(target.parent, partial)
    partial.mkdir(mode=0o700)
    try:
        lock = os.open(partial / archive.UNFINISHED, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _try_lock(lock)
            yield partial
            archive.sync(partial)
            os.rename(partial, target)
            archive.sync(target.parent)
            os.unlink(target / archive.UNFINISHED)
        finally:
            os.close(lock)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
            _discard(partial)
        raise


def _clean(parent: Path, partial: Path) -> None:
    """Remove what interrupted backups left in `parent`."""
    for marker in parent.glob(f"*{_PARTIAL}/{archive.UNFINISHED}"):
        fd = os.open(marker, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # Where there are no locks, only what stands in our own way can be said to be dead.
            is_dead = _try_lock(fd, otherwise=marker.parent == partial)
            if is_dead:
                _discard(marker.parent)
        finally:
            os.close(fd)
        if not is_dead and marker.parent == partial:
            raise BackupError([f"{partial}: another backup is being made there"])
    try:
        partial.rmdir()  # cut short before its marker was made
    except FileNotFoundError:
        pass
    except OSError as error:
        raise BackupError([f"{partial}: this is in the way; remove it"]) from error


def _try_lock(fd: int, otherwise: bool = True) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return otherwise
    return True


def _discard(partial: Path) -> None:
    """Remove an unfinished backup, its marker last: cut short, this is done again."""
    for entry in list(os.scandir(partial)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        elif entry.name != archive.UNFINISHED:
            os.unlink(entry.path)
    (partial / archive.UNFINISHED).unlink(missing_ok=True)
    partial.rmdir()


def _copy_database(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    # By the connection of this process: it is closed under the write lock, and so can checkpoint
    # nothing beside a writer. All pages in one step are one snapshot, and hold up no writer.
    source: sqlite3.Connection = models.database.connection()
    with closing(sqlite3.connect(path, isolation_level=None)) as copied:
        copied.execute("pragma synchronous = off")  # synced as a whole at the end
        source.backup(copied)
        copied.execute("pragma journal_mode = delete")  # one file, whatever the original's mode


def _keep_secret(
    config: Config, folder: Path, copied: sqlite3.Connection, manifest: Manifest
) -> None:
    path = credentials.secret_path(config.database.path)
    try:
        source = path.open("rb")
    except FileNotFoundError:
        raise BackupError([f"{path}: the server secret is missing"]) from None
    with source:
        manifest.secret = archive.copy(source, folder / archive.SECRET, 0o600, lambda size: None)
    if not archive.secret_fits(copied, (folder / archive.SECRET).read_bytes()):
        raise BackupError([f"{path}: this secret does not belong to the database"])


def _keep_files(
    store: LocalStorage,
    folder: Path,
    copied: sqlite3.Connection,
    made: Made,
    progress: Progress,
    force: bool,
) -> None:
    for place in archive.FOLDERS.values():
        (folder / place).mkdir(mode=0o755)
    total = copied.execute("select coalesce(sum(size), 0) from item where state <> 'rejected'")
    keeper = _Keeper(store, folder, made, progress, total.fetchone()[0])
    missing: list[ItemRow] = []
    for row in archive.item_rows(copied):
        where, name = row.place
        entry = keeper.keep(where, name, where, row.entry)
        if entry is None and where == "pending":
            # Approved meanwhile. In this backup it still waits.
            entry = keeper.keep(where, name, "public", row.entry, source_name=row.name)
        if entry is None:
            missing.append(row)
            continue
        made.manifest.files[where][name] = entry
        if entry != row.entry:
            made.manifest.damaged.append(name)
    _drop(store, copied, missing, made, force)


def _drop(
    store: LocalStorage,
    copied: sqlite3.Connection,
    missing: list[ItemRow],
    made: Made,
    force: bool,
) -> None:
    """Take rows without a file out of the copied database; its triggers keep the totals right."""
    for row in missing:
        query = "select 1 from item where id = ? and state <> 'rejected'"
        still = models.database.execute_sql(query, (row.id,)).fetchall()
        where, name = row.place
        if still and store.changed(name, where=where) is None and not store.exists(row.name):
            made.lost.append(row.name)
    made.deleted = len(missing) - len(made.lost)
    rows = made.manifest.count + len(missing)
    if len(made.lost) > SPARED and len(made.lost) > rows * SPARED_SHARE and not force:
        told = f"{len(made.lost)} of {rows} files are missing: is this the right uploads folder?"
        raise BackupError([f"{store.directory}: {told} (--force makes the backup without them)"])
    copied.execute("pragma foreign_keys = on")  # tags and comments go too
    copied.execute("begin")
    copied.executemany("delete from item where id = ?", [(row.id,) for row in missing])
    copied.execute("commit")


def _seal(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, and bring everything to disk."""
    with (folder / archive.DATABASE).open("rb") as file:
        manifest.database = Entry(*archive.digest(file, lambda size: None))
        os.fsync(file.fileno())
    archive.write_manifest(folder, manifest)
    for place in archive.FOLDERS.values():
        archive.sync(folder / place)


class _Keeper:
    """Brings files into a backup, by the cheapest way that works."""

    def __init__(
        self, store: LocalStorage, folder: Path, made: Made, progress: Progress, total: int
    ) -> None:
        self.store = store
        self.folder = folder
        self.made = made
        self.progress = progress
        self.total = total
        self.done = 0
        self.can_link = True
        self.sources = {"public": store.directory, "pending": store.directory / ".pending"}
        self.earlier: tuple[Path, Manifest] | None = None

    def keep(
        self, where: str, name: str, source: str, entry: Entry, source_name: str = ""
    ) -> Entry | None:
        """Bring a file to its place in the backup; what it really is, or None when it is gone."""
        target = self.folder / archive.FOLDERS[where] / name
        origin = self.sources[source] / (source_name or name)
        if self.can_link:
            is_gone, is_linked = self._link(origin, target, entry)
            if is_gone:
                return None
            if is_linked:
                self.made.linked += 1
                self._step(entry.size)
                return entry
        if self._reuse(where, name, target, entry):
            self.made.reused += 1
            self._step(entry.size)
            return entry
        opened = (
            self.store.open_file(origin.name)
            if source == "public"
            else self.store.open_pending(origin.name)
        )
        if opened is None:
            return None
        with opened:
            copied = archive.copy(opened, target, 0o644, self._step)
        self.made.copied += 1
        self.made.copied_bytes += copied.size
        return copied

    def _link(self, origin: Path, target: Path, entry: Entry) -> tuple[bool, bool]:
        """Whether the origin is gone, and whether the target is now a link to it."""
        try:
            os.link(origin, target, follow_symlinks=False)
        except FileNotFoundError:
            return True, False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self.can_link = error.errno != errno.EXDEV
            if not self.can_link:
                self.earlier = _find_earlier(self.folder)
            return False, False
        status = os.lstat(target)
        if stat.S_ISREG(status.st_mode) and status.st_size == entry.size:
            return False, True
        os.unlink(target)  # not as the row says: copied, and looked at in doing so
        return False, False

    def _reuse(self, where: str, name: str, target: Path, entry: Entry) -> bool:
        if self.earlier is None or self.earlier[1].files[where].get(name) != entry:
            return False
        try:
            os.link(self.earlier[0] / archive.FOLDERS[where] / name, target, follow_symlinks=False)
        except OSError:
            return False
        status = os.lstat(target)
        if stat.S_ISREG(status.st_mode) and status.st_size == entry.size:
            return True
        os.unlink(target)
        return False

    def _step(self, size: int) -> None:
        self.done += size
        self.progress(min(self.done, self.total), self.total)


def _find_earlier(folder: Path) -> tuple[Path, Manifest] | None:
    """The newest readable backup beside this one: it has what any earlier one could give."""
    found = [
        (path.stat().st_mtime, path.parent)
        for path in folder.parent.glob(f"*/{archive.MANIFEST}")
        if not path.parent.name.endswith(_PARTIAL)
    ]
    for _, candidate in sorted(found, reverse=True):
        try:
            return candidate, archive.read_manifest(candidate)
        except BackupError:
            continue
    return None
