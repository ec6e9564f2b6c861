"""The kinds of columns that tables and migrations share."""

from datetime import UTC, datetime
from typing import Any

from peewee import SQL, AutoField, BigIntegerField, NodeList, SqliteDatabase


class IdField(AutoField):
    """A primary key that is never used twice, so that an old link never shows something new."""

    def ddl(self, ctx: Any) -> NodeList:
        # https://sqlite.org/autoinc.html: a plain rowid may be given out again after a delete.
        # PostgreSQL's sequences never go back (https://www.postgresql.org/docs/15/functions-sequence.html).
        plain = super().ddl(ctx)
        database = self.model._meta.database
        if isinstance(getattr(database, "obj", database), SqliteDatabase):
            return NodeList((plain, SQL("AUTOINCREMENT")))
        return plain


class MomentField(BigIntegerField):
    """An aware UTC datetime, kept as milliseconds since 1970."""

    def db_value(self, value: datetime | None) -> int | None:
        return None if value is None else int(value.timestamp() * 1000)

    def python_value(self, value: int | None) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value / 1000, UTC)
