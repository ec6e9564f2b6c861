"""The files: received under no name, published under a random one, read, deleted. What every place
for them promises; storage_local.py keeps them in a folder, storage_s3.py in a bucket."""

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Literal, Self

from names import (
    BIDI,
    NAME_PATTERN,
    NO_THUMBNAIL,
    TEMPORARY_PATTERN,
    THUMBNAIL,
    THUMBNAIL_PATTERN,
    display_name,
    extension_of,
    random_name,
)

__all__ = [
    "BIDI", "FULL", "FULL_MESSAGE", "MIB", "NAME_PATTERN", "NO_THUMBNAIL", "TEMPORARY_PATTERN",
    "THUMBNAIL", "THUMBNAIL_PATTERN", "Incoming", "Link", "NewThumbnail", "Partial", "Room",
    "Status", "Storage", "Where", "display_name", "extension_of", "random_name",
]  # fmt: skip

MIB = 1024 * 1024
FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_MESSAGE = "There is no space left on this server."

Where = Literal["public", "pending", "incoming", "resumable", "thumbnails"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What is known of an open file: its bytes, and when (aware UTC) it got them."""

    size: int
    modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The room for files, in bytes."""

    free: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where somebody else than this process has a file's bytes.

    Args:
        url: for the client; empty when there is none.
        inner: the path under which our nginx, and nobody outside, finds them; empty for none.
    """

    url: str = ""
    inner: str = ""


class _Closed(ABC):
    """What is closed when it is left, used as a context manager."""

    @abstractmethod
    def close(self) -> None:
        """End it. May be called again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Incoming(_Closed):
    """A file being received: written once, hashed on the way, gone unless published.

    Use as a context manager: leaving it discards whatever was not published.

    Attributes:
        size: bytes written so far.
        likely_name: the public name under which publishing is quickest, where it was chosen when
            the bytes began to come; empty where any name is as good.
        looks_old: whether its bytes may be dated so long before their end that a sweep on another
            host takes them for left behind, as long as they have no row.
    """

    size: int = 0
    likely_name: str = ""
    looks_old: bool = False

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            NoSpace: there is no room for it.
            Unavailable: the store does not answer.
        """

    @property
    @abstractmethod
    def sha256(self) -> bytes:
        """SHA-256 of what was written so far, 32 bytes."""

    @abstractmethod
    def read_at(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes from `offset` on, fewer at the end. After this nothing is written.

        Raises:
            OSError, Unavailable: they cannot be read.
        """

    @abstractmethod
    def seal(self) -> None:
        """Bring the bytes to where they will last. After this nothing is written.

        Raises:
            OSError, NoSpace, Unavailable: the file must not be published.
        """

    @abstractmethod
    def close(self) -> None:
        """Discard the file unless it was published. May be called again, and never fails."""


class Partial(_Closed):
    """An upload that comes in pieces, opened to go on with it. Use as a context manager; leaving it
    keeps what was saved.

    Attributes:
        size: bytes so far, whether they are saved or not.
        save_every: bytes of one piece after which they are worth a save.
    """

    size: int
    save_every: int

    @abstractmethod
    def go_to(self, offset: int, parts: str | None) -> None:
        """Go on behind the first `offset` bytes. What lies beyond was never acknowledged: a crash
        or a wrong checksum left it there.

        Args:
            parts: what the last `save` told of them.

        Raises:
            NotFound: there are not so many.
        """

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            NoSpace: there is no room for it.
            Unavailable: the store does not answer.
        """

    @abstractmethod
    def save(self, acknowledge: Callable[[int, str | None], None]) -> None:
        """Bring what was written so far to where it lasts, and have it acknowledged.

        Args:
            acknowledge: is told how many bytes there are, and how they are found again where
                their name is not enough; what it refuses, by a ServiceError other than Unsure, is
                dropped.

        Raises:
            OSError, NoSpace, Unavailable: nothing of it may be acknowledged.
        """

    @abstractmethod
    def whole(self, client_name: str) -> AbstractContextManager[Incoming]:
        """The whole file, to be published, once its last byte was written.

        Args:
            client_name: what the client calls it.

        Raises:
            NotFound: bytes of it are gone.
            NoSpace, Unavailable: the store has no room, or does not answer.
        """

    @abstractmethod
    def close(self) -> None:
        """Leave it to the next request. May be called again."""


class NewThumbnail(_Closed):
    """A thumbnail being made: bytes under no name yet, gone unless published. Use as a context
    manager.

    Attributes:
        fd: the descriptor of a file of this machine, for who makes it.
    """

    fd: int

    @abstractmethod
    def seal(self, *, is_made: bool) -> None:
        """Bring the bytes to where they will last; without any when it could not be made."""

    @abstractmethod
    def publish(self, name: str) -> None:
        """Give it its name, instead of what may lie there."""

    @abstractmethod
    def close(self) -> None:
        """Discard it unless it was published."""


class Storage(ABC):
    """A place for files: public ones by name, waiting ones and thumbnails, which nobody reaches by
    name alone.

    Every method may raise OSError where the disk fails, and Unavailable where the store is another
    machine that does not answer.

    Attributes:
        is_remote: whether the files lie behind a network, perhaps for several hosts. Then naming
            one takes a while, so that it is done before the write that makes its row, and not in
            it; and what is young and has no row may be another host's, about to get one.
    """

    is_remote: bool

    @abstractmethod
    def close(self) -> None:
        """Give back what was opened."""

    def check(self) -> list[str]:
        """See that there is something to work with: at the start.

        Returns:
            lines for the operator.

        Raises:
            Unavailable: there is not; its message says what was expected.
        """
        return []

    # Receiving and publishing

    @abstractmethod
    def open(self, client_name: str = "") -> Incoming:
        """A place for the bytes of one upload.

        Args:
            client_name: what the client calls it, as far as that is known; it binds nobody.

        Raises:
            NoSpace: the disk is full.
        """

    @abstractmethod
    def reserve_name(self) -> str:
        """A place for an upload that comes in pieces: its random name, which lasts after the next
        `sync`.

        Raises:
            NoSpace: the disk is full.
        """

    @abstractmethod
    def resume(self, name: str, interrupt: Callable[[], None] = lambda: None) -> Partial:
        """An upload that comes in pieces, to go on with it.

        Args:
            name: from `reserve_name`.
            interrupt: ends the reading of this request, called from another thread.

        Raises:
            NotFound: its bytes are gone.
            Locked: another request goes on with it, and does not end.
        """

    @abstractmethod
    def require_space(self, size: int = 0) -> None:
        """See that `size` more bytes leave the reserve free, where that can be known.

        Raises:
            NoSpace: they do not.
        """

    @abstractmethod
    def require_answer(self) -> None:
        """See that the store answers at this moment, and has room."""

    @abstractmethod
    def room(self) -> Room | None:
        """How much room there is; None where nobody knows."""

    @abstractmethod
    def publish(self, incoming: Incoming, name: str) -> bool:
        """Give sealed bytes their public `name`. False when that name is taken; never overwrites.

        Raises:
            NoSpace: there is no room for a name.
        """

    @abstractmethod
    def hold(self, incoming: Incoming) -> str:
        """Keep sealed bytes out of reach until `release` or `delete_pending`.

        Returns:
            the random name under which they wait.
        """

    @abstractmethod
    def release(self, pending_name: str, name: str) -> None:
        """Make waiting bytes public as `name`, which their row has reserved.

        The waiting name stays until `delete_pending`, so that a failed commit can be undone.

        Raises:
            FileNotFoundError: nothing waits under `pending_name`.
        """

    @abstractmethod
    def withdraw(self, name: str, pending_name: str) -> bool:
        """Undo a `release` that was not committed. False when there is nothing to undo."""

    def delete(self, name: str) -> bool:
        """Remove the public file `name`, its thumbnail first. False when there is none."""
        return self.discard(name, where="public")

    def delete_pending(self, pending_name: str) -> bool:
        """Remove the waiting file `pending_name`, its thumbnail first. False when there is none."""
        return self.discard(pending_name, where="pending")

    @abstractmethod
    def discard(self, name: str, *, where: Where) -> bool:
        """Remove `name` in `where`, its thumbnail first; False when it is known to be gone
        already."""

    def discard_all(self, names: Iterable[tuple[Where, str]]) -> int:
        """Remove many, each as `discard` does. Returns how many were not known to be gone."""
        return sum(self.discard(name, where=where) for where, name in names)

    @abstractmethod
    def sync(self) -> None:
        """Bring to disk every name that was given or removed since the last call.

        Raises:
            OSError: the disk refused; what depends on those names must be undone.
        """

    # Reading

    @abstractmethod
    def open_file(self, name: str) -> BinaryIO | None:
        """The public file `name` for reading, or None. Follows no symbolic link."""

    @abstractmethod
    def open_pending(self, pending_name: str) -> BinaryIO | None:
        """The waiting file `pending_name` for reading, or None."""

    @abstractmethod
    def open_thumbnail(self, key: str) -> BinaryIO | None:
        """A thumbnail for reading, by a public name or `_` and a waiting name; or None."""

    @abstractmethod
    def status(self, file: BinaryIO) -> Status:
        """Of a file that was opened here."""

    @abstractmethod
    def on_disk(self, file: BinaryIO) -> AbstractContextManager[int]:
        """A descriptor with the bytes of a file that was opened here, for another program: its
        beginning alone, where all of it would take too long to bring here."""

    @abstractmethod
    def link(self, name: str, *, where: Where, headers: dict[str, str]) -> Link:
        """Where else than through this process the bytes of `name` in `where` are to be had.

        Args:
            headers: those that they are to be served with.
        """

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether a public file of this name lies here."""

    # Thumbnails

    @abstractmethod
    def new_thumbnail(self) -> NewThumbnail:
        """A place for one thumbnail.

        Raises:
            NoSpace: the disk is full.
        """

    # For a move from one place to another

    @abstractmethod
    def open_whole(self, name: str, *, where: Where) -> BinaryIO | None:
        """A public or waiting file for who reads all of it, or None."""

    @abstractmethod
    def bring(self, source: BinaryIO, name: str, *, where: Where) -> tuple[int, bytes]:
        """Keep all of `source` under this very name, which is free, as a public or waiting file.

        Returns:
            the size and the SHA-256 of what was read, and is kept: that was seen to.

        Raises:
            NoSpace: there is no room for it.
            FileExistsError: the name is not free.
        """

    @abstractmethod
    def list_sizes(self, *, where: Where) -> Iterator[tuple[str, int]]:
        """The names of all public or waiting files with their bytes; foreign files are passed
        over."""

    # For the sweep: names of our pattern only, with the moment (seconds since 1970) of their link

    @abstractmethod
    def list_public(self) -> Iterator[str]:
        """The names of all public files, in no order; foreign files are passed over."""

    @abstractmethod
    def list_pending(self) -> Iterator[str]:
        """The names of all waiting files."""

    @abstractmethod
    def list_incoming(self) -> Iterator[str]:
        """The names of what is being received, where there are any, or was and never ended."""

    @abstractmethod
    def list_resumable(self) -> Iterator[str]:
        """The names of all uploads that come in pieces."""

    @abstractmethod
    def list_thumbnails(self) -> Iterator[str]:
        """The names of all thumbnails, unfinished ones included."""

    @abstractmethod
    def changed(self, name: str, *, where: Where) -> float | None:
        """When `name` in `where` last changed; None if it is gone."""
