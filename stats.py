"""What the host holds, in figures: users one by one, and totals."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from peewee import fn

import models
from config import Config
from models import Item, User
from storage import Storage

_BATCH = 500
STATES = ("unlisted", "listed", "pending", "rejected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user in figures; `quota_mb` is their own (None: the default), `quota` what holds, in
    bytes, 0 for none. `state` is active, banned or deleting."""

    name: str
    role: str
    state: str
    files: int
    bytes: int
    quota_mb: int | None
    quota: int
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The host in figures; sizes are bytes, `disk_free` is None where nobody knows it."""

    users: int
    admins: int
    banned: int
    items: dict[str, int]
    bytes: int
    disk_free: int | None
    database: int
    newest_upload: datetime | None


def list_people(config: Config) -> Iterator[Person]:
    """Every user, oldest first."""
    last = 0
    while True:
        page = list(User.select().where(User.id > last).order_by(User.id).limit(_BATCH))
        for user in page:
            own = user.quota_mb
            yield Person(
                name=user.username,
                role=user.role,
                state="deleting" if user.is_deleting else "banned" if user.is_banned else "active",
                files=user.file_count,
                bytes=user.bytes,
                quota_mb=own,
                quota=(config.uploads.quota_mb if own is None else own) * 1024**2,
                created=user.created,
            )
        if len(page) < _BATCH:
            return
        last = page[-1].id


def collect(config: Config, store: Storage) -> Stats:
    """The figures of this moment. Counts rows, which the server never does."""
    states = dict(models.rows(Item.select(Item.state, fn.COUNT(Item.id)).group_by(Item.state)))
    newest = Item.select(Item.created).order_by(Item.id.desc()).first()
    room = store.room()
    people = User.select()
    size = models.rows(User.select(fn.COALESCE(fn.SUM(User.bytes), 0)))
    return Stats(
        users=people.count(),
        admins=people.where(User.role == "admin").count(),
        banned=people.where(User.is_banned).count(),
        items={state: states.get(state, 0) for state in STATES},
        bytes=int(size[0][0]),
        disk_free=room.free if room else None,
        database=models.size(),
        newest_upload=newest.created if newest else None,
    )
