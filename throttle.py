"""Guesses counted in the database, and the few places in which bcrypt may run."""

import fcntl
import hashlib
import ipaddress
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import models
from errors import Busy, TooMany
from models import Failure

WINDOW = timedelta(minutes=15)
ADDRESS_FACTOR = 5  # an address may fail this many times as often as one name from it
WAITERS = 4  # requests of one worker that wait for a place
PATIENCE = 2.0  # seconds
_BUSY = "Too many people are signing in just now; try again in a second."


class Guess:
    """One guess at a password or key, counted as failed before it is tried, so that guesses
    made at the same moment cannot slip through together.

    Args:
        limit: failures allowed for one name from one address; 0 counts nothing.
        address: the client's address as text.
        name: the username guessed at; None for keys, which count for the address alone.
    """

    def __init__(self, limit: int, address: str, name: str | None = None) -> None:
        self.limit = limit
        self.address_bucket = _bucket("address", _network(address))
        self.name_bucket = (
            None if name is None else _bucket("name", name.lower(), _network(address))
        )
        self._row: int | None = None

    def require_allowed(self) -> None:
        """See that neither the name nor the address has failed too often.

        Raises:
            TooMany: with the seconds until the next guess.
        """
        if not self.limit:
            return
        counts: list[tuple[Any, bytes, int]] = [
            (Failure.address_bucket, self.address_bucket, self.limit * ADDRESS_FACTOR)
        ]
        if self.name_bucket is not None:
            counts.append((Failure.name_bucket, self.name_bucket, self.limit))
        moment = models.now()
        for column, bucket, allowed in counts:
            # The failure that must leave the window before there is room again.
            blocking = (
                Failure.select(Failure.at)
                .where(column == bucket, Failure.at > moment - WINDOW)
                .order_by(Failure.at.desc())
                .offset(allowed - 1)
                .first()
            )
            if blocking is not None:
                seconds = math.ceil((blocking.at + WINDOW - moment).total_seconds())
                raise TooMany(
                    "Too many failed attempts; try again later.", retry_after=max(1, seconds)
                )

    def begin(self) -> None:
        """Count this guess.

        Raises:
            TooMany: there is no guess left.
        """
        if not self.limit:
            return

        def work() -> int:
            Failure.delete().where(Failure.at <= models.now() - WINDOW).execute()
            self.require_allowed()
            return int(
                Failure.insert(
                    name_bucket=self.name_bucket,
                    address_bucket=self.address_bucket,
                    at=models.now(),
                ).execute()
            )

        self._row = models.write(work)

    def succeed(self) -> None:
        """Take this guess back, and with it the name's failures from this address."""
        if self._row is None:
            return
        mine = Failure.id == self._row
        if self.name_bucket is not None:
            mine |= Failure.name_bucket == self.name_bucket
        models.write(lambda: Failure.delete().where(mine).execute())


class Places:
    """Places for bcrypt, shared by all workers of this machine through locked files.

    Args:
        path: where the files lie, without the number of their place.
        count: how many bcrypt may run at once.
    """

    def __init__(self, path: Path, count: int | None = None) -> None:
        self.count = max(1, (os.cpu_count() or 1) // 2) if count is None else count
        self._path = path
        self._waiting: list[str] = []
        self._served = ""  # the address that waited and got a place last
        self._lock = threading.Lock()

    @contextmanager
    def take(self, address: str) -> Iterator[None]:
        """Hold a place while a password is hashed; one request an address waits for one.

        Raises:
            Busy: no place became free in time, or too many wait already.
        """
        held = self._wait(_network(address))
        try:
            yield
        finally:
            os.close(held)

    def _wait(self, address: str) -> int:
        """In turn: whoever guesses without end would else always be there first."""
        with self._lock:
            held = None if self._waiting else self._try()
            if held is not None:
                return held
            if address in self._waiting or len(self._waiting) >= WAITERS:
                raise Busy(_BUSY, retry_after=1)
            self._waiting.append(address)
        try:
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                if self._waiting[0] == address:
                    held = self._try()
                    if held is not None:
                        self._served = address
                        return held
                # Other workers have queues of their own: there too, new ones come first.
                time.sleep(0.1 if address == self._served else 0.01)
        finally:
            with self._lock:
                self._waiting.remove(address)
        raise Busy(_BUSY, retry_after=1)

    def _try(self) -> int | None:
        """A locked descriptor, or None. The lock belongs to the descriptor, so it counts between
        threads as between processes, and ends with whoever dies holding it."""
        for number in range(self.count):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            fd = os.open(f"{self._path}{number}", flags, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
            except BaseException:
                os.close(fd)
                raise
            else:
                return fd
        return None


def _network(address: str) -> str:
    """The part of an address that one client holds: an IPv6 client has a whole /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


def _bucket(*parts: str) -> bytes:
    text = "\0".join(parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
