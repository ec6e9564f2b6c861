"""Putting files and rows in agreement: the sweep."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from peewee import PeeweeException

import expiry
import gallery
import items
import models
import resumable
import takedown
from errors import ServiceError
from models import Item, Resumable
from storage import Storage, Where

T = TypeVar("T")
AGE = 3600  # seconds before what has no row counts as left behind
BATCH = 500
SPARED = 1000  # more than so many, and more than SPARED_SHARE of all, is taken for a mistake
SPARED_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What a sweep found.

    Args:
        orphans: files without a row, as pairs of folder (public, pending, resumable) and name.
        temporary: unfinished uploads left by a crash.
        files: how many files lie in the folders.
        thumbnails: names in the folder of thumbnails whose file is gone, or unfinished.
        lost: names of rows whose file is missing, such as a delete cut short leaves.
        held_back: why nothing may be removed, or None.
    """

    orphans: list[tuple[Where, str]]
    temporary: list[str]
    files: int
    thumbnails: list[str]
    lost: list[str]
    held_back: str | None


def look(
    store: Storage,
    *,
    young: bool = False,
    rows: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sweep:
    """Find what lies in the folders without a row, and rows without their file.

    Args:
        young: also what is younger than an hour, unless the store is remote. A file gets its name
            and its row inside one write, and `remove` looks again inside one, so this never meets
            an upload under way; an unfinished upload is only recognised while no server runs.
        rows: also look for rows without a file, which takes one look-up each.
        progress: told of files looked at and, roughly, all.
    """
    if store.is_remote:
        young = False  # it may be another host's, about to get its row
    newest = time.time() if young else time.time() - AGE
    orphans: list[tuple[Where, str]] = []
    files = 0
    total = models.total("files")
    listed: tuple[tuple[Where, Iterator[str]], ...] = (
        ("public", store.list_public()),
        ("pending", store.list_pending()),
        ("resumable", store.list_resumable()),
    )
    for where, names in listed:
        for batch in _batches(names):
            files += len(batch)
            owned = _owned(where, batch)
            for name in batch:
                changed = None if name in owned else store.changed(name, where=where)
                if changed is not None and changed <= newest:
                    orphans.append((where, name))
            progress(min(files, total), total)
    unfinished = ((name, store.changed(name, where="incoming")) for name in store.list_incoming())
    temporary = [name for name, changed in unfinished if changed is not None and changed <= newest]
    thumbnails = [
        name
        for batch in _batches(store.list_thumbnails())
        for name in _without_file(store, batch)
        if (store.changed(name, where="thumbnails") or newest + 1) <= newest
    ]
    lost = list(_lost(store)) if rows else []
    return Sweep(
        orphans=orphans,
        temporary=temporary,
        files=files,
        thumbnails=thumbnails,
        lost=lost,
        held_back=_held_back(len(orphans), len(temporary), files),
    )


def remove(store: Storage, found: Sweep, *, force: bool = False) -> int:
    """Remove what `look` found, each after one more look at its row.

    Args:
        force: remove although the sweep is held back.

    Returns:
        how many files were removed.
    """
    if found.held_back and not force:
        return 0
    removed = sum(store.discard(name, where="incoming") for name in found.temporary)
    for batch in _batches(iter(found.orphans)):

        def work(batch: list[tuple[Where, str]] = batch) -> int:
            count = 0
            for where in ("public", "pending", "resumable"):
                names = [name for folder, name in batch if folder == where]
                owned = _owned(where, names)
                count += store.discard_all((where, name) for name in names if name not in owned)
            return count

        removed += models.write(work)
    for names in _batches(iter(found.thumbnails)):

        def drop(names: list[str] = names) -> int:
            left = _without_file(store, names)
            return store.discard_all(("thumbnails", name) for name in left)

        removed += models.write(drop)
    return removed


def is_healthy(store: Storage) -> bool:
    """Whether database and storage answer, and space is left."""
    try:
        gallery.count_public()
        store.require_answer()
        items.require_database_space()
    except (ServiceError, PeeweeException, OSError):
        return False
    return True


def tidy(store: Storage) -> None:
    """Finish what was cut short, and drop rows whose time is over."""
    items.undo_releases(store)
    items.forget_rejected()
    expiry.end_due(store)
    takedown.forget_notices()
    resumable.forget_expired(store)
    items.forget_unused_tags()


def _held_back(orphans: int, temporary: int, files: int) -> str | None:
    if (orphans or temporary) and not Item.select(Item.id).limit(1).exists():
        return "the database knows no upload at all: is it the right one?"
    if orphans > SPARED and orphans > files * SPARED_SHARE:
        return f"{orphans} of {files} files have no row: is this the right database?"
    return None


def _owned(where: str, names: list[str]) -> set[str]:
    """Those of `names` that have a row. A waiting item's public name counts: `undo_releases`
    decides about that."""
    if where == "resumable":
        unfinished = (Resumable.name.in_(names), Resumable.item.is_null())
        return {
            name for (name,) in models.rows(Resumable.select(Resumable.name).where(*unfinished))
        }
    column = Item.name if where == "public" else Item.pending_name
    state = ~models.REJECTED if where == "public" else models.PENDING
    query = Item.select(column).where(column.in_(names), state)
    return {name for (name,) in models.rows(query)}


def _without_file(store: Storage, names: list[str]) -> list[str]:
    """Those of `names` of thumbnails that have no row with a file, or are no thumbnail yet."""
    keys = {name: name.rpartition(".")[0] for name in names}
    waiting = {key.removeprefix("_") for key in keys.values() if key.startswith("_")}
    known = {f"_{name}" for name in _owned("pending", list(waiting))}
    shown = _owned("public", [key for key in keys.values() if not key.startswith("_")])
    known |= {name for name in shown if store.exists(name)}
    return [name for name, key in keys.items() if key not in known]


def _lost(store: Storage) -> Iterator[str]:
    last = 0
    while True:
        fields = (Item.id, Item.name, Item.pending_name)
        query = Item.select(*fields).where(Item.id > last, ~models.REJECTED)
        page = models.rows(query.order_by(Item.id).limit(BATCH))
        for _, name, pending in page:
            where: Where = "pending" if pending else "public"
            if store.changed(pending or name, where=where) is None:
                yield name
        if len(page) < BATCH:
            return
        last = page[-1][0]


def _batches(values: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(values)
    while batch := list(islice(iterator, BATCH)):
        yield batch
