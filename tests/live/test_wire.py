"""HTTP as it really arrives: kept open, chunked, cut off, pipelined, malformed."""

import socket
from collections.abc import Callable

import pytest

from tests.conftest import PNG, Person
from tests.live.conftest import Server, until
from tests.live.wire import BOUNDARY, FORM, chunk, form, head, upload

pytestmark = pytest.mark.live
LARGE = 5 * 1024 * 1024
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Server]) -> Server:
    return make_server()


@pytest.fixture(scope="module")
def alice(server: Server) -> Person:
    return server.person("alice")


def state(server: Server) -> tuple[set[str], int]:
    """What an upload that failed must leave as it was."""
    return server.files(), server.rows("SELECT COUNT(*) FROM item")[0][0]


def chunked(token: str, path: str = "/api/files/upload") -> bytes:
    fields = {"token": token, "Content-Type": FORM, "Transfer-Encoding": "chunked"}
    return head("POST", path, fields)


def test_a_connection_stays_open_after_an_upload(server: Server, alice: Person) -> None:
    with server.wire() as wire:
        names = []
        for number in range(3):
            content = b"%d" % number * 100_000
            wire.send(upload(alice.token, content, Accept="text/plain"))
            answer = wire.answer()
            assert answer.status == 200, answer
            names.append((answer.body.decode().strip().rpartition("/")[2], content))
        for name, content in names:
            wire.send(head("GET", f"/f/{name}"))
            assert wire.answer().body == content


@pytest.mark.parametrize("is_chunked", [False, True], ids=["content-length", "chunked"])
def test_an_early_refusal_is_an_answer_and_no_reset(server: Server, is_chunked: bool) -> None:
    body = form(b"\xff" * LARGE)
    if is_chunked:
        whole = chunked(NOBODY) + chunk(body) + chunk(b"")
    else:
        whole = upload(NOBODY, b"\xff" * LARGE)
    before = state(server)
    seen: list[int | ConnectionError] = []
    for _ in range(40):
        with server.wire() as wire:
            try:
                wire.send(whole)  # all of it, as simple clients do, before looking for an answer
                seen.append(wire.answer().status)
            except ConnectionError as error:
                seen.append(error)
    assert seen == [401] * 40
    assert state(server) == before


def test_a_length_over_the_limit_is_413(server: Server, alice: Person) -> None:
    before = state(server)
    with server.wire() as wire:
        fields = {"token": alice.token, "Content-Type": FORM, "Content-Length": str(2**40)}
        wire.send(head("POST", "/api/files/upload", fields) + form(PNG))
        wire.socket.shutdown(socket.SHUT_WR)  # or the server would wait for the rest of it
        assert wire.answer().status == 413
    assert state(server) == before


def test_chunked_upload(server: Server, alice: Person) -> None:
    content = bytes(range(256)) * 1000
    body = form(content)
    with server.wire() as wire:
        wire.send(chunked(alice.token))
        for start in range(0, len(body), 7777):
            wire.send(chunk(body[start : start + 7777]))
        wire.send(chunk(b""))
        answer = wire.answer()
        assert answer.status == 200, answer
        name = server.ask("/api/files/list", alice.by_token)[0]
        wire.send(head("GET", f"/f/{name}"))
        assert wire.answer().body == content


@pytest.mark.parametrize(
    "ending",
    [b"zz\r\nhello\r\n", b"-5\r\nhello\r\n", b"5\r\nhelloXX5\r\nhello\r\n", b"5;\x00\r\nhello\r\n"],
    ids=["no number", "negative", "no line end", "control character"],
)
@pytest.mark.parametrize("path", ["/api/files/upload", "/api/v2/upload"])
def test_a_malformed_chunk_is_400(server: Server, alice: Person, path: str, ending: bytes) -> None:
    before = state(server)
    fields = {"token": alice.token, "X-Api-Key": alice.api_key, "Content-Type": FORM}
    with server.wire() as wire:
        wire.send(head("POST", path, fields | {"Transfer-Encoding": "chunked"}))
        wire.send(chunk(form(b"x" * 1000)[:500]) + ending)
        assert wire.answer().status == 400
    assert state(server) == before


@pytest.mark.parametrize("is_chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize("is_reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999999])
def test_a_client_that_goes_away_leaves_no_trace(
    server: Server, alice: Person, share: float, is_reset: bool, is_chunked: bool
) -> None:
    before = state(server)
    body = form(b"\xfe" * 3_000_000)
    sent = body[: int(len(body) * share)]
    lines = len(server.requests_logged())
    with server.wire() as wire:
        if is_chunked:
            wire.send(chunked(alice.token) + (chunk(sent) if sent else b""))
        else:
            wire.send(upload(alice.token, b"\xfe" * 3_000_000)[: -len(body)] + sent)
        if share == 0.5:
            until(server.unnamed_files, "the server receives it")
        if is_reset:
            wire.reset()
    until(lambda: len(server.requests_logged()) > lines, "the server notices")
    assert server.unnamed_files() == []
    assert state(server) == before


def test_a_body_that_ends_early_is_400_to_who_still_listens(server: Server, alice: Person) -> None:
    before = state(server)
    with server.wire() as wire:
        wire.send(upload(alice.token, PNG * 1000)[:-10])
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.answer().status == 400
    assert state(server) == before


def test_expect_100_continue(server: Server, alice: Person) -> None:
    body = form(PNG)
    fields = {"token": alice.token, "Content-Type": FORM, "Content-Length": str(len(body))}
    with server.wire() as wire:
        wire.send(head("POST", "/api/files/upload", fields | {"Expect": "100-continue"}))
        assert wire.answer().status == 100
        wire.send(body)
        assert wire.answer().status == 200


def test_two_headers_of_one_name(server: Server, alice: Person) -> None:
    before = state(server)
    whole = upload(alice.token, PNG)
    twice = whole.replace(b"\r\n", f"\r\ntoken: {alice.token}\r\n".encode(), 1)
    with server.wire() as wire:
        wire.send(twice)
        assert wire.answer().status == 401
    for extra in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
        with server.wire() as wire:
            wire.send(whole.replace(b"\r\n", b"\r\n" + extra + b"\r\n", 1))
            assert wire.answer().status == 400
    assert state(server) == before


def test_head_has_the_headers_of_get_and_no_body(server: Server, alice: Person) -> None:
    name = server.upload(alice, PNG)
    with server.wire() as wire:
        for path in (f"/f/{name}", "/api/info", "/healthz", "/", "/f/nothing"):
            wire.send(head("HEAD", path))
            bare = wire.answer(has_body=False)
            wire.send(head("GET", path))
            whole = wire.answer()
            assert bare.status == whole.status
            for header in ("content-type", "content-length", "x-content-type-options"):
                assert bare.headers.get(header) == whole.headers.get(header), (path, header)
        wire.send(head("HEAD", "/api/files/upload", {"token": alice.token}))
        assert wire.answer(has_body=False).status == 405
        wire.send(head("GET", "/healthz"))
        assert wire.answer().body == b"ok\n"


def test_pipelined_requests_are_answered_in_order(server: Server, alice: Person) -> None:
    first, second = b"1" * 50_000, b"2" * 50_000
    with server.wire() as wire:
        wire.send(
            upload(alice.token, first)
            + head("GET", "/healthz")
            + upload(alice.token, second)
            + chunked(NOBODY)
            + chunk(form(PNG))
            + chunk(b"")
            + head("GET", "/api/info")
        )
        assert [wire.answer().status for _ in range(5)] == [200, 200, 200, 401, 200]
    names = server.ask("/api/files/list", alice.by_token)
    assert [server.get(f"/f/{name}").content for name in names[:2]] == [second, first]


def test_a_password_in_latin_1_and_in_utf_8_is_the_same(server: Server) -> None:
    def ask(path: str, password: bytes) -> int:
        whole = head("POST", path, {"username": "umlaut", "Content-Length": "0"})
        with server.wire() as wire:
            wire.send(whole.replace(b"\r\n", b"\r\npassword: " + password + b"\r\n", 1))
            return wire.answer().status

    word = "pässwörd"
    assert ask("/api/user/signup", word.encode("latin-1")) == 200
    assert ask("/api/token/get", word.encode("utf-8")) == 200
    assert ask("/api/token/get", word.encode("latin-1")) == 200
    assert ask("/api/token/get", "pässword".encode("latin-1")) == 401
    assert ask("/api/user/passreset", b"\xff\xfe") == 400


def test_bytes_after_the_last_boundary_do_no_harm(server: Server, alice: Person) -> None:
    body = form(PNG) + b"epilogue"
    fields = {"token": alice.token, "Content-Type": FORM, "Content-Length": str(len(body))}
    with server.wire() as wire:
        wire.send(head("POST", "/api/files/upload", fields) + body)
        assert wire.answer().status == 200
        wire.send(head("GET", "/healthz"))
        assert wire.answer().status == 200
    assert BOUNDARY.encode() in body
