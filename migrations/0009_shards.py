"""What came in on one day may be in several rows: on PostgreSQL in one for each of some groups of
connections, since uploads of different users would else wait for each other until their commits.

A frozen copy of the models as they were; later changes are migrations of their own.
"""

from typing import Any

from peewee import BigIntegerField, CompositeKey, Database, IntegerField, Model, SqliteDatabase

ON_SQLITE = """
create trigger item_dated after insert on item begin
    insert into day (number, shard, uploads, bytes) values (new.created / 86400000, 0, 1, new.size)
        on conflict (number, shard)
        do update set uploads = uploads + 1, bytes = bytes + excluded.bytes;
end
"""
ON_POSTGRESQL = (
    """
create function item_dated() returns trigger language plpgsql as $$
begin
    insert into day (number, shard, uploads, bytes)
        values (new.created / 86400000, mod(pg_backend_pid(), 16), 1, new.size)
        on conflict (number, shard)
        do update set uploads = day.uploads + 1, bytes = day.bytes + excluded.bytes;
    return null;
end $$
""",
    # Before item_counted, by its name: an upload that waits has no share in the counter until it
    # makes room, and would else take the two rows in another order than those that do not wait.
    """
create trigger item_came after insert on item for each row execute function item_dated()
""",
)


def up(migrator: Any, db: Database) -> None:
    class Day(Model):
        number = IntegerField()
        shard = IntegerField(default=0)
        uploads = IntegerField(default=0)
        bytes = BigIntegerField(default=0)

        class Meta:
            database = db
            legacy_table_names = False
            primary_key = CompositeKey("number", "shard")

    is_sqlite = isinstance(db, SqliteDatabase)
    if is_sqlite:
        db.execute_sql("drop trigger item_dated")
    before = list(db.execute_sql("select number, uploads, bytes from day").fetchall())
    db.execute_sql("drop table day")
    db.create_tables([Day], safe=False)
    fields = [Day.number, Day.uploads, Day.bytes]
    for start in range(0, len(before), 100):
        Day.insert_many(before[start : start + 100], fields).execute()
    for trigger in (ON_SQLITE,) if is_sqlite else ON_POSTGRESQL:
        db.execute_sql(trigger)
