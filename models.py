"""The tables, and the one way to write to them."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from peewee import SQL as RawSQL
from peewee import (
    BigIntegerField,
    BlobField,
    BooleanField,
    CharField,
    CompositeKey,
    Database,
    DatabaseProxy,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
    fn,
)
from playhouse.migrations import Runner

import home
from errors import Unavailable
from fields import IdField, MomentField
from sqlite import Sqlite

T = TypeVar("T")

MIGRATIONS = Path(__file__).with_name("migrations")
database = DatabaseProxy()


def now() -> datetime:
    """The present moment, aware, in UTC. The one clock of the service: tests replace it."""
    return datetime.now(UTC)


class Table(Model):
    """What all tables share."""

    class Meta:
        database = database
        legacy_table_names = False


class User(Table):
    """A person with an account; `file_count` and `bytes` are kept by triggers."""

    id = IdField()
    username = CharField(max_length=32)
    username_key = CharField(max_length=32, unique=True)  # lower case: unique without regard to it
    password_hash = CharField(max_length=72)
    role = CharField(max_length=8, default="user")  # user, admin
    is_banned = BooleanField(default=False)
    is_deleting = BooleanField(default=False)
    quota_mb = IntegerField(null=True)  # None: the host's default; 0: none
    token_nonce = BlobField()
    token_hash = BlobField(unique=True)
    admin_nonce = BlobField(null=True)
    admin_token_hash = BlobField(null=True, unique=True)
    file_count = IntegerField(default=0)
    bytes = BigIntegerField(default=0)
    created = MomentField(default=lambda: now())


class ApiKey(Table):
    """A key for the f0ckm API; only its hash is kept."""

    id = IdField()
    user = ForeignKeyField(User, backref="api_keys", on_delete="CASCADE")
    key_hash = BlobField(unique=True)
    name = CharField(max_length=64)
    last4 = CharField(max_length=4)
    created = MomentField(default=lambda: now())
    last_used = MomentField(null=True)


class RegistrationKey(Table):
    """Admits one signup on an invite-only host; only its hash is kept."""

    id = IdField()
    key_hash = BlobField(unique=True)
    last4 = CharField(max_length=4)
    maker = ForeignKeyField(User, null=True, on_delete="SET NULL")
    created = MomentField(default=lambda: now())
    used = MomentField(null=True)


class Item(Table):
    """One upload. Its name is reserved from the start, whatever its state.

    unlisted: reachable by its link alone. listed: in the gallery. pending: waits for an admin,
    its bytes under `pending_name`. rejected: its bytes are gone, the row tells why for 30 days.
    """

    id = IdField()
    user = ForeignKeyField(User, index=False)
    user_id: int
    name = CharField(max_length=64, unique=True)
    original_name = CharField(max_length=255)
    size = BigIntegerField()
    sha256 = BlobField()
    state = CharField(max_length=8)
    pending_name = CharField(max_length=64, null=True)
    rating = CharField(max_length=4, null=True)
    is_oc = BooleanField(default=False)
    is_shitpost = BooleanField(default=False)
    deletion_hash = BlobField()
    reason = CharField(max_length=500, null=True)
    reviewed = MomentField(null=True)
    created = MomentField(default=lambda: now())
    width = IntegerField(null=True)  # pixels, known from the first thumbnail on
    height = IntegerField(null=True)
    expires = MomentField(null=True)  # None: never
    pinned = MomentField(null=True)  # None: it may go to make room


Item.add_index(Item.user, Item.id, name="item_user_id")
# The orders of a user's own list. Both together cost an upload some 20 µs and 10 KB of log, with a
# million rows; without them a page of a million files would sort them all.
Item.add_index(Item.user, Item.size, Item.id, name="item_user_size")
Item.add_index(Item.user, fn.LOWER(Item.original_name), Item.id, name="item_user_named")
# Partial indexes cost an unlisted upload nothing. SQLite uses them only when a query states the
# same literal, so queries say LISTED, PENDING or REJECTED and never bind the word as a parameter.
LISTED = Item.state == RawSQL("'listed'")
PENDING = Item.state == RawSQL("'pending'")
REJECTED = Item.state == RawSQL("'rejected'")
Item.add_index(Item.id, name="item_listed", where=LISTED)
Item.add_index(Item.rating, Item.id, name="item_listed_rating", where=LISTED)
Item.add_index(Item.user, Item.id, name="item_listed_user", where=LISTED)
Item.add_index(Item.id, name="item_pending", where=PENDING)
Item.add_index(Item.pending_name, name="item_pending_name", where=PENDING)
Item.add_index(Item.reviewed, name="item_rejected", where=REJECTED)
Item.add_index(Item.expires, name="item_expires", where=Item.expires.is_null(False))


class Expired(Table):
    """What is remembered of an item whose time was over, so that its links say so: its id is this
    row's."""

    id = IdField()
    user = ForeignKeyField(User, on_delete="CASCADE")
    user_id: int
    name = CharField(max_length=64, unique=True)
    was_listed = BooleanField()
    at = MomentField(default=lambda: now(), index=True)


class Resumable(Table):
    """An upload that comes in pieces, until it is an item; then `item` says which, so that who
    missed the last answer can ask for it again. Its bytes lie under `name` until then."""

    id = IdField()
    user = ForeignKeyField(User, on_delete="CASCADE")
    user_id: int
    name = CharField(max_length=32, unique=True)
    api = CharField(max_length=8)  # nekos, f0ckm, web: only there can it be gone on with
    length = BigIntegerField()
    offset = BigIntegerField(default=0)  # bytes that were acknowledged, and are on disk
    metadata = TextField()  # as it was sent
    item = ForeignKeyField(Item, null=True, on_delete="CASCADE")
    item_id: int | None
    created = MomentField(default=lambda: now())
    expires = MomentField(index=True)
    parts = TextField(null=True)  # where the bytes are, in a store where a name does not tell


class Tag(Table):
    """A word that items are found by, lower case."""

    id = IdField()
    name = CharField(max_length=64, unique=True)


class ItemTag(Table):
    """That an item carries a tag."""

    tag = ForeignKeyField(Tag, index=False, on_delete="CASCADE")
    item = ForeignKeyField(Item, on_delete="CASCADE")

    class Meta:
        primary_key = CompositeKey("tag", "item")
        without_rowid = True


class Comment(Table):
    """What a user says under an item."""

    id = IdField()
    item = ForeignKeyField(Item, index=False, on_delete="CASCADE")
    item_id: int
    user = ForeignKeyField(User, on_delete="CASCADE")
    user_id: int
    text = TextField()
    created = MomentField(default=lambda: now())


Comment.add_index(Comment.item, Comment.id, name="comment_item_id")


class Session(Table):
    """One browser that is signed in; only the hash of its cookie is kept."""

    id = IdField()
    user = ForeignKeyField(User, on_delete="CASCADE")
    user_id: int
    secret_hash = BlobField(unique=True)
    device = CharField(max_length=200)
    created = MomentField(default=lambda: now())
    last_seen = MomentField(default=lambda: now())


class Report(Table):
    """A user's word to the admins that an item should be looked at."""

    id = IdField()
    item = ForeignKeyField(Item, on_delete="CASCADE")
    item_id: int
    user = ForeignKeyField(User, on_delete="CASCADE")
    text = CharField(max_length=500)
    created = MomentField(default=lambda: now())
    closed = MomentField(null=True)


Report.add_index(Report.id, name="report_open", where=Report.closed.is_null())


class RefusedContent(Table):
    """Bytes that nobody may store any more, since an admin took them down."""

    id = IdField()
    sha256 = BlobField(unique=True)
    reason = CharField(max_length=500)
    admin = ForeignKeyField(User, null=True, on_delete="SET NULL")
    created = MomentField(default=lambda: now())


class Notice(Table):
    """What a user is told of a file of theirs that an admin took down."""

    id = IdField()
    user = ForeignKeyField(User, index=False, on_delete="CASCADE")
    name = CharField(max_length=64)
    original_name = CharField(max_length=255)
    reason = CharField(max_length=500)
    is_refused = BooleanField()
    created = MomentField(default=lambda: now(), index=True)


Notice.add_index(Notice.user, Notice.id, name="notice_user_id")


class Album(Table):
    """Files of one user in an order of their own. Whoever has its link, which `name` makes, sees
    it; `title_key` is the title without regard to case."""

    id = IdField()
    user = ForeignKeyField(User, index=False, on_delete="CASCADE")
    user_id: int
    name = CharField(max_length=32, unique=True)
    title = CharField(max_length=100)
    title_key = CharField(max_length=300)
    created = MomentField(default=lambda: now())


Album.add_index(Album.user, Album.title_key, unique=True, name="album_user_title")
Album.add_index(Album.user, Album.id, name="album_user_id")


class AlbumItem(Table):
    """That a file is in an album; positions in an album differ, and may have gaps."""

    album = ForeignKeyField(Album, index=False, on_delete="CASCADE")
    item = ForeignKeyField(Item, on_delete="CASCADE")
    position = IntegerField()

    class Meta:
        primary_key = CompositeKey("album", "item")
        without_rowid = True


# Not unique: moving a file shifts the positions between, one row after the other.
AlbumItem.add_index(AlbumItem.album, AlbumItem.position, name="album_item_order")


class Failure(Table):
    """One failed guess at a password or key; both buckets are hashes, never names."""

    id = IdField()
    name_bucket = BlobField(null=True)
    address_bucket = BlobField()
    at = MomentField(default=lambda: now(), index=True)


Failure.add_index(Failure.name_bucket, Failure.at, name="failure_name_at")
Failure.add_index(Failure.address_bucket, Failure.at, name="failure_address_at")


class Counter(Table):
    """Totals kept by triggers, so that nobody counts rows; on PostgreSQL in several rows, whose
    names begin alike, for `total` to add up."""

    name = CharField(max_length=32, primary_key=True)
    value = BigIntegerField(default=0)


class Day(Table):
    """What came in on one day (its number since 1970, UTC), kept by a trigger for the charts: on
    PostgreSQL in several rows, to be added up."""

    number = IntegerField()
    shard = IntegerField(default=0)
    uploads = IntegerField(default=0)
    bytes = BigIntegerField(default=0)

    class Meta:
        primary_key = CompositeKey("number", "shard")


class Audit(Table):
    """What admins did; append-only by trigger. Ids, not names: who is deleted is not named here."""

    id = IdField()
    at = MomentField(default=lambda: now())
    actor_id = IntegerField(null=True)  # None: the operator, at the command line
    act = CharField(max_length=32)
    target = CharField(max_length=64)


class Home(Table):
    """Where this host's rows and files are, once it has been moved; see home.py. One row."""

    number = IntegerField(primary_key=True)
    state = CharField(max_length=8)
    database = CharField(max_length=500)  # the other one, without its password
    storage = CharField(max_length=8)  # local, s3
    since = MomentField()


TABLES = [
    User, ApiKey, RegistrationKey, Item, Resumable, Expired, Tag, ItemTag, Comment, Session, Report,
    RefusedContent, Notice, Failure, Counter, Day, Audit, Album, AlbumItem,
    Home,
]  # fmt: skip


class Engine(Protocol):
    """A database that was opened: SQLite's or PostgreSQL's way to do what models need.

    Attributes:
        backend: where this process keeps files.
        handle: what peewee speaks to; each thread connects by itself.
        has_wal: False on an SQLite file where no file locks work.
        before_commit: brings to disk what the rows of a write speak of.
    """

    backend: str
    has_wal: bool
    before_commit: Callable[[], None]

    @property
    def handle(self) -> Database: ...
    def connect(self) -> None: ...
    def run(self, work: Callable[[], T], of_user: int | None) -> T: ...
    def expect(self) -> AbstractContextManager[None]: ...
    def exclusive(self) -> AbstractContextManager[None]: ...
    def fill(self, into: str, width: int, rows: Iterable[tuple[Any, ...]]) -> None: ...
    def turn(self, kind: str) -> AbstractContextManager[bool]: ...
    def has_space(self) -> bool: ...
    def size(self) -> int: ...
    def find_damage(self) -> list[str]: ...
    def checkpoint(self) -> None: ...
    def disconnect(self) -> None: ...
    def close(self) -> None: ...


_engine: Engine | None = None


def open_database(
    where: Path | str,
    *,
    durable: bool = True,
    before_commit: Callable[[], None] = lambda: None,
    backend: str = "",
) -> bool:
    """Make this the database of this process. Threads connect by themselves and stay connected.

    Args:
        where: the SQLite file, created with mode 0600 when missing; or a URL, of such a file
            (sqlite:///PATH) or of a PostgreSQL database (postgresql://USER@HOST/NAME).
        durable: False commits without waiting for the disk.
        before_commit: called in every write before its commit, to bring to disk what the row
            speaks of; when it raises, the write is rolled back.
        backend: where this process keeps files; when they have been moved elsewhere, nothing is
            written.

    Returns:
        False for an SQLite file that has no write-ahead log, since no file locks work there.

    Raises:
        OSError, peewee.OperationalError, errors.Unavailable: it cannot be opened.
    """
    global _engine
    engine = engine_of(where, durable=durable, before_commit=before_commit, backend=backend)
    database.initialize(engine.handle)
    _engine = engine
    try:
        engine.connect()
    except BaseException:
        close_database()
        raise
    return engine.has_wal


def engine_of(
    where: Path | str, *, durable: bool, before_commit: Callable[[], None], backend: str
) -> Engine:
    """The engine for a database, as `open_database` takes them; nothing is connected yet.

    Raises:
        OSError, errors.Unavailable: the SQLite file cannot be opened, or a package is missing.
    """
    if str(where).startswith("postgresql://"):
        try:  # only who uses it needs psycopg
            from postgres import Postgres
        except ImportError as error:
            told = f"PostgreSQL: there is no Python package {error.name}"
            raise Unavailable(f"{told}; run: make setup WITH=postgres") from error
        return Postgres(str(where), durable, before_commit, backend)
    path = Path(str(where).removeprefix("sqlite:///"))
    return Sqlite(path, durable, before_commit, backend)


def close_database() -> None:
    """Close this thread's connection and forget the database, before a fork or another opening."""
    global _engine
    disconnect()
    database.initialize(None)
    if _engine is not None:
        _engine.close()
    _engine = None


def disconnect() -> None:
    """Close this thread's connection, at the end of a thread."""
    if _engine is not None:
        _engine.disconnect()


def checkpoint() -> None:
    """Leave nothing of who is deleted in an SQLite file's log, for a server that has stopped; a
    disk that does not let it is no reason not to stop."""
    if _engine is not None:
        _engine.checkpoint()


def write(work: Callable[[], T], *, of_user: int | None = None) -> T:
    """Run `work` in a write transaction, bring its files to disk, commit.

    Args:
        work: reads and writes through the models. It may be run once only, and in any thread. What
            it asks for it reads to the end: a cursor left open would hold all others up.
        of_user: the id of the one user by whose rows it decides, and whose rows it changes: on
            PostgreSQL it then runs beside the works of others. What makes room for anybody else's
            decisions (a role, a waiting item, a refused hash) has none.

    Returns:
        what `work` returned, once it is committed.

    Raises:
        errors.Moving: the host is being moved.
        errors.NoSpace: the database has no room.
        errors.Unavailable, errors.Busy: it does not answer, or not in time.
        errors.Unsure: it does not answer any more, and may have committed.
        whatever `work` or the sync of its files raised; then everything is rolled back.
    """
    return _opened().run(work, of_user)


def expect_write() -> AbstractContextManager[None]:
    """Say, until this is left, that this thread will write: where a commit is so short that nobody
    comes to share it, others wait a little."""
    return _opened().expect()


def write_home(work: Callable[[], T]) -> T:
    """Run `work` in a transaction, even while the host is being moved: for the move itself."""
    with _opened().exclusive(), database.atomic():
        return work()


def find_home() -> Home | None:
    """Where the host is, once it has been moved."""
    return Home.get_or_none(Home.number == 1)


def is_open() -> bool:
    """Whether writes are taken here: not while the host is being moved."""
    return home.is_open(database.execute_sql(home.SELECT).fetchall(), _opened().backend)


def turn(kind: str) -> AbstractContextManager[bool]:
    """Whether nobody else, on whatever host, is at this kind of work (timer, move); then nobody is
    until this is left."""
    return _opened().turn(kind)


def rows(query: Any) -> list[tuple[Any, ...]]:
    """All rows of a select as plain tuples, read whole: no cursor stays open."""
    return list(query.tuples())


def total(name: str) -> int:
    """The total that triggers keep under this name (files)."""
    return int(summed(name).scalar())


def summed(name: str) -> Any:
    """The query for that total, which is NULL where its row is lost."""
    named = (Counter.name == name) | ((Counter.name > f"{name}.") & (Counter.name < f"{name}/"))
    return Counter.select(fn.SUM(Counter.value)).where(named)


def has_space() -> bool:
    """Whether the database's filesystem keeps its reserve, as far as it is ours."""
    return _opened().has_space()


def size() -> int:
    """Bytes that the database takes on its disk."""
    return _opened().size()


def find_damage() -> list[str]:
    """What the database finds wrong in itself, one line each."""
    return _opened().find_damage()


def pending_migrations() -> list[str]:
    """The names of the migrations that the open database lacks; all of them when it is new."""
    return [row.name for row in _runner(_opened()).status() if row.path and not row.applied]


def unknown_migrations() -> list[str]:
    """The names of migrations that the open database had from a newer Kissa."""
    return [row.name for row in _runner(_opened()).status() if row.path is None]


def migrate(engine: Engine | None = None) -> list[str]:
    """Apply what is pending, one process at a time. Returns the names that were applied.

    Args:
        engine: of another database than the open one.
    """
    engine = engine or _opened()
    with engine.exclusive():
        return list(_runner(engine).up())


def _opened() -> Engine:
    assert _engine is not None, "the database is not open"
    return _engine


def _runner(engine: Engine) -> Runner:
    return Runner(engine.handle, str(MIGRATIONS))
