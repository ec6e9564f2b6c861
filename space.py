"""Free space: how much uploads must leave, and whether it is left."""

import os
import time
from collections.abc import Callable

MIB = 1024 * 1024
_AMPLE = 1024 * MIB  # bytes above the reserve with which one look is good for a second
_SECOND = 1.0


def reserve(status: os.statvfs_result) -> int:
    """Bytes of a filesystem that uploads leave free, so that the database can still delete."""
    return min(256 * MIB, status.f_blocks * status.f_frsize // 20)


class Gauge:
    """The free space of one filesystem. Near the reserve each question is a look at the disk; far
    above it a look is good for a second, since each one lets another thread have the interpreter.

    Args:
        look: gives the filesystem's present state.
    """

    def __init__(self, look: Callable[[], os.statvfs_result]) -> None:
        self._look = look
        self._ample_until = 0.0

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes leave the reserve free."""
        moment = time.monotonic()
        if size < _AMPLE // 2 and moment < self._ample_until:
            return True
        status = self._look()
        left = status.f_bavail * status.f_frsize - size - reserve(status)
        self._ample_until = moment + _SECOND if left > _AMPLE else 0.0
        return left >= 0
