"""The tables, and the one way to write to them."""

import os
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from peewee import SQL as RawSQL
from peewee import (
    AutoField,
    BigIntegerField,
    BlobField,
    BooleanField,
    CharField,
    CompositeKey,
    DatabaseProxy,
    ForeignKeyField,
    IntegerField,
    Model,
    NodeList,
    PeeweeException,
    SqliteDatabase,
    TextField,
    fn,
)
from playhouse.migrations import Runner

from space import Gauge
from writer import Writer

T = TypeVar("T")

MIGRATIONS = Path(__file__).with_name("migrations")
database = DatabaseProxy()


def now() -> datetime:
    """The present moment, aware, in UTC. The one clock of the service: tests replace it."""
    return datetime.now(UTC)


class IdField(AutoField):
    """A primary key that is never used twice, so that an old link never shows something new."""

    def ddl(self, ctx: Any) -> NodeList:
        # https://sqlite.org/autoinc.html: a plain rowid may be given out again after a delete.
        return NodeList((super().ddl(ctx), RawSQL("AUTOINCREMENT")))


class MomentField(BigIntegerField):
    """An aware UTC datetime, kept as milliseconds since 1970."""

    def db_value(self, value: datetime | None) -> int | None:
        return None if value is None else int(value.timestamp() * 1000)

    def python_value(self, value: int | None) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value / 1000, UTC)


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
    """Totals kept by triggers, so that nobody counts rows."""

    name = CharField(max_length=32, primary_key=True)
    value = BigIntegerField(default=0)


class Day(Table):
    """What came in on one day (its number since 1970, UTC), kept by a trigger for the charts."""

    number = IntegerField(primary_key=True)
    uploads = IntegerField(default=0)
    bytes = BigIntegerField(default=0)


class Audit(Table):
    """What admins did; append-only by trigger. Ids, not names: who is deleted is not named here."""

    id = IdField()
    at = MomentField(default=lambda: now())
    actor_id = IntegerField(null=True)  # None: the operator, at the command line
    act = CharField(max_length=32)
    target = CharField(max_length=64)


TABLES = [
    User, ApiKey, RegistrationKey, Item, Resumable, Expired, Tag, ItemTag, Comment, Session, Report,
    RefusedContent, Notice, Failure, Counter, Day, Audit, Album, AlbumItem,
]  # fmt: skip


class _Sqlite(SqliteDatabase):
    """SQLite that survives its own rollbacks."""

    def rollback(self) -> None:
        # On a full disk or an I/O error SQLite rolls back by itself, and a second ROLLBACK raises
        # (https://sqlite.org/lang_transaction.html): the first error is the one to tell.
        if self.connection().in_transaction:
            super().rollback()


_writer: Writer | None = None
_space: Gauge | None = None


def open_database(
    path: Path, *, durable: bool = True, before_commit: Callable[[], None] = lambda: None
) -> bool:
    """Make `path` the database of this process. Threads connect by themselves and stay connected.

    Args:
        path: the SQLite file; created with mode 0600 when missing.
        durable: False commits without fsync.
        before_commit: called in every write before its commit, to bring to disk what the row
            speaks of; when it raises, the write is rolled back.

    Returns:
        whether write-ahead logging is used; without working file locks it is not.

    Raises:
        OSError, peewee.OperationalError: the file cannot be opened.
    """
    global _writer, _space
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    writer = Writer(path, before_commit)
    pragmas = {
        "journal_mode": "wal" if writer.can_lock else "persist",
        "synchronous": "full" if durable else "off",
        "foreign_keys": 1,
        "journal_size_limit": 64 * 1024 * 1024,
        "temp_store": "memory",
        "secure_delete": 1,  # Debian's default: who is deleted is not left in the file's free pages
    }
    handle = _Sqlite(str(path), pragmas=pragmas, timeout=5)
    database.initialize(handle)
    _writer, _space = writer, Gauge(partial(os.statvfs, str(path.parent)))
    try:
        with writer:  # the switch to WAL is a write too
            handle.connect()
    except BaseException:
        close_database()
        raise
    return writer.can_lock


def close_database() -> None:
    """Close this thread's connection and forget the database, before a fork or another opening."""
    global _writer, _space
    disconnect()
    database.initialize(None)
    if _writer is not None:
        _writer.close()
    _writer = _space = None


def disconnect() -> None:
    """Close this thread's connection, at the end of a thread."""
    if database.obj is not None:
        with _writer or nullcontext():  # the last connection to close checkpoints
            database.close()


def checkpoint() -> None:
    """Bring the write-ahead log into the database and empty it, so that a server that has stopped
    keeps no name of who is deleted; a disk that does not let it is no reason not to stop."""
    if _writer is not None and database.obj is not None:
        with suppress(PeeweeException), _writer:
            database.execute_sql("pragma wal_checkpoint(truncate)").fetchall()


def write(work: Callable[[], T]) -> T:
    """Run `work` in a write transaction, bring its files to disk, commit.

    Args:
        work: reads and writes through the models. It may be run once only, and in any thread.

    Returns:
        what `work` returned, once it is committed.

    Raises:
        errors.NoSpace: the database has no room.
        whatever `work` or the sync of its files raised; then everything is rolled back.
    """
    assert _writer is not None, "the database is not open"
    result: T = _writer.run(database.obj, work)
    return result


def rows(query: Any) -> list[tuple[Any, ...]]:
    """All rows of a select as plain tuples, read whole: no cursor stays open."""
    return list(query.tuples())


def has_space() -> bool:
    """Whether the database's filesystem keeps its reserve."""
    assert _space is not None, "the database is not open"
    return _space.has_room(0)


def pending_migrations() -> list[str]:
    """The names of the migrations that the open database lacks; all of them when it is new."""
    return [row.name for row in _runner().status() if row.path and not row.applied]


def unknown_migrations() -> list[str]:
    """The names of migrations that the open database had from a newer Kissa."""
    return [row.name for row in _runner().status() if row.path is None]


def migrate() -> list[str]:
    """Apply what is pending, one process at a time. Returns the names that were applied."""
    assert _writer is not None, "the database is not open"
    with _writer:
        return list(_runner().up())


def _runner() -> Runner:
    return Runner(database.obj, str(MIGRATIONS))
