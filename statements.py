"""An upload's statements as text, each a function that says what it asks for.

Peewee building them anew each time took half of the processor time of a 100 KB upload. A test sees
to it that they agree with the tables.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import models
from models import ApiKey, Item, Resumable, User, database

_USER_COLUMNS = [field.column_name for field in User._meta.sorted_fields]
_SELECT_USER = f'select {", ".join(_USER_COLUMNS)} from "user" where {{}} = ?'
_SELECT_SENDER = 'select id from "user" where token_hash = ? and not is_banned and not is_deleting'
_SELECT_KEY = (
    'select api_key.id, api_key.last_used, "user".id'
    ' from api_key join "user" on "user".id = user_id'
    " where key_hash = ? and not is_banned and not is_deleting"
)
_SELECT_RIGHTS = (
    "select is_banned, is_deleting, bytes + coalesce((select sum(length) from resumable"
    ' where user_id = "user".id and item_id is null and expires > ?), 0), quota_mb,'
    ' exists (select 1 from refused_content where sha256 = ?) from "user" where id = ?'
)
_SELECT_RECENT = "select created from item where user_id = ? order by id desc limit 1 offset ?"
_SELECT_EXPIRY = "select expires from item where name = ?"
_INSERT_ITEM = (
    "insert into item (user_id, name, original_name, size, sha256, state, pending_name, rating,"
    " is_oc, is_shitpost, deletion_hash, created, expires)"
    " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " on conflict (name) do nothing returning id"
)


def find_user(column: str, value: object) -> User | None:
    """The user whose `column` (id, token_hash, admin_token_hash) has this value, or None."""
    row = _first(_SELECT_USER.format(column), value)
    if row is None:
        return None
    fields = User._meta.columns
    return User(
        **{
            fields[name].name: fields[name].python_value(cell)
            for name, cell in zip(_USER_COLUMNS, row, strict=True)
        }
    )


def find_sender(token_hash: bytes) -> int | None:
    """The id of the active user with this upload token, or None."""
    row = _first(_SELECT_SENDER, token_hash)
    return None if row is None else int(row[0])


def find_key(key_hash: bytes) -> tuple[int, datetime | None, int] | None:
    """An API key of an active user: its id, when it was last used, and the user's id; or None."""
    row = _first(_SELECT_KEY, key_hash)
    return None if row is None else (row[0], ApiKey.last_used.python_value(row[1]), row[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a user may store just now; sizes are bytes, `quota_mb` is None for the default.

    `is_refused` is of the content, whoever sends it.
    `bytes` is what they have stored, and what they have announced and not sent to its end.
    """

    is_active: bool
    is_refused: bool
    bytes: int
    quota_mb: int | None


def find_rights(user_id: int, sha256: bytes = b"") -> Rights | None:
    """The rights of a user, as they stand in this transaction, to store bytes with this hash; or
    None when there is no such user."""
    row = _first(_SELECT_RIGHTS, Resumable.expires.db_value(models.now()), sha256, user_id)
    if row is None:
        return None
    return Rights(
        is_active=not (row[0] or row[1]),
        is_refused=bool(row[4]),
        bytes=int(row[2]),
        quota_mb=row[3],
    )


def find_nth_newest(user_id: int, number: int) -> datetime | None:
    """When the user's item before `number` - 1 newer ones was created, or None."""
    row = _first(_SELECT_RECENT, user_id, number - 1)
    return None if row is None else Item.created.python_value(row[0])


def insert_item(user_id: int, **values: Any) -> int | None:
    """Insert an item with these values; its id, or None when the name is taken."""
    row = _first(
        _INSERT_ITEM,
        user_id,
        values["name"],
        values["original_name"],
        values["size"],
        values["sha256"],
        values["state"],
        values["pending_name"],
        values["rating"],
        values["is_oc"],
        values["is_shitpost"],
        values["deletion_hash"],
        Item.created.db_value(models.now()),
        Item.expires.db_value(values.get("expires")),
    )
    return None if row is None else int(row[0])


def find_expiry(name: str) -> tuple[bool, datetime | None]:
    """Whether there is an item `name`, and when it expires."""
    row = _first(_SELECT_EXPIRY, name)
    return row is not None, None if row is None else Item.expires.python_value(row[0])


@cache
def _with_percents(sql: str) -> str:
    return sql.replace("?", "%s")


def _first(sql: str, *values: object) -> Any:
    cursor = database.execute_sql(sql if database.param == "?" else _with_percents(sql), values)
    found = cursor.fetchall()  # whole: an insert with RETURNING is only over then
    return found[0] if found else None
