"""What a backup is: a folder with the database, the secret, the files and a manifest of them."""

import hashlib
import json
import os
import re
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import credentials
import models
import storage
from sqlite import integrity_faults

VERSION = 1
MANIFEST = "manifest.json"
DATABASE = "kissa.db"
SECRET = "kissa.secret"
FOLDERS = {"public": "uploads", "pending": "uploads/.pending"}
UNFINISHED = ".unfinished"  # lies in a backup while it is made, locked by who makes it
BLOCK = 1024 * 1024

Progress = Callable[[int, int], None]  # done and all, in bytes

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
IN_A_BUCKET = (
    "the files are in a bucket (backend = s3): back up bucket and database by their own means, "
    "see docs/s3.md"
)
_PATTERNS = {"public": storage.NAME_PATTERN, "pending": re.compile(r"[A-Za-z0-9]{32}", re.ASCII)}


class BackupError(Exception):
    """A backup cannot be made or used; `faults` holds one line for each reason."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class Entry(NamedTuple):
    """A file of a backup: its size in bytes and its SHA-256 as hex."""

    size: int
    sha256: str


_NOTHING = Entry(0, "")


@dataclass(slots=True, kw_only=True)
class Manifest:
    """What a backup holds.

    Args:
        time: when its database was copied, RFC 3339.
        users: how many there are.
        files: the files by folder (public, pending) and name.
        damaged: names of files that were not as their row says when they were copied.
    """

    time: str
    users: int = 0
    database: Entry = _NOTHING
    secret: Entry = _NOTHING
    files: dict[str, dict[str, Entry]] = field(
        default_factory=lambda: {"public": {}, "pending": {}}
    )
    damaged: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """The size of all uploads."""
        return sum(entry.size for files in self.files.values() for entry in files.values())

    @property
    def count(self) -> int:
        """How many uploads there are, waiting ones included."""
        return sum(map(len, self.files.values()))

    def as_json(self) -> dict[str, Any]:
        """The manifest as it is written."""
        public, pending = (
            {name: entry._asdict() for name, entry in self.files[where].items()}
            for where in ("public", "pending")
        )
        counts = {"users": self.users, "files": len(public), "pending": len(pending)}
        return {
            "version": VERSION,
            "time": self.time,
            "counts": counts | {"bytes": self.bytes},
            "database": self.database._asdict(),
            "secret": self.secret._asdict(),
            "damaged": self.damaged,
            "files": public,
            "pending": pending,
        }


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the backup in `folder`.

    Raises:
        BackupError: there is none that this Kissa can read.
    """
    path = folder / MANIFEST
    try:
        given = json.loads(path.read_bytes())
    except OSError as error:
        raise BackupError([f"{path}: no backup can be read here ({error.strerror})"]) from error
    except ValueError as error:
        raise BackupError([f"{path}: the manifest is damaged"]) from error
    version = given.get("version") if isinstance(given, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise BackupError([f"{path}: this backup is of a newer Kissa; upgrade this one"])
    try:
        if version != VERSION:
            raise ValueError
        files = {
            where: {
                _matching(_PATTERNS[where], name): _entry(value)
                for name, value in given[key].items()
            }
            for where, key in (("public", "files"), ("pending", "pending"))
        }
        manifest = Manifest(
            time=str(given["time"]),
            users=int(given["counts"]["users"]),
            database=_entry(given["database"]),
            secret=_entry(given["secret"]),
            files=files,
            damaged=[str(name) for name in given["damaged"]],
        )
        if given["counts"] != manifest.as_json()["counts"]:
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BackupError([f"{path}: the manifest is damaged"]) from error
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of the backup in `folder`, and bring it to disk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(folder / MANIFEST, flags, 0o600), "w") as file:
        # Sections on lines of their own; a million files in one line are no matter.
        lines = (
            f"{json.dumps(key)}: {json.dumps(value)}" for key, value in manifest.as_json().items()
        )
        file.write("{\n" + ",\n".join(lines) + "\n}\n")
        file.flush()
        os.fsync(file.fileno())


def _entry(given: Any) -> Entry:
    size = given["size"]
    if type(size) is not int or size < 0:
        raise ValueError
    return Entry(size, _matching(_SHA256, given["sha256"]))


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError  # such as a path that leads out of the backup
    return text


def verify(folder: Path, progress: Progress) -> Manifest:
    """Read and check everything in the backup in `folder`.

    Returns:
        its manifest, when all is well.

    Raises:
        BackupError: with a line for each thing that is missing, wrong or too many.
    """
    manifest = read_manifest(folder)
    total = manifest.database.size + manifest.secret.size + manifest.bytes
    done = 0

    def step(size: int) -> None:
        nonlocal done
        done += size
        progress(done, total)

    faults: list[str] = []
    known = [(DATABASE, manifest.database), (SECRET, manifest.secret)]
    for path, entry in known:
        faults += _file_faults(folder, path, entry, step)
    if not faults:
        faults += _database_faults(folder, manifest)
    for where, place in FOLDERS.items():
        for name, entry in manifest.files[where].items():
            faults += _file_faults(folder, f"{place}/{name}", entry, step)
        faults += [
            f"{place}/{name}: the manifest does not know this file"
            for name in _names(folder / place)
            if name not in manifest.files[where]
        ]
    if faults:
        raise BackupError(faults)
    return manifest


def _names(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        return


def _file_faults(
    folder: Path, path: str, entry: Entry, step: Callable[[int], None]
) -> Iterator[str]:
    try:
        file = open_regular(folder / path)
        if file is None:
            yield f"{path}: missing"
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            if size != entry.size:
                yield f"{path}: {size} bytes instead of {entry.size}"
            elif digest(file, step)[1] != entry.sha256:
                yield f"{path}: the bytes are wrong"
    except OSError as error:
        yield f"{path}: cannot be read ({error.strerror})"


def open_database(path: Path) -> sqlite3.Connection:
    """A database that nobody else uses, for reading; nothing is written beside it."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)


def _database_faults(folder: Path, manifest: Manifest) -> Iterator[str]:
    try:
        with closing(open_database(folder / DATABASE)) as database:
            yield from integrity_faults(database)
            newer = unknown_migrations(database)
            if newer:
                yield f"{DATABASE}: of a newer Kissa ({', '.join(newer)}); upgrade this one"
            secret = (folder / SECRET).read_bytes()
            if not secret_fits(database, secret):
                yield f"{SECRET}: this secret does not belong to the database"
            yield from _row_faults(database, manifest)
    except sqlite3.Error as error:
        yield f"{DATABASE}: {error}"


def _row_faults(database: sqlite3.Connection, manifest: Manifest) -> Iterator[str]:
    count = 0
    damaged = set(manifest.damaged)
    for row in item_rows(database):
        count += 1
        where, name = row.place
        entry = manifest.files[where].get(name)
        if entry is None:
            yield f"{FOLDERS[where]}/{name}: in the database, and not in the manifest"
        elif entry != row.entry and name not in damaged:
            yield f"{FOLDERS[where]}/{name}: database and manifest disagree"
    if count < manifest.count:
        yield f"{manifest.count - count} files of the manifest are not in the database"


class ItemRow(NamedTuple):
    """What a backup needs of an item that has bytes."""

    id: int
    name: str
    pending_name: str | None
    entry: Entry

    @property
    def place(self) -> tuple[Literal["public", "pending"], str]:
        """Folder and name of its bytes."""
        return ("pending", self.pending_name) if self.pending_name else ("public", self.name)


def item_rows(database: sqlite3.Connection) -> Iterator[ItemRow]:
    """The items of a copied database that have bytes, oldest first. Any schema since the first."""
    query = "select id, name, pending_name, size, sha256 from item where state <> 'rejected'"
    for item_id, name, pending, size, sha256 in database.execute(f"{query} order by id"):
        yield ItemRow(item_id, name, pending, Entry(size, sha256.hex()))


def unknown_migrations(database: sqlite3.Connection) -> list[str]:
    """The migrations of a copied database that this Kissa does not have."""
    known = {path.stem for path in models.MIGRATIONS.glob("[0-9]*.py")}
    names = database.execute("select name from schema_migration order by name")
    return [name for (name,) in names if name not in known]


def secret_fits(database: sqlite3.Connection, secret: bytes) -> bool:
    """Whether the newest token in a copied database came from `secret`."""
    newest = database.execute("select token_nonce, token_hash from user order by id desc limit 1")
    row = newest.fetchone()
    if row is None:
        return True
    token = credentials.derive_token(secret, credentials.UPLOAD, row[0])
    return bool(credentials.hash_key(token) == row[1])


# Files


def open_regular(path: Path) -> BinaryIO | None:
    """The regular file `path` for reading, or None; follows no symbolic link."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return os.fdopen(fd, "rb")


def digest(
    source: BinaryIO, step: Callable[[int], None], target: BinaryIO | None = None
) -> tuple[int, str]:
    """Read `source` to its end, and write it to `target`. Returns its size and SHA-256 as hex."""
    size, sha256 = 0, hashlib.sha256()
    while block := source.read(BLOCK):
        sha256.update(block)
        size += len(block)
        if target is not None:
            target.write(block)
        step(len(block))
    return size, sha256.hexdigest()


def copy(source: BinaryIO, path: Path, mode: int, step: Callable[[int], None]) -> Entry:
    """Copy `source` to the new file `path`, and to disk: with `mode` whatever the umask, and with
    the time of the original, which servers tell as Last-Modified."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as target:
        entry = Entry(*digest(source, step, target))
        target.flush()
        status = os.fstat(source.fileno())
        os.fchmod(fd, mode)
        os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.fsync(fd)
    return entry


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
