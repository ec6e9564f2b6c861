"""A running server whose files are in a bucket: memory, clients and servers that go."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.bucket import Place, place_on
from tests.conftest import Person
from tests.live.conftest import Server, until
from tests.live.test_memory import Growth
from tests.live.wire import FORM, form, head
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.live
MIB = 1024 * 1024
BLOCK = bytes(range(256)) * (MIB // 256)
MOST = 32 * MIB  # memory of one running upload


@pytest.fixture(scope="module")
def place(rclone: S3Server) -> Place:
    return place_on(rclone)


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Server], place: Place) -> Server:
    return make_server(uploads_max_size_mb=400, **place.keys)


@pytest.fixture(scope="module")
def alice(server: Server) -> Person:
    """Somebody who did everything once, so that what is loaded at first use is loaded."""
    alice = server.person("alice")
    server.upload(alice, BLOCK * 9)
    return alice


def begin(server: Server, person: Person, size: int) -> tuple[bytes, bytes]:
    """What stands before and behind an upload of so many bytes."""
    start, _, end = form(b"@@@").partition(b"@@@")
    fields = {"token": person.token, "Content-Type": FORM, "Accept": "text/plain"}
    fields["Content-Length"] = str(len(start) + size + len(end))
    return head("POST", "/api/files/upload", fields) + start, end


def send(server: Server, person: Person, megabytes: int) -> str:
    """The name of an upload of so many MB."""
    before, behind = begin(server, person, megabytes * MIB)
    with server.wire() as wire:
        wire.send(before)
        for _ in range(megabytes):
            wire.send(BLOCK)
        wire.send(behind)
        answer = wire.answer()
    assert answer.status == 200, answer
    return answer.body.decode().strip().rpartition("/")[2]


def test_memory_of_one_large_upload_and_of_four_at_once(
    server: Server, alice: Person, place: Place
) -> None:
    growth = Growth(server)
    name = send(server, alice, 300)
    growth.require_small("300 MB into a bucket", MOST)
    read = server.get(f"/f/{name}", stream=True)
    assert sum(map(len, read.iter_content(MIB))) == 300 * MIB
    growth.require_small("and read again", MOST)
    growth = Growth(server)
    with ThreadPoolExecutor(4) as pool:
        names = set(pool.map(lambda _: send(server, alice, 64), range(4)))
    growth.require_small("four of 64 MB at once", 4 * MOST)
    assert {f"files/{one}" for one in names | {name}} <= place.objects()
    for one in names | {name}:
        assert server.post("/api/files/delete", alice.by_token | {"file": one}).status_code == 200
    assert not {f"files/{one}" for one in names | {name}} & place.objects()


def test_a_client_that_goes_leaves_nothing(server: Server, alice: Person, place: Place) -> None:
    before = place.objects()
    beginning, _ = begin(server, alice, 64 * MIB)
    with server.wire() as wire:
        wire.send(beginning)
        for _ in range(20):
            wire.send(BLOCK)
        until(place.uploads, "the first part is in the bucket")
    until(lambda: not place.uploads(), "the upload is aborted")
    assert place.objects() == before


def test_a_server_that_is_killed_has_published_nothing(
    server: Server, alice: Person, place: Place
) -> None:
    before = place.objects()
    beginning, _ = begin(server, alice, 64 * MIB)
    with server.wire() as wire:
        wire.send(beginning)
        for _ in range(20):
            wire.send(BLOCK)
        until(place.uploads, "the first part is in the bucket")
        server.kill()
    server.start()
    assert len(place.uploads()) == 1  # for the sweep, in a day: it could be another host's
    assert place.objects() == before
    assert server.upload(alice, BLOCK)
