"""What was cut short by kill -9, at every step in turn: the next start finishes or undoes it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.faults.disks import Disks
from tests.live.conftest import ROOT

pytestmark = pytest.mark.live
PATIENCE = 240.0  # seconds
AT_ONCE = 2
ACTS = {  # the least steps that have to be seen, the longest acts first
    "restore": 40,
    "purge": 30,
    "migrate": 30,
    "backup": 20,
    "upload": 8,
    "delete": 8,
    "approve": 8,
    "reject": 8,
    "upgrade": 8,
}
Running = dict[str, "Future[subprocess.CompletedProcess[str]]"]


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """The chosen acts, killed at each of their steps; two of them at a time."""

    def interrupt(act: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.faults.interrupted", act, folder / act],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    chosen = [act for act in ACTS if any(f"[{act}]" in item.name for item in request.session.items)]
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("recovery")
        if os.geteuid() == 0:  # in memory: hundreds of starts would wait for the disk's syncs
            folder = Disks(folder, stack).memory("size=512m")
        for act in chosen:
            (folder / act).mkdir()
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        yield {act: pool.submit(interrupt, act) for act in chosen}


@pytest.mark.parametrize("act", ACTS)
def test_start_finishes_or_undoes(running: Running, act: str) -> None:
    done = running[act].result()
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    faults = figures.pop("faults")
    told = " ".join(f"{name}={value}" for name, value in figures.items())
    print(f"recovery, {act}: {told} wrong={len(faults)}")
    assert faults == [], "\n".join(faults)
    assert figures["kills"] >= ACTS[act], "the steps are no longer seen"
    assert figures["finished"] >= 1
