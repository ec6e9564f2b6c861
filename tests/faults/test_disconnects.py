"""Clients that go away in the middle of an upload leave no trace, wherever they are cut off."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.conftest import Person
from tests.faults.support import choose
from tests.live.conftest import until
from tests.live.nginx import Nginx, running
from tests.live.wire import FORM, Wire, form, head

pytestmark = pytest.mark.live
CONTENT = bytes(range(256)) * 4000
OFFSETS = choose(10, 50)
ENDPOINTS = {"nekos": ("/api/files/upload", "uploadFile"), "f0ckm": ("/api/v2/upload", "file")}


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    with running(gallery_min_tags=0, gallery_shitpost_mode="always") as nginx:
        yield nginx


@pytest.fixture(scope="module")
def alice(nginx: Nginx) -> Person:
    return nginx.server.person("alice")


def cuts(body: bytes, content_at: int) -> list[int]:
    """Where to cut: round the borders of the parts, then evenly in between."""
    edges = {0, 1, content_at - 1, content_at, content_at + 1, len(body) - 1, len(body) - 2}
    after = content_at + len(CONTENT)
    edges |= {after, after + 2, after + 3, len(body) - 5}
    if OFFSETS < 50:
        edges = {0, content_at - 1, content_at, after, len(body) - 2, len(body) - 1}
    even = OFFSETS - len(edges)
    return sorted(edges | {len(body) * (number + 1) // (even + 1) for number in range(even)})


def traces(nginx: Nginx) -> tuple[set[str], list[tuple[object, ...]], list[str], list[str]]:
    """Files, rows, files without a name, and nginx's buffers."""
    server = nginx.server
    buffers = [path.name for path in (nginx.folder / "body").rglob("*") if path.is_file()]
    return server.files(), server.rows("SELECT * FROM item"), server.unnamed_files(), buffers


def is_logged(nginx: Nginx, count: int) -> bool:
    return len(nginx.server.requests_logged()) >= count


@pytest.mark.parametrize("api", ENDPOINTS)
@pytest.mark.parametrize("way", ["direct", "nginx"])
def test_cut_off_uploads(nginx: Nginx, alice: Person, way: str, api: str) -> None:
    path, field = ENDPOINTS[api]
    body = form(CONTENT, field)
    content_at = body.index(CONTENT)
    fields = {"token": alice.token, "X-Api-Key": alice.api_key, "Content-Type": FORM}
    start = head("POST", path, fields | {"Content-Length": str(len(body)), "Host": "k"})
    start = start.replace(b"Host: kissa.example\r\n", b"", 1).replace(
        b"Host: k\r\n", b"Host: kissa.example.org\r\n"
    )
    connect: Callable[[], Wire] = nginx.direct if way == "direct" else nginx.wire
    with connect() as wire:  # whole, it is taken
        wire.send(start + body)
        assert wire.answer().status == 200
    before = traces(nginx)
    count = 0
    for offset in cuts(body, content_at):
        for leave in (Wire.close, Wire.reset):
            noticed = len(nginx.server.requests_logged()) + 1
            wire = connect()
            wire.send(start + body[:offset])
            leave(wire)
            count += 1
            if way == "direct":
                until(partial(is_logged, nginx, noticed), "it is noticed")
    until(lambda: traces(nginx) == before, f"no trace: {before} is {traces(nginx)}")
    print(f"cut off {way} {api}: offsets={count // 2} with FIN and RST traces=0")
    with connect() as wire:
        wire.send(start + body)
        assert wire.answer().status == 200
