"""Small uploads share a core, everything else has all of them."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

import cores
from blueprints.receive import SMALL
from tests.conftest import PNG, Kissa
from tests.forms import file, form

ALL = os.sched_getaffinity(0)
SEE = "import os; print(*os.sched_getaffinity(0))"


@pytest.fixture(autouse=True)
def given_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cores, "_home", set())
    monkeypatch.setattr(cores, "_all", set())
    yield
    os.sched_setaffinity(0, ALL)


def mine() -> set[int]:
    return os.sched_getaffinity(0)


def in_a_thread(see: Callable[[], set[int]]) -> set[int]:
    found: list[set[int]] = []
    thread = threading.Thread(target=lambda: found.append(see()))
    thread.start()
    thread.join()
    return found[0]


def of_a_process() -> set[int]:
    ran = subprocess.run([sys.executable, "-c", SEE], capture_output=True, text=True, check=True)
    return set(map(int, ran.stdout.split()))


@pytest.mark.parametrize("number", range(3))
def test_a_thread_gathers_and_spreads(number: int) -> None:
    home = {sorted(ALL)[number % len(ALL)]}
    cores.settle(number)
    assert mine() == home
    # Who is started has its cores from its starter, so a thread that starts anybody spreads before.
    assert in_a_thread(mine) == of_a_process() == home
    cores.spread()
    assert mine() == in_a_thread(mine) == of_a_process() == ALL


def test_threads_move_alone() -> None:
    cores.settle(0)

    def spread() -> set[int]:
        cores.spread()
        return mine()

    assert in_a_thread(spread) == ALL
    assert mine() == {min(ALL)}


def test_nothing_happens_where_no_core_was_chosen() -> None:
    cores.gather()
    assert mine() == ALL


def test_one_core_is_left_as_it_is() -> None:
    os.sched_setaffinity(0, {max(ALL)})
    cores.settle(0)
    cores.gather()
    cores.spread()
    assert mine() == {max(ALL)}


def test_cores_that_were_taken_away_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_home", {max(ALL) + 4096})
    cores.gather()
    assert mine() == ALL


def test_small_uploads_share_a_core(kissa: Kissa) -> None:
    alice = kissa.person("alice")
    cores.settle(1)

    def after(size: int) -> set[int]:
        sent = form(file("uploadFile", PNG + bytes(size), "cat.png"))
        assert kissa.post("/api/files/upload", alice.by_token, **sent).status_code == 200
        return mine()

    home = {sorted(ALL)[1 % len(ALL)]}
    assert after(0) == home
    assert after(SMALL) == ALL
    assert after(SMALL // 2) == home
    assert kissa.get("/healthz").status_code == 200
    assert mine() == ALL
