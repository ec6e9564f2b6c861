"""Twenty uploads at once into a full quota: it is never passed, and nothing else goes."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.live.conftest import Server
from tests.live.test_races import Racers, tally, upload

pytestmark = pytest.mark.live
QUOTA = 1024 * 1024
SIZE = QUOTA // 10 + 1  # nine fit
AT_ONCE = 20
ROUNDS = 10


class Watch:
    """Looks at somebody's bytes all the time, as a transaction that is through leaves them."""

    def __init__(self, server: Server, username: str) -> None:
        self.path, self.username = server.folder / "kissa.db", username
        self.most, self.looks = 0, 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        query = (
            "SELECT bytes, (SELECT coalesce(sum(size), 0) FROM item WHERE user_id = user.id)"
            " FROM user WHERE username = ?"
        )
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as database:
            while not self._end.is_set():
                ((counted, stored),) = database.execute(query, (self.username,)).fetchall()
                assert counted == stored
                self.most = max(self.most, stored)
                self.looks += 1

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


@pytest.mark.parametrize("workers", [1, 2])
def test_twenty_at_once(make_server: Callable[..., Server], workers: int) -> None:
    server = make_server(
        server_workers=workers,
        uploads_per_minute=0,
        uploads_quota_mb=1,
        uploads_when_full="evict_oldest",
    )
    alice, bob = server.person("alice"), server.person("bob")
    of_bob = {server.upload(bob, bytes(SIZE)) for _ in range(9)}
    pinned = server.upload(alice, bytes(SIZE))
    ours = {"Sec-Fetch-Site": "same-origin"}
    login = {"username": "alice", "password": alice.password}
    assert server.post("/signin", ours, data=login, allow_redirects=False).status_code == 303
    ((item_id,),) = server.rows("SELECT id FROM item WHERE name = ?", pinned)
    form = {"id": str(item_id), "pin": "1"}
    assert server.post("/files/pin", ours, data=form, allow_redirects=False).status_code == 303
    assert server.rows("SELECT id FROM item WHERE pinned IS NOT NULL") == [(item_id,)]
    racers = Racers(server)
    try:
        with Watch(server, "alice") as watch:
            for number in range(ROUNDS):
                one = upload(alice, bytes([number]) * SIZE)
                answers = racers.race(*[one] * AT_ONCE)
                assert tally(answers) == {200: AT_ONCE}, answers
    finally:
        racers.close()
    print(f"workers={workers} looks={watch.looks} most={watch.most} of {QUOTA}")
    assert 0 < watch.most <= QUOTA
    query = "SELECT name, sha256 FROM item JOIN user ON user.id = user_id WHERE username = ?"
    kept = dict(server.rows(query, "alice"))
    assert len(kept) == 9
    assert pinned in kept
    assert len({digest for name, digest in kept.items() if name != pinned}) == 1, "the newest stay"
    assert {name for name, _ in server.rows(query, "bob")} == of_bob
    assert server.files() == set(kept) | of_bob
    assert server.stop() == 0
    server.require_quiet()
