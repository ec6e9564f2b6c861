"""What the fault tests share: how long they may take, figures of times, a server of one's own."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.live.conftest import Server

T = TypeVar("T")
LONG = os.environ.get("KISSA_FAULTS") == "long"


def choose(short: T, long: T) -> T:
    """`long` in the long mode, KISSA_FAULTS=long, else `short`."""
    return long if LONG else short


def p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 do not pass."""
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


@contextmanager
def serving(**keys: object) -> Iterator[Server]:
    """A migrated, running server in a folder of its own; its log must tell of no fault of ours.

    Args:
        keys: configuration, as `section_key=value`.
    """
    with tempfile.TemporaryDirectory(prefix="kissa-fault-") as folder:
        server = Server(Path(folder), **keys)
        try:
            yield server.migrate().start()
        finally:
            server.end()
            server.session.close()
        server.require_quiet()
