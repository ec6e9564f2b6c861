"""How a server ends in order: with what is under way finished."""

import random
import signal
import socket
from collections.abc import Callable

import pytest
import requests

from tests.live.conftest import PATIENCE, Server, until
from tests.live.wire import upload

pytestmark = pytest.mark.live


def test_sigterm_lets_an_upload_in_flight_finish(make_server: Callable[..., Server]) -> None:
    server = make_server()
    alice = server.person("alice")
    content = random.Random(1).randbytes(2_000_000)
    whole = upload(alice.token, content, Accept="text/plain")
    assert server.process is not None
    with server.wire() as wire:
        wire.send(whole[:1_500_000])  # it reads in blocks of a MiB
        until(server.unnamed_files, "the server receives it")
        server.session.close()
        server.process.send_signal(signal.SIGTERM)

        def is_refused() -> bool:
            try:
                socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE).close()
            except ConnectionRefusedError:
                return True
            return False

        until(is_refused, "new connections are refused", 5)
        for start in range(1_500_000, len(whole), 100_000):
            wire.send(whole[start : start + 100_000])
            assert server.process.poll() is None
        answer = wire.answer()
        assert answer.status == 200, answer
    assert server.wait() == 0
    name = answer.body.decode().strip().rpartition("/")[2]
    assert (server.uploads / name).read_bytes() == content
    assert server.rows("SELECT name, size FROM item") == [(name, len(content))]
    server.start()
    assert server.get(f"/f/{name}").content == content
    assert server.stop() == 0


def test_a_stopping_server_says_so_before_it_refuses(make_server: Callable[..., Server]) -> None:
    """A load balancer that asks for its health has time to send nobody any more."""
    server = make_server(server_drain_seconds=2)
    alice = server.person("alice")
    assert server.get("/healthz").status_code == 200
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)

    def ask() -> str:
        return requests.get(f"{server.url}/healthz", timeout=PATIENCE).text  # on a new connection

    until(lambda: ask() == "stopping\n", "it says that it stops")
    answer = server.session.post(
        f"{server.url}/api/files/upload",
        headers=alice.by_token,
        files={"uploadFile": ("a.txt", b"in time")},
    )
    assert answer.status_code == 200
    server.session.close()
    assert server.wait() == 0
