"""Files that end by themselves on a running host: the timer, its end, and nginx in front."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import PNG, Person
from tests.live.conftest import Server, until
from tests.live.nginx import Nginx, running

pytestmark = pytest.mark.live
A_MINUTE = 60.0  # seconds, the promise
SENTENCE = b"This file has expired."


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def send(server: Server, person: Person, expires: str) -> tuple[str, str]:
    """An upload that ends; its name and the id of its item."""
    files = {"uploadFile": ("cat.png", PNG)}
    headers = person.by_token | {"expires": expires}
    answer = server.post("/api/files/upload", headers, files=files)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Expires-At"]
    name = answer.json()["url"].rpartition("/")[2]
    ((item_id,),) = server.rows("SELECT id FROM item WHERE name = ?", name)
    return name, str(item_id)


class Waiting:
    """A server on which a file is about to end.

    Args:
        server: it runs.
        nginx: what stands in front of it.
    """

    def __init__(self, server: Server, nginx: Nginx | None = None) -> None:
        self.server, self.nginx = server, nginx
        self.alice = server.person("alice")
        self.name, _ = send(server, self.alice, soon(3))
        self.ends = time.monotonic() + 3
        shown = nginx.file(self.name).body if nginx else server.get(f"/f/{self.name}").content
        assert shown == PNG

    @property
    def patience(self) -> float:
        """Seconds in which it has to go, from now on."""
        return self.ends + A_MINUTE - time.monotonic()


@pytest.fixture(scope="module")
def waiting(make_server: Callable[..., Server]) -> Iterator[dict[str, Waiting]]:
    """All servers whose timers are waited for, so that their periods run at the same time."""
    with running(two_hosts=False) as one, running(two_hosts=True) as two:
        yield {
            "one worker": Waiting(make_server(server_workers=1)),
            "two workers": Waiting(make_server(server_workers=2)),
            "one host": Waiting(one.server, one),
            "two hosts": Waiting(two.server, two),
        }


@pytest.mark.parametrize("workers", ["one worker", "two workers"])
def test_gone_within_a_minute(waiting: dict[str, Waiting], workers: str) -> None:
    host = waiting[workers]
    server, name = host.server, host.name
    kept, _ = send(server, host.alice, "30m")
    until(lambda: server.get(f"/f/{name}").status_code == 410, "the app says 410", 10)
    until(lambda: name not in server.files(), "the timer deletes it", host.patience)
    assert server.get(f"/f/{name}").status_code == 410
    assert server.get(f"/f/{kept}").content == PNG
    until(lambda: server.rows("SELECT name FROM item") == [(kept,)], "its row goes too")
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < A_MINUTE / 2
    server.require_quiet()


def test_what_ended_while_the_server_was_down(make_server: Callable[..., Server]) -> None:
    server = make_server()
    alice = server.person("alice")
    expires = soon(3)
    name, _ = send(server, alice, expires)
    assert server.stop() == 0
    until(lambda: soon(-1) > expires, "its time has come")
    server.start()
    assert name not in server.files()
    assert server.get(f"/f/{name}").status_code == 410


@pytest.mark.parametrize("hosts", ["one host", "two hosts"])
def test_behind_nginx(waiting: dict[str, Waiting], hosts: str) -> None:
    host = waiting[hosts]
    alice, name, nginx = host.alice, host.name, host.nginx
    assert nginx is not None
    deleted, _ = send(nginx.server, alice, "7d")
    nginx.server.ask("/api/files/delete", alice.by_token | {"file": deleted})
    until(lambda: nginx.file(name).status == 410, "nginx says 410", host.patience)
    for ask in ("GET", "HEAD"):
        outside = nginx.file(name, method=ask)
        inside = nginx.ask(f"/f/{name}", method=ask, past=True)
        for header in ("content-type", "x-content-type-options", "referrer-policy"):
            assert outside.headers[header] == inside.headers[header]
        assert outside.headers["content-type"] == "text/html; charset=utf-8"
        assert (SENTENCE in outside.body) is (ask == "GET")
        assert "set-cookie" not in outside.headers
    if nginx.two_hosts:  # whatever the app's pages need is on the other host
        assert outside.headers["content-security-policy"].endswith("; sandbox")
        page = nginx.file(name).body
        assert b"<script" not in page
        assert b"<link" not in page
    for path in (f"/d/{name}", f"/t/{name}"):
        answer = nginx.ask(path)
        assert answer.status == 410
        assert SENTENCE in answer.body
    assert nginx.file(deleted).status == 404
    assert nginx.file(name, method="POST").status == 405
    # with the app away, what is here is served, and of the rest nobody knows
    kept, _ = send(nginx.server, alice, "7d")
    nginx.server.end()
    assert nginx.file(kept).body == PNG
    answer = nginx.file(name)
    assert answer.status == 502
    assert answer.headers["content-security-policy"].endswith("; sandbox")
    assert b"not running" in answer.body


def test_a_file_that_nginx_may_not_read_is_no_loop() -> None:
    with running(two_hosts=False) as one, running(two_hosts=True) as two:
        for nginx in (one, two):
            alice = nginx.server.person("alice")
            name, _ = send(nginx.server, alice, "7d")
            (nginx.server.uploads / name).chmod(0o600)
            if os.geteuid() != 0:
                pytest.skip("nginx runs as the same user here")
            answer = nginx.file(name, {"X-Kissa-Accel": "1"})
            assert "x-accel-redirect" not in answer.headers
            assert answer.status == 404
            assert answer.headers["content-security-policy"].endswith("; sandbox")
