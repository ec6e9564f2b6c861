"""I/O errors, injected into the real system calls of a worker under load.

Whatever fails is refused with 500 or 507 and leaves no trace that the next start does not remove,
nothing acknowledged is lost, and as soon as the disk works again so does the server.
"""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import Found, Host
from tests.faults.load import Load, Record
from tests.faults.support import choose
from tests.live.conftest import is_alive, until

pytestmark = pytest.mark.live
SECONDS = choose(0.5, 20.0)
# The call, the error, and which calls of each thread fail. `write` is the received bytes (and
# log lines), `pwrite64` and `fdatasync` are SQLite's, the others the files' names and syncs.
FAULTS = {
    "fsync": ("fsync", "EIO", "6+5"),
    "every fsync": ("fsync", "EIO", "1+"),
    "fdatasync": ("fdatasync", "EIO", "3+5"),
    "write": ("write", "EIO", "4+7"),
    "write, full": ("write", "ENOSPC", "4+7"),
    "pwrite64": ("pwrite64", "EIO", "10+23"),
    "pwrite64, full": ("pwrite64", "ENOSPC", "10+23"),
    "linkat": ("linkat", "EIO", "3+4"),
    "unlinkat": ("unlink,unlinkat", "EIO", "1+3"),
}


@contextmanager
def failing(pid: int, log: Path, calls: str, error: str, when: str) -> Iterator[None]:
    """Let some of the system calls of a process fail."""
    strace = subprocess.Popen(
        [
            *("strace", "-f", "-qq", "-o", str(log), "-p", str(pid)),
            *("-e", f"trace={calls}", "-e", "signal=none"),
            *("-e", f"inject={calls}:error={error}:when={when}"),
        ],
        stderr=subprocess.PIPE,
    )

    def is_attached() -> bool:
        if strace.poll() is not None:
            assert strace.stderr is not None
            pytest.skip(f"strace cannot attach here: {strace.stderr.read().decode().strip()}")
        states = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
        return all(f"TracerPid:\t{strace.pid}\n" in state for state in states)

    try:
        until(is_attached, "strace attaches")
        yield
    finally:
        strace.send_signal(signal.SIGINT)
        try:
            strace.communicate(timeout=3)
        except subprocess.TimeoutExpired:  # it can miss the end of what it follows
            strace.kill()  # the kernel lets go of what it followed
            strace.communicate()
        status = Path(f"/proc/{pid}/status")
        until(lambda: not is_alive(pid) or "TracerPid:\t0\n" in status.read_text(), "it detaches")


def injected(folder: Path) -> int:
    """How many calls have failed."""
    return (folder / "strace").read_text().count("(INJECTED)")


@pytest.mark.parametrize("fault", FAULTS)
def test_io_errors_lose_nothing(make_host: Callable[..., Host], tmp_path: Path, fault: str) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    calls, error, when = FAULTS[fault]
    host = make_host()
    person = host.person("alice")
    (worker,) = host.workers()
    record = Record()
    with Load(host.port, person, record) as load:
        load.until(10)
        with failing(worker, tmp_path / "strace", calls, error, when):
            time.sleep(SECONDS)
            until(lambda: injected(tmp_path) >= 3, "calls that fail")
        # Right away, among the same clients: nothing is wedged.
        name = host.upload(person, b"after the fault")
        host.ask("/api/files/delete", person.by_token | {"file": name})
        load.until(10)
    assert host.workers() == [worker], "it went on without a new process"
    count = injected(tmp_path)
    refused = len(record.odd)
    host.kill()
    host.start()
    found = Found(host.database, host.uploads, record)
    print(
        f"I/O errors, {fault} {error}: injected={count} {record.figures} refused={refused}"
        f" lost={len(found.lost) + len(found.corrupt)} back={len(found.back)}"
        f" orphans={len(found.orphans)}"
    )
    assert {status for status, _ in record.odd} <= {500, 507}, record.odd
    assert found.faults == {}, host.log[-8000:]
    assert found.files - set(record.uncertain) == set(record.kept)
    assert found.names - set(record.uncertain) == set(record.kept)
    for name in record.uncertain:  # a delete that was refused can be done again
        answer = host.post("/api/files/delete", person.by_token | {"file": name})
        assert answer.status_code in (200, 404), answer.text
    assert "all fine" in host.flask("check", "--hash").stdout
    assert "database is locked" not in host.log
    assert "WORKER TIMEOUT" not in host.log


@pytest.mark.parametrize("calls", ["fsync", "fdatasync", "pwrite64"])
def test_kill_while_the_disk_fails(
    make_host: Callable[..., Host], tmp_path: Path, calls: str
) -> None:
    """What the last refused requests left is still there when the next start finds it."""
    host = make_host()
    person = host.person("alice")
    (worker,) = host.workers()
    record = Record()
    with Load(host.port, person, record) as load:
        load.until(10)
        with failing(worker, tmp_path / "strace", calls, "EIO", "1+"):
            load.refused(8)
            host.kill()
    host.start()
    found = Found(host.database, host.uploads, record)
    print(
        f"I/O errors, kill while {calls} fails: {record.figures} refused={len(record.odd)}"
        f" lost={len(found.lost) + len(found.corrupt)} back={len(found.back)}"
        f" orphans={len(found.orphans)} rows_without_file={len(found.ghosts)}"
    )
    assert {status for status, _ in record.odd} <= {500, 507}, record.odd
    # A commit that failed at its sync alone is whole in SQLite's log, and counts if nothing was
    # written after it. Its file is gone, as after a delete cut short: deleting it ends the row.
    assert not found.ghosts or calls == "fdatasync"
    assert found.faults.keys() <= {"ghosts"}, host.log[-8000:]
    for name in found.names - found.files:
        host.ask("/api/files/delete", person.by_token | {"file": name})
    name = host.upload(person, b"after the fault")
    host.ask("/api/files/delete", person.by_token | {"file": name})
    assert "all fine" in host.flask("check", "--hash").stdout
