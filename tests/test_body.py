"""Reading a body past gunicorn's copies: the same bytes, and gunicorn's count of them kept."""

import io
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from body import large_reads

CONTENT = bytes(range(256)) * 3000
SENDER = "sender"
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"


def head(*fields: str) -> bytes:
    return "\r\n".join(("POST / HTTP/1.1", "Host: x", *fields, "", "")).encode()


def length(content: bytes) -> bytes:
    return head(f"Content-Length: {len(content)}") + content


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs
        for thread in threading.enumerate():
            if thread.name == SENDER:
                thread.join(10)  # before its socket is closed under it


def parse(ours: Any, theirs: socket.socket, sent: bytes) -> RequestParser:
    """gunicorn's parser of what a client sends, and then says no more."""

    def send() -> None:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)

    threading.Thread(target=send, name=SENDER, daemon=True).start()
    return RequestParser(Config(), ours, ("127.0.0.1", 1))


def whole(stream: Any, size: int) -> bytes:
    return b"".join(iter(lambda: stream.read(size), b""))


@pytest.mark.parametrize("size", [1, 1000, 1024 * 1024])
@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "short", "long"])
def test_the_same_bytes_and_then_the_next_request(
    pair: tuple[socket.socket, socket.socket], content: bytes, size: int
) -> None:
    content = content[:5000] if size == 1 else content
    parser = parse(*pair, length(content) + NEXT)
    source = next(parser).body
    stream = large_reads(source)
    assert stream is not source
    assert whole(stream, size) == content
    assert stream.read(size) == b""
    assert parser.finish_body() is True
    assert next(parser).path == "/next"


def test_what_is_left_over_is_still_drained(pair: tuple[socket.socket, socket.socket]) -> None:
    parser = parse(*pair, length(CONTENT) + NEXT)
    assert large_reads(next(parser).body).read(10) == CONTENT[:10]
    assert parser.finish_body() is True
    assert next(parser).path == "/next"


def test_a_cut_off_body_ends_early(pair: tuple[socket.socket, socket.socket]) -> None:
    request = next(parse(*pair, length(CONTENT)[:-1]))
    assert whole(large_reads(request.body), 65536) == CONTENT[:-1]


def test_a_stalled_client_is_an_error(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(head("Content-Length: 10") + b"12345")
    stream = large_reads(next(RequestParser(Config(), ours, ("127.0.0.1", 1))).body)
    ours.settimeout(0.01)
    with pytest.raises(TimeoutError):
        stream.read(100)


def test_without_a_length_gunicorn_reads(pair: tuple[socket.socket, socket.socket]) -> None:
    chunks = b"5\r\nhello\r\n0\r\n\r\n"
    request = next(parse(*pair, head("Transfer-Encoding: chunked") + chunks))
    assert large_reads(request.body) is request.body
    assert whole(request.body, 100) == b"hello"


def test_over_tls_gunicorn_reads(pair: tuple[socket.socket, socket.socket]) -> None:
    request = next(parse(*pair, length(b"hello")))
    plain = request.body.reader.unreader.sock
    secret = ssl.create_default_context().wrap_socket(
        plain, server_hostname="x", do_handshake_on_connect=False
    )
    request.body.reader.unreader.sock = secret
    assert large_reads(request.body) is request.body
    secret.close()


def test_another_server_reads_by_itself() -> None:
    source = io.BytesIO(CONTENT)
    assert large_reads(source) is source
