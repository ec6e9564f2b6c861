"""Whether uploads of different users share a commit of PostgreSQL, on disks of different speed."""

import os
import shutil
from pathlib import Path

from bench import slow_disk
from bench.hosts import Group, host, point, running
from bench.plan import say
from bench.results import Results
from tests.postgres import Cluster

PART = "commits"
DELAYS = (2, 5, 20)  # milliseconds that an fsync takes longer; the last hides all else
USERS = (1, 2, 4, 8)


def measure(cluster: Cluster, folder: Path, rounds: int, seconds: int, results: Results) -> None:
    """Eight connections of 1 to 8 users, with each delay of PostgreSQL's disk. The files' own syncs
    are not delayed, so that what is seen is the database's."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        results.note("There was no C compiler: no slow commits were measured.")
        return
    library = folder / "slow_disk.so"
    slow_disk.build(compiler, library)
    library.chmod(0o755)
    counted = folder / "syncs"  # a byte for each time that PostgreSQL brought its log to disk
    counted.touch()
    counted.chmod(0o666)
    folder.chmod(0o711)
    url = cluster.create("commits")
    own = folder / "commits-host"
    more: dict[str, dict[str, object]] = {"database": {"url": url, "state": own / "kissa"}}
    only = host("commits", own, os.urandom(32), more)
    group = Group(name="commits", hosts=[only], files=only.files, url=url)
    try:
        with running([group]):
            point(group, 1, max(USERS), 1)
            for turn in range(rounds):
                for delay in DELAYS:
                    cluster.stop()
                    slow = {"SLOW_MS": str(delay), "SLOW_COUNT": str(counted)}
                    cluster.environ = slow | {"LD_PRELOAD": str(library)}
                    cluster.start()
                    point(group, 1, max(USERS), 1)
                    for users in USERS:
                        say(f"commits: round {turn + 1}, +{delay} ms, {users} users")
                        before = counted.stat().st_size
                        rate, answered = point(group, 1, users, seconds)
                        shared = answered / max(1, counted.stat().st_size - before)
                        results.add(PART, f"+{delay} ms", f"rate {users}", rate)
                        results.add(PART, f"+{delay} ms", f"shared {users}", round(shared, 2))
    finally:
        cluster.environ = {}
