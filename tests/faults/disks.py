"""Disks whose power can be cut, and disks that fill up; Linux only, and only as root."""

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

# Nothing comes to disk by itself while a test runs: what was not synced is not in the image, and
# the image does not change while it is copied.
_LAZY = "commit=600,noauto_da_alloc"


class Disks:
    """Makes disks; everything is unmounted and detached with `stack`."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.count = 0
        self.images: Path | None = None

    def file(self, megabytes: int) -> "FileDisk":
        """An ext4 in a file on a loop device of its own; the test is skipped without one."""
        if os.geteuid() != 0:
            pytest.skip("loop devices and mounting take root")
        if shutil.which("mkfs.ext4", path=_path()) is None:
            pytest.skip("mkfs.ext4 is not installed")
        if self.images is None:  # in memory: syncs of the disk below are not what is tested
            self.images = self.memory("size=2g")
        self.count += 1
        image = self.images / f"disk{self.count}.img"
        with image.open("wb") as file:
            file.truncate(megabytes * 1024 * 1024)
        plain = "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
        made = ["mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=16", "-E", plain, str(image)]
        run(*made)
        return FileDisk(image, self._mount_image(image, self.folder / f"disk{self.count}"))

    def cut(self, disk: "FileDisk") -> "FileDisk":
        """What would be on `disk` after a power cut now, as a disk of its own."""
        self.count += 1
        image = disk.image.with_name(f"cut{self.count}.img")
        run("cp", "--sparse=always", str(disk.image), str(image))
        return FileDisk(image, self.folder / f"cut{self.count}")

    def mounted(self, disk: "FileDisk", stack: ExitStack) -> Path:
        """Mount a cut disk, which replays its journal, until `stack` ends."""
        self._mount_image(disk.image, disk.path, stack)
        return disk.path

    def memory(self, options: str) -> Path:
        """A tmpfs with these options (size, nr_inodes)."""
        if os.geteuid() != 0:
            pytest.skip("mounting takes root")
        self.count += 1
        path = self.folder / f"memory{self.count}"
        path.mkdir()
        run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path))
        self.stack.callback(_unmount, path)
        return path

    def _mount_image(self, image: Path, path: Path, stack: ExitStack | None = None) -> Path:
        stack = stack or self.stack
        path.mkdir()
        stack.callback(path.rmdir)
        stack.callback(image.unlink)
        device = _attach(image)
        stack.callback(run, "losetup", "-d", device)
        run("mount", "-t", "ext4", "-o", _LAZY, device, str(path))
        stack.callback(_unmount, path)
        return path


class FileDisk:
    """A filesystem in a file.

    Args:
        image: the file.
        path: where it is mounted.
    """

    def __init__(self, image: Path, path: Path) -> None:
        self.image = image
        self.path = path


def _attach(image: Path) -> str:
    done = subprocess.run(
        ["losetup", "-f", "--show", str(image)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"PATH": _path()},
    )
    if done.returncode != 0:
        pytest.skip(f"no loop device can be had here: {done.stderr.strip()}")
    return done.stdout.strip()


def _unmount(path: Path) -> None:
    try:
        run("umount", str(path))
    except subprocess.CalledProcessError:
        run("umount", "--lazy", str(path))


def _path() -> str:
    """Where the tools of administrators lie too, even when a user's PATH does not look there."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def run(*command: str) -> None:
    subprocess.run(
        command, check=True, timeout=120, capture_output=True, env=os.environ | {"PATH": _path()}
    )
