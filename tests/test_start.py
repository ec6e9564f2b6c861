"""What must hold for a server to start, and what its start puts in order."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import accounts
import config as configuration
import context
import credentials
import models
import start as starting
from config import Config
from models import Item, User
from start import StartError
from tests import database
from tests.conftest import PASSWORD, PNG, Kissa


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No patience for other servers, and every lock and file given back."""
    monkeypatch.setattr(starting, "PATIENCE", 0.0)
    before = set(os.listdir("/proc/self/fd"))
    yield
    models.close_database()
    for fd in set(os.listdir("/proc/self/fd")) - before:
        with suppress(OSError):
            os.close(int(fd))


@pytest.fixture
def fresh(tmp_path: Path) -> Config:
    """A configuration, and nothing else yet."""
    (tmp_path / "config.ini").write_text("[accounts]\nbcrypt_cost = 4\n")
    return configuration.load(tmp_path / "config.ini", {})


@pytest.fixture
def secret(fresh: Config) -> Path:
    return credentials.secret_path(fresh.database.path)


@pytest.fixture
def config(fresh: Config) -> Config:
    """A migrated, empty installation."""
    database.make(fresh.database.path)
    return fresh


def add_user(config: Config) -> None:
    services = context.open_services(config)
    accounts.create_admin(services.secret, 4, "admin", PASSWORD)
    context.close_services(services)


def refusal(config: Config) -> str:
    """The one line with which the start is refused; no lock stays behind."""
    with pytest.raises(StartError) as caught:
        starting.prepare(config)
    (line,) = caught.value.faults
    assert line.count("\n") == 0
    assert models.database.obj is None
    with pytest.raises(StartError) as again:
        starting.prepare(config)
    assert again.value.faults == [line]
    return line


def test_first_start(config: Config, secret: Path) -> None:
    started = starting.prepare(config)
    assert not started.sweep_later
    (note,) = started.notes
    assert "create-admin" in note
    assert secret.stat().st_mode & 0o777 == 0o600
    assert len(secret.read_bytes()) == 32
    assert models.database.obj is None
    os.close(started.lock)


def test_start_with_an_admin_has_nothing_to_say(config: Config) -> None:
    add_user(config)
    assert starting.prepare(config).notes == []


def test_not_durable_is_said(tmp_path: Path, config: Config) -> None:
    loaded = configuration.load(tmp_path / "config.ini", {"KISSA_STORAGE_DURABLE": "false"})
    assert any("power cut" in note for note in starting.prepare(loaded).notes)


# Refusals


def test_no_database(fresh: Config) -> None:
    assert refusal(fresh).endswith("there is no database yet; run: flask migrate")
    assert not fresh.database.path.exists()


def test_empty_database(fresh: Config) -> None:
    fresh.database.path.touch()
    lacking = ", ".join(sorted(path.stem for path in models.MIGRATIONS.glob("*.py")))
    assert refusal(fresh) == f"the database lacks {lacking}; run: flask migrate"


def test_older_schema(config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for path in models.MIGRATIONS.glob("*.py"):
        (folder / path.name).write_text(path.read_text())
    (folder / "0999_later.py").write_text("def up(migrator, db):\n    pass\n")
    monkeypatch.setattr(models, "MIGRATIONS", folder)
    assert refusal(config) == "the database lacks 0999_later; run: flask migrate"


def test_newer_schema(config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "migrations").mkdir()
    monkeypatch.setattr(models, "MIGRATIONS", tmp_path / "migrations")
    assert refusal(config).startswith("the database is of a newer Kissa (0001_initial")


def test_no_sqlite_file(fresh: Config) -> None:
    fresh.database.path.write_bytes(b"not a database at all, " * 100)
    assert "not a database" in refusal(fresh)


@pytest.mark.parametrize("users", [True, False], ids=["users", "no-users"])
def test_missing_secret(config: Config, secret: Path, users: bool) -> None:
    if not users:
        os.close(starting.prepare(config).lock)
        secret.unlink()
        os.close(starting.prepare(config).lock)  # nobody has a token yet: a new one will do
        return
    add_user(config)
    secret.unlink()
    assert refusal(config).startswith(f"{secret}: the server secret is missing")
    assert not secret.exists()


def test_foreign_secret(config: Config, secret: Path) -> None:
    add_user(config)
    secret.write_bytes(b"x" * 32)
    assert "does not belong to the database" in refusal(config)


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33], ids=["empty", "short", "long"])
def test_damaged_secret(config: Config, secret: Path, content: bytes) -> None:
    secret.write_bytes(content)
    secret.chmod(0o600)
    assert "the server secret is damaged" in refusal(config)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o666, 0o601])
def test_secret_that_others_can_read(config: Config, secret: Path, mode: int) -> None:
    add_user(config)
    secret.chmod(mode)
    assert f"run: chmod 600 {secret}" in refusal(config)
    secret.chmod(0o600)
    starting.prepare(config)


def test_secret_that_is_a_folder(config: Config, secret: Path) -> None:
    secret.mkdir()
    assert "the server secret" in refusal(config)


def test_storage_that_is_a_file(fresh: Config) -> None:
    fresh.storage.directory.write_text("in the way")
    with pytest.raises(StartError) as caught:
        starting.prepare(fresh)
    assert "[storage] directory" in caught.value.faults[0]
    assert all(line.count("\n") == 0 for line in caught.value.faults)


def test_second_server(config: Config) -> None:
    first = starting.prepare(config)
    with pytest.raises(StartError) as caught:
        starting.prepare(config)
    (line,) = caught.value.faults
    assert "another Kissa" in line
    os.close(first.lock)
    os.close(starting.prepare(config).lock)


def test_lock_lasts_as_long_as_its_last_worker(config: Config) -> None:
    started = starting.prepare(config)
    copy = os.dup(started.lock)  # as a forked worker has it
    os.close(started.lock)
    with pytest.raises(StartError):
        starting.prepare(config)
    os.close(copy)
    starting.prepare(config)


# What it puts in order


def restart(kissa: Kissa) -> starting.Started:
    config = kissa.services.config
    models.close_database()
    started = starting.prepare(config)
    os.close(started.lock)
    models.open_database(config.database.url, before_commit=kissa.services.storage.sync)
    return started


@pytest.mark.sqlite  # elsewhere other servers may be at work
def test_start_sweeps_even_what_is_young(kissa: Kissa) -> None:
    name = kissa.upload_name(kissa.person("alice"))
    for path in ("orphan1.png", ".pending/" + "x" * 32, ".incoming/" + "x" * 32):
        (kissa.uploads / path).write_bytes(PNG)
    notes = restart(kissa).notes
    assert "3 files without an upload were removed" in notes
    assert kissa.files() == {name}


@pytest.mark.sqlite  # elsewhere other servers may be at work
def test_start_with_a_wrong_database_takes_nothing(kissa: Kissa) -> None:
    for number in range(5):
        (kissa.uploads / f"theirs{number}").write_bytes(PNG)
    notes = restart(kissa).notes
    assert any(note.startswith("nothing was swept: ") for note in notes)
    assert len(kissa.files()) == 5


@pytest.mark.sqlite  # elsewhere other servers may be at work
def test_start_with_very_many_files_sweeps_later(
    kissa: Kissa, monkeypatch: pytest.MonkeyPatch
) -> None:
    kissa.upload_name(kissa.person("alice"))
    (kissa.uploads / "orphan1").write_bytes(PNG)
    monkeypatch.setattr(starting, "AT_ONCE", 0)
    assert restart(kissa).sweep_later
    assert "orphan1" in kissa.files()


def test_start_finishes_what_was_cut_short(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval="true")
    alice, bob = kissa.person("alice"), kissa.person("bob")
    kissa.upload_name(bob)
    item = Item.get_by_id(kissa.item_id(alice))
    kissa.services.storage.release(str(item.pending_name), item.name)
    mark = User.update(is_deleting=True).where(User.username == "bob")
    models.write(mark.execute)
    restart(kissa)
    assert [user.username for user in User.select()] == ["alice"]
    assert kissa.files() == {f".pending/{item.pending_name}"}


def test_database_of_a_killed_server_opens(config: Config) -> None:
    """Rows that are in the write-ahead log alone count."""
    models.open_database(config.database.path)
    models.write(lambda: models.Tag.create(name="kept"))
    copy = {path.name: path.read_bytes() for path in config.folder.glob("kissa.db*")}
    assert "kissa.db-wal" in copy
    models.close_database()
    for name, content in copy.items():
        (config.folder / name).write_bytes(content)
    starting.prepare(config)
    rows = sqlite3.connect(config.database.path)
    assert rows.execute("select count(*) from counter").fetchone() == (1,)
    rows.close()
