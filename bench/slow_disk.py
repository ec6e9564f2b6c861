"""Uploads on a disk whose fsync takes 2 ms more: shared commits against a commit for each."""

import shutil
import subprocess
from pathlib import Path

from bench import wrk
from bench.disk import make_spread
from bench.plan import Plan, in_turn, say
from bench.results import Results
from bench.servers import Failed, Kissa, Server
from bench.uploads import all_running, point

SHARED, EACH = "shared commits", "a commit for each"
CLIENTS = (1, 8, 16)
SOURCE = Path(__file__).with_name("slow_disk.c")


def measure(plan: Plan, results: Results) -> None:
    """100 KB uploads with both, in turn in each round."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        results.note("There was no C compiler (apt-get install gcc libc6-dev): no slow disk.")
        return
    if wrk.WRK is None:
        results.note("There was no wrk: no slow disk was measured.")
        return
    folder = make_spread(plan.folder / "slow-disk")
    library = folder / "slow_disk.so"
    build(compiler, library)
    some: list[Server] = [
        Kissa(SHARED, folder / "shared", preload=library),
        Kissa(EACH, folder / "each", preload=library, app="bench.commit_each:create_app()"),
    ]
    with all_running(some):
        for server in some:
            point(server, max(CLIENTS), 1, results)
        for number in range(plan.rounds):
            for clients in CLIENTS:
                say(f"slow disk: round {number + 1} of {plan.rounds}, {clients} clients")
                for server in in_turn(some, number):
                    found = point(server, clients, plan.seconds, results)
                    results.add("slow-disk", server.name, f"rate {clients}", found.rate)
                    results.add("slow-disk", server.name, f"p50 {clients}", found.p50)
                    results.add("slow-disk", server.name, f"p99 {clients}", found.p99)


def build(compiler: str, library: Path) -> None:
    """Compile it.

    Raises:
        Failed: it does not compile.
    """
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Failed(f"{SOURCE.name} does not compile:\n{ran.stderr}")
