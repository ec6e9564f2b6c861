"""Uploads: 100 KB at several numbers of clients, one of 1 GB, and ten of 200 MB at once."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import wrk
from bench.disk import make_spread
from bench.nginx import Front, Nothing, Put
from bench.plan import Plan, in_turn, say
from bench.results import Results
from bench.servers import (
    COPYPARTY,
    COPYPARTY_256,
    COPYPARTY_PROGRAM,
    FAST,
    FAST_FRONT,
    FRONT,
    KISSA,
    NGINX,
    NOTHING,
    PUT,
    Copyparty,
    Failed,
    Kissa,
    Server,
)

CURL = shutil.which("curl")
MIB = 1024 * 1024
AT_ONCE = 10


def servers(folder: Path, results: Results) -> list[Server]:
    """Every server that this machine can run, not yet running."""
    make_spread(folder)
    found: list[Server] = [Kissa(KISSA, folder / "kissa")]
    found.append(Kissa(FAST, folder / "kissa-fast", durable=False))
    if NGINX is None:
        results.note("There was no nginx: nothing behind it, and no PUT, was measured.")
    else:
        found.append(Front(FRONT, folder / "front"))
        found.append(Front(FAST_FRONT, folder / "front-fast", durable=False))
    if COPYPARTY_PROGRAM.exists():
        found.append(Copyparty(COPYPARTY, folder / "copyparty"))
        found.append(Copyparty(COPYPARTY_256, folder / "copyparty-256", checksum="sha256"))
    else:
        results.note("There was no copyparty in bench/.venv: it was not measured.")
    if NGINX is not None:
        found.append(Put(PUT, folder / "put"))
    return found


@contextmanager
def all_running(some: list[Server]) -> Iterator[None]:
    """Start them, and end them whatever happens."""
    with ExitStack() as stack:
        for server in some:
            stack.callback(server.end)
            server.start()
        for server in some:
            server.settle()
        yield


def point(server: Server, clients: int, seconds: int, results: Results) -> wrk.Answers:
    """Uploads of 100 KB for a while; what was stored must be what was answered.

    Raises:
        Failed: more was answered than stored.
    """
    way = server.way
    url, environ, seconds = way.url, way.environ, min(seconds, server.longest)
    found = wrk.run("up.lua", url, clients=clients, seconds=seconds, environ=environ)
    if found.faults:
        results.note(f"{server.name}, {clients} clients: {found.faults} requests failed.")
    server.settle()  # it may still be about the uploads that wrk broke off at its end
    stored, _ = server.stored()
    if stored < found.answers - found.faults and server.name != NOTHING:
        raise Failed(f"{server.name}: {found.answers} uploads answered, {stored} stored")
    server.clear()
    return found


def small(plan: Plan, results: Results) -> None:
    """100 KB uploads, at each number of clients, all servers in turn in each round."""
    if wrk.WRK is None:
        results.note("There was no wrk: no uploads of 100 KB were measured.")
        return
    some = servers(plan.folder / "small", results)
    if NGINX is not None:
        some.append(Nothing(NOTHING, plan.folder / "small/nothing"))
    with all_running(some):
        for server in some:
            point(server, max(plan.clients), 1, results)  # what is made at first use is made
        for number in range(plan.rounds):
            for clients in plan.clients:
                say(f"100 KB uploads: round {number + 1} of {plan.rounds}, {clients} clients")
                for server in in_turn(some, number):
                    found = point(server, clients, plan.seconds, results)
                    results.add("uploads", server.name, f"rate {clients}", found.rate)
                    results.add("uploads", server.name, f"p50 {clients}", found.p50)
                    results.add("uploads", server.name, f"p99 {clients}", found.p99)


def make_file(path: Path, megabytes: int) -> Path:
    """A file of so many MB (of 1,048,576 bytes) that does not compress, once."""
    if not path.exists():
        block = os.urandom(MIB)
        with path.open("wb") as file:
            for _ in range(megabytes):
                file.write(block)
    return path


def send(server: Server, file: Path, count: int) -> float:
    """Upload `file` `count` times at once, with a curl each.

    Returns:
        MB (of 1,048,576 bytes) a second, of all together.

    Raises:
        Failed: an upload failed, or something else than the file was stored.
    """
    assert CURL is not None, "there is no curl"
    quiet = [CURL, "--silent", "--show-error", "--fail", "--noproxy", "*", "-H", "Expect:"]
    way = server.way
    commands = [[*quiet, *way.curl(file, f"large{number}.bin")] for number in range(count)]
    begun = time.perf_counter()
    running = [
        subprocess.Popen(one, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for one in commands
    ]
    try:
        said = [process.communicate(timeout=600)[1] for process in running]
    finally:
        for process in running:
            process.kill()  # does nothing to one that has ended
            process.wait()
    seconds = time.perf_counter() - begun
    for process, error in zip(running, said, strict=True):
        if process.returncode:
            raise Failed(f"{server.name}: curl: {error.decode(errors='replace')}")
    size = file.stat().st_size
    if server.stored() != (count, count * size):
        raise Failed(f"{server.name}: stored {server.stored()} instead of {count} times {size}")
    server.clear()
    os.sync()  # what is left to be written must not slow the next one
    return count * size / MIB / seconds


def large(plan: Plan, results: Results) -> None:
    """One upload of 1 GB, and ten of 200 MB at once, all servers in turn in each round."""
    if CURL is None:
        results.note("There was no curl: no large uploads were measured.")
        return
    some = servers(plan.folder / "large", results)
    one = make_file(plan.folder / "one.bin", plan.large_mb)
    many = make_file(plan.folder / "many.bin", plan.many_mb)
    with all_running(some):
        for number in range(plan.rounds):
            say(f"large uploads: round {number + 1} of {plan.rounds}")
            for server in in_turn(some, number):
                results.add("large", server.name, "one", send(server, one, 1))
                results.add("large", server.name, "many", send(server, many, AT_ONCE))
