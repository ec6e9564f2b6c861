"""Albums: files of one user in an order of their own, under an address that only its link tells."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from peewee import IntegrityError, fn

import audit
import models
import storage as files
from errors import Conflict, Forbidden, Invalid, NotFound
from listing import plain
from models import Album, AlbumItem, Item, User

MAX_TITLE = 100  # characters
MAX_FILES = 1000  # in one album
MAX_ALBUMS = 500  # of one user
PER_PAGE = 60
_NAME_LENGTH = 12  # 71 bits: the name is all that guards an album
_NAME = re.compile(r"[A-Za-z0-9]{12}", re.ASCII)
_NONE = "There is no such album."
_NOT_IN_IT = "This file is not in the album."


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """An album in a list, with how many files it holds, and the first of them."""

    album: Album
    count: int
    cover: Item | None


def check_title(text: str) -> str:
    """A title as it may be kept.

    Raises:
        Invalid: there is none, or it is too long.
    """
    title = " ".join("".join(char for char in plain(text) if char not in files.BIDI).split())
    if not title:
        raise Invalid("An album needs a title.")
    if len(title) > MAX_TITLE:
        raise Invalid(f"The title of an album has at most {MAX_TITLE} characters.")
    return title


def read_title(text: str) -> str:
    """The title that an optional input gives; empty for none.

    Raises:
        Invalid: as `check_title`.
    """
    return check_title(text) if text.strip() else ""


def _key(title: str) -> str:
    return unicodedata.normalize("NFC", title.casefold())


# What an upload does, inside its own write


def open_for(user_id: int, title: str) -> Album:
    """The user's album of this title in any case, made when there is none; inside a write.

    Args:
        title: as `check_title` gives it.

    Raises:
        Conflict: it would be one too many.
    """
    album = Album.get_or_none(Album.user == user_id, Album.title_key == _key(title))
    if album is not None:
        return album
    if Album.select().where(Album.user == user_id).count() >= MAX_ALBUMS:
        raise Conflict(f"You have {MAX_ALBUMS} albums, which is as many as there may be.")
    name = files.random_name(_NAME_LENGTH)
    return Album.create(
        user=user_id, name=name, title=title, title_key=_key(title), created=models.now()
    )


def append(album: Album, item_ids: list[int]) -> None:
    """Put items, which are its owner's, behind the others; inside a write. Those that are in the
    album already stay where they are.

    Raises:
        Conflict: the album would hold too many.
    """
    inside = {item_id for (item_id,) in models.rows(_links(album).select(AlbumItem.item))}
    new = [item_id for item_id in dict.fromkeys(item_ids) if item_id not in inside]
    if len(inside) + len(new) > MAX_FILES:
        raise Conflict(f"An album holds at most {MAX_FILES:,} files.")
    last = _links(album).select(fn.MAX(AlbumItem.position)).scalar() or 0
    rows = [(album.id, item_id, last + place) for place, item_id in enumerate(new, 1)]
    if rows:
        fields = [AlbumItem.album, AlbumItem.item, AlbumItem.position]
        AlbumItem.insert_many(rows, fields).execute()


# Looking


def get(name: str) -> Album:
    """The album of this name, with its user.

    Raises:
        NotFound: there is none.
    """
    album = None
    if _NAME.fullmatch(name):
        query = Album.select(Album, User).join(User).where(Album.name == name)
        album = query.where(~User.is_deleting).first()
    if album is None:
        raise NotFound(_NONE)
    return album


def own(user: User, name: str) -> Album:
    """An album of `user`.

    Raises:
        NotFound: there is none of this name.
        Forbidden: it is somebody else's.
    """
    album = get(name)
    if album.user_id != user.id:
        raise Forbidden("This album belongs to someone else.")
    return album


def list_items(album: Album) -> list[Item]:
    """All files of an album in their order, whatever their state, but for those that have ended."""
    query = Item.select().join(AlbumItem, on=(AlbumItem.item == Item.id))
    query = query.where(AlbumItem.album == album.id)
    found, moment = query.order_by(AlbumItem.position, AlbumItem.item), models.now()
    return [item for item in found if item.expires is None or item.expires > moment]


def list_shown(album: Album, ratings: tuple[str, ...] | None) -> list[Item]:
    """The files that others than its owner and admins see: what is stored and decided, and of
    what is in the gallery only these `ratings`; None for all."""
    return [
        item
        for item in list_items(album)
        if item.state == "unlisted"
        or (item.state == "listed" and (ratings is None or item.rating in ratings))
    ]


def list_page(
    user: User, *, before: int | None = None, limit: int | None = PER_PAGE
) -> list[Summary]:
    """The albums of `user`, newest first, with ids below `before`; `limit` is None for all."""
    query = Album.select().where(Album.user == user.id)
    if before is not None:
        query = query.where(Album.id < before)
    found = list(query.order_by(Album.id.desc()).limit(limit))
    counted = (
        AlbumItem.select(AlbumItem.album, fn.COUNT(AlbumItem.item))
        .where(AlbumItem.album.in_([album.id for album in found]))
        .group_by(AlbumItem.album)
    )
    counts = dict(models.rows(counted))
    covers = _covers(found)
    return [
        Summary(album=album, count=counts.get(album.id, 0), cover=covers.get(album.id))
        for album in found
    ]


def _covers(found: list[Album]) -> dict[int, Item]:
    """The first file of each of these albums that has any."""
    link = AlbumItem.alias()
    first = (
        link.select(link.item).where(link.album == Album.id).order_by(link.position, link.item)
    ).limit(1)
    ids = [album.id for album in found]
    chosen = dict(models.rows(Album.select(Album.id, first).where(Album.id.in_(ids))))
    items = {item.id: item for item in Item.select().where(Item.id.in_(list(chosen.values())))}
    return {album_id: items[item_id] for album_id, item_id in chosen.items() if item_id in items}


def list_titles(user: User) -> list[str]:
    """The titles of all albums of `user`, in alphabetical order."""
    query = Album.select(Album.title).where(Album.user == user.id).order_by(Album.title_key)
    return [title for (title,) in models.rows(query)]


# Changing


def create(user: User, title: str) -> Album:
    """Make an album; the one that is there already when `user` has one of this title.

    Raises:
        Invalid: the title is none.
        Conflict: it would be one too many.
    """
    title = check_title(title)
    return models.write(lambda: open_for(user.id, title))


def add_files(user: User, title: str, item_ids: list[int]) -> Album:
    """Put those of these items that are `user`'s into an album of theirs, made when it is new.

    Raises:
        Invalid: the title is none.
        NotFound: none of the items is theirs.
        Conflict: the album, or the number of albums, is at its limit.
    """
    title = check_title(title)

    def work() -> Album:
        query = Item.select(Item.id).where(Item.id.in_(item_ids), Item.user == user.id)
        mine = {item_id for (item_id,) in models.rows(query)}
        if not mine:
            raise NotFound("You have none of these files; they may be gone already.")
        album = open_for(user.id, title)
        append(album, [item_id for item_id in item_ids if item_id in mine])
        return album

    return models.write(work)


def rename(user: User, name: str, title: str) -> None:
    """Give an album another title; its address stays.

    Raises:
        Invalid: the title is none.
        NotFound, Forbidden: as for `own`.
        Conflict: another album of the user has it.
    """
    title = check_title(title)

    def work() -> None:
        album = own(user, name)
        Album.update(title=title, title_key=_key(title)).where(Album.id == album.id).execute()

    try:
        models.write(work)
    except IntegrityError as error:
        raise Conflict("You have another album of this title.") from error


def move(user: User, name: str, item_id: int, before: int | None) -> int:
    """Move a file of an album in front of another one of it, or to its end.

    Told by the neighbour and not by a number, two moves at once both do what they say.

    Args:
        before: the other file's item; None for the end.

    Returns:
        the place it has now, from 1.

    Raises:
        NotFound, Forbidden: as for `own`; one of them is not in the album.
    """

    def work() -> int:
        album = own(user, name)
        _move(album, item_id, before)
        return _order(album).index(item_id) + 1

    return models.write(work)


def step(user: User, name: str, item_id: int, by: int) -> int:
    """Move a file of an album by one place: `by` -1 earlier, 1 later; at the ends it stays.

    Returns:
        the place it has now, from 1.

    Raises:
        NotFound, Forbidden: as for `move`.
    """

    def work() -> int:
        album = own(user, name)
        order = _order(album)
        if item_id not in order:
            raise NotFound(_NOT_IN_IT)
        at = order.index(item_id)
        to = min(max(at + by, 0), len(order) - 1)
        if to != at:
            behind = order[to + 1 :] if to > at else order[to:]
            _move(album, item_id, behind[0] if behind else None)
        return to + 1

    return models.write(work)


def _move(album: Album, item_id: int, before: int | None) -> None:
    """Shift those between the old and the new place by one; positions stay different."""
    position = _position(album, item_id)
    if before == item_id:
        return
    if before is None:
        place = (_links(album).select(fn.MAX(AlbumItem.position)).scalar() or 0) + 1
    else:
        place = _position(album, before)
        if position < place:
            place -= 1
            between = AlbumItem.position.between(position + 1, place)
            AlbumItem.update(position=AlbumItem.position - 1).where(
                AlbumItem.album == album.id, between
            ).execute()
        else:
            between = AlbumItem.position.between(place, position - 1)
            AlbumItem.update(position=AlbumItem.position + 1).where(
                AlbumItem.album == album.id, between
            ).execute()
    this = (AlbumItem.album == album.id) & (AlbumItem.item == item_id)
    AlbumItem.update(position=place).where(this).execute()


def remove(user: User, name: str, item_ids: Iterable[int]) -> None:
    """Take files out of an album; they stay where they are otherwise. Those that are not in it are
    passed over.

    Raises:
        NotFound, Forbidden: as for `own`.
    """
    ids = list(item_ids)

    def work() -> None:
        these = (AlbumItem.album == own(user, name).id) & AlbumItem.item.in_(ids)
        AlbumItem.delete().where(these).execute()

    models.write(work)


def delete(user: User, name: str) -> None:
    """Delete an album, as its owner or an admin; its files stay.

    Raises:
        NotFound: there is none.
        Forbidden: it is somebody else's.
    """

    def work() -> None:
        album = get(name) if user.role == "admin" else own(user, name)
        Album.delete().where(Album.id == album.id).execute()
        if album.user_id != user.id:
            audit.record(user.id, "delete album", f"album {album.id} of #{album.user_id}")

    models.write(work)


def _links(album: Album) -> Any:
    return AlbumItem.select().where(AlbumItem.album == album.id)


def _order(album: Album) -> list[int]:
    query = _links(album).select(AlbumItem.item)
    return [row[0] for row in models.rows(query.order_by(AlbumItem.position, AlbumItem.item))]


def _position(album: Album, item_id: int) -> int:
    link = _links(album).where(AlbumItem.item == item_id).first()
    if link is None:
        raise NotFound(_NOT_IN_IT)
    return int(link.position)
