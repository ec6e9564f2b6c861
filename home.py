"""The row that says where a host's rows and files are, once it has been moved; every write looks
at it first, and so this holds for every process on every host."""

from typing import Any

from errors import Moving

HERE = "here"  # the rows are here, and the files where `storage` says
MOVING = "moving"  # nothing may change until what has been copied is all there is
ARRIVING = "arriving"  # the rows of another database, whose move has not ended
LEFT = "left"  # the rows are in another database

SELECT = "select state, storage from home where number = 1"
RETRY_AFTER = 10  # seconds
BANNER = "This host is being moved; it can be read meanwhile, and takes uploads again in a moment."


def is_open(found: Any, backend: str) -> bool:
    """Whether writes are taken here.

    Args:
        found: what SELECT found, as a list of rows.
        backend: where this process keeps files; empty for who keeps none.
    """
    if not found:
        return True
    state, storage = found[0]
    return bool(state == HERE and backend in (storage, ""))


def require_open(found: Any, backend: str) -> None:
    """See that writes are taken here; see `is_open`.

    Raises:
        Moving: they are not.
    """
    if not is_open(found, backend):
        raise Moving(BANNER, retry_after=RETRY_AFTER)
