"""What the operator's commands share: opening what they need, and telling what went wrong."""

import contextlib
import dataclasses
import json
import os
import pwd
import shlex
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from peewee import PeeweeException

import config as configuration
import credentials
import lock
import models
import move
import restore
import start
from archive import BackupError
from config import Config
from errors import ServiceError
from storage import Storage
from storage_opening import open_storage

SHOW_AFTER = 1.0  # seconds of work before there is a progress bar


@contextmanager
def told() -> Iterator[None]:
    """Whatever goes wrong inside is told in clear lines, and ends the command with status 1."""
    try:
        yield
    except (configuration.ConfigError, start.StartError, BackupError, move.MoveError) as error:
        fail(*error.faults)
    except (ServiceError, credentials.SecretError) as error:
        fail(str(error))
    except (OSError, PeeweeException, sqlite3.Error) as error:
        fail(f"{type(error).__name__}: {error}")


@contextmanager
def opened(
    *, check_schema: bool = True, may_be_new: bool = False
) -> Iterator[tuple[Config, Storage]]:
    """Configuration and files, with the database open; whatever is wrong is told in clear lines."""
    with told(), contextlib.ExitStack() as stack:
        config = configuration.load()
        is_file, path = config.database.is_file, config.database.path
        require_owner(path if is_file else credentials.secret_path(path))
        for note in restore.recover(config) if is_file else ():
            click.echo(note, err=True)
        if is_file and not may_be_new and not config.database.path.exists():
            raise start.StartError(["there is no database yet; run: flask migrate"])
        stack.callback(os.close, _share(config.database.path))
        store = open_storage(config)
        stack.callback(store.close)
        stack.callback(models.close_database)
        models.open_database(
            config.database.url,
            durable=config.storage.durable,
            before_commit=store.sync,
            backend=config.storage.backend,
        )
        if check_schema:
            start.require_schema()
            if (elsewhere := move.find_elsewhere(config.storage.backend)) is not None:
                click.echo(elsewhere, err=True)
        yield config, store


def _share(database: Path) -> int:
    """The lock that keeps a restore from exchanging the database under a command."""
    try:
        return lock.take(database, kind="commands", shared=True)
    except lock.LockTaken:
        raise start.StartError([f"{database}: a restore is at work; wait for its end"]) from None


def require_owner(database: Path) -> None:
    """See that we run as the database's owner: anybody else would leave files behind that the
    server cannot write.

    Raises:
        start.StartError: with the command to run instead.
    """
    try:
        owner = database.stat().st_uid
    except FileNotFoundError:
        return
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"  # as sudo takes a user without a name
    command = shlex.join(["sudo", "-u", name, "flask", *sys.argv[1:]])
    raise start.StartError([f"{database} belongs to {name}; run: {command}"])


def load_secret(config: Config) -> bytes:
    """The server's secret."""
    return credentials.load_secret(credentials.secret_path(config.database.path))


def read_password() -> str:
    """A password: asked for twice at a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A function to tell of work done and all; at a terminal it shows a bar, once that is worth
    it."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        bar: Any = None

        def step(done: int, total: int) -> None:
            nonlocal bar
            if bar is None and sys.stderr.isatty() and time.monotonic() - began > SHOW_AFTER:
                bar = stack.enter_context(
                    click.progressbar(length=total, label=label, file=sys.stderr)
                )
            if bar is not None:
                bar.update(done - bar.pos)

        yield step


def print_json(value: Any) -> None:
    """Print a dataclass, or a list or dictionary, as JSON: times are RFC 3339."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    click.echo(json.dumps(value, indent=2, default=_plain))


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return moment(value)
    raise TypeError(f"not for JSON: {value!r}")


def moment(value: datetime) -> str:
    """A time as RFC 3339 in UTC, to the second."""
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def size(value: int) -> str:
    """A number of bytes, as people read it."""
    if value < 1024:
        return f"{value} B"
    shown = float(value)
    for unit in ("KB", "MB", "GB", "TB"):
        shown /= 1024
        if shown < 1024 or unit == "TB":
            break
    return f"{shown:.1f} {unit}"


def fail(*lines: str) -> None:
    """Print `lines` to standard error, and end with status 1."""
    for line in lines:
        click.echo(line, err=True)
    sys.exit(1)
