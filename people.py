"""Lists for admins: people, their uploads, the audit, open registration keys, what came in."""

from datetime import timedelta

from peewee import JOIN, fn

import media
import models
from errors import NotFound
from models import Audit, Day, Item, RegistrationKey, User

SAMPLE = 1000  # newest uploads of which the kinds are told


def find_users(search: str, *, after: str = "", limit: int = 60) -> list[User]:
    """At most `limit` users whose name begins with `search`, by their names, from the one that
    follows `after`: newest first would sort all who fit."""
    prefix = search.lower()
    query = User.select().where(
        User.is_deleting == False,  # noqa: E712
        User.username_key >= prefix,
        User.username_key < prefix + "\x7f",
        User.username_key > after.lower(),
    )
    return list(query.order_by(User.username_key).limit(limit))


def list_users(*, before: int | None = None, limit: int = 60) -> list[User]:
    """At most `limit` users, newest first, with ids below `before`."""
    query = User.select().where(User.is_deleting == False)  # noqa: E712
    if before is not None:
        query = query.where(User.id < before)
    return list(query.order_by(User.id.desc()).limit(limit))


def get_user(user_id: int) -> User:
    """The user of this id.

    Raises:
        NotFound: there is none.
    """
    user = User.get_or_none(User.id == user_id, User.is_deleting == False)  # noqa: E712
    if user is None:
        raise NotFound("There is no such user.")
    return user


def list_uploads(
    *,
    name: str = "",
    user: User | None = None,
    before: int | None = None,
    limit: int = 60,
) -> list[Item]:
    """At most `limit` uploads of any state, newest first, with ids below `before`.

    Args:
        name: only the one of this exact stored name.
        user: only this user's.
    """
    query = Item.select(Item, User).join(User, on=(Item.user == User.id))
    if name:
        query = query.where(Item.name == name)
    if user is not None:
        query = query.where(Item.user == user.id)
    if before is not None:
        query = query.where(Item.id < before)
    return list(query.order_by(Item.id.desc()).limit(limit))


def list_audit(*, before: int | None = None, limit: int = 60) -> list[Audit]:
    """At most `limit` lines of the audit, newest first, with ids below `before`."""
    query = Audit.select()
    if before is not None:
        query = query.where(Audit.id < before)
    return list(query.order_by(Audit.id.desc()).limit(limit))


def list_registration_keys() -> list[RegistrationKey]:
    """The open registration keys with their makers, newest first; at most a thousand."""
    query = (
        RegistrationKey.select(RegistrationKey, User)
        .join(User, JOIN.LEFT_OUTER)
        .where(RegistrationKey.used.is_null())
    )
    return list(query.order_by(RegistrationKey.id.desc()).limit(1000))


def usernames(ids: set[int]) -> dict[int, str]:
    """The names of those of these users who still have an account."""
    return dict(models.rows(User.select(User.id, User.username).where(User.id.in_(ids))))


def count_users() -> int:
    """How many accounts there are."""
    return int(User.select(fn.COUNT(User.id)).scalar())


def list_days(days: int) -> list[tuple[str, int, int]]:
    """Date, uploads and bytes of each of the last `days` days, today last."""
    today = models.now().date()
    first = today - timedelta(days=days - 1)
    epoch = (first - first.replace(year=1970, month=1, day=1)).days
    found = {
        number: (int(uploads), int(size))
        for number, uploads, size in models.rows(
            Day.select(Day.number, fn.SUM(Day.uploads), fn.SUM(Day.bytes))
            .where(Day.number >= epoch)
            .group_by(Day.number)
        )
    }
    return [
        ((first + timedelta(days=step)).isoformat(), *found.get(epoch + step, (0, 0)))
        for step in range(days)
    ]


def count_kinds() -> list[tuple[str, int, int]]:
    """Kind (image, video, ...), number and bytes among the newest uploads, most first."""
    newest = Item.select(Item.name, Item.size).order_by(Item.id.desc()).limit(SAMPLE)
    totals: dict[str, tuple[int, int]] = {}
    for name, size in models.rows(newest):
        kind = media.kind(name)
        number, total = totals.get(kind, (0, 0))
        totals[kind] = (number + 1, total + size)
    return sorted(((kind, *pair) for kind, pair in totals.items()), key=lambda row: -row[1])
