"""Albums: files of one user in an order of their own.

A frozen copy of the models as they were; later changes are migrations of their own.
"""

from typing import Any

from peewee import (
    BigIntegerField,
    CharField,
    CompositeKey,
    Database,
    ForeignKeyField,
    IntegerField,
    Model,
    SqliteDatabase,
)

from fields import IdField


def up(_: Any, db: Database) -> None:
    class Table(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Table):
        pass

    class Item(Table):
        pass

    class Album(Table):
        id = IdField()
        user = ForeignKeyField(User, index=False, on_delete="CASCADE")
        name = CharField(max_length=32, unique=True)
        title = CharField(max_length=100)
        title_key = CharField(max_length=300)
        created = BigIntegerField()

    class AlbumItem(Table):
        album = ForeignKeyField(Album, index=False, on_delete="CASCADE")
        item = ForeignKeyField(Item, on_delete="CASCADE")
        position = IntegerField()

        class Meta:
            primary_key = CompositeKey("album", "item")
            without_rowid = isinstance(db, SqliteDatabase)

    Album.add_index(Album.user, Album.title_key, unique=True, name="album_user_title")
    Album.add_index(Album.user, Album.id, name="album_user_id")
    AlbumItem.add_index(AlbumItem.album, AlbumItem.position, name="album_item_order")
    db.create_tables([Album, AlbumItem], safe=False)
