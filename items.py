"""Uploads: their rules, and how they are created, deleted, approved and rejected."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

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
    Unavailable,
    Unsure,
)
from listing import Listing, check_reason
from models import REJECTED, Comment, Item, ItemTag, Tag, User
from storage import Incoming, Storage

T = TypeVar("T")
_NAME_TRIES = 100  # random names tried; a second one is needed once in a blue moon
_DELETED_AT_ONCE = 60  # files of one album
REJECTED_KEPT = timedelta(days=30)
_STALE = 3600  # seconds
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
    store: Storage,
    new: NewItem,
    file: Incoming,
    also: Callable[[int], None] = lambda item_id: None,
) -> Created:
    """Store a received file as an item: bytes on disk first, then its name and row together; in a
    remote store the name first, and outside of the write, which nobody shall wait for.

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
    names = _names(config.uploads.name_length, extension, file.likely_name)
    published: list[str] = []
    held: list[str] = []

    def place() -> tuple[str, str | None]:
        """Give the bytes a name: the public one, and the one under which they wait if they do."""
        if is_pending and not held:
            held.append(store.hold(file))
        for name in names:
            if is_pending:
                return name, held[0]
            if store.publish(file, name):
                published.append(name)
                return name, None
        raise RuntimeError("no free name was found")

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
        while True:
            name, waiting = placed.pop() if placed else place()
            item_id = _insert(new, file, name, waiting, secret)
            if item_id is not None:
                break
            if waiting is None:
                store.delete(published.pop())  # a waiting item has reserved this name
        if new.listing is not None:
            _add_listing(item_id, new.user_id, new.listing)
        if album is not None:
            albums.append(album, [item_id])
        also(item_id)
        for victim in victims:
            _delete_row(victim)
        # Last: up to here, whatever fails leaves them as they were.
        if not store.is_remote:
            unlink(store, victims)
        evicted.extend(victims)
        return item_id, name, album.name if album else ""

    placed: list[tuple[str, str | None]] = []
    evicted: list[Item] = []
    try:
        if store.is_remote:
            placed.append(place())
        item_id, name, album = models.write(work, of_user=new.user_id)
    except Unsure:
        raise  # it may be stored: whether the bytes have a row is for the sweep to see
    except BaseException:
        with suppress(Unavailable):  # the sweep finds it
            for name in published:
                store.delete(name)
            for name in held:
                store.delete_pending(name)
        raise
    if store.is_remote:
        with suppress(Unavailable):  # the sweep finds them
            unlink(store, evicted)
    if file.looks_old:
        _require_bytes(store, item_id)
    return Created(
        id=item_id,
        name=name,
        is_pending=is_pending,
        deletion_secret=secret,
        expires=new.expires,
        album=album,
    )


def _require_bytes(store: Storage, item_id: int) -> None:
    """See that no sweep took a new item's bytes before it had its row; now none does."""
    for where, name in _places(Item.select().where(Item.id == item_id)):
        if store.changed(name, where=where) is None:
            models.write(lambda: Item.delete().where(Item.id == item_id).execute())
            raise Unavailable


def _names(length: int, extension: str, likely: str) -> Iterator[str]:
    """The names to try: first the one chosen when the bytes came, if it fits."""
    if likely and files.extension_of(likely) == extension:
        yield likely
    for _ in range(_NAME_TRIES):
        yield files.random_name(length, extension)


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
        # In one order, or two uploads with the same new tags could wait for each other.
        words = [(tag,) for tag in sorted(tags)]
        Tag.insert_many(words, [Tag.name]).on_conflict_ignore().execute()
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


def delete_own(store: Storage, user: User, name: str) -> None:
    """Delete the file `name` of `user`, for good once this returns.

    Raises:
        NotFound: there is no such file.
        Forbidden: it is somebody else's.
    """

    def choose() -> list[Item]:
        item = named(name)
        if item.user_id != user.id:
            raise Forbidden("This file belongs to someone else.")
        return [item]

    remove(store, choose, of_user=user.id)


def delete_own_item(store: Storage, user: User, item_id: int) -> None:
    """Delete an item, in whatever state, by its id.

    Raises:
        NotFound: there is none, or it is somebody else's and not public.
        Forbidden: it is somebody else's.
    """

    def choose() -> list[Item]:
        item = Item.get_or_none(Item.id == item_id)
        if item is None or (item.user_id != user.id and item.state != "listed"):
            raise NotFound("There is no such item.")
        if item.user_id != user.id:
            raise Forbidden("This item belongs to someone else.")
        return [item]

    remove(store, choose, of_user=user.id)


def delete_own_items(store: Storage, user: User, item_ids: list[int]) -> int:
    """Delete those of these items that are `user`'s, in one write. Returns how many."""
    mine = (Item.id.in_(item_ids), Item.user == user.id)
    return remove(store, lambda: list(Item.select().where(*mine)))


def delete_album(store: Storage, user: User, name: str) -> None:
    """Delete an album of `user` with all files in it, few at a time, since nobody can write
    meanwhile; the album goes last, so that what was cut short can be done again.

    Raises:
        NotFound: there is no such album.
        Forbidden: it is somebody else's.
    """

    def choose() -> list[Item]:
        album = albums.own(user, name)
        some = [item.id for item in albums.list_items(album)[:_DELETED_AT_ONCE]]
        return list(Item.select().where(Item.id.in_(some)))

    while remove(store, choose):
        pass
    albums.delete(user, name)


def find_by_deletion_secret(name: str, secret: str) -> Item | None:
    """The item that a deletion link speaks of, or None when the link is not, or no longer, good."""
    if not files.NAME_PATTERN.fullmatch(name) or not credentials.DELETION_PATTERN.fullmatch(secret):
        return None
    return Item.get_or_none(
        Item.name == name, Item.deletion_hash == credentials.hash_key(secret), ~REJECTED
    )


def delete_by_secret(store: Storage, name: str, secret: str) -> None:
    """Delete the file that a deletion link speaks of.

    Raises:
        NotFound: the link is not, or no longer, good.
    """

    def choose() -> list[Item]:
        item = find_by_deletion_secret(name, secret)
        if item is None:
            raise NotFound("There is nothing to delete under this link.")
        return [item]

    remove(store, choose)


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


def approve(store: Storage, admin: User, item_id: int) -> None:
    """Make a waiting item public.

    Raises:
        NotFound: no such item ever waited.
        Conflict: somebody has decided about it already.
    """
    released: list[tuple[str, str]] = []

    def release(item: Item) -> None:
        waiting = str(item.pending_name)
        released.append((item.name, waiting))
        try:
            store.release(waiting, item.name)
        except FileNotFoundError:
            raise NotFound("The bytes of this item are gone.") from None

    def work() -> Item:
        item = _waiting(item_id)
        # Somebody else's undo may have taken the bytes away again for those of an approval cut
        # short long ago. Only in here nobody undoes, and who deletes looks again afterwards.
        if not (store.is_remote and store.exists(item.name)):
            release(item)
        _decide(item, "listed", admin, "approve", None)
        return item

    try:
        if store.is_remote:
            release(_waiting(item_id))
        item = models.write(work)
    except Unsure:
        raise  # both names stay: which one is too many is for the next start or sweep to see
    except BaseException:
        if not store.is_remote or not _may_be_public(item_id):
            with suppress(Unavailable):  # the sweep finds it
                for name, waiting in released:
                    store.withdraw(name, waiting)
        raise
    _end_waiting(store, item)


def _may_be_public(item_id: int) -> bool:
    """Whether an item is public by somebody else's approval, or may be in a moment."""
    item = _find(item_id)
    return item is not None and item.state != "rejected"


def _end_waiting(store: Storage, item: Item) -> None:
    """After an approval: remove the bytes that waited."""
    with suppress(Unavailable):  # the sweep finds them
        store.delete_pending(str(item.pending_name))


def reject(store: Storage, admin: User, item_id: int, reason: str) -> None:
    """Remove a waiting item's bytes; its row tells owner and admins why for 30 days.

    Args:
        reason: shown to the owner, at most 500 characters; may be empty.

    Raises:
        Invalid: the reason is too long.
        NotFound: no such item ever waited.
        Conflict: somebody has decided about it already.
    """
    reason = check_reason(reason)

    def work(some: list[Item]) -> None:
        _decide(some[0], "rejected", admin, "reject", reason or None)

    unlink_and_write(store, lambda: [_waiting(item_id)], work)


def _find(item_id: int) -> Item | None:
    """An item, but none of an account that is being deleted: that has looked already where its
    bytes lie."""
    return Item.select(Item).join(User).where(Item.id == item_id, ~User.is_deleting).first()


def _waiting(item_id: int) -> Item:
    item = _find(item_id)
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


def remove(store: Storage, choose: Callable[[], list[Item]], *, of_user: int | None = None) -> int:
    """Delete the items that `choose` finds, in one write. Returns how many.

    Args:
        choose: finds them, or raises what forbids it; see `unlink_and_write`.
        of_user: as `models.write` takes it.
    """

    def work(some: list[Item]) -> int:
        for item in some:
            _delete_row(item)
        return len(some)

    return unlink_and_write(store, choose, work, of_user=of_user)


def unlink_and_write(
    store: Storage,
    choose: Callable[[], list[Item]],
    work: Callable[[list[Item]], T],
    *,
    of_user: int | None = None,
) -> T:
    """Remove the bytes of the items that `choose` finds, and do `work` with them, in one write.

    Bytes first: on a full disk the row could not be changed, and nobody could free space. Those of
    a remote store go before the write, which nobody shall wait for.

    Args:
        choose: reads; called again in the write, where what it finds decides.
        work: writes what has become of them.
        of_user: as `models.write` takes it.

    Returns:
        what `work` returned.
    """
    gone: set[tuple[files.Where, str]] = set()
    if store.is_remote:
        gone.update(_places(choose()))
        store.discard_all(gone)

    def both() -> T:
        some = choose()
        store.discard_all(place for place in _places(some) if place not in gone)
        return work(some)

    return models.write(both, of_user=of_user)


def _delete_row(item: Item) -> None:
    Item.delete().where(Item.id == item.id).execute()


def unlink(store: Storage, some: Iterable[Item]) -> None:
    """Remove the items' bytes, wherever they lie; already gone is fine."""
    store.discard_all(_places(some))


def _places(some: Iterable[Item]) -> Iterator[tuple[files.Where, str]]:
    """Where the bytes of items lie."""
    for item in some:
        if item.pending_name:
            yield "pending", item.pending_name
        elif item.state != "rejected":
            yield "public", item.name


def forget_rejected() -> int:
    """Drop the rows of items rejected more than 30 days ago. Returns how many."""
    old = Item.reviewed < models.now() - REJECTED_KEPT
    return models.write(lambda: int(Item.delete().where(REJECTED, old).execute()))


def forget_unused_tags() -> int:
    """Drop tags that no item carries any more. Returns how many."""
    unused = ~fn.EXISTS(ItemTag.select().where(ItemTag.tag == Tag.id))
    return models.write(lambda: int(Tag.delete().where(unused).execute()))


def undo_releases(store: Storage) -> int:
    """Take back what approvals cut short before their commit made public: on a remote store only
    what is an hour old, since one may be under way on another host. Returns how many."""

    def stale() -> list[tuple[str, str]]:
        waiting = models.rows(Item.select(Item.name, Item.pending_name).where(models.PENDING))
        if not store.is_remote:
            return waiting
        return [row for row in waiting if _is_stale(store, row[0])]

    # Looked at outside of a write, since that takes a while; there again, but only at those.
    found = stale() if store.is_remote else []
    if store.is_remote and not found:
        return 0

    def work() -> int:
        """Without an approval under way meanwhile."""
        some = stale() if not store.is_remote else _still_stale(store, found)
        return sum(store.withdraw(*names) for names in some)

    return models.write(work)


def _still_stale(store: Storage, found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    named = Item.select(Item.name).where(Item.name.in_([name for name, _ in found]), models.PENDING)
    waiting = {name for (name,) in models.rows(named)}
    return [row for row in found if row[0] in waiting and _is_stale(store, row[0])]


def _is_stale(store: Storage, name: str) -> bool:
    changed = store.changed(name, where="public")
    return changed is not None and changed <= time.time() - _STALE
