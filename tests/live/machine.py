"""A small machine for one server, as far as this one can play it: one core, and little memory."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MIB = 1024 * 1024


class Machine:
    """One core, and a control group with a limit on memory: page cache counts, swap there is none.

    Where no control group can be made (most containers), nothing limits the memory, and whoever
    uses this has to look at it; `limited_by` tells which.

    Args:
        memory: bytes.
    """

    def __init__(self, memory: int) -> None:
        self.core = max(os.sched_getaffinity(0))
        self._group, self.limited_by = _make_group(memory)

    @property
    def command(self) -> list[str]:
        """What to put before a command to have it run on this machine."""
        pinned = ["taskset", "--cpu-list", str(self.core)]
        if self._group is None:
            return pinned
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', f"{self._group}/cgroup.procs", *pinned]

    @property
    def is_limited(self) -> bool:
        """Whether something else than its user looks to the memory."""
        return self._group is not None

    def killed(self) -> int:
        """How many of its processes the kernel ended for want of memory."""
        if self._group is None:
            return 0
        for name in ("memory.events", "memory.oom_control"):
            if (self._group / name).exists():
                counts = dict(map(str.split, (self._group / name).read_text().splitlines()))
                return int(counts["oom_kill"])
        raise AssertionError(f"{self._group} tells nothing of killed processes")

    def close(self) -> None:
        """Take the machine away, once all of its processes have ended."""
        deadline = time.monotonic() + 10
        while self._group is not None:
            try:
                self._group.rmdir()
            except OSError:  # the last process is just going
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                self._group = None


def _make_group(memory: int) -> tuple[Path | None, str]:
    for parent, limit, limit_with_swap, most_with_swap in _places(memory):
        group = parent / f"kissa-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(memory))
        except OSError:
            group.rmdir()
            continue
        with suppress(OSError):  # a kernel that does not count swap
            (group / limit_with_swap).write_text(str(most_with_swap))
        return group, f"{limit} of a control group"
    return None, "nothing but this test's own look at it"


def _places(memory: int) -> Iterator[tuple[Path, str, str, int]]:
    """Where a group with a limit on memory may be made, and the files of the limits: below our own
    group first, so that what limits us goes on to, then at the top."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = {what: path for _, what, path in (line.split(":", 2) for line in lines)}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, _, kind = line.partition(" - ")
        top = Path(place.split()[4])
        if kind.startswith("cgroup2 "):
            for parent in (top / own.get("", "/").lstrip("/"), top):
                given = parent / "cgroup.subtree_control"
                if given.is_file() and "memory" in given.read_text().split():
                    yield parent, "memory.max", "memory.swap.max", 0
        elif kind.startswith("cgroup ") and "memory" in kind.split()[2].split(","):
            for parent in (top / own.get("memory", "/").lstrip("/"), top):
                yield parent, "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", memory


def processes(pid: int) -> Iterator[int]:
    """`pid` and all that descends from it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has ended
            for child in task.read_text().split():
                yield from processes(int(child))


def share(pid: int) -> int:
    """Bytes of memory of a process, what it shares counted in parts (PSS); 0 when it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
