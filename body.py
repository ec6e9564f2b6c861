"""The body of a request: as the server hands it over, or sooner from the socket below it."""

import socket
from typing import Any, Protocol

_FILL = 64 * 1024  # bytes that a read collects, so that a small upload is one write and one hash


class Stream(Protocol):
    """What a request's body can do."""

    def read(self, size: int, /) -> bytes: ...


def large_reads(source: Any) -> Stream:
    """A body to read in large blocks.

    Args:
        source: `wsgi.input` of a server that ends the body by itself.

    Returns:
        a reader past gunicorn's, which copies each block some five times on its way; or `source`
        itself, where the body has no known length, comes over TLS, or the server is another one.
    """
    reader = getattr(source, "reader", None)
    unreader = getattr(reader, "unreader", None)
    is_plain = unreader is not None and (
        _kind(source) == "gunicorn.http.body.Body"
        and not source.buf.tell()
        and _kind(reader) == "gunicorn.http.body.LengthReader"
        and _kind(unreader) == "gunicorn.http.unreader.SocketUnreader"
        and type(unreader.sock) is socket.socket
    )
    stream: Stream = _Direct(reader) if is_plain else source
    return stream


def abandon(source: Any) -> None:
    """Have the server close the connection after the answer, and not wait for the rest of a body,
    as gunicorn does for five seconds.

    Args:
        source: `wsgi.input`.
    """
    if _kind(source) == "gunicorn.http.body.Body":
        source.failed = True  # what gunicorn says of a body that it could not read


def _kind(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


class _Direct:
    """What gunicorn holds of the body already, then the socket. gunicorn's own count of what is
    left is kept, since it drains that before the next request of the connection."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._receive = reader.unreader.sock.recv

    def read(self, size: int, /) -> bytes:
        wanted = min(size, self._reader.length)
        data = self._take_held(wanted)
        pieces = [data] if data else []
        count = len(data)
        while count < min(wanted, _FILL):
            data = self._receive(wanted - count)
            if not data:
                break
            pieces.append(data)
            count += len(data)
        self._reader.length -= count
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _take_held(self, wanted: int) -> bytes:
        unreader = self._reader.unreader
        held: bytes = unreader.take_buffered()
        if len(held) > wanted:  # the next request, sent behind this one
            unreader.unread(held[wanted:])
            held = held[:wanted]
        return held
