"""Uploads: their rules, and how they are created, deleted, approved and rejected."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from peewee import fn

import albums
import audit
import credentials
import models
import quota
import statements
import storage as files
from config import Config
from errors import (
    Blocked,
    Conflict,
    Forbidden,
    NoSpace,
    NotFound,
    Refused,
    TooMany,
    Unauthorized,
)
from listing import Listing, check_reason
from models import REJECTED, Comment, Item, ItemTag, Tag, User
from storage import Incoming, LocalStorage

_NAME_TRIES = 100  # random names tried; a second one is needed once in a blue moon
_DELETED_AT_ONCE = 60  # files of one album
REJECTED_KEPT = timedelta(days=30)
UPLOAD_WINDOW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """An upload as it was received.

    Args:
        listing: without one it stays unlisted.
        expires: when it ends; None for never.
        album: the title of the user's album it goes into, as `albums.check_title` gives it; empty
            for none.
        admitted: bytes that it was admitted with when it began to come in pieces: they count
            towards the quota already, and it is no further upload of this minute.
        deletion_secret: what its deletion link holds; empty for a new one.
    """

    user_id: int
    original_name: str
    listing: Listing | None = None
    expires: datetime | None = None
    album: str = ""
    admitted: int = 0
    deletion_secret: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """What an upload became; `deletion_secret` is told once and kept only as a hash, `album` is the
    name of the album it went into, empty for none."""

    id: int
    name: str
    is_pending: bool
    deletion_secret: str
    album: str
    expires: datetime | None


def require_rate(per_minute: int, user_id: int) -> None:
    """See that a user may upload once more within this minute; 0 is no limit.

    Raises:
        TooMany: with the seconds until there is room.
    """
    if not per_minute:
        return
    moment = models.now()
    blocking = statements.find_nth_newest(user_id, per_minute)
    if blocking is not None and blocking > moment - UPLOAD_WINDOW:
        wait = (blocking + UPLOAD_WINDOW - moment).total_seconds()
        raise TooMany("Too many uploads in a minute; try again soon.", retry_after=int(wait) + 1)


def create(
    config: Config,
    store: LocalStorage,
    new: NewItem,
    file: Incoming,
    also: Callable[[int], None] = lambda item_id: None,
) -> Created:
    """Store a received file as an item: bytes on disk first, then its name and row together.

    Args:
        new: what was received beside the bytes.
        file: the bytes; whatever happens, the caller closes it.
        also: what has to hold together with the item, done with its id in the same write.

    Returns:
        the item, once it would survive a power cut.

    Raises:
        Blocked, Refused, NoSpace, TooMany: it may not be stored.
        Unauthorized: the user was deleted or banned meanwhile.
        Conflict: the album, or the number of albums, is at its limit.
    """
    extension = files.extension_of(new.original_name)
    require_extension(config.uploads.blocked_extensions, extension)
    store.require_space()
    require_database_space()
    file.seal()
    is_pending = new.listing is not None and config.gallery.manual_approval
    secret = new.deletion_secret or credentials.new_deletion_secret()
    published: list[str] = []
    held: list[str] = []

    def work() -> tuple[int, str, str]:
        rights = statements.find_rights(new.user_id, file.sha256)
        if rights is None or not rights.is_active:
            raise Unauthorized
        if not new.admitted:
            require_rate(config.uploads.per_minute, new.user_id)
        if rights.is_refused:
            raise Refused("An admin has taken this content down; this host does not take it again.")
        album = albums.open_for(new.user_id, new.album) if new.album else None
        victims = quota.make_room(config, new.user_id, rights, file.size - new.admitted)
        waiting = None
        if is_pending:
            waiting = store.hold(file)
            held.append(waiting)
        for _ in range(_NAME_TRIES):
            name = files.random_name(config.uploads.name_length, extension)
            if waiting is None:
                if not store.publish(file, name):
                    continue
                published.append(name)
            item_id = _insert(new, file, name, waiting, secret)
            if item_id is not None:
                break
            if waiting is None:
                store.delete(published.pop())  # a waiting item has reserved this name
        else:
            raise RuntimeError("no free name was found")
        if new.listing is not None:
            _add_listing(item_id, new.user_id, new.listing)
        if album is not None:
            albums.append(album, [item_id])
        also(item_id)
        for victim in victims:  # last: up to here, whatever fails leaves them as they were
            remove(store, victim)
        return item_id, name, album.name if album else ""

    try:
        item_id, name, album = models.write(work)
    except BaseException:
        for name in published:
            store.delete(name)
        for name in held:
            store.delete_pending(name)
        raise
    return Created(
        id=item_id,
        name=name,
        is_pending=is_pending,
        deletion_secret=secret,
        expires=new.expires,
        album=album,
    )


def _insert(
    new: NewItem, file: Incoming, name: str, waiting: str | None, secret: str
) -> int | None:
    """The new row's id, or None when the name is taken."""
    listing = new.listing
    state = "unlisted" if listing is None else "pending" if waiting else "listed"
    return statements.insert_item(
        new.user_id,
        name=name,
        original_name=files.display_name(new.original_name) or name,
        size=file.size,
        sha256=file.sha256,
        state=state,
        pending_name=waiting,
        rating=listing.rating if listing else None,
        is_oc=bool(listing and listing.is_oc),
        is_shitpost=bool(listing and listing.is_shitpost),
        deletion_hash=credentials.hash_key(secret),
        expires=new.expires,
    )


def _add_listing(item_id: int, user_id: int, listing: Listing) -> None:
    _add_tags(item_id, listing.tags)
    if listing.comment:
        Comment.insert(item=item_id, user=user_id, text=listing.comment).execute()


def _add_tags(item_id: int, tags: tuple[str, ...]) -> None:
    if tags:
        Tag.insert_many([(tag,) for tag in tags], [Tag.name]).on_conflict_ignore().execute()
        chosen = models.rows(Tag.select(Tag.id).where(Tag.name.in_(tags)))
        links = [(tag_id, item_id) for (tag_id,) in chosen]
        ItemTag.insert_many(links, [ItemTag.tag, ItemTag.item]).execute()


def require_extension(blocked: frozenset[str], extension: str) -> None:
    """See that the operator takes this kind of file; `extension` as `extension_of` gives it.

    Raises:
        Blocked: the whole extension or its last part is among `blocked`.
    """
    whole = extension.lstrip(".")
    if whole and not blocked.isdisjoint({whole, whole.rpartition(".")[2]}):
        raise Blocked(f"Files of the kind .{whole} are not taken here.")


def require_database_space() -> None:
    """See that the database's filesystem keeps its reserve, or nothing could be deleted either.

    Raises:
        NoSpace: it does not.
    """
    if not models.has_space():
        raise NoSpace(files.FULL_MESSAGE)


def delete_own(store: LocalStorage, user: User, name: str) -> None:
    """Delete the file `name` of `user`, for good once this returns.

    Raises:
        NotFound: there is no such file.
        Forbidden: it is somebody else's.
    """

    def work() -> None:
        item = named(name)
        if item.user_id != user.id:
            raise Forbidden("This file belongs to someone else.")
        remove(store, item)

    models.write(work)


def delete_own_item(store: LocalStorage, user: User, item_id: int) -> None:
    """Delete an item, in whatever state, by its id.

    Raises:
        NotFound: there is none, or it is somebody else's and not public.
        Forbidden: it is somebody else's.
    """

    def work() -> None:
        item = Item.get_or_none(Item.id == item_id)
        if item is None or (item.user_id != user.id and item.state != "listed"):
            raise NotFound("There is no such item.")
        if item.user_id != user.id:
            raise Forbidden("This item belongs to someone else.")
        remove(store, item)

    models.write(work)


def delete_own_items(store: LocalStorage, user: User, item_ids: list[int]) -> int:
    """Delete those of these items that are `user`'s, in one write. Returns how many."""

    def work() -> int:
        mine = list(Item.select().where(Item.id.in_(item_ids), Item.user == user.id))
        for item in mine:
            remove(store, item)
        return len(mine)

    return models.write(work)


def delete_album(store: LocalStorage, user: User, name: str) -> None:
    """Delete an album of `user` with all files in it, few at a time, since nobody can write
    meanwhile; the album goes last, so that what was cut short can be done again.

    Raises:
        NotFound: there is no such album.
        Forbidden: it is somebody else's.
    """

    def delete_some() -> int:
        album = albums.own(user, name)
        some = [item.id for item in albums.list_items(album)[:_DELETED_AT_ONCE]]
        for item in Item.select().where(Item.id.in_(some)):
            remove(store, item)
        return len(some)

    while models.write(delete_some):
        pass
    albums.delete(user, name)


def find_by_deletion_secret(name: str, secret: str) -> Item | None:
    """The item that a deletion link speaks of, or None when the link is not, or no longer, good."""
    if not files.NAME_PATTERN.fullmatch(name) or not credentials.DELETION_PATTERN.fullmatch(secret):
        return None
    return Item.get_or_none(
        Item.name == name, Item.deletion_hash == credentials.hash_key(secret), ~REJECTED
    )


def delete_by_secret(store: LocalStorage, name: str, secret: str) -> None:
    """Delete the file that a deletion link speaks of.

    Raises:
        NotFound: the link is not, or no longer, good.
    """

    def work() -> None:
        item = find_by_deletion_secret(name, secret)
        if item is None:
            raise NotFound("There is nothing to delete under this link.")
        remove(store, item)

    models.write(work)


def edit(user: User, item_id: int, listing: Listing) -> None:
    """Give a listed item another rating and other tags, as its owner or an admin.

    Args:
        listing: as `listing.check_listing` made it; its comment is not used.

    Raises:
        NotFound: there is no such item.
        Forbidden: it is somebody else's.
        Conflict: it waits for an admin, who must decide about what was sent.
    """

    def work() -> None:
        item = Item.get_or_none(Item.id == item_id)
        if item is None or item.state in ("unlisted", "rejected"):
            raise NotFound("There is no such item.")
        if item.user_id != user.id and user.role != "admin":
            raise Forbidden("This item belongs to someone else.")
        if item.state == "pending":
            raise Conflict("This item waits for an admin and cannot be changed now.")
        Item.update(rating=listing.rating, is_oc=listing.is_oc).where(Item.id == item_id).execute()
        ItemTag.delete().where(ItemTag.item == item_id).execute()
        _add_tags(item_id, listing.tags)
        if item.user_id != user.id:
            audit.record(user.id, "edit", f"item {item_id} of #{item.user_id}")

    models.write(work)


def approve(store: LocalStorage, admin: User, item_id: int) -> None:
    """Make a waiting item public.

    Raises:
        NotFound: no such item ever waited.
        Conflict: somebody has decided about it already.
    """
    released: list[tuple[str, str]] = []

    def work() -> str:
        item = _waiting(item_id)
        waiting = str(item.pending_name)
        released.append((item.name, waiting))
        try:
            store.release(waiting, item.name)
        except FileNotFoundError:
            raise NotFound("The bytes of this item are gone.") from None
        _decide(item, "listed", admin, "approve", None)
        return waiting

    try:
        pending_name = models.write(work)
    except BaseException:
        for name, waiting in released:
            store.withdraw(name, waiting)
        raise
    store.delete_pending(pending_name)


def reject(store: LocalStorage, admin: User, item_id: int, reason: str) -> None:
    """Remove a waiting item's bytes; its row tells owner and admins why for 30 days.

    Args:
        reason: shown to the owner, at most 500 characters; may be empty.

    Raises:
        Invalid: the reason is too long.
        NotFound: no such item ever waited.
        Conflict: somebody has decided about it already.
    """
    reason = check_reason(reason)

    def work() -> None:
        item = _waiting(item_id)
        store.delete_pending(str(item.pending_name))
        _decide(item, "rejected", admin, "reject", reason or None)

    models.write(work)


def _waiting(item_id: int) -> Item:
    item = Item.get_or_none(Item.id == item_id)
    if item is None or (item.state != "pending" and item.reviewed is None):
        raise NotFound("There is no such item in the queue.")
    if item.state != "pending":
        raise Conflict("This item has been decided about already.")
    return item


def _decide(item: Item, state: str, admin: User, act: str, reason: str | None) -> None:
    changed = {"state": state, "pending_name": None, "reason": reason, "reviewed": models.now()}
    if state == "rejected":
        changed["expires"] = None  # without bytes there is nothing to end; the row stays its time
    Item.update(**changed).where(Item.id == item.id).execute()
    audit.record(admin.id, act, f"item {item.id} of #{item.user_id}")


def named(name: str) -> Item:
    """The item whose bytes are, or wait to be, under `name`.

    Raises:
        NotFound: there is none.
    """
    item = None
    if files.NAME_PATTERN.fullmatch(name):
        item = Item.get_or_none(Item.name == name, ~REJECTED)
    if item is None:
        raise NotFound("There is no such file.")
    return item


def remove(store: LocalStorage, item: Item) -> None:
    """Delete an item, within a write.

    Bytes first: on a full disk the row could not be deleted, and nobody could free space.
    """
    unlink(store, item)
    Item.delete().where(Item.id == item.id).execute()


def unlink(store: LocalStorage, item: Item) -> None:
    """Remove the item's bytes, wherever they lie; already gone is fine."""
    if item.pending_name:
        store.delete_pending(item.pending_name)
    elif item.state != "rejected":
        store.delete(item.name)


def forget_rejected() -> int:
    """Drop the rows of items rejected more than 30 days ago. Returns how many."""
    old = Item.reviewed < models.now() - REJECTED_KEPT
    return models.write(lambda: int(Item.delete().where(REJECTED, old).execute()))


def forget_unused_tags() -> int:
    """Drop tags that no item carries any more. Returns how many."""
    unused = ~fn.EXISTS(ItemTag.select().where(ItemTag.tag == Tag.id))
    return models.write(lambda: int(Tag.delete().where(unused).execute()))


def undo_releases(store: LocalStorage) -> int:
    """Take back what approvals cut short before their commit made public. Returns how many."""

    def work() -> int:  # a write, so that no approval is under way meanwhile
        waiting = models.rows(Item.select(Item.name, Item.pending_name).where(models.PENDING))
        return sum(store.withdraw(name, pending_name) for name, pending_name in waiting)

    return models.write(work)
