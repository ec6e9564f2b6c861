"""Where a host's rows and files are, once it has been moved: no row before that.

A frozen copy of the models as they were; later changes are migrations of their own.
"""

from typing import Any

from peewee import BigIntegerField, CharField, Database, IntegerField, Model


def up(migrator: Any, db: Database) -> None:
    class Home(Model):
        number = IntegerField(primary_key=True)
        state = CharField(max_length=8)
        database = CharField(max_length=500)
        storage = CharField(max_length=8)
        since = BigIntegerField()

        class Meta:
            database = db
            legacy_table_names = False

    db.create_tables([Home], safe=False)
