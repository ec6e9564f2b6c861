"""Uploads that come in pieces.

A frozen copy of the models as they were; later changes are migrations of their own.
"""

from typing import Any

from peewee import (
    BigIntegerField,
    CharField,
    Database,
    ForeignKeyField,
    Model,
    TextField,
)

from fields import IdField


def up(migrator: Any, db: Database) -> None:
    class Table(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Table):
        pass

    class Item(Table):
        pass

    class Resumable(Table):
        id = IdField()
        user = ForeignKeyField(User, on_delete="CASCADE")
        name = CharField(max_length=32, unique=True)
        api = CharField(max_length=8)
        length = BigIntegerField()
        offset = BigIntegerField()
        metadata = TextField()
        item = ForeignKeyField(Item, null=True, on_delete="CASCADE")
        created = BigIntegerField()
        expires = BigIntegerField(index=True)

    db.create_tables([Resumable], safe=False)
