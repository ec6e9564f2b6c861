"""A migrated, empty database: made by the migrations once a process, and copied from then on."""

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import models


def make(path: Path) -> None:
    """Put a migrated, empty database at `path`, where none is yet. The migrations themselves,
    thirty times as slow, are tested in test_models.py; none may be open meanwhile."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(_template())


@functools.cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kissa.db"
        models.open_database(path)
        models.migrate()
        models.close_database()
        assert not path.with_name("kissa.db-wal").exists()  # all of it is in the file
        return path.read_bytes()


def trace(listen: Callable[[str], object] | None) -> None:
    """Tell `listen` every statement to SQLite of this thread, read or written; None ends it."""
    for connection in (
        models.database.connection(),
        models.write(lambda: models.database.connection()),
    ):
        connection.set_trace_callback(listen)
