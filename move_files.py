"""The files' part of a move: copied beside the running server, then what came meanwhile."""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

import models
from models import Item, User
from storage import MIB, Storage, Where

THREADS = 8
_BATCH = 500
SPARED = 10  # more lost files than so many, and than SPARED_SHARE, are taken for a mistake
SPARED_SHARE = 0.01
_PLACES: tuple[Where, ...] = ("public", "pending")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How far a copy is: of so many files and bytes, so many are there."""

    files: int
    bytes: int
    all_files: int
    all_bytes: int


Progress = Callable[[Done], None]


@dataclass(slots=True, kw_only=True)
class Copied:
    """What became of the files.

    Args:
        files, bytes: what the rows speak of, and is at the target now.
        copied, copied_bytes: how much of it was brought there now; the rest was there.
        removed: what was at the target without a row.
        lost: names of rows whose file is missing.
        damaged: names of files whose bytes are not those that were uploaded; moved as they are.
        seconds: that it took.
    """

    files: int = 0
    bytes: int = 0
    copied: int = 0
    copied_bytes: int = 0
    removed: int = 0
    lost: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    seconds: float = 0.0


class _Row(NamedTuple):
    id: int
    where: Where
    name: str
    size: int
    sha256: bytes


class _Brought(NamedTuple):
    size: int
    is_new: bool
    is_right: bool


class _There:
    """What lies at the target. On the disk, since a host may have millions of files."""

    def __init__(self, target: Storage) -> None:
        self._database = sqlite3.connect("")  # a file without a name, gone at the end
        self._run = self._database.execute
        self._run("pragma synchronous = off")
        self._run(
            "create table there (place text, name text, size integer, has_row integer default 0,"
            " primary key (place, name)) without rowid"
        )
        for where in _PLACES:
            named = ((where, name, size) for name, size in target.list_sizes(where=where))
            self._database.executemany(
                "insert or replace into there (place, name, size) values (?, ?, ?)", named
            )

    def close(self) -> None:
        self._database.close()

    def count(self) -> int:
        return int(self._run("select count(*) from there").fetchone()[0])

    def find(self, row: _Row) -> int | None:
        """Its size there; and that it has a row is noted."""
        key = (row.where, row.name)
        found = self._run("select size from there where place = ? and name = ?", key).fetchone()
        if found is not None:
            self._run("update there set has_row = 1 where place = ? and name = ?", key)
        return None if found is None else int(found[0])

    def without_row(self) -> list[tuple[Where, str]]:
        return self._run("select place, name from there where has_row = 0").fetchall()


class TargetInUse(Exception):
    """Most of what lies at the target is none of this host's; its text says how much."""


class FilesLost(Exception):
    """Too many rows have no file; its text says how many."""


def require_ours(target: Storage) -> None:
    """See that the target is empty, or has what an earlier move brought or left there.

    Raises:
        TargetInUse: it is another's.
    """
    with closing(_There(target)) as there:
        count = there.count()
        if not count:
            return
        for batch in _rows():
            for row in batch:
                there.find(row)
        foreign = len(there.without_row())
        if foreign * 2 > count:
            raise TargetInUse(f"{foreign} of the {count} files there are none of this host's")


def copy(source: Storage, target: Storage, progress: Progress, *, verify: bool = False) -> Copied:
    """Bring to the target what it lacks, beside a running server.

    Args:
        verify: whether what is there already is read too, and brought anew when its bytes are
            not the right ones.

    Raises:
        FilesLost: too many files are missing; is this the right place?
        OSError, Unavailable, NoSpace: source or target failed; the next call goes on.
    """
    return _Copy(source, target, progress, verify).run()


def finish(source: Storage, target: Storage, progress: Progress) -> Copied:
    """Bring what is lacking, and remove what has no row any more, while nothing changes.

    Raises:
        as `copy`.
    """
    copying = _Copy(source, target, progress, verify=False)
    return copying.run(also=copying.remove_surplus)


class _Copy:
    def __init__(self, source: Storage, target: Storage, progress: Progress, verify: bool) -> None:
        self._source = source
        self._target = target
        self._progress = progress
        self._verify = verify
        self._done = Copied()

    def run(self, also: Callable[[_There], None] = lambda there: None) -> Copied:
        began = time.monotonic()
        counted = User.select(User.file_count, User.bytes).where(~User.is_deleting)
        sizes = models.rows(counted)
        files, size = sum(row[0] for row in sizes), sum(row[1] for row in sizes)
        with closing(_There(self._target)) as there, ThreadPoolExecutor(THREADS) as pool:
            for batch in _rows():
                self._bring_all(pool, there, batch)
                done = self._done
                told = Done(files=done.files, bytes=done.bytes, all_files=files, all_bytes=size)
                self._progress(told)
            also(there)
        self._target.sync()
        self._require_few_lost()
        self._done.seconds = time.monotonic() - began
        return self._done

    def remove_surplus(self, there: _There) -> None:
        """What was deleted since it was copied must not come back."""
        surplus = there.without_row()
        for start in range(0, len(surplus), _BATCH):
            self._target.discard_all(surplus[start : start + _BATCH])
        self._done.removed = len(surplus)

    def _bring_all(self, pool: ThreadPoolExecutor, there: _There, batch: list[_Row]) -> None:
        sizes = [there.find(row) for row in batch]
        wanted = []
        for row, size in zip(batch, sizes, strict=True):
            if size == row.size and not self._verify:
                self._count(row, _Brought(row.size, is_new=False, is_right=True))
            else:
                wanted.append((row, size))
        self._target.require_space(sum(row.size for row, _ in wanted))
        # One that fails ends the command; those that have begun come to their end.
        for (row, _), brought in zip(wanted, pool.map(self._bring, wanted), strict=True):
            if brought is None:
                self._missing(row)
            else:
                self._count(row, brought)
        self._target.sync()

    def _count(self, row: _Row, brought: _Brought) -> None:
        self._done.files += 1
        self._done.bytes += brought.size
        if brought.is_new:
            self._done.copied += 1
            self._done.copied_bytes += brought.size
        if not brought.is_right:
            self._done.damaged.append(row.name)

    def _bring(self, wanted: tuple[_Row, int | None]) -> _Brought | None:
        """Bring one file; None when it is gone. Run by threads, which do not ask the database."""
        row, size = wanted
        if size == row.size and self._is_whole(row):
            return _Brought(row.size, is_new=False, is_right=True)
        opened = self._source.open_whole(row.name, where=row.where)
        if opened is None:
            return None
        with opened:
            if size is not None:
                self._target.discard(row.name, where=row.where)
            try:
                found = self._target.bring(opened, row.name, where=row.where)
            except FileNotFoundError:  # deleted in a bucket while it was read
                return None
        return _Brought(found[0], is_new=True, is_right=found == (row.size, row.sha256))

    def _is_whole(self, row: _Row) -> bool:
        opened = self._target.open_whole(row.name, where=row.where)
        if opened is None:
            return False
        with opened:
            digest = hashlib.sha256()
            while block := opened.read(MIB):
                digest.update(block)
        return digest.digest() == row.sha256

    def _missing(self, row: _Row) -> None:
        """Without its file: lost, or deleted or decided about a moment ago."""
        if [again for again in _read(Item.id == row.id) if again == row]:
            self._done.lost.append(row.name)

    def _require_few_lost(self) -> None:
        lost, all_ = len(self._done.lost), len(self._done.lost) + self._done.files
        if lost > SPARED and lost > all_ * SPARED_SHARE:
            raise FilesLost(f"{lost} of {all_} files are missing; see: flask check")


def _rows() -> Iterator[list[_Row]]:
    """All uploads with bytes, but those of accounts that are being ended."""
    last = 0
    while batch := _read(Item.id > last):
        last = batch[-1].id
        yield batch


def _read(condition: object) -> list[_Row]:
    fields = (Item.id, Item.name, Item.pending_name, Item.size, Item.sha256)
    query = Item.select(*fields).join(User).where(condition, ~models.REJECTED, ~User.is_deleting)
    return [
        _Row(id, "pending" if waiting else "public", waiting or name, size, bytes(sha256))
        for id, name, waiting, size, sha256 in models.rows(query.order_by(Item.id).limit(_BATCH))
    ]
