"""Faults made on purpose: the servers that they befall, and what must hold afterwards."""

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

import config as configuration
import models
import start as starting
from tests.faults.disks import Disks
from tests.faults.load import Record
from tests.live.conftest import Server, is_alive, until


class Host(Server):
    """A server whose disk is about to fail.

    Args:
        folder: configuration and log lie here.
        disk: uploads lie here, and the database unless it has a disk of its own.
        variables: for the environment of the server.
    """

    def __init__(
        self,
        folder: Path,
        *,
        disk: Path | None = None,
        database_disk: Path | None = None,
        variables: dict[str, str] | None = None,
        **keys: object,
    ) -> None:
        disk = disk or folder
        self.database = (database_disk or disk) / "kissa.db"
        self.variables = variables or {}
        self.keys = {
            "database_url": f"sqlite:///{self.database}",
            "storage_directory": disk / "uploads",
            "uploads_per_minute": 0,
        } | keys
        super().__init__(folder, **self.keys)
        self.uploads = disk / "uploads"

    @property
    def environ(self) -> dict[str, str]:
        return super().environ | self.variables

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return rows(self.database, query, *values)

    def pause(self) -> None:
        """Stop every process of the server where it stands, between two of its system calls."""
        assert self.process is not None
        everybody = [self.process.pid, *self.workers()]
        os.killpg(self.process.pid, signal.SIGSTOP)
        until(lambda: all(map(_is_stopped, everybody)), "all threads have stopped")

    def resume(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGCONT)

    def is_alive(self) -> bool:
        """Whether master and workers run."""
        workers = self.workers() if self.process and self.process.poll() is None else []
        return bool(workers) and all(map(is_alive, workers))


def _is_stopped(pid: int) -> bool:
    return all(
        path.read_text().rpartition(")")[2].split()[0] in "TZ"
        for path in Path(f"/proc/{pid}/task").glob("*/stat")
    )


def rows(database: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    """What a SELECT gives, by a connection that cannot write."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        return opened.execute(query, values).fetchall()


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Makes servers, migrated and, unless `start=False`, running; all ended with the test."""
    hosts: list[Host] = []

    def make(*, start: bool = True, **more: Any) -> Host:
        folder = tmp_path / f"host{len(hosts)}"
        folder.mkdir()
        host = Host(folder, **more)
        hosts.append(host)
        host.migrate()
        if start:
            host.start()
        return host

    yield make
    for host in hosts:
        host.end()
        host.session.close()


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Disks]:
    """Disks of files or memory, given back whatever happens. Ask for it before `make_host`: what
    a server holds open cannot be given back before its end."""
    with ExitStack() as stack:
        yield Disks(tmp_path, stack)


def begin_again(folder: Path, database: Path, uploads: Path) -> list[str]:
    """Do what a server does before its first request, in this process. Returns its notes."""
    environ = {
        "KISSA_CONFIG": str(folder / "config.ini"),
        "KISSA_DATABASE_URL": f"sqlite:///{database}",
        "KISSA_STORAGE_DIRECTORY": str(uploads),
    }
    assert models.database.obj is None, "a test before this one has left its database open"
    started = starting.prepare(configuration.load(environ=environ))
    os.close(started.lock)
    return started.notes


class Found:
    """What lies on a disk, beside what was acknowledged.

    After the start's sweep there is no file without a row, and no temporary file. A row without
    its file there may be only where a delete was asked for and never answered.
    """

    def __init__(
        self, database: Path, uploads: Path, record: Record, known: set[str] | None = None
    ) -> None:
        everything = {
            str(path.relative_to(uploads)) for path in uploads.rglob("*") if path.is_file()
        }
        query = "select name from item where state in ('unlisted', 'listed')"
        names = {name for (name,) in rows(database, query)}
        self.files, self.names = everything, names
        look = set(record.kept) - (known or set())
        gone = {name for name in record.kept if name not in everything or name not in names}
        self.corrupt = sorted(
            name for name in look - gone if not record.fits(name, (uploads / name).read_bytes())
        )
        self.lost = sorted(gone)
        self.back = sorted(record.deleted & (everything | names))
        self.orphans = sorted(everything - names)
        self.ghosts = sorted(names - everything - set(record.uncertain))
        query = "select coalesce(sum(size), 0), count(*) from item where state <> 'rejected'"
        sums = rows(database, query)
        totals = rows(
            database, "select coalesce(sum(bytes), 0), coalesce(sum(file_count), 0) from user"
        )
        counter = rows(database, "select value from counter where name = 'files'")
        self.totals = [] if sums == totals and counter == [(len(names),)] else [sums, totals]
        self.broken = rows(database, "pragma integrity_check") != [("ok",)]

    @property
    def faults(self) -> dict[str, Any]:
        """Everything that must not be; empty when all is well."""
        kinds = ("lost", "corrupt", "back", "orphans", "ghosts", "totals", "broken")
        return {kind: getattr(self, kind) for kind in kinds if getattr(self, kind)}
