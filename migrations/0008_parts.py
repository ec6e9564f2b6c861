"""Where the pieces of an upload are, in a store that keeps each by itself.

A frozen copy of the models as they were; later changes are migrations of their own.
"""

from typing import Any

from peewee import Database, TextField


def up(migrator: Any, db: Database) -> None:
    migrator.migrate(migrator.add_column("resumable", "parts", TextField(null=True)))
