"""Uploads that come in pieces: their rules, and how they begin, go on, end and expire."""

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import albums
import credentials
import expiry
import intake
import items
import metadata as pictures
import models
import quota
import statements
import storage as files
from announced import Checksum, parse_metadata
from body import Stream
from config import Config
from errors import (
    Conflict,
    Invalid,
    Locked,
    NotFound,
    ServiceError,
    TooLarge,
    TooMany,
    Unauthorized,
    Unavailable,
    WrongChecksum,
)
from items import NewItem
from listing import read_listing
from models import Item, Resumable
from storage import Partial, Storage, Where

KEPT = timedelta(days=1)  # after its last piece
MOST = 20  # unfinished ones of a user
_NAME = re.compile(r"[A-Za-z0-9]{32}", re.ASCII)
_NONE = "There is no such upload; it may have expired."
_BEYOND = "The piece is longer than what is left of the upload."


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sends.

    Args:
        user_id: the user.
        api: by which API (nekos, f0ckm, web); an upload goes on where it began.
    """

    user_id: int
    api: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What an upload has become; `metadata` is the `outcome` of `metadata.Stripped`."""

    id: int
    name: str
    is_listed: bool
    is_pending: bool
    deletion_secret: str
    metadata: pictures.Outcome | None  # known to the request that ended it alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an upload is; `finished` once it is an item. Sizes are bytes."""

    name: str
    length: int
    offset: int
    metadata: str
    expires: datetime
    finished: Finished | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What receives uploads.

    Args:
        config: the rules.
        store: the files.
        secret: the server's; a deletion link follows from it.
    """

    config: Config
    store: Storage
    secret: bytes


def begin(desk: Desk, sender: Sender, length: int, metadata: str) -> Progress:
    """Begin an upload of `length` bytes. All rules are asked now, so that nothing is sent in vain.

    Args:
        metadata: Upload-Metadata as it was sent.

    Raises:
        Invalid, TooLarge, Blocked, TooMany, NoSpace: it may not be stored.
        Unauthorized: the user was deleted or banned meanwhile.
    """
    rules, store = desk.config.uploads, desk.store
    items.require_rate(rules.per_minute, sender.user_id)
    if length == 0:
        raise Invalid("The file is empty.")
    if length > rules.max_bytes:
        raise TooLarge(intake.too_large(rules.max_bytes))
    fields = parse_metadata(metadata)
    new = _described(desk, sender, fields)
    pictures.wants(desk.config, is_listed=False, wish=fields.get("strip-metadata", ""))
    items.require_extension(rules.blocked_extensions, files.extension_of(new.original_name))
    store.require_space(length)
    items.require_database_space()
    forget_expired(store)
    reserved: list[str] = []

    def work() -> Resumable:
        moment = models.now()
        rights = statements.find_rights(sender.user_id)
        if rights is None or not rights.is_active:
            raise Unauthorized
        _require_place(sender.user_id, moment)
        quota.make_room(desk.config, sender.user_id, rights, length)  # what goes, goes at the end
        reserved.append(store.reserve_name())
        return Resumable.create(
            user=sender.user_id,
            name=reserved[0],
            api=sender.api,
            length=length,
            metadata=metadata,
            created=moment,
            expires=moment + KEPT,
        )

    try:
        upload = models.write(work, of_user=sender.user_id)
    except BaseException:
        with suppress(Unavailable):
            for name in reserved:
                store.discard(name, where="resumable")
        raise
    return _progress(desk, upload)


def look(desk: Desk, sender: Sender, name: str) -> Progress:
    """How far an upload is. A request that still waits for its bytes is ended first, so that this
    is true.

    Raises:
        NotFound: there is none, or not of this sender.
    """
    upload = _get(sender, name)
    if upload.item_id is not None:
        return _progress(desk, upload)
    try:
        with desk.store.resume(name) as file:
            upload = _get(sender, name)
            file.go_to(upload.offset, upload.parts)
    except Locked:
        pass  # another process receives it
    except NotFound:
        upload = _ended(sender, name)
    return _progress(desk, upload)


def receive(
    desk: Desk,
    sender: Sender,
    name: str,
    stream: Stream,
    *,
    offset: int,
    size: int | None,
    checksum: Checksum | None = None,
    interrupt: Callable[[], None] = lambda: None,
) -> Progress:
    """Append a piece. What has come is kept also when the rest does not come; with a checksum
    the piece counts whole or not at all. With the last byte the upload becomes an item.

    Args:
        stream: the piece.
        offset: where the client believes it begins.
        size: how many bytes were announced, None when nobody said.
        interrupt: ends the reading from `stream`, called from another thread.

    Raises:
        NotFound: there is no such upload, or not of this sender.
        Conflict: it begins elsewhere.
        Locked: another request goes on with it.
        TooLarge: the piece passes the announced length.
        WrongChecksum: the piece is not what the client sent; it was dropped.
        whatever `items.create` raises, at the end; then the last piece has to be sent again.
    """
    upload = _at(_get(sender, name), offset)
    if upload.item_id is not None:
        return _progress(desk, upload)  # the answer to the last piece was lost
    if size is not None and size > upload.length - offset:
        raise TooLarge(_BEYOND)
    with _opened(desk, sender, name, interrupt) as file:
        upload = _at(_get(sender, name), offset)
        if upload.item_id is not None:
            return _progress(desk, upload)
        file.go_to(offset, upload.parts)
        _copy(upload, file, stream, size, checksum)
        outcome = None
        if file.size == upload.length:
            outcome = _finish(desk, upload, file)
        else:
            _save(upload, file)
    return _progress(desk, _get(sender, name), outcome)


def give_up(desk: Desk, sender: Sender, name: str) -> None:
    """End an unfinished upload, with all its bytes. A finished one is an item, and stays one: it
    is merely not asked about any more.

    Raises:
        NotFound: there is none, or not of this sender.
    """
    upload = _get(sender, name)
    _remove(desk.store, lambda: [(upload.id, name)])


def forget_expired(store: Storage) -> int:
    """Drop what has expired. Returns how many."""
    expired = Resumable.expires <= models.now()
    if not Resumable.select(Resumable.id).where(expired).exists():
        return 0
    over = Resumable.select(Resumable.id, Resumable.name).where(expired)
    return _remove(store, lambda: models.rows(over))


def _remove(store: Storage, choose: Callable[[], list[tuple[int, str]]]) -> int:
    """Drop the uploads that `choose` finds, by id and name: bytes first. Those of a remote store go
    after the write, which nobody shall wait for; what is left then, the sweep finds."""

    def work() -> list[tuple[Where, str]]:
        some = choose()
        places: list[tuple[Where, str]] = [("resumable", name) for _, name in some]
        if not store.is_remote:
            store.discard_all(places)
        Resumable.delete().where(Resumable.id.in_([row[0] for row in some])).execute()
        return places

    gone = models.write(work)
    if store.is_remote:
        with suppress(Unavailable):
            store.discard_all(gone)
    return len(gone)


def unlink_all(store: Storage, user_id: int) -> None:
    """Remove the bytes of all unfinished uploads of a user, whose row is about to go."""
    mine = models.rows(Resumable.select(Resumable.name).where(Resumable.user == user_id))
    store.discard_all(("resumable", name) for (name,) in mine)


def _get(sender: Sender, name: str) -> Resumable:
    upload = None
    if _NAME.fullmatch(name):
        upload = Resumable.get_or_none(
            Resumable.name == name,
            Resumable.user == sender.user_id,
            Resumable.api == sender.api,
            Resumable.expires > models.now(),
        )
    if upload is None:
        raise NotFound(_NONE)
    return upload


def _at(upload: Resumable, offset: int) -> Resumable:
    if upload.offset != offset:
        raise Conflict(f"The upload stands at {upload.offset} and not at {offset}.")
    return upload


def _require_place(user_id: int, moment: datetime) -> None:
    mine = (Resumable.user == user_id, Resumable.item.is_null(), Resumable.expires > moment)
    if Resumable.select().where(*mine).count() >= MOST:
        raise TooMany(f"You have {MOST} unfinished uploads; finish or end one of them first.")


def _described(desk: Desk, sender: Sender, fields: dict[str, str]) -> NewItem:
    """The item that the metadata speak of."""
    is_listed = sender.api == "f0ckm" or (sender.api == "web" and fields.get("listed") == "1")
    listing = None
    if is_listed:
        listing = read_listing(desk.config.gallery, lambda name: fields.get(name, ""))
    return NewItem(
        user_id=sender.user_id,
        original_name=fields.get("filename", ""),
        listing=listing,
        album=albums.read_title(fields.get("album", "")),
        expires=expiry.check(desk.config.uploads, fields.get("expires", "")),
    )


def _opened(desk: Desk, sender: Sender, name: str, interrupt: Callable[[], None]) -> Partial:
    try:
        return desk.store.resume(name, interrupt)
    except NotFound:
        _ended(sender, name)
        raise Conflict("The upload is complete.") from None


def _ended(sender: Sender, name: str) -> Resumable:
    """The upload whose file is gone because it has become an item meanwhile."""
    upload = _get(sender, name)
    if upload.item_id is None:
        raise NotFound(_NONE)
    return upload


def _copy(
    upload: Resumable, file: Partial, stream: Stream, size: int | None, checksum: Checksum | None
) -> None:
    """From the stream into the file, until one of them ends."""
    began, room = file.size, file.save_every
    digest = hashlib.new(checksum.algorithm) if checksum else None
    while block := _read(stream, min(intake.BLOCK, upload.length - file.size + 1, room)):
        if file.size + len(block) > upload.length:
            raise TooLarge(_BEYOND)
        file.write(block)
        if digest is not None:
            digest.update(block)
            continue
        room -= len(block)
        if room == 0:
            room = file.save_every
            if file.size < upload.length:
                _save(upload, file)
    if checksum is not None and digest is not None:
        is_whole = block is not None and size in (None, file.size - began)
        if not is_whole or digest.digest() != checksum.digest:
            raise WrongChecksum("The piece does not have its checksum; send it again.")


def _read(stream: Stream, size: int) -> bytes | None:
    """The next bytes, b"" at the end, None when the connection broke or nothing came in time."""
    try:
        return stream.read(size)
    except Exception:  # every server has its own for cut-off and malformed bodies
        return None


def _save(upload: Resumable, file: Partial) -> None:
    """Acknowledge what the file holds, once it lasts. Where several hosts receive at once, one of
    them wins."""

    def acknowledge(size: int, parts: str | None) -> None:
        fresh = {"offset": size, "parts": parts, "expires": models.now() + KEPT}
        query = Resumable.update(fresh).where(*_as_it_was(upload))
        if not models.write(lambda: int(query.execute()), of_user=upload.user_id):
            raise _passed_by(upload)

    file.save(acknowledge)
    upload.offset = file.size


def _as_it_was(upload: Resumable) -> tuple[Any, ...]:
    return (
        Resumable.id == upload.id, Resumable.item.is_null(), Resumable.offset == upload.offset
    )  # fmt: skip


def _passed_by(upload: Resumable) -> ServiceError:
    if Resumable.get_or_none(Resumable.id == upload.id) is None:
        return NotFound(_NONE)  # given up, or its user deleted, meanwhile
    return Conflict("Another request has gone on with this upload.")


def _finish(desk: Desk, upload: Resumable, file: Partial) -> pictures.Outcome | None:
    """Make an item of it; what became of its metadata. The last piece is acknowledged with that and
    not before: else a client whose last answer was lost would take an upload for stored that is no
    item."""
    fields = parse_metadata(upload.metadata)
    sender = Sender(user_id=upload.user_id, api=upload.api)
    new = replace(
        _described(desk, sender, fields),
        admitted=upload.length,
        deletion_secret=credentials.derive_deletion_secret(desk.secret, upload.name),
    )

    def end(item_id: int) -> None:
        ended = {
            "offset": upload.length,
            "parts": None,
            "item": item_id,
            "expires": models.now() + KEPT,
        }
        if not Resumable.update(ended).where(*_as_it_was(upload)).execute():
            raise _passed_by(upload)

    try:
        with file.whole(new.original_name) as whole:
            stripped = pictures.apply(
                desk.config,
                desk.store,
                whole,
                is_listed=new.listing is not None,
                wish=fields.get("strip-metadata", ""),
            )
            try:
                items.create(desk.config, desk.store, new, stripped.file, end)
            finally:
                if stripped.file is not whole:
                    stripped.file.close()
    except NotFound:
        if Resumable.select().where(*_as_it_was(upload)).exists():
            raise
        raise _passed_by(upload) from None  # whose end took the bytes away
    with suppress(Unavailable):  # the sweep finds them
        desk.store.discard(upload.name, where="resumable")
    return stripped.outcome


def _progress(desk: Desk, upload: Resumable, metadata: pictures.Outcome | None = None) -> Progress:
    finished = None
    if upload.item_id is not None:
        item = Item.get_or_none(Item.id == upload.item_id)
        if item is None:
            raise NotFound(_NONE)  # deleted at this moment
        finished = Finished(
            id=item.id,
            name=item.name,
            is_listed=item.state != "unlisted",
            is_pending=item.state in ("pending", "rejected"),
            deletion_secret=credentials.derive_deletion_secret(desk.secret, upload.name),
            metadata=metadata,
        )
    return Progress(
        name=upload.name,
        length=upload.length,
        offset=upload.offset,
        metadata=upload.metadata,
        expires=upload.expires,
        finished=finished,
    )
