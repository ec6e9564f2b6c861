"""Thumbnails: made when first asked for, each in a child process with limits, kept as WebP.

They lie in the storage's folder for them: NAME.webp for a public file, _PENDINGNAME.webp for a
waiting one, and an empty file that ends in .none where none can be made. Keyed by name and not by
hash, which would let anyone ask whether a file lies here.
"""

import logging
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import media
import models
import storage as files
import thumbnail_child
from errors import Busy, NoSpace, NotFound
from models import Item, User
from storage import Storage

log = logging.getLogger("kissa")
SIDE = 400  # pixels of the longest side
WAITING = 4  # requests of one process that wait while a thumbnail is made
PATIENCE = 10.0  # seconds that they wait for their turn
_CHILD = str(Path(thumbnail_child.__file__).resolve())
_SIZE = re.compile(rb"([0-9]{1,7}) ([0-9]{1,7})\n")
_STOPPED = (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)  # not the file's fault
_NONE = "There is no thumbnail of this file."
_BUSY = "Thumbnails are being made; try again soon."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one thumbnail may take.

    Args:
        seconds: from its start to its end.
        cpu: seconds of processor time.
        memory: bytes of address space.
        pixels: what the picture may claim, width times height.
    """

    seconds: float = 20.0
    cpu: int = 10
    memory: int = 1024 * files.MIB
    pixels: int = 100_000_000


LIMITS = Limits()


class _Turns:
    """One thumbnail at a time in this process, and few threads that wait for theirs."""

    def __init__(self) -> None:
        self._inside = threading.BoundedSemaphore(WAITING + 1)
        self._turn = threading.Lock()

    @contextmanager
    def take(self) -> Iterator[None]:
        if not self._inside.acquire(blocking=False):
            raise Busy(_BUSY, retry_after=1)
        try:
            if not self._turn.acquire(timeout=PATIENCE):
                raise Busy(_BUSY, retry_after=1)
            try:
                yield
            finally:
                self._turn.release()
        finally:
            self._inside.release()


_turns = _Turns()


@cache
def find_ffmpeg() -> str | None:
    """The path of ffmpeg, which takes frames of videos; None where it is not installed."""
    return shutil.which("ffmpeg")


def is_possible(name: str) -> bool:
    """Whether the stored file `name` is of a kind that thumbnails are made of."""
    kind = media.kind(name)
    return kind == "image" or (kind == "video" and find_ffmpeg() is not None)


def get_thumbnail(store: Storage, item: Item) -> BinaryIO:
    """The thumbnail of an item, made now if need be, open for reading; WebP.

    Whether the viewer may see it is for the caller to know.

    Raises:
        NotFound: there is none.
        Busy: too many are being made.
        NoSpace: the disk is full.
    """
    key = _key(item)
    if key is None or not is_possible(item.name):
        raise NotFound(_NONE)
    found = _find(store, key)
    if found is not None:
        return found
    try:
        with _turns.take():
            # Somebody before us in the row may have asked for the same one.
            return _find(store, key) or _make(store, item, key)
    except FileNotFoundError as error:  # swept or cleared away while it was made
        raise Busy(_BUSY, retry_after=1) from error
    except OSError as error:
        if error.errno in files.FULL:
            raise NoSpace(files.FULL_MESSAGE) from error
        raise


def _key(item: Item) -> str | None:
    """What the thumbnail of an item is called, without its suffix."""
    if item.state == "pending":
        return f"_{item.pending_name}"
    return None if item.state == "rejected" else str(item.name)


def _find(store: Storage, key: str) -> BinaryIO | None:
    """A thumbnail made before, or None.

    Raises:
        NotFound: it could not be made before.
    """
    found = store.open_thumbnail(key)
    if found is None and store.changed(key + files.NO_THUMBNAIL, where="thumbnails") is not None:
        raise NotFound(_NONE)
    return found


def _make(store: Storage, item: Item, key: str) -> BinaryIO:
    if item.pending_name:
        source = store.open_pending(item.pending_name)
    else:
        source = store.open_file(item.name)
    if source is None:
        raise NotFound(_NONE)
    with source, store.on_disk(source) as descriptor, store.new_thumbnail() as made:
        size = _run(media.kind(item.name), descriptor, made.fd)
        made.seal(is_made=size is not None)
        name = key + (files.NO_THUMBNAIL if size is None else files.THUMBNAIL)
        if store.is_remote:
            made.publish(name)

        def work() -> bool:
            if not _is_wanted(item.id, key):
                return False  # deleted or decided about meanwhile, or about to be
            if not store.is_remote:
                made.publish(name)
            if size is not None:
                sized = {"width": size[0], "height": size[1]}
                unknown = (Item.id == item.id) & Item.width.is_null()
                Item.update(sized).where(unknown).execute()
            return True

        is_kept = models.write(work, of_user=item.user_id)
        if store.is_remote and not (is_kept and _has_bytes(store, item)):
            # There, whoever deletes removes the bytes before the write, and may have done so just
            # before this came to lie beside them.
            store.discard(name, where="thumbnails")
            is_kept = False
        found = store.open_thumbnail(key) if is_kept else None
    if found is None:
        raise NotFound(_NONE)
    return found


def _has_bytes(store: Storage, item: Item) -> bool:
    if item.pending_name:
        return store.changed(item.pending_name, where="pending") is not None
    return store.exists(item.name)


def _is_wanted(item_id: int, key: str) -> bool:
    """Whether, in this write, a thumbnail may come to lie under `key`: whoever removes the file
    later removes it too. An ending account unlinks outside of writes, after one that marks it."""
    query = Item.select(Item.name, Item.state, Item.pending_name).join(User)
    item = query.where(Item.id == item_id, ~User.is_deleting).first()
    return item is not None and _key(item) == key


def _run(kind: str, source: int, target: int) -> tuple[int, int] | None:
    """Make the thumbnail of what is open as `source` into `target`, in a process of its own.

    Returns:
        width and height of the original; None when there can be no thumbnail of it.

    Raises:
        Busy: it could not be tried.
    """
    numbers = (source, target, SIDE, LIMITS.cpu, LIMITS.memory, LIMITS.pixels)
    command = [sys.executable, "-I", _CHILD, kind, *map(str, numbers), find_ffmpeg() or ""]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=(source, target),
        cwd="/",
        env=_environment(),
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        answer, ended = b"", select.poll()
        ended.register(process.stdout, select.POLLIN)
        try:
            # It writes or closes this at its end; what a captured one writes beyond is not read.
            if not ended.poll(LIMITS.seconds * 1000):
                return None
            answer = os.read(process.stdout.fileno(), 64)
            status = process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
    said = _SIZE.fullmatch(answer)
    if status == 0 and said and _is_webp(target):
        return int(said[1]), int(said[2])
    if status == thumbnail_child.REFUSED or (status < 0 and status not in _STOPPED):
        return None
    if status == thumbnail_child.UNWRITTEN:
        raise NoSpace(files.FULL_MESSAGE)
    log.error("a thumbnail could not be made: its process ended with %s", status)
    raise Busy(_BUSY, retry_after=60)


def _is_webp(fd: int) -> bool:
    """Whether what the child left is what it should be; a hostile file may have taken it over."""
    head = os.pread(fd, 12, 0)
    return head[:4] == b"RIFF" and head[8:] == b"WEBP"


def _environment() -> dict[str, str]:
    """What the child sees of the environment, which may hold the admin key and other secrets."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    # One thread, and one pool of memory for what threads libraries start anyhow: each further one
    # takes address space, of which there is little.
    return kept | {"VIPS_CONCURRENCY": "1", "VIPS_BLOCK_UNTRUSTED": "1", "MALLOC_ARENA_MAX": "1"}
