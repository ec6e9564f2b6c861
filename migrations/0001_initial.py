"""The first schema: people, keys, items, tags, comments, failures, counters, the audit.

A frozen copy of the models as they were; later changes are migrations of their own.
"""

from typing import Any

from peewee import (
    SQL,
    BigIntegerField,
    BlobField,
    BooleanField,
    CharField,
    CompositeKey,
    Database,
    ForeignKeyField,
    IntegerField,
    Model,
    SqliteDatabase,
    TextField,
)

from fields import IdField

TRIGGERS = """
create trigger item_inserted after insert on item when new.state <> 'rejected' begin
    update user set file_count = file_count + 1, bytes = bytes + new.size where id = new.user_id;
    update counter set value = value + 1
        where name = 'files' and new.state in ('unlisted', 'listed');
end;
create trigger item_deleted after delete on item when old.state <> 'rejected' begin
    update user set file_count = file_count - 1, bytes = bytes - old.size where id = old.user_id;
    update counter set value = value - 1
        where name = 'files' and old.state in ('unlisted', 'listed');
end;
create trigger item_moved after update of state on item when old.state <> new.state begin
    update user set
        file_count = file_count + (old.state = 'rejected') - (new.state = 'rejected'),
        bytes = bytes + old.size * ((old.state = 'rejected') - (new.state = 'rejected'))
        where id = new.user_id;
    update counter set value = value
        + (new.state in ('unlisted', 'listed')) - (old.state in ('unlisted', 'listed'))
        where name = 'files';
end;
create trigger audit_kept_from_delete before delete on audit begin
    select raise(abort, 'the audit is append-only');
end;
create trigger audit_kept_from_update before update on audit begin
    select raise(abort, 'the audit is append-only');
end;
"""

ON_POSTGRESQL = (
    # The count of all files is in several rows, by connection: uploads of different users would
    # else wait for each other until their commits.
    """
create function item_counted() returns trigger language plpgsql as $$
declare
    kept integer := 0;
    shown integer := 0;
    grown bigint := 0;
    owner bigint;
begin
    if tg_op <> 'INSERT' then
        owner := old.user_id;
        kept := -(old.state <> 'rejected')::integer;
        grown := kept * old.size;
        shown := -(old.state in ('unlisted', 'listed'))::integer;
    end if;
    if tg_op <> 'DELETE' then
        owner := new.user_id;
        kept := kept + (new.state <> 'rejected')::integer;
        grown := grown + (new.state <> 'rejected')::integer * new.size;
        shown := shown + (new.state in ('unlisted', 'listed'))::integer;
    end if;
    if kept <> 0 then
        update "user" set file_count = file_count + kept, bytes = bytes + grown where id = owner;
    end if;
    if shown <> 0 then
        insert into counter (name, value) values ('files.' || mod(pg_backend_pid(), 16), shown)
            on conflict (name) do update set value = counter.value + excluded.value;
    end if;
    return null;
end $$
""",
    """
create trigger item_counted after insert or delete or update of state on item
    for each row execute function item_counted()
""",
    """
create function audit_kept() returns trigger language plpgsql as $$
begin
    raise exception 'the audit is append-only' using errcode = 'integrity_constraint_violation';
end $$
""",
    """
create trigger audit_kept before delete or update or truncate on audit
    for each statement execute function audit_kept()
""",
)


def up(migrator: Any, db: Database) -> None:
    class Table(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Table):
        id = IdField()
        username = CharField(max_length=32)
        username_key = CharField(max_length=32, unique=True)
        password_hash = CharField(max_length=72)
        role = CharField(max_length=8, default="user")
        is_banned = BooleanField(default=False)
        is_deleting = BooleanField(default=False)
        quota_mb = IntegerField(null=True)
        token_nonce = BlobField()
        token_hash = BlobField(unique=True)
        admin_nonce = BlobField(null=True)
        admin_token_hash = BlobField(null=True, unique=True)
        file_count = IntegerField(default=0)
        bytes = BigIntegerField(default=0)
        created = BigIntegerField()

    class ApiKey(Table):
        id = IdField()
        user = ForeignKeyField(User, on_delete="CASCADE")
        key_hash = BlobField(unique=True)
        name = CharField(max_length=64)
        last4 = CharField(max_length=4)
        created = BigIntegerField()
        last_used = BigIntegerField(null=True)

    class RegistrationKey(Table):
        id = IdField()
        key_hash = BlobField(unique=True)
        last4 = CharField(max_length=4)
        maker = ForeignKeyField(User, null=True, on_delete="SET NULL")
        created = BigIntegerField()
        used = BigIntegerField(null=True)

    class Item(Table):
        id = IdField()
        user = ForeignKeyField(User, index=False)
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
        reviewed = BigIntegerField(null=True)
        created = BigIntegerField()

    Item.add_index(Item.user, Item.id, name="item_user_id")
    LISTED = Item.state == SQL("'listed'")
    PENDING = Item.state == SQL("'pending'")
    REJECTED = Item.state == SQL("'rejected'")
    Item.add_index(Item.id, name="item_listed", where=LISTED)
    Item.add_index(Item.rating, Item.id, name="item_listed_rating", where=LISTED)
    Item.add_index(Item.user, Item.id, name="item_listed_user", where=LISTED)
    Item.add_index(Item.id, name="item_pending", where=PENDING)
    Item.add_index(Item.pending_name, name="item_pending_name", where=PENDING)
    Item.add_index(Item.reviewed, name="item_rejected", where=REJECTED)

    class Tag(Table):
        id = IdField()
        name = CharField(max_length=64, unique=True)

    class ItemTag(Table):
        tag = ForeignKeyField(Tag, index=False, on_delete="CASCADE")
        item = ForeignKeyField(Item, on_delete="CASCADE")

        class Meta:
            primary_key = CompositeKey("tag", "item")
            without_rowid = isinstance(db, SqliteDatabase)

    class Comment(Table):
        id = IdField()
        item = ForeignKeyField(Item, index=False, on_delete="CASCADE")
        user = ForeignKeyField(User, on_delete="CASCADE")
        text = TextField()
        created = BigIntegerField()

    Comment.add_index(Comment.item, Comment.id, name="comment_item_id")

    class Failure(Table):
        id = IdField()
        name_bucket = BlobField(null=True)
        address_bucket = BlobField()
        at = BigIntegerField(index=True)

    Failure.add_index(Failure.name_bucket, Failure.at, name="failure_name_at")
    Failure.add_index(Failure.address_bucket, Failure.at, name="failure_address_at")

    class Counter(Table):
        name = CharField(max_length=32, primary_key=True)
        value = BigIntegerField(default=0)

    class Audit(Table):
        id = IdField()
        at = BigIntegerField()
        actor_id = IntegerField(null=True)
        act = CharField(max_length=32)
        target = CharField(max_length=64)

    db.create_tables(
        [User, ApiKey, RegistrationKey, Item, Tag, ItemTag, Comment, Failure, Counter, Audit],
        safe=False,
    )
    Counter.create(name="files", value=0)
    if isinstance(db, SqliteDatabase):
        triggers = [f"{trigger}end" for trigger in TRIGGERS.split("end;\n") if trigger]
    else:
        triggers = list(ON_POSTGRESQL)
    for trigger in triggers:
        db.execute_sql(trigger)
