"""The items in partitions by id: which lists and look-ups stay as they are, and which do not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from peewee import fn

import gallery
import models
import shelf
from bench import row_times
from bench.plan import say
from bench.results import Results
from bench.servers import Failed
from gallery import Filter
from models import Item, User
from tests.postgres import Cluster

PART = "partitions"
NUMBER = 20
CALLS = 50
# Of item's indexes all but the unique one on the name, which a partition by id cannot have.
MAKE = """
create table item_parted (like item including defaults, primary key (id)) partition by range (id);
create table item_by_name (name varchar(64) primary key, item_id bigint not null);
"""
NO_UNIQUE = "create unique index on item_parted (name)"


def _make(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    run = connection.execute
    run(MAKE)
    found = run("select max(id) from item").fetchone()
    assert found is not None
    each = int(str(found[0])) // NUMBER + 1
    for part in range(NUMBER):
        start, end = part * each, (part + 1) * each
        run(
            f"create table item_parted_{part} partition of item_parted"
            f" for values from ({start}) to ({end})"
        )
    run("insert into item_parted select * from item")
    run("insert into item_by_name select name, id from item")
    kept = run(
        "select pg_get_indexdef(indexrelid) from pg_index"
        " where indrelid = 'item'::regclass and not indisunique"
    ).fetchall()
    for (definition,) in kept:
        text = str(definition).replace("public.item ", "item_parted ")
        name = text.split()[2]
        run(text.replace(f"INDEX {name} ON", f"INDEX parted_{name} ON").encode())
    run("create index parted_item_name on item_parted (name)")
    run("analyze item_parted")
    run("analyze item_by_name")


def can_be_unique(url: str) -> str:
    """What PostgreSQL says to a unique index on the name of a table in partitions by id."""
    with psycopg.connect(url) as connection:
        try:
            connection.execute(NO_UNIQUE)
        except psycopg.Error as error:
            return str(error).partition("\n")[0]
    return ""


@contextmanager
def _instead(url: str) -> Iterator[None]:
    """With the partitions in the place of the table, for reading."""
    swaps = ("item", "item_whole"), ("item_parted", "item")
    with psycopg.connect(url, autocommit=True) as connection:
        for old, new in swaps:
            connection.execute(f"alter table {old} rename to {new}")
        try:
            yield
        finally:
            for old, new in reversed(swaps):
                connection.execute(f"alter table {new} rename to {old}")


def measure(cluster: Cluster, folder: Path, rows: int, results: Results) -> None:
    """Every read of row_times, with one table and with partitions of it."""
    base = row_times.Base(cluster, folder / f"rows-{rows}", rows)
    base.make(cluster)
    with psycopg.connect(base.url) as connection:
        found = connection.execute("select to_regclass('item_parted')").fetchone()
        if found == (None,):
            say(f"partitions: copying {rows:,} rows into {NUMBER} partitions")
            _make(connection)
    results.note(f"A unique name: {can_be_unique(base.url)}.")
    whole = _shown(base.url)
    with _instead(base.url):
        if _shown(base.url) != whole:
            raise Failed("partitions: the lists are not the same")
    raw = Results({})
    for number in range(row_times.ROUNDS):
        say(f"partitions: round {number + 1} of {row_times.ROUNDS}")
        base.time(raw, CALLS, part=PART, measure="one table", with_writes=False)
        with _instead(base.url):
            base.time(raw, CALLS, part=PART, measure="partitions", with_writes=False)
        _look_up(base.url, raw)
    row_times.summed_up(raw, PART, results)


def _shown(url: str) -> list[list[int]]:
    """The ids on some pages, deep and shallow ones."""
    models.open_database(url)
    try:
        owner = User.get(User.username == row_times.OWNER)
        pages = []
        for order in shelf.ORDERS:
            page = shelf.list_page(owner, order=order)
            for _ in range(3):
                pages.append([item.id for item in page.items])
                page = shelf.list_page(owner, order=order, after=page.after or "")
        middle = models.rows(Item.select(fn.MAX(Item.id)))[0][0] // 2
        for what in (Filter(), Filter(tags=("tag1", "tag2")), Filter(username=row_times.OWNER)):
            found = gallery.list_gallery(what, before=middle).items
            pages.append([item.id for item in found])
        return pages
    finally:
        models.close_database()


def _look_up(url: str, results: Results) -> None:
    """A name by a table of names, which is what would keep it unique."""
    asked = (
        "select item_parted.* from item_by_name join item_parted on id = item_id"
        " where item_by_name.name = %s"
    )
    models.open_database(url)
    try:
        names = [name for (name,) in models.rows(Item.select(Item.name).limit(CALLS))]
        for name in names:
            taken = row_times.milliseconds(
                lambda name=name: models.database.execute_sql(asked, (name,)).fetchall()  # type: ignore[misc]
            )
            results.add(PART, "a file by its name, with a table of names", "partitions", taken)
    finally:
        models.close_database()
