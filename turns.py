"""Turns of the requests to one upload that comes in pieces, in this process."""

import threading
from collections.abc import Callable

from errors import Locked

PATIENCE = 5.0  # seconds in which the request before must end, once it is asked to
_turns = threading.Condition()
_held: dict[str, "Turn"] = {}


class Turn:
    """The right to go on with one upload, until `end`.

    A client whose connection has died comes back while the request before still waits for bytes:
    that one is asked to end.

    Args:
        name: of the upload.
        interrupt: ends the reading of this request, called from another thread.

    Raises:
        Locked: the request before does not end.
    """

    def __init__(self, name: str, interrupt: Callable[[], None]) -> None:
        self._name, self._interrupt = name, interrupt
        with _turns:
            if name in _held:
                _held[name]._interrupt()
                if not _turns.wait_for(lambda: name not in _held, PATIENCE):
                    raise Locked("Another request sends this upload just now; try again soon.")
            _held[name] = self

    def end(self) -> None:
        """Let the next one go on. May be called again."""
        with _turns:
            if _held.get(self._name) is self:
                del _held[self._name]
                _turns.notify_all()
