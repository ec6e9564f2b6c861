"""Looking for what does not fit: rows, files, totals, and nginx's limit."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from peewee import fn

import archive
import models
import upkeep
from config import Config
from models import Item
from storage import Storage, Where

_BATCH = 500
_FIELDS = (Item.id, Item.name, Item.pending_name, Item.size, Item.sha256)
_LIMIT = re.compile(r"(?:^|[;{\s])client_max_body_size\s+([0-9]+)([kKmMgG]?)\s*;")
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_DEFAULT_LIMIT = 1024**2  # nginx's, when nothing is said
NGINX = ("/etc/nginx/sites-enabled", "kissa*")


@dataclass(slots=True, kw_only=True)
class Report:
    """What a check found; everything but `items`, `files` and `bytes` is a fault.

    Args:
        items, bytes: how many rows with bytes there are, and what they should amount to.
        files: how many files lie in the folders.
        lost: names of rows without their file.
        orphans: files without a row, as folder and name.
        sizes, wrong, unreadable: files of another size, with other bytes, that cannot be read.
        totals: counters that do not agree with the rows, and what SQLite finds wrong.
        nginx: settings that do not fit.
    """

    items: int = 0
    bytes: int = 0
    files: int = 0
    lost: list[str] = field(default_factory=list)
    orphans: list[tuple[Where, str]] = field(default_factory=list)
    sizes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    totals: list[str] = field(default_factory=list)
    nginx: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """A line for each fault."""
        return [
            *(f"upload without its file: {name}" for name in self.lost),
            *(f"{where} file without an upload: {name}" for where, name in self.orphans),
            *(f"wrong size: {told}" for told in self.sizes),
            *(f"wrong bytes: {name}" for name in self.wrong),
            *(f"unreadable: {told}" for told in self.unreadable),
            *self.totals,
            *self.nginx,
        ]


class _Row(NamedTuple):
    id: int
    name: str
    pending_name: str | None
    size: int
    sha256: bytes


def check(store: Storage, progress: Callable[[int, int], None], *, hashes: bool = False) -> Report:
    """Compare every row with its file and the reverse, beside a running server or without one.

    Args:
        progress: told of bytes done and all.
        hashes: also read every file, and compare its SHA-256.
    """
    report = Report()
    report.totals += _database_faults()
    total = sum(size for (size,) in models.rows(models.User.select(models.User.bytes)))
    last = 0
    while True:
        query = Item.select(*_FIELDS).where(Item.id > last, ~models.REJECTED)
        page = [_Row(*row) for row in models.rows(query.order_by(Item.id).limit(_BATCH))]
        for row in page:
            report.items += 1
            report.bytes += row.size
            _look(store, row, report, hashes)
            progress(min(report.bytes, total), total)
        if len(page) < _BATCH:
            break
        last = page[-1].id
    found = upkeep.look(store, rows=False)
    report.files, report.orphans = found.files, found.orphans
    return report


def _look(store: Storage, row: _Row, report: Report, hashes: bool) -> None:
    try:
        file = (
            store.open_pending(row.pending_name) if row.pending_name else store.open_file(row.name)
        )
        if file is None:
            _missing(store, row, report, hashes)
            return
        with file:
            size = store.status(file).size
            if size != row.size:
                report.sizes.append(f"{row.name}: {size} bytes instead of {row.size}")
            elif hashes and _sha256(file) != row.sha256:
                report.wrong.append(row.name)
    except OSError as error:
        report.unreadable.append(f"{row.name}: {error.strerror}")


def _sha256(file: BinaryIO) -> bytes:
    return bytes.fromhex(archive.digest(file, lambda size: None)[1])


def _missing(store: Storage, row: _Row, report: Report, hashes: bool) -> None:
    """Without its file: lost, or deleted or approved a moment ago."""
    again = models.rows(Item.select(*_FIELDS).where(Item.id == row.id, ~models.REJECTED))
    if again and _Row(*again[0]) == row:
        report.lost.append(row.name)
    elif again:
        _look(store, _Row(*again[0]), report, hashes)


def _database_faults() -> list[str]:
    """What is wrong inside the database, each answered by one statement and so at one moment."""
    told = models.find_damage()
    users = models.database.execute_sql(
        'select "user".id, file_count, "user".bytes, count(item.id), coalesce(sum(item.size), 0)'
        ' from "user" left join item on item.user_id = "user".id and item.state <> \'rejected\''
        ' group by "user".id having file_count <> count(item.id)'
        ' or "user".bytes <> coalesce(sum(item.size), 0)'
    ).fetchall()
    told += [
        f"wrong totals: user #{user_id} counts {files} files of {size} bytes instead of"
        f" {right_files} of {right_size}"
        for user_id, files, size, right_files, right_size in users
    ]
    public = Item.state.in_(("unlisted", "listed"))
    both = Item.select(models.summed("files"), fn.COUNT(Item.id)).where(public)
    ((kept, right),) = models.rows(both)
    if kept != right:
        told.append(f"wrong totals: {kept} public files instead of {right}")
    return told


def find_nginx() -> list[Path]:
    """Kissa's files among those that nginx uses on this machine."""
    folder, pattern = NGINX
    return sorted(path for path in Path(folder).glob(pattern) if os.access(path, os.R_OK))


def nginx_faults(config: Config, path: Path) -> list[str]:
    """Compare nginx's limit on request bodies in the file `path` with ours.

    Returns:
        a line for what does not fit.

    Raises:
        OSError: the file cannot be read.
    """
    text = re.sub(r"(?m)(?:^|(?<=\s))#.*$", "", path.read_text(errors="replace"))
    limits = [int(number) * _UNITS[unit.lower()] for number, unit in _LIMIT.findall(text)]
    ours = config.uploads.max_body_bytes
    advice = f"max_size_mb = {config.uploads.max_size_mb} needs {ours // 1024**2}m"
    found = max(limits, default=_DEFAULT_LIMIT)
    if not limits:
        return [f"{path}: client_max_body_size is not set, so it is 1m; {advice}"]
    if 0 in limits:
        return [f"{path}: client_max_body_size 0 lets any body in; {advice}"]
    if found != ours:
        what = "refuses uploads that Kissa takes" if found < ours else "lets larger bodies in"
        shown = f"{found // 1024**2}m" if found % 1024**2 == 0 else str(found)
        return [f"{path}: client_max_body_size {shown} {what}; {advice}"]
    return []
