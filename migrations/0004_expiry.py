"""When an item expires, and what is remembered of those that did.

A frozen copy of the models as they were; later changes are migrations of their own.
"""

from typing import Any

from peewee import (
    BigIntegerField,
    BooleanField,
    CharField,
    Database,
    ForeignKeyField,
    Model,
)

from fields import IdField


def up(migrator: Any, db: Database) -> None:
    class Table(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Table):
        pass

    class Expired(Table):
        id = IdField()
        user = ForeignKeyField(User, on_delete="CASCADE")
        name = CharField(max_length=64, unique=True)
        was_listed = BooleanField()
        at = BigIntegerField(index=True)

    db.create_tables([Expired], safe=False)
    migrator.migrate(migrator.add_column("item", "expires", BigIntegerField(null=True)))
    db.execute_sql(
        'CREATE INDEX "item_expires" ON "item" ("expires") WHERE ("expires" IS NOT NULL)'
    )
