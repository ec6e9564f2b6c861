"""Sixteen connections that guess passwords as fast as they can, at bcrypt's real cost."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import PASSWORD, PNG
from tests.faults.support import choose, p95, serving
from tests.live.conftest import ROOT, Server, until

pytestmark = [pytest.mark.live, pytest.mark.alone]
SECONDS = choose(3.0, 10.0)
CONNECTIONS = 16
TRIES = 4  # where one place for bcrypt serves two workers, it is by chance which comes next
HERE, THERE = "127.0.0.2", "127.0.0.3"


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    # without a limit of failures every guess goes as far as to bcrypt, which is the worst
    with serving(
        accounts_bcrypt_cost=12, accounts_failures=0, server_workers=request.param
    ) as server:
        yield server


def log_in(server: Server, address: str) -> tuple[int, int, float]:
    """A right log-in from `address`, tried again after a 503 as its Retry-After says: its status,
    how many tries it took, and how many seconds."""
    begun = time.monotonic()
    headers = {"username": "alice", "password": PASSWORD, "Content-Length": "0"}
    tries = 0
    while True:
        tries += 1
        connection = http.client.HTTPConnection("127.0.0.1", server.port, 30, (address, 0))
        connection.request("POST", "/api/token/get", headers=headers)
        answer = connection.getresponse()
        connection.close()
        if answer.status != 503 or tries == TRIES:
            break
        time.sleep(int(answer.headers["Retry-After"]))
    return answer.status, tries, time.monotonic() - begun


def test_a_flood_of_wrong_logins(server: Server) -> None:
    alice = server.person("alice")
    begin = [sys.executable, "-P", str(Path(__file__).with_name("flooder.py"))]
    flood = subprocess.Popen(
        [*begin, str(server.port), HERE, str(CONNECTIONS)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    healthy, uploads = [], []
    trying: list[Future[tuple[int, int, float]]] = []
    pool = ThreadPoolExecutor(1)
    try:
        until(lambda: len(server.requests_logged()) > 50, "the flood has begun")
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for _ in range(20):
                begun = time.monotonic()
                assert server.is_healthy()
                healthy.append((time.monotonic() - begun) * 1000)
            begun = time.monotonic()
            answer = server.session.post(
                f"{server.url}/api/files/upload",
                headers=alice.by_token,
                files={"uploadFile": ("a.png", PNG + os.urandom(10_000))},
                timeout=30,
            )
            assert answer.status_code == 200
            uploads.append((time.monotonic() - begun) * 1000)
            if not trying or trying[-1].done():
                trying.append(pool.submit(log_in, server, THERE))
        logins = [future.result() for future in trying]
        words, _ = flood.communicate("", timeout=30)
    finally:
        pool.shutdown()
        flood.kill()
        flood.wait()
    seen = {int(status): count for status, count in json.loads(words).items()}
    got_in = [seconds for status, _, seconds in logins if status == 200]
    tries = [tries for _, tries, _ in logins]
    print(
        f"flood connections={CONNECTIONS} guesses={sum(seen.values())} answers={seen}"
        f" healthz p95={p95(healthy):.1f} ms max={max(healthy):.0f} ms"
        f" uploads={len(uploads)} p95={p95(uploads):.0f} ms"
        f" logins from elsewhere={len(got_in)} of {len(logins)} tries={tries}"
        f" slowest={max(got_in or [0]):.1f} s"
    )
    assert set(seen) <= {401, 503}
    assert seen[401], "no guess came as far as to bcrypt: this tests nothing"
    assert p95(healthy) < 100
    assert len(got_in) == len(logins), logins
