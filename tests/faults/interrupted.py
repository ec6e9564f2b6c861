"""Acts that end in kill -9 at every step in turn, and the start after each.

Run as a process of its own: it imports everything once, and forks for each step. A step is what
changes the disk: a name made, moved or removed, a file opened for writing, a sync, an SQL
statement that writes, a commit. The kill comes right before it.

Its arguments are an act and an empty folder; it prints one JSON object.
"""

import io
import json
import os
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import accounts
import archive
import backup as backups
import check as checks
import cli
import config as configuration
import context
import items
import keys
import models
import restore as restores
import start as starting
from context import Services
from items import NewItem
from listing import Listing
from models import Item, User

WRITES = ("begin", "commit", "insert", "update", "delete", "create", "alter", "drop", "savepoint")
EVENTS = ("os.link", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod")
LISTING = Listing(
    rating="sfw",
    tags=("cat", "cute", "feline"),
    comment="mine",
    is_oc=False,
    is_shitpost=False,
)


class Steps:
    """Counts the steps of this process, and kills it right before step `last`."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.count = 0
        sys.addaudithook(self._event)
        fsync = os.fsync

        def counted_fsync(fd: int) -> None:
            self._step()
            fsync(fd)

        os.fsync = counted_fsync  # type: ignore[assignment]
        connect = sqlite3.connect

        def watched_connect(*args: Any, **named: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*args, **named)
            connection.set_trace_callback(self._statement)
            return connection

        sqlite3.connect = watched_connect  # type: ignore[assignment]

    def _event(self, event: str, args: tuple[Any, ...]) -> None:
        if event in EVENTS or (event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR)):
            self._step()

    def _statement(self, sql: str) -> None:
        if sql.lower().startswith(WRITES):
            self._step()

    def _step(self) -> None:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def load(folder: Path) -> configuration.Config:
    os.environ["KISSA_CONFIG"] = str(folder / "config.ini")
    return configuration.load()


def store_item(services: Services, user: User, content: bytes, *, listed: bool = False) -> int:
    new = NewItem(user_id=user.id, original_name="cat.png", listing=LISTING if listed else None)
    with services.storage.open() as file:
        file.write(content)
        return items.create(services.config, services.storage, new, file).id


def furnish(folder: Path) -> None:
    """An installation with people, uploads, an item that waits, and a backup of a while ago."""
    folder.mkdir()
    (folder / "config.ini").write_text(
        "[accounts]\nbcrypt_cost = 4\n[gallery]\nmanual_approval = true\n"
    )
    config = load(folder)
    config.storage.directory.mkdir()
    services = context.open_services(config)
    models.migrate()
    people = [
        accounts.create_admin(services.secret, 4, name, "correct horse")
        for name in ("root", "alice", "bob")
    ]
    for number in range(3):
        for user in people:
            store_item(services, user, b"%d of %d" % (number, user.id))
    keys.create_api_key(people[1], "tests")
    store_item(services, people[1], b"this one waits", listed=True)
    backups.backup(config, services.storage, folder / "backup", ignore)
    store_item(services, people[1], b"later than the backup")
    store_item(services, people[2], b"later, and waits", listed=True)
    context.close_services(services)
    shutil.copytree(models.MIGRATIONS, folder / "migrations")
    (folder / "migrations" / "0002_later.py").write_text(LATER)


def ignore(done: int, total: int) -> None:
    """No progress is shown."""


def user(name: str) -> User:
    found: User = User.get(User.username == name)
    return found


def waiting() -> Item:
    """Alice's item in the queue."""
    found: Item = Item.get(Item.id == 10)
    return found


class Act:
    """One act: how it is done, and what may be there after the start that follows its kill.

    Args:
        do: does it, in a process of its own.
        states: what `state` may give after a start: before the act and after it.
        state: tells how far it came, in an open installation.
        again: does what is left to do; without it nothing may be left.
    """

    def __init__(
        self,
        do: Callable[[Path], object],
        state: Callable[[Services], object],
        states: tuple[object, object],
        again: Callable[[Services], object] | None = None,
        loose: bool = False,
    ) -> None:
        self.do = do
        self.state = state
        self.states = states
        self.again = again
        self.loose = loose


def opened(work: Callable[[Services], object]) -> Callable[[Path], object]:
    def do(folder: Path) -> None:
        work(context.open_services(load(folder)))

    return do


def purge(services: Services) -> None:
    accounts._PURGE_BATCH = 2  # so that it takes several writes, as for thousands of files
    accounts.delete(services.storage, user("alice"), admin=user("root"))


def purged(services: Services) -> object:
    del services
    left = User.get_or_none(User.username == "alice")
    if left is None:
        return 0
    assert not left.is_deleting
    return left.file_count


def approve(services: Services) -> None:
    items.approve(services.storage, user("root"), waiting().id)


def reject(services: Services) -> None:
    items.reject(services.storage, user("root"), waiting().id, "no")


def decided(services: Services) -> object:
    item = waiting()
    public = services.storage.exists(item.name)
    held = len(list(services.storage.list_pending()))
    return [item.state, public, held if item.state != "pending" else "-"]


def upload(services: Services) -> None:
    store_item(services, user("bob"), b"a new one")


def delete(services: Services) -> None:
    items.delete_own(services.storage, user("alice"), Item.get(Item.id == 2).name)


def count(services: Services) -> object:
    del services
    return Item.select().count()


def backup(services: Services) -> None:
    target = services.config.folder / "second"
    backups.backup(services.config, services.storage, target, ignore)


def backed_up(services: Services) -> object:
    folder = services.config.folder
    target = folder / "second"
    is_there = target.exists()
    if is_there:
        archive.verify(target, ignore)
        shutil.rmtree(target)
    backup(services)
    manifest = archive.verify(target, ignore)
    assert manifest.count == Item.select().count() == 12
    left = [path.name for path in folder.iterdir() if "partial" in path.name]
    assert not left, left
    return is_there


def restore(folder: Path) -> None:
    restores.restore(load(folder), folder / "backup", ignore, force=True)


def restored(services: Services) -> object:
    folder = services.config.folder
    left = [path.name for path in folder.iterdir() if "restor" in path.name]
    aside = [name for name in left if ".before-restore-" in name]
    assert sorted(left) == sorted(aside), left
    assert not (services.config.storage.directory / ".restored").exists()
    archive.verify(folder / "backup", ignore)
    return [Item.select().count(), bool(aside)]


def migrate(folder: Path) -> None:
    """From nothing to a database."""
    os.environ["KISSA_DATABASE_URL"] = "sqlite:///fresh.db"
    os.environ["KISSA_STORAGE_DIRECTORY"] = "fresh"
    load(folder)
    _migrate()


def _migrate() -> None:
    command: Any = cli.migrate.callback
    with redirect_stdout(io.StringIO()):
        command()


LATER = '''
"""A later schema: a table, a column, an index, and other values in every row."""

def up(migrator, db):
    db.execute_sql("create table page (id integer primary key, text text not null)")
    db.execute_sql("alter table item add column views integer not null default 0")
    db.execute_sql("create index item_views on item (views)")
    db.execute_sql("update item set views = size")
    db.execute_sql("insert into page (text) select name from item")
'''


def upgrade(folder: Path) -> None:
    """From this version's database to one of a version to come."""
    models.MIGRATIONS = folder / "migrations"
    load(folder)
    _migrate()


def upgraded(services: Services) -> object:
    del services
    query = "select (select count(*) from page), count(*) from item where views = size"
    return list(models.database.execute_sql(query).fetchone())


ACTS = {
    "purge": Act(opened(purge), purged, (5, 0)),
    "approve": Act(opened(approve), decided, (["pending", False, "-"], ["listed", True, 1])),
    # Between the unlink and the commit: a row without its file, and rejecting again ends it.
    "reject": Act(
        opened(reject), decided, (["pending", False, "-"], ["rejected", False, 1]), reject, True
    ),
    "upload": Act(opened(upload), count, (12, 13)),
    "delete": Act(opened(delete), count, (12, 11), delete, True),
    "backup": Act(opened(backup), backed_up, (False, True)),
    "restore": Act(restore, restored, ([12, False], [10, True])),
    "migrate": Act(migrate, count, (0, 0)),
    "upgrade": Act(upgrade, upgraded, ([12, 12], [12, 12])),
}
MIGRATIONS = ("migrate", "upgrade")


def forked(work: Callable[[], object], report: Path | None = None) -> int:
    """Run `work` in a child. Returns its exit code, negative for a signal; a fault is in
    `report`."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            value = work()
            if report is not None:
                report.write_text(json.dumps(value))
            code = 0
        except BaseException:
            if report is not None:
                report.write_text(traceback.format_exc())
            else:
                traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def start_again(name: str, folder: Path) -> object:
    """What the next `make serve` does. Returns how far the act came."""
    act = ACTS[name]
    if name == "migrate":
        os.environ["KISSA_DATABASE_URL"] = "sqlite:///fresh.db"
        os.environ["KISSA_STORAGE_DIRECTORY"] = "fresh"
    config = load(folder)
    if name == "upgrade":
        models.MIGRATIONS = folder / "migrations"
    if name in MIGRATIONS:
        _migrate()
    started = starting.prepare(config)
    assert not any("nothing was swept" in note for note in started.notes), started.notes
    services = context.open_services(config)
    state = act.state(services)
    assert state in act.states, state
    faults = checks.check(services.storage, ignore, hashes=True).lines()
    if state == act.states[0] and act.again is not None:
        lost = [line for line in faults if "without its file" in line]
        assert faults == lost if act.loose else not faults, faults
        act.again(services)
        assert act.state(services) == act.states[1]
        faults = checks.check(services.storage, ignore, hashes=True).lines()
    assert faults == [], faults
    leftover = list(services.storage.list_incoming())
    assert leftover == [], leftover
    return state


def interrupt(name: str, folder: Path) -> dict[str, Any]:
    """Kill an act at each of its steps. Returns the figures."""
    act = ACTS[name]
    template = folder / "template"
    assert forked(lambda: furnish(template)) == 0
    done = {"kills": 0, "undone": 0, "finished": 0}
    faults: list[str] = []
    while True:
        copy, report = folder / "copy", folder / "report"
        shutil.copytree(template, copy)
        last = done["kills"] + 1

        def do(last: int = last, copy: Path = copy) -> None:
            Steps(last)
            act.do(copy)

        code = forked(do)
        assert code in (0, -signal.SIGKILL), f"{name}, step {last}: it failed by itself"
        report.unlink(missing_ok=True)
        if forked(lambda copy=copy: start_again(name, copy), report) != 0:  # type: ignore[misc]
            faults.append(f"{name}, killed before step {last}: {report.read_text()}")
        else:
            finished = json.loads(report.read_text()) == act.states[1]
            done["finished" if finished else "undone"] += 1
        shutil.rmtree(copy)
        if code == 0:
            return done | {"faults": faults}
        done["kills"] += 1


if __name__ == "__main__":
    print(json.dumps(interrupt(sys.argv[1], Path(sys.argv[2]))))
