"""Folders and files so that one measurement does not slow the next.

ext4 gives an inode that was deleted in the last minutes to no new file, and looks at each of them
for every file that it makes: after some thousand deletes a new file in that part of the disk takes
ten times the processor time, for whoever makes it. So servers get parts of the disk of their own,
and nothing is deleted between two measurements.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

# linux/fs.h
GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602
SPREAD = 0x00020000  # FS_TOPDIR_FL: chattr +T
PLACES, FILES = 6, 150  # that are looked at, and made in each
REMEMBERS = 0.2  # ms of processor time for a file: more is a disk that remembers deletes


def make_spread(folder: Path) -> Path:
    """Make a folder whose own folders ext4 puts into different parts of the disk."""
    folder.mkdir(parents=True)
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # other filesystems know no such flag
            flags = bytearray(fcntl.ioctl(opened, GET_FLAGS, bytes(8)))
            wanted = int.from_bytes(flags, "little") | SPREAD
            fcntl.ioctl(opened, SET_FLAGS, wanted.to_bytes(8, "little"))
    finally:
        os.close(opened)
    return folder


def creation_ms(folder: Path) -> float:
    """The processor time, in ms, that a file of 100 KB takes just now, where it takes longest.

    Looks at several new folders in `folder`, which is one that spreads them.
    """
    content = bytes(102_400)
    slowest = 0.0
    for place in range(PLACES):
        probe = folder / f"probe-{time.monotonic_ns()}-{place}"
        probe.mkdir()
        begun = time.process_time()
        for number in range(FILES):
            (probe / str(number)).write_bytes(content)
        slowest = max(slowest, (time.process_time() - begun) / FILES)
        for number in range(FILES):
            os.truncate(probe / str(number), 0)
    return round(slowest * 1000, 3)


def put_aside(files: list[str], folder: Path) -> None:
    """Give the files' space back and take them out of the way, without deleting them."""
    folder.mkdir(parents=True)
    for path in files:
        with suppress(FileNotFoundError):  # what a server was about has gone by itself
            os.truncate(path, 0)
            os.rename(path, folder / os.path.basename(path))
