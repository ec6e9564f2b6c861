"""Items as they are looked at: one, a user's own, everybody's, the gallery, the queue.

Lists go by keyset (ids below the last one seen): a page costs the same at any depth, and no
cursor stays open while an answer streams.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from peewee import fn

import models
import storage as files
from errors import NotFound
from models import LISTED, PENDING, REJECTED, Comment, Counter, Item, ItemTag, Tag, User

BATCH = 500  # rows fetched at once while a list streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What of the gallery is asked for: all of `tags`, one of `ratings` (None: any, or none)."""

    tags: tuple[str, ...] = ()
    ratings: tuple[str, ...] | None = ("sfw",)
    username: str | None = None


def visible_ratings(visitors: str, *, is_known: bool) -> tuple[str, ...] | None:
    """The ratings that the host shows; None for all of them, () for nothing at all.

    Args:
        visitors: [gallery] visitors of the configuration.
        is_known: whether the viewer came with a session or credential.
    """
    if is_known or visitors == "all":
        return None
    return ("sfw",) if visitors == "sfw" else ()


def count_public() -> int:
    """How many files are stored and reachable, in constant time."""
    return int(Counter.get_by_id("files").value)


def list_names(user: User, limit: int | None = None, offset: int = 0) -> Iterator[str]:
    """The names of all files of `user`, waiting ones included, newest first."""
    query = Item.select(Item.id, Item.name).where(Item.user == user.id, ~REJECTED)
    return (name for _, name in _stream(query, Item.id, limit, offset))


def list_uploads(
    name: str | None = None, limit: int | None = None, offset: int = 0
) -> Iterator[tuple[str, str]]:
    """Name and username of every file, newest first; only the file `name` when it is given."""
    query = (
        Item.select(Item.id, Item.name, User.username)
        .join(User, on=(Item.user == User.id))
        .where(~REJECTED)
    )
    if name is not None:
        query = query.where(Item.name == name)
    return ((row[1], row[2]) for row in _stream(query, Item.id, limit, offset))


def list_users(
    username: str | None = None, limit: int | None = None, offset: int = 0
) -> Iterator[str]:
    """Every username, newest first; only that `username`, in any case, when it is given."""
    query = User.select(User.id, User.username).where(User.is_deleting == False)  # noqa: E712
    if username is not None:
        query = query.where(User.username_key == username.lower())
    return (name for _, name in _stream(query, User.id, limit, offset))


def _stream(query: Any, key: Any, limit: int | None, offset: int) -> Iterator[tuple[Any, ...]]:
    """The rows of `query` by falling `key`, its first column, in batches read whole."""
    last = None
    while limit is None or limit > 0:
        page = query if last is None else query.where(key < last)
        page = page.order_by(key.desc()).limit(BATCH if limit is None else min(BATCH, limit))
        rows = models.rows(page.offset(offset if last is None else 0))
        yield from rows
        if len(rows) < BATCH:
            return
        last = rows[-1][0]
        limit = None if limit is None else limit - len(rows)


def _filtered(what: Filter) -> tuple[Any, Any] | None:
    """The listed items of a filter, with their users, and the column to order them by; None when
    nothing can match."""
    query, key = _with_user().where(LISTED), Item.id
    if what.ratings is not None:
        query = query.where(Item.rating.in_(what.ratings))
    if what.username is not None:
        owner = User.get_or_none(User.username_key == what.username.lower())
        if owner is None:
            return None
        query = query.where(Item.user == owner.id)
    for tag in what.tags:
        found = Tag.get_or_none(Tag.name == tag)
        if found is None:
            return None
        link = ItemTag.alias()
        query = query.join(
            link, on=((link.item == Item.id) & (link.tag == found.id)), attr=f"link{found.id}"
        ).switch(Item)
        # By the tag's own index, which has its items in order: SQLite would sort all of them.
        key = link.item if key is Item.id else key
    return query, key


def list_gallery(what: Filter, *, before: int | None = None, limit: int = 60) -> list[Item]:
    """At most `limit` listed items, newest first, with ids below `before`; `user` is joined."""
    filtered = _filtered(what)
    if filtered is None:
        return []
    query, key = filtered
    if before is not None:
        query = query.where(key < before)
    return list(query.order_by(key.desc()).limit(limit))


def neighbours(what: Filter, item_id: int) -> tuple[int | None, int | None]:
    """The ids of the next newer and the next older item within a filter."""
    filtered = _filtered(what)
    if filtered is None:
        return None, None
    query, key = filtered
    newer = query.where(key > item_id).order_by(key).first()
    older = query.where(key < item_id).order_by(key.desc()).first()
    return newer and newer.id, older and older.id


def list_queue(*, before: int | None = None, limit: int = 60) -> list[Item]:
    """At most `limit` waiting items, newest first, with ids below `before`."""
    query = _with_user().where(PENDING)
    if before is not None:
        query = query.where(Item.id < before)
    return list(query.order_by(Item.id.desc()).limit(limit))


def get_item(item_id: int, *, viewer: User | None = None, as_admin: bool = False) -> Item:
    """An item, with its user. A listed one is for everybody, any other for its owner and admins.

    Args:
        viewer: who looks, None for a visitor.
        as_admin: whether the viewer came with an admin's credential.

    Raises:
        NotFound: there is none, or not for this viewer.
    """
    item = _with_user().where(Item.id == item_id).first()
    is_own = item is not None and viewer is not None and viewer.id == item.user_id
    if item is None or not (item.state == "listed" or is_own or as_admin):
        raise NotFound("There is no such item.")
    return item


def get_public_file(name: str) -> Item:
    """The item of the public file `name`.

    Raises:
        NotFound: there is none.
    """
    item = Item.get_or_none(Item.name == name) if files.NAME_PATTERN.fullmatch(name) else None
    if item is None or item.state not in ("unlisted", "listed"):
        raise NotFound("There is no such file.")
    return item


def tags_of(items: Iterable[Item]) -> dict[int, list[str]]:
    """The tags of each item, by its id, in alphabetical order."""
    found: dict[int, list[str]] = {item.id: [] for item in items}
    links = ItemTag.select(ItemTag.item, Tag.name).join(Tag).where(ItemTag.item.in_(list(found)))
    for name, item_id in sorted((name, item_id) for item_id, name in models.rows(links)):
        found[item_id].append(name)
    return found


def suggest_tags(prefix: str, limit: int) -> list[str]:
    """At most `limit` tags of listed items that begin with `prefix`, in alphabetical order."""
    prefix = " ".join(prefix.lower().split())
    if not prefix:
        return []
    links = ItemTag.select(ItemTag.item).join(Item).where(ItemTag.tag == Tag.id, LISTED)
    names = Tag.select(Tag.name).where(
        Tag.name >= prefix, Tag.name < prefix + "\U0010ffff", fn.EXISTS(links)
    )
    return [name for (name,) in models.rows(names.order_by(Tag.name).limit(limit))]


def comments_of(item: Item) -> list[Comment]:
    """All comments under an item, oldest first, with their users."""
    query = Comment.select(Comment, User).join(User).where(Comment.item == item.id)
    return list(query.order_by(Comment.id))


def first_comments(items: Iterable[Item]) -> dict[int, str]:
    """The first comment of each item that has one, by the item's id."""
    ids = [item.id for item in items]
    first = Comment.select(fn.MIN(Comment.id)).where(Comment.item.in_(ids)).group_by(Comment.item)
    texts = Comment.select(Comment.item, Comment.text).where(Comment.id.in_(first))
    return dict(models.rows(texts))


def _with_user() -> Any:
    return Item.select(Item, User).join(User, on=(Item.user == User.id))
