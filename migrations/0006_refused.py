"""Content that is refused since an admin took it down, and what its senders are told.

A frozen copy of the models as they were; later changes are migrations of their own.
"""

from typing import Any

from peewee import (
    BigIntegerField,
    BlobField,
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

    class RefusedContent(Table):
        id = IdField()
        sha256 = BlobField(unique=True)
        reason = CharField(max_length=500)
        admin = ForeignKeyField(User, null=True, on_delete="SET NULL")
        created = BigIntegerField()

    class Notice(Table):
        id = IdField()
        user = ForeignKeyField(User, index=False, on_delete="CASCADE")
        name = CharField(max_length=64)
        original_name = CharField(max_length=255)
        reason = CharField(max_length=500)
        is_refused = BooleanField()
        created = BigIntegerField(index=True)

    Notice.add_index(Notice.user, Notice.id, name="notice_user_id")
    db.create_tables([RefusedContent, Notice], safe=False)
