"""Browser sessions, reports, the size of a picture in pixels, what came in each day,
and the orders of a user's own list.

A frozen copy of the models as they were; later changes are migrations of their own.
"""

from typing import Any

from peewee import (
    BigIntegerField,
    BlobField,
    CharField,
    Database,
    ForeignKeyField,
    IntegerField,
    Model,
    SqliteDatabase,
)

from fields import IdField

TRIGGER = """
create trigger item_dated after insert on item begin
    insert into day (number, uploads, bytes) values (new.created / 86400000, 1, new.size)
        on conflict (number) do update set uploads = uploads + 1, bytes = bytes + excluded.bytes;
end
"""


def up(migrator: Any, db: Database) -> None:
    class Table(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Table):
        pass

    class Item(Table):
        pass

    class Session(Table):
        id = IdField()
        user = ForeignKeyField(User, on_delete="CASCADE")
        secret_hash = BlobField(unique=True)
        device = CharField(max_length=200)
        created = BigIntegerField()
        last_seen = BigIntegerField()

    class Report(Table):
        id = IdField()
        item = ForeignKeyField(Item, on_delete="CASCADE")
        user = ForeignKeyField(User, on_delete="CASCADE")
        text = CharField(max_length=500)
        created = BigIntegerField()
        closed = BigIntegerField(null=True)

    class Day(Table):
        number = IntegerField(primary_key=True)
        uploads = IntegerField(default=0)
        bytes = BigIntegerField(default=0)

    Report.add_index(Report.id, name="report_open", where=Report.closed.is_null())
    db.create_tables([Session, Report], safe=False)
    db.create_tables([Day], safe=False)
    db.execute_sql(
        "insert into day (number, uploads, bytes)"
        " select created / 86400000, count(*), sum(size) from item group by 1"
    )
    if isinstance(db, SqliteDatabase):  # on PostgreSQL, 0009 makes it
        db.execute_sql(TRIGGER)
    for side in ("width", "height"):
        migrator.migrate(migrator.add_column("item", side, IntegerField(null=True)))
    for name, key in (("size", '"size"'), ("named", 'LOWER("original_name")')):
        db.execute_sql(f'CREATE INDEX "item_user_{name}" ON "item" ("user_id", {key}, "id")')
