"""Items that are kept when room is made.

A frozen copy of the models as they were; later changes are migrations of their own.
"""

from typing import Any

from peewee import BigIntegerField, Database


def up(migrator: Any, db: Database) -> None:
    migrator.migrate(migrator.add_column("item", "pinned", BigIntegerField(null=True)))
