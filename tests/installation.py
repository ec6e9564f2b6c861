"""An installation without a server, for the operator's commands: run in this process, and soon."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import accounts
import config as configuration
import credentials
import models
import statements
import storage
from config import Config
from models import User
from storage_local import LocalStorage
from tests import database
from tests.conftest import PASSWORD, shared_app


class Installation:
    """A folder with configuration, database, secret and uploads."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.file = folder / "config.ini"
        self.database = folder / "kissa.db"
        self.uploads = folder / "uploads"
        self.use()
        self.configure()

    def use(self) -> None:
        """Make it the one that commands work on."""
        for name in [name for name in os.environ if name.startswith("KISSA_")]:
            self.monkeypatch.delenv(name)
        self.monkeypatch.setenv("KISSA_CONFIG", str(self.file))

    def configure(self, text: str = "") -> None:
        self.file.write_text(f"[accounts]\nbcrypt_cost = 4\n{text}")

    def make(self) -> "Installation":
        """Give it a database and a secret."""
        database.make(self.database)
        with self.opened():
            credentials.load_secret(credentials.secret_path(self.database))
        return self

    @property
    def config(self) -> Config:
        return configuration.load(self.file, {})

    @contextmanager
    def opened(self) -> Iterator[LocalStorage]:
        store = LocalStorage(self.uploads)
        models.open_database(self.database, before_commit=store.sync)
        try:
            yield store
        finally:
            models.close_database()
            store.close()

    def run(self, *command: str, stdin: str = "") -> Result:
        """A command, run to its end; what it raised by mistake is raised here."""
        result = shared_app().test_cli_runner().invoke(args=list(command), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def does(self, *command: str, stdin: str = "") -> str:
        """What a command prints that must succeed, in silence on the error side."""
        result = self.run(*command, stdin=stdin)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result.stdout

    def refuses(self, *command: str, stdin: str = "", status: int = 1) -> str:
        """The one line that a refused command prints."""
        result = self.run(*command, stdin=stdin)
        assert result.exit_code == status, result.output
        assert result.stdout == ""
        if status == 1:
            assert result.stderr.count("\n") == 1
        return result.stderr

    def person(self, name: str, *, admin: bool = False) -> int:
        """The id of a new user."""
        with self.opened():
            secret = credentials.load_secret(credentials.secret_path(self.database))
            user = accounts.create_admin(secret, 4, name, PASSWORD)
            if not admin:
                none = {"role": "user", "admin_nonce": None, "admin_token_hash": None}
                models.write(lambda: User.update(**none).where(User.id == user.id).execute())
            return int(user.id)

    def upload(self, user_id: int, content: bytes, state: str = "unlisted") -> str:
        """The name of a new file; of a waiting one, the name it waits under."""
        name = storage.random_name(7, ".png")
        waiting = storage.random_name(32) if state == "pending" else None
        with self.opened():
            values: dict[str, Any] = {"rating": None, "is_oc": False, "is_shitpost": False}
            values |= {"original_name": "a.png", "state": state, "pending_name": waiting}
            values |= {"deletion_hash": os.urandom(32), "size": len(content), "name": name}
            values["sha256"] = hashlib.sha256(content).digest()
            models.write(lambda: statements.insert_item(user_id, **values))
        self.path(waiting or name, pending=bool(waiting)).write_bytes(content)
        return waiting or name

    def path(self, name: str, *, pending: bool = False) -> Path:
        return self.uploads / ".pending" / name if pending else self.uploads / name

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.opened():
            return list(models.database.execute_sql(query, values).fetchall())

    def audit(self) -> list[tuple[Any, ...]]:
        return self.rows("select actor_id, act, target from audit order by id")

    def state(self) -> dict[str, bytes]:
        """Everything that matters: the rows, the secret, the files and their bytes."""
        found = {"secret": (self.folder / "kissa.secret").read_bytes()}
        for table in ("user", "item", "tag", "item_tag", "comment", "counter", "audit"):
            found[table] = repr(self.rows(f"select * from {table} order by 1")).encode()
        for folder in (self.uploads, self.uploads / ".pending"):
            for path in folder.iterdir() if folder.exists() else ():
                if path.is_file():
                    found[str(path.relative_to(self.uploads))] = path.read_bytes()
        return found
