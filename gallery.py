"""Items as they are looked at: one, a user's own, everybody's, the gallery, the queue.

Lists go by keyset (ids below the last one seen): a page costs the same at any depth, and no
cursor stays open while an answer streams.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from peewee import fn

import expiry
import models
import storage as files
from errors import NotFound
from models import LISTED, PENDING, REJECTED, Comment, Item, ItemTag, Tag, User

BATCH = 500  # rows fetched at once while a list streams
SCANNED = 2500  # items that one page of the gallery looks at for several conditions: 3 ms at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What of the gallery is asked for: all of `tags`, one of `ratings` (None: any, or none)."""

    tags: tuple[str, ...] = ()
    ratings: tuple[str, ...] | None = ("sfw",)
    username: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of the gallery, newest first.

    Args:
        before: the id below which the next page begins; None when this is the last.
        is_cut: whether it ended here only because SCANNED items had been looked at.
    """

    items: list[Item]
    before: int | None
    is_cut: bool


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
    return models.total("files")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _List:
    """The items of a user or of a tag: a query of its `rows`, ordered by `key`, the item's id;
    `link` is what a tag's query calls its table."""

    rows: Any
    key: Any
    link: Any = None
    tag_id: int = 0


class _Walk:
    """A way through the listed items of a filter, along one list that has them in order: all of
    them, those of a rating, of a user, or of a tag.

    What the filter asks for besides is looked at item by item, and of two tags that never meet
    there may be a million. So only SCANNED items of that list are looked at for one page.

    Args:
        start: the id at which, and without which, the walk begins; None for the newest or oldest.
        is_up: whether it goes to newer items.
    """

    def __init__(self, what: Filter, *, start: int | None, is_up: bool = False) -> None:
        self._start, self._is_up = start, is_up
        self._query = _with_user().where(LISTED)
        self._key: Any = Item.id
        self._end: int | None = None
        self.is_empty = False
        if what.ratings is not None:
            self._query = self._query.where(Item.rating.in_(what.ratings))
        lists: list[_List] = []
        if what.username is not None:
            owner = User.get_or_none(User.username_key == what.username.lower())
            self.is_empty = owner is None
            if owner is not None:
                self._query = self._query.where(Item.user == owner.id)
                uploads = Item.select().where(LISTED, Item.user == owner.id)
                lists.append(_List(rows=uploads, key=Item.id))
        for name in what.tags:
            tag = Tag.get_or_none(Tag.name == name)
            if tag is None:
                self.is_empty = True
                return
            link = ItemTag.alias()
            rows = link.select().where(link.tag == tag.id)
            lists.append(_List(rows=rows, key=link.item, link=link, tag_id=tag.id))
        if lists and not self.is_empty:
            self._go_along(self._choose(lists), lists)

    def _choose(self, lists: list[_List]) -> _List:
        """One that has fewer than SCANNED items left, else the first, and a part of it."""
        for one in lists:
            reach = self._beyond(one.rows.select(one.key), one.key).offset(SCANNED - 1).limit(1)
            found = models.rows(reach)
            if not found:
                self._end = None
                return one
            if one is lists[0]:
                self._end = found[0][0]
        return lists[0]

    def _go_along(self, chosen: _List, lists: list[_List]) -> None:
        """Read `chosen` in its order, and look each of its items up in the others: no joins, of
        which PostgreSQL would begin with any, or read both whole. With an offset it makes none."""
        self._key = chosen.key
        for one in lists:
            if one.link is not None and one is not chosen:
                held = one.rows.select(one.key).where(one.key == chosen.key)
                self._query = self._query.where(fn.EXISTS(held.limit(1).offset(0)))
        if chosen.link is not None:
            on = (chosen.link.item == Item.id) & (chosen.link.tag == chosen.tag_id)
            self._query = self._query.join(chosen.link, on=on, attr="link").switch(Item)

    def _beyond(self, query: Any, key: Any) -> Any:
        if self._start is not None:
            query = query.where(key > self._start if self._is_up else key < self._start)
        return query.order_by(key if self._is_up else key.desc())

    def page(self, limit: int) -> Page:
        """At most `limit` items, in the order of the walk."""
        if self.is_empty:
            return Page(items=[], before=None, is_cut=False)
        query, end = self._beyond(self._query, self._key), self._end
        if end is not None:
            query = query.where(self._key <= end if self._is_up else self._key >= end)
        rows = list(query.limit(limit + 1))
        if len(rows) > limit:
            return Page(items=rows[:limit], before=rows[limit - 1].id, is_cut=False)
        return Page(items=rows, before=end, is_cut=end is not None)


def list_gallery(what: Filter, *, before: int | None = None, limit: int = 60) -> Page:
    """At most `limit` listed items, newest first, with ids below `before`; `user` is joined."""
    return _Walk(what, start=before).page(limit)


def neighbours(what: Filter, item_id: int) -> tuple[int | None, int | None]:
    """The ids of the next newer and the next older item within a filter; None where there is none
    among the next SCANNED."""
    newer = _Walk(what, start=item_id, is_up=True).page(1).items
    older = _Walk(what, start=item_id).page(1).items
    return newer[0].id if newer else None, older[0].id if older else None


def list_queue(*, before: int | None = None, limit: int = 60) -> list[Item]:
    """At most `limit` waiting items, newest first, with ids below `before`."""
    query = _with_user().where(PENDING)
    if before is not None:
        query = query.where(Item.id < before)
    return list(query.order_by(Item.id.desc()).limit(limit))


def count_queue(limit: int) -> int:
    """How many items wait; `limit` when there are as many or more."""
    return len(models.rows(Item.select(Item.id).where(PENDING).order_by(Item.id).limit(limit)))


def get_item(item_id: int, *, viewer: User | None = None, as_admin: bool = False) -> Item:
    """An item, with its user. A listed one is for everybody, any other for its owner and admins.

    Args:
        viewer: who looks, None for a visitor.
        as_admin: whether the viewer came with an admin's credential.

    Raises:
        NotFound: there is none, or not for this viewer.
        Gone: there was one for this viewer, and its time is over.
    """
    item = _with_user().where(Item.id == item_id).first()
    if item is None:
        expiry.require_not_ended(item_id, viewer=viewer, as_admin=as_admin)
    is_own = item is not None and viewer is not None and viewer.id == item.user_id
    if item is None or not (item.state == "listed" or is_own or as_admin):
        raise NotFound("There is no such item.")
    expiry.require_alive(item)
    return item


def get_by_name(name: str, *, viewer: User | None = None, as_admin: bool = False) -> Item:
    """The item of the file `name`: a public one for everybody, any other for its owner and admins.

    Args:
        viewer: who looks, None for a visitor.
        as_admin: whether the viewer came with an admin's credential.

    Raises:
        NotFound: there is none, or not for this viewer.
        Gone: there was one, and its time is over.
    """
    expiry.require_file_alive(name)
    item = Item.get_or_none(Item.name == name) if files.NAME_PATTERN.fullmatch(name) else None
    is_own = item is not None and viewer is not None and viewer.id == item.user_id
    if item is None or not (item.state in ("unlisted", "listed") or is_own or as_admin):
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
    # With an offset PostgreSQL asks once for each tag that is shown, instead of joining them all.
    one = fn.EXISTS(links.limit(1).offset(0))
    names = Tag.select(Tag.name).where(Tag.name >= prefix, Tag.name < prefix + "\U0010ffff", one)
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
    return Item.select(Item, User.id, User.username).join(User, on=(Item.user == User.id))
