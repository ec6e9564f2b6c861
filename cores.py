"""On which of the machine's cores the threads of a worker run.

CPython lets one thread work at a time, and every system call passes that right on: eight uploads
at once do so some fifty times each. From core to core each time takes a wake-up; on one core it
takes next to nothing. So small uploads, and the thread that waits for connections, share a core;
whatever keeps a core busy by itself (large bodies, passwords, pages, child processes) has all of
them as before.
"""

import os
from contextlib import suppress

_home: set[int] = set()
_all: set[int] = set()


def settle(number: int) -> None:
    """Choose the core for this process' small uploads, and go there with this thread and those that
    it starts: the `number`th that it may use, counted round. Without this, where there is one core
    alone, or where the system knows no such thing (Linux' sched_setaffinity(2)), nothing here has
    any effect."""
    global _home, _all
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(usable) > 1:
        _all, _home = set(usable), {usable[number % len(usable)]}
        gather()


def gather() -> None:
    """Go on, with this thread and those that it starts, on the core of small uploads."""
    _move(_home)


def spread() -> None:
    """Go on, with this thread and those that it starts, on whichever core is free."""
    _move(_all)


def _move(cores: set[int]) -> None:
    # Asked each time: a thread has it from the one that started it.
    if cores and os.sched_getaffinity(0) != cores:
        with suppress(OSError):  # they were taken from this process meanwhile
            os.sched_setaffinity(0, cores)
