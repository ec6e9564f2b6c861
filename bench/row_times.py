"""What the lists, look-ups and writes of PostgreSQL take, with few and with very many rows."""

import hashlib
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import median

import accounts
import config as configuration
import gallery
import items
import models
import people
import shelf
import statements
from bench import many_rows
from bench.plan import say
from bench.results import Results
from config import Config
from gallery import Filter
from items import NewItem
from listing import Listing
from models import Comment, Item, ItemTag, User
from storage import Storage
from storage_opening import open_storage
from tests.postgres import Cluster

PART = "rows"
CALLS = 200  # of each, at least: 99 of 100 means little below that
ROUNDS = 4  # in which both databases take turns
OWNER = "alice"
Call = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What of a database is asked for, at random."""

    owner: User
    ids: list[int]  # of listed items, all over the gallery
    own: list[Item]
    names: list[str]
    users: list[str]

    @classmethod
    def of(cls) -> "Sample":
        """From the open database."""
        owner = User.get(User.username == OWNER)
        (newest,) = models.rows(Item.select(Item.id).order_by(Item.id.desc()).limit(1))[0]
        some: list[Item] = []
        own: list[Item] = []
        while len(own) < CALLS:
            near = Item.id >= random.randrange(newest - newest // 20)
            some.extend(Item.select().where(near, models.LISTED).order_by(Item.id).limit(1))
            own.extend(Item.select().where(near, Item.user == owner.id).order_by(Item.id).limit(1))
        names = [item.name for item in some]
        users = [name for (name,) in models.rows(User.select(User.username).limit(1000))]
        return cls(owner=owner, ids=[item.id for item in some], own=own, names=names, users=users)


def reads(sample: Sample) -> dict[str, Call]:
    """What is timed, by what it is called."""
    pick = random.choice
    owner = sample.owner

    def page(order: str) -> Call:
        def call() -> None:
            item = pick(sample.own)
            value = {"largest": f"-{item.size}", "name": f"-{item.original_name}"}.get(order, "")
            shelf.list_page(owner, order=order, after=f"{item.id}{value}")

        return call

    def shown(what: Filter) -> Call:
        return lambda: gallery.list_gallery(what)

    def later(what: Filter) -> Call:
        return lambda: gallery.list_gallery(what, before=pick(sample.ids))

    def beside(what: Filter) -> Call:
        return lambda: gallery.neighbours(what, pick(sample.ids))

    everything = Filter(ratings=None)
    by_tag = {
        "a common tag": Filter(tags=("tag1",)),
        "a rare tag": Filter(tags=("tag9000",)),
        "two common tags": Filter(tags=("tag1", "tag2")),
        "a common and a rare tag": Filter(tags=("tag1", "tag9000")),
        "two rare tags": Filter(tags=("tag8000", "tag9000")),
        "a user": Filter(username=OWNER, ratings=None),
        "a user, and a tag": Filter(username=OWNER, tags=("tag1",)),
    }
    found: dict[str, Call] = {}
    for order in shelf.ORDERS:
        found[f"My files, {order}, first page"] = lambda order=order: shelf.list_page(  # type: ignore[misc]
            owner, order=order
        )
        found[f"My files, {order}, a later page"] = page(order)
    found["My files, searched"] = lambda: shelf.list_page(owner, search="shot 99999")
    found["gallery, first page"] = shown(Filter())
    found["gallery, a later page"] = later(Filter())
    found["gallery, every rating, a later page"] = later(everything)
    found["gallery, a rare rating, a later page"] = later(Filter(ratings=("nsfl",)))
    for name, what in by_tag.items():
        found[f"gallery of {name}, first page"] = shown(what)
        found[f"gallery of {name}, a later page"] = later(what)
    found["an item's neighbours"] = beside(Filter())
    found["an item's neighbours within a tag"] = beside(by_tag["a common tag"])
    found["an item with tags and comments"] = lambda: _item(pick(sample.ids))
    found["a file by its name"] = lambda: gallery.get_by_name(pick(sample.names))
    found["a token"] = lambda: statements.find_sender(
        hashlib.sha256(pick(sample.users).encode()).digest()
    )
    found["API: 60 of one's own names"] = lambda: list(gallery.list_names(owner, 60))
    found["API: all of the admins' list, 500 of it"] = lambda: list(gallery.list_uploads(None, 500))
    found["admins: uploads, a later page"] = lambda: people.list_uploads(before=pick(sample.ids))
    found["admins: uploads of a user"] = lambda: people.list_uploads(user=owner)
    found["admins: users that begin with a word"] = lambda: people.find_users("user1")
    found["admins: kinds of the newest files"] = people.count_kinds
    found["suggestions for a tag"] = lambda: gallery.suggest_tags("tag1", 10)
    found["the number of all files"] = gallery.count_public
    return found


def _item(item_id: int) -> None:
    item = gallery.get_item(item_id)
    gallery.tags_of([item])
    gallery.comments_of(item)


def writes(sample: Sample, config: Config, store: Storage) -> dict[str, Call]:
    """Uploads with their commit, and their end again; no row is left of them."""
    kept: list[str] = []
    listing = Listing(
        rating="sfw", tags=("tag1", "tag77", "tag4711"), is_oc=False, is_shitpost=False, comment=""
    )

    def store_one(listing: Listing | None) -> None:
        with store.open("a.png") as file:
            file.write(os.urandom(1024))
            new = NewItem(
                user_id=sample.owner.id, original_name="Screenshot 12.png", listing=listing
            )
            kept.append(items.create(config, store, new, file).name)

    def delete() -> None:
        items.delete_own(store, sample.owner, kept.pop())

    return {
        "an upload": lambda: store_one(None),
        "an upload to the gallery, three tags": lambda: store_one(listing),
        "a delete": delete,
        "another delete": delete,
    }


class Base:
    """One database with rows, and what is asked of it.

    Args:
        folder: where its files go.
        rows: how many it was given.
    """

    def __init__(self, cluster: Cluster, folder: Path, rows: int) -> None:
        self.rows, self.url = rows, cluster.url(f"rows{rows}")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "config.ini"
        path.write_text(
            f"[database]\nurl = {self.url}\nstate = {folder}/kissa\n"
            f"[storage]\ndirectory = {folder}/files\n[uploads]\nper_minute = 0\n",
            encoding="utf-8",
        )
        self.config = configuration.load(path, {})
        self.sample: Sample | None = None

    def make(self, cluster: Cluster) -> None:
        """Make it, unless it is there since an earlier run."""
        with suppress(Exception):
            models.open_database(self.url)
        if models.database.obj is not None:
            models.close_database()
            return
        say(f"rows: making {self.rows:,}, some half a minute for each million")
        begun = time.monotonic()
        cluster.create(f"rows{self.rows}")
        models.open_database(self.url)
        models.migrate()
        accounts.create_admin(os.urandom(32), 4, OWNER, "a password for benchmarks")
        models.close_database()
        many_rows.fill(self.url, OWNER, self.rows)
        say(f"rows: {self.rows:,} made in {time.monotonic() - begun:.0f} s")

    def time(
        self,
        results: Results,
        calls: int,
        *,
        part: str = PART,
        measure: str = "",
        with_writes: bool = True,
    ) -> None:
        """Each call so often, the first few besides.

        Args:
            measure: what the figures are called; by the number of rows when it is empty.
        """
        store = open_storage(self.config)
        store.check()
        models.open_database(self.url, before_commit=store.sync)
        self.sample = self.sample or Sample.of()
        named = measure or f"rows {self.rows}"
        try:
            for name, call in reads(self.sample).items():
                for _ in range(8):  # psycopg prepares what it has seen five times
                    call()
                self._time(name, call, calls, results, (part, named))
            if with_writes:
                for name, call in writes(self.sample, self.config, store).items():
                    self._time(name, call, calls, results, (part, named))
        finally:
            models.close_database()
            store.close()

    def _time(
        self, name: str, call: Call, calls: int, results: Results, where: tuple[str, str]
    ) -> None:
        part, named = where
        backend = models.database.obj.connection().info.backend_pid
        before = time.thread_time_ns() + on_processor_ns(backend)
        for _ in range(calls):
            results.add(part, name, named, milliseconds(call))
        used = time.thread_time_ns() + on_processor_ns(backend) - before
        results.add(part, name, f"cpu {named}", round(used / calls / 1e6, 4))


def milliseconds(call: Call) -> float:
    """What a call takes, by the clock."""
    begun = time.perf_counter()
    call()
    return round((time.perf_counter() - begun) * 1000, 3)


def on_processor_ns(pid: int) -> int:
    """The processor time of a process with one thread, finer than /proc/PID/stat tells it."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def summed_up(raw: Results, part: str, results: Results) -> None:
    """Of every call's times their median and the 99th of a hundred, of processor times the median
    over the rounds."""
    for name, measures in raw.figures.get(part, {}).items():
        for measure, values in measures.items():
            if measure.startswith("cpu "):
                results.add(part, name, measure, round(median(values), 3))
                continue
            results.add(part, name, f"p50 {measure}", round(median(values), 3))
            slow = sorted(values)[ceil(len(values) * 0.99) - 1]
            results.add(part, name, f"p99 {measure}", slow)


def measure(cluster: Cluster, folder: Path, sizes: list[int], results: Results) -> None:
    """The milliseconds of every call, and the processor time."""
    bases = [Base(cluster, folder / f"rows-{rows}", rows) for rows in sizes]
    for base in bases:
        base.make(cluster)
    raw = Results({})
    for number in range(ROUNDS):
        for base in bases:
            say(f"rows: round {number + 1} of {ROUNDS}, {base.rows:,} rows")
            base.time(raw, -(-CALLS // ROUNDS))
    summed_up(raw, PART, results)
    for base in bases:
        models.open_database(base.url)
        results.add("size", "database", f"rows {base.rows}", models.size())
        for table in (Item, ItemTag, Comment, User):
            results.add("size", table.__name__, f"rows {base.rows}", table.select().count())
        models.close_database()
