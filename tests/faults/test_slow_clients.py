"""Clients that stall on purpose: nginx holds them, and never a thread of gunicorn's."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import PNG, Person
from tests.faults.support import choose, p95
from tests.live.conftest import until
from tests.live.nginx import Nginx, running
from tests.live.wire import head, upload
from tests.pieces import PATH, PIECE, TUS

pytestmark = [pytest.mark.live, pytest.mark.alone]
SLOW = 200
ASKED = choose(100, 2000)
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    with running() as nginx:
        yield nginx


@pytest.fixture(scope="module")
def alice(nginx: Nginx) -> Person:
    return nginx.server.person("alice")


def require_brisk(nginx: Nginx, alice: Person, what: str) -> None:
    """Ask for the health many times, and upload once."""
    taken = []
    for _ in range(ASKED):
        begun = time.monotonic()
        assert nginx.ask("/healthz").status == 200
        taken.append((time.monotonic() - begun) * 1000)
    assert nginx.server.upload(alice, PNG)
    print(f"slow={SLOW} {what} healthz p95={p95(taken):.1f} ms max={max(taken):.1f} ms")
    assert p95(taken) < 100
    assert max(taken) < 1000  # nobody waits until a stalled one is given up


def test_half_open_requests_hold_no_thread(nginx: Nginx, alice: Person) -> None:
    """Cut in the request line, in the headers, before the body, in the body; some go on and on."""
    whole = upload(alice.token, b"x" * 100_000)
    before = nginx.server.files()
    stop = threading.Event()
    with ExitStack() as stack:
        slow = [stack.enter_context(nginx.wire()) for _ in range(SLOW)]
        at = [(30, 150, 300, 50_000)[number % 4] for number in range(SLOW)]
        for wire, end in zip(slow, at, strict=True):
            wire.send(whole[:end])

        def trickle() -> None:
            while not stop.wait(0.5):
                for wire, end in zip(slow[3::8], at[3::8], strict=True):  # in the body
                    wire.send(whole[end : end + 1])

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            time.sleep(0.5)
            require_brisk(nginx, alice, "half-open uploads,")
        finally:
            stop.set()
            thread.join()
    until(lambda: nginx.server.unnamed_files() == [], "nothing is left of them")
    assert len(nginx.server.files()) == len(before) + 1


def test_half_sent_pieces_leave_half_of_the_threads(nginx: Nginx, alice: Person) -> None:
    """Which nginx does not collect: by strangers, to uploads that are none, and to real ones."""
    server = nginx.server
    begin = alice.by_token | TUS | {"Upload-Length": "100000"}
    paths = [server.post(PATH, begin).headers["Location"] for _ in range(20)]
    given = TUS | {"Content-Type": PIECE, "Upload-Offset": "0", "Content-Length": "100000"}
    with ExitStack() as stack:
        for number in range(SLOW):
            who = {} if number % 4 == 0 else alice.by_token
            path = PATH + "x" * 32 if number % 4 == 1 else paths[number % 20]
            wire = stack.enter_context(nginx.wire())
            wire.send(head("PATCH", path, given | who) + b"x" * 1000)
        time.sleep(0.5)
        require_brisk(nginx, alice, "half-sent pieces,")
    for path in paths:

        def is_free(path: str = path) -> bool:
            ended = server.session.delete(server.url + path, headers=alice.by_token | TUS)
            return ended.status_code == 204

        until(is_free, "the upload can be given up")


def test_slow_readers_hold_no_thread(nginx: Nginx, alice: Person) -> None:
    """They ask for a large file and for long lists, and read nothing of the answers."""
    name = nginx.server.upload(alice, b"x" * 20 * MIB, "a.bin")
    before = len(nginx.server.files())
    with ExitStack() as stack:
        for number in range(SLOW):
            wire = stack.enter_context(nginx.wire())
            path = (f"/f/{name}", f"/d/{name}", "/api/openapi.json", "/")[number % 4]
            wire.send(f"GET {path} HTTP/1.1\r\nHost: kissa.example.org\r\n\r\n".encode())
        time.sleep(0.5)
        require_brisk(nginx, alice, "slow readers,")
    assert len(nginx.server.files()) == before + 1
