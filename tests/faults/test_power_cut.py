"""Power cuts: what was acknowledged is on the disk at that moment, and what was deleted is not.

The real server runs on an ext4 in a file, is stopped between two system calls, and the file is
copied: what was not synced is not in it. The copy is mounted, started from, and compared. The
controls leave out a sync each, and must lose, or else these tests would be blind.
"""

import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from start import StartError
from tests.conftest import PASSWORD, Person
from tests.faults.conftest import Found, Host, begin_again, rows
from tests.faults.disks import Disks, run
from tests.faults.load import Client, Load, Record, once
from tests.faults.support import choose
from tests.live.conftest import PATIENCE

pytestmark = pytest.mark.live
CUTS = choose(3, 25)
CONTROL_CUTS = 3
MEGABYTES = choose(192, 512)
REMOVAL = Path(__file__).with_name("removal")
Change = tuple[str, str, str]  # file, what stands there once, what stands there instead
NO_FILES = ("storage_local_files.py", "os.fsync(self.fd)", "pass")
NO_FOLDERS = ("storage_local.py", " os.fsync(fd)\n", " pass\n")


class Bench:
    """A server on one disk, or with its database on a second one, and what its cuts showed."""

    def __init__(
        self,
        disks: Disks,
        make_host: Callable[..., Host],
        *,
        apart: bool,
        removed: Sequence[Change] = (),
        **keys: object,
    ) -> None:
        self.disks = disks
        self.disk = disks.file(MEGABYTES)
        self.database_disk = disks.file(64) if apart else None
        variables = {"PYTHONPATH": str(REMOVAL), "REMOVED_SAFEGUARD": json.dumps(removed)}
        self.host = make_host(
            disk=self.disk.path,
            database_disk=self.database_disk.path if self.database_disk else None,
            variables=variables if removed else {},
            **keys,
        )
        if removed or keys:  # only what the clients do shall be at stake
            for disk in filter(None, (self.disk, self.database_disk)):
                run("sync", "-f", str(disk.path))
        self.record = Record()
        self.cuts = self.acked = self.lost = self.corrupt = self.back = self.orphans = 0
        self.faults: list[object] = []
        self.began = time.monotonic()

    def cut(
        self, settle: Callable[[], Record], look: Callable[[Path, Path], list[object]] | None = None
    ) -> None:
        """Cut the power now, look at what is left, and go on as if nothing had been.

        Args:
            settle: gives what is acknowledged, once the server stands still.
            look: more to look at after the next start: database and uploads; gives faults.
        """
        self.cuts += 1
        self.host.pause()
        with ExitStack() as stack:
            try:
                record = settle()
                cut = self.disks.cut(self.disk)
                database_cut = self.disks.cut(self.database_disk) if self.database_disk else None
            except BaseException:
                self.host.resume()
                raise
            stack.callback(self.host.resume)
            path = self.disks.mounted(cut, stack)
            beside = self.disks.mounted(database_cut, stack) if database_cut else path
            database, uploads = beside / "kissa.db", path / "uploads"
            self.acked = record.acked
            # Before the start, whose sweep would remove them.
            back = sorted(name for name in record.deleted if (uploads / name).exists())
            self.back += len(back)
            if back:
                self.faults.append({"back before the start": back})
            try:
                begin_again(self.host.folder, database, uploads)
                found = Found(database, uploads, record)
            except (StartError, sqlite3.DatabaseError) as error:
                self.faults.append(error)
                self.lost += len(record.kept)
                return
            self.orphans += len(found.orphans)
            self.lost += len(found.lost)
            self.corrupt += len(found.corrupt)
            self.back += len(found.back)
            if found.faults:
                self.faults.append(found.faults)
            if look is not None:
                self.faults += look(database, uploads)

    @property
    def failures(self) -> int:
        return self.lost + self.corrupt + self.back

    def report(self, variant: str) -> None:
        print(
            f"power cut, {variant}: cuts={self.cuts} acked={self.acked} lost={self.lost}"
            f" corrupt={self.corrupt} back={self.back} orphans={self.orphans}"
            f" seconds={time.monotonic() - self.began:.0f}"
        )


def cut_under_load(bench: Bench, cuts: int) -> None:
    """Uploads and deletes by four clients, and cuts at any moment."""
    person = bench.host.person("alice")
    with Load(bench.host.port, person, bench.record) as load:
        try:
            for _ in range(cuts):
                load.until(choose(20, 40))
                bench.cut(load.settle)
        finally:
            bench.host.kill()


def cut_when_quiet(bench: Bench, cuts: int) -> None:
    """One upload or delete, and a cut as soon as it is answered: nobody else's sync covers it."""
    person = bench.host.person("alice")
    for number in range(cuts):
        once(bench.host.port, person, bench.record, Client.upload, 2 * number)
        once(bench.host.port, person, bench.record, Client.upload, 2 * number + 1)
        bench.cut(bench.record.copy)
        once(bench.host.port, person, bench.record, Client.delete, number)
        bench.cut(bench.record.copy)
    assert bench.record.acked == 3 * cuts


def cut_deletes(bench: Bench, cuts: int) -> None:
    """Nothing but deletes, four at a time."""
    person = bench.host.person("alice")
    many = 30
    with Load(bench.host.port, person, bench.record, deletes=0, sizes=(100, 20_000)) as load:
        load.until(cuts * many)
    for number in range(cuts):
        with Load(bench.host.port, person, bench.record, seed=number, deletes=1) as load:
            load.until(many // 2)
            bench.cut(load.settle)
    assert len(bench.record.deleted) >= cuts * many // 2


def cut_purges(bench: Bench, cuts: int) -> None:
    """An account ends: a cut somewhere on the way, and one when that is answered."""
    host = bench.host
    stays = host.person("stays")
    with Load(host.port, stays, bench.record, deletes=0, sizes=(100, 20_000)) as load:
        load.until(10)
    for number in range(cuts):
        goes = host.person(f"goes{number}")
        own = Record()
        with Load(host.port, goes, own, seed=number + 1, deletes=0, sizes=(100, 20_000)) as load:
            load.until(40)

        def look(
            database: Path, uploads: Path, goes: Person = goes, own: Record = own
        ) -> list[object]:
            """All of an account is there, or nothing of it."""
            there = bool(rows(database, "select 1 from user where username = ?", goes.username))
            files = {name for name in own.kept if (uploads / name).exists()}
            return [] if files == (set(own.kept) if there else set()) else [goes.username, files]

        def gone(database: Path, uploads: Path, goes: Person = goes) -> list[object]:
            del uploads
            return list(rows(database, "select id from user where username = ?", goes.username))

        bench.record.uncertain |= own.kept
        ending = threading.Thread(target=end, args=(host, goes))
        ending.start()
        time.sleep(random.uniform(0.002, 0.02))
        bench.cut(bench.record.copy, look)
        ending.join(PATIENCE)
        assert not ending.is_alive()
        for name in own.kept:
            del bench.record.uncertain[name]
        bench.record.deleted |= set(own.kept)
        bench.cut(bench.record.copy, gone)


def end(host: Host, person: Person) -> None:
    host.ask("/api/user/delete", {"username": person.username, "password": PASSWORD})


VARIANTS = {
    "everything on one disk": (cut_under_load, False),
    "database on another disk": (cut_under_load, True),
    "quiet server": (cut_when_quiet, False),
    "quiet server, database on another disk": (cut_when_quiet, True),
    "deletes": (cut_deletes, True),
    "account purge": (cut_purges, True),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_power_cut_loses_nothing(
    disks: Disks, make_host: Callable[..., Host], variant: str
) -> None:
    cut, apart = VARIANTS[variant]
    bench = Bench(disks, make_host, apart=apart)
    cut(bench, CUTS)
    bench.report(variant)
    assert bench.faults == []
    assert bench.record.odd == []
    bench.host.require_quiet()


CONTROLS: dict[str, tuple[str, list[Change], str]] = {
    "no sync at all": ("everything on one disk", [], "false"),
    "no sync of files": ("everything on one disk", [NO_FILES], "true"),
    "no sync of folders": ("quiet server, database on another disk", [NO_FOLDERS], "true"),
    "no sync of folders, deletes": ("deletes", [NO_FOLDERS], "true"),
    "no sync of folders, account purge": ("account purge", [NO_FOLDERS], "true"),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_power_cut_sees_a_missing_sync(
    disks: Disks, make_host: Callable[..., Host], control: str
) -> None:
    variant, removed, durable = CONTROLS[control]
    cut, apart = VARIANTS[variant]
    bench = Bench(disks, make_host, apart=apart, removed=removed, storage_durable=durable)
    cut(bench, CONTROL_CUTS)
    bench.report(f"control, {control}")
    assert bench.failures > 0
