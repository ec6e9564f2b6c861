"""GET /metrics of a running server: one worker or several, they tell one sum."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

import metrics
from tests.conftest import ADMIN_KEY, Person
from tests.live.conftest import PATIENCE, Server, is_alive, until
from tests.live.wire import head
from tests.test_metrics import Samples, read

pytestmark = pytest.mark.live
Make = Callable[..., Server]
KEYS = {"accounts_admin_registration": True, "accounts_admin_key": ADMIN_KEY}
UPLOADS = ("kissa_uploads_total", ("nekos",))
COUNT = ("kissa_request_seconds_count", ("nekos", "POST", "2xx"))


@pytest.fixture(scope="module", params=[1, 2], ids=lambda count: f"{count} workers")
def server(make_server: Make, request: pytest.FixtureRequest) -> Iterator[Server]:
    server = make_server(server_workers=request.param, server_threads=4, **KEYS)
    yield server
    assert server.stop() == 0  # or the workers' folder would stay


@pytest.fixture(scope="module")
def admin(server: Server) -> Person:
    return server.person("admin", admin=True)


def scrape(server: Server, admin: Person) -> Samples:
    """By a connection of its own, so that any worker may answer."""
    answer = requests.get(f"{server.url}/metrics", headers=admin.by_admin_token, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    for secret in (admin.token, admin.api_key, admin.admin_token):
        assert secret not in answer.text
    return read(answer.text)


def upload_by_all(server: Server, person: Person, count: int) -> None:
    """Uploads on connections of their own."""
    for number in range(count):
        answer = requests.post(
            f"{server.url}/api/files/upload",
            headers=person.by_token,
            files={"uploadFile": ("a.bin", b"x" * (number + 1))},
            timeout=PATIENCE,
        )
        assert answer.status_code == 200, answer.text


def shared_folder(server: Server) -> Path | None:
    """Where the server's workers count together."""
    maps = Path(f"/proc/{server.workers()[0]}/maps").read_text().split()
    folders = {Path(path).parent for path in maps if "/kissa-metrics-" in path}
    return next(iter(folders), None)


def test_counts_add_up(server: Server, admin: Person) -> None:
    before = scrape(server, admin)
    upload_by_all(server, admin, 30)
    found = [scrape(server, admin) for _ in range(8)]
    assert {one[UPLOADS] - before[UPLOADS] for one in found} == {30}
    size = ("kissa_upload_bytes_total", ("nekos",))
    assert {one[size] - before[size] for one in found} == {sum(range(31))}
    assert {one[COUNT] - before[COUNT] for one in found} == {30}
    infinite = ("kissa_request_seconds_bucket", ("nekos", "+Inf", "POST", "2xx"))
    assert all(one[infinite] == one[COUNT] for one in found)
    scrapes = ("kissa_request_seconds_count", ("web", "GET", "2xx"))
    assert found[-1][scrapes] - found[0][scrapes] == 7
    assert found[-1]["kissa_files", ()] == len(server.rows("SELECT id FROM item"))


def test_strangers_make_no_series(server: Server, admin: Person) -> None:
    def ask(number: int) -> None:
        for prefix in ("/", "/api/", "/api/v2/"):
            for method in ("GET", "POST", f"STRAY{'X' * number}"):
                answer = requests.request(
                    method, f"{server.url}{prefix}stray{number}?a={number}", timeout=PATIENCE
                )
                assert answer.status_code in (404, 405)

    ask(0)
    scrape(server, admin)
    before = scrape(server, admin)
    for number in range(1, 8):
        ask(number)
    assert scrape(server, admin).keys() == before.keys()


def test_scrapes_that_nobody_reads_hold_up_nothing(server: Server, admin: Person) -> None:
    """More of them than the server has threads."""
    request = head("GET", "/metrics", admin.by_admin_token)
    idle = []
    try:
        for _ in range(12):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            connection.sendall(request)
            idle.append(connection)
        began = time.monotonic()
        upload_by_all(server, admin, 5)
        assert time.monotonic() - began < 5
    finally:
        for connection in idle:
            connection.close()


def test_counts_outlive_a_worker_and_the_folder_ends_with_the_server(make_server: Make) -> None:
    server = make_server(server_workers=2, server_threads=4, **KEYS)
    admin = server.person("admin", admin=True)
    upload_by_all(server, admin, 20)
    # One worker may answer while the other still loads.
    folder = until(lambda: shared_folder(server), "the first worker counts")
    assert folder.stat().st_mode & 0o777 == 0o700
    first, second = server.workers()
    os.kill(first, signal.SIGTERM)
    until(lambda: not is_alive(first), "the worker ends")
    until(lambda: len(set(server.workers()) - {first, second}) == 1, "another one comes")
    until(server.is_healthy, "it answers")
    upload_by_all(server, admin, 5)
    assert scrape(server, admin)[UPLOADS] == 25
    server.kill()
    assert folder.exists()
    server.start()
    assert not folder.exists()
    own = until(lambda: shared_folder(server), "the first worker counts")
    assert own != folder
    assert scrape(server, admin)[UPLOADS] == 0
    metrics.share(2)  # as another server that starts
    metrics.end_sharing()
    assert own.exists()
    assert server.stop() == 0
    assert not own.exists()


def test_one_worker_shares_nothing(make_server: Make) -> None:
    server = make_server(server_workers=1, start=False, **KEYS)
    server.start()
    assert shared_folder(server) is None
    assert server.stop() == 0
