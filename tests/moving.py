"""Two places for one host, to be moved between: a folder with SQLite, and PostgreSQL with S3."""

import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import config as configuration
import credentials
import models
import move_rows
from config import Config
from models import Item
from tests.conftest import shared_app
from tests.installation import Installation
from tests.postgres import Cluster
from tests.servers.s3 import Bucket


class Moving:
    """An installation whose configuration says both: it is `home` in its folder, or `away`."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, cluster: Cluster, bucket: Bucket
    ) -> None:
        self.installation = Installation(folder, monkeypatch)
        self.folder, self.bucket = folder, bucket
        self._monkeypatch = monkeypatch
        self.url = cluster.create(f"moved-{bucket.name}")
        self.here = f"sqlite:///{folder}/kissa.db"
        (folder / "state").mkdir()
        keys = bucket.configuration()
        keys["storage_backend"] = "local"
        storage = "".join(f"{key.partition('_')[2]} = {keys[key]}\n" for key in keys)
        database = f"[database]\nstate = {folder}/state/kissa\n"
        self.installation.configure(f"[storage]\ndurable = false\n{storage}{database}")
        self.installation.make()

    def at(self, place: str) -> "Moving":
        """Let the configuration say where the host is: home or away."""
        is_home = place == "home"
        self._monkeypatch.setenv("KISSA_DATABASE_URL", self.here if is_home else self.url)
        self._monkeypatch.setenv("KISSA_STORAGE_BACKEND", "local" if is_home else "s3")
        return self

    def away(self) -> list[str]:
        """The command's words that move the host away."""
        return ["move", "--to-database", self.url, "--to-storage", "s3"]

    def home(self) -> list[str]:
        """The words that move it back."""
        return ["move", "--to-database", self.here, "--to-storage", "local"]

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return configuration.load()

    def run(self, *command: str) -> Result:
        return self.installation.run(*command)

    def does(self, *command: str) -> str:
        result = self.installation.run(*command)
        assert result.exit_code == 0, result.output
        return result.stdout

    def refuses(self, *command: str) -> str:
        """The line that a refused command ends with; before it there may be what was done."""
        result = self.installation.run(*command)
        assert result.exit_code == 1, result.output
        return result.stderr

    def fill(self, count: int) -> None:
        """Many small files at once, of the first user."""
        with self.installation.opened():
            fill(self.installation.uploads, count)

    def files(self) -> dict[str, bytes]:
        """The files of the folder, by where they are and their name."""
        found = {}
        for where, folder in (("files", ""), ("pending", ".pending")):
            for path in (self.folder / "uploads" / folder).iterdir():
                if path.is_file():
                    found[f"{where}/{path.name}"] = path.read_bytes()
        return found

    def objects(self) -> dict[str, bytes]:
        """The files of the bucket; thumbnails are made anew."""
        client = self.bucket.client()
        found = {
            key: client.get_object(Bucket=self.bucket.name, Key=key)["Body"].read()
            for key in self.bucket.objects()
        }
        client.close()
        return found

    def rows(self, where: str) -> dict[str, Any]:
        """All rows of the database at home or away, with the highest ids that it gave."""
        models.open_database(self.here if where == "home" else self.url)
        try:
            handle = models.database.obj
            found = {
                table._meta.table_name: list(move_rows._rows(handle, table))
                for table in move_rows.TABLES
            }
            last = {
                name: move_rows._last_id(handle, name)
                for name in found
                if name not in ("item_tag", "album_item", "counter", "day")
            }
        finally:
            models.close_database()
        return found | {"last ids": last}


def fill(uploads: Path, count: int) -> dict[str, bytes]:
    """Many small files at once, of the first user of the open database. Returns them."""
    rows, files = [], {}
    for number in range(count):
        name, content = f"F{number:06d}.txt", b"file %d" % number
        (uploads / name).write_bytes(content)
        files[name] = content
        rows.append(
            {
                "user": 1,
                "name": name,
                "original_name": "a.txt",
                "size": len(content),
                "sha256": hashlib.sha256(content).digest(),
                "state": "unlisted",
                "deletion_hash": credentials.hash_key(f"{number:022d}"),
            }
        )
    with models.database.atomic():
        for start in range(0, count, 500):
            Item.insert_many(rows[start : start + 500]).execute()
    return files


def killed(at: Callable[[pytest.MonkeyPatch, Callable[[], None]], None], *command: str) -> None:
    """Run a command in a process of its own, which is killed where `at` lets it be."""
    pid = os.fork()
    if pid == 0:
        try:
            with pytest.MonkeyPatch.context() as patch:
                at(patch, lambda: os.kill(os.getpid(), signal.SIGKILL))
                result = shared_app().test_cli_runner().invoke(args=list(command))
                os.write(2, result.output.encode())
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "it came to its end"
    assert os.WTERMSIG(status) == signal.SIGKILL
