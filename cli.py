"""The operator's commands: `flask ...` in the project's folder."""

import os
import pwd
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from flask import Flask
from peewee import PeeweeException

import accounts
import config as configuration
import credentials
import models
import start
import upkeep
from config import Config
from errors import ServiceError
from storage import LocalStorage


def register(app: Flask) -> None:
    """Give `app` the commands. None of them needs a working configuration to be listed."""
    for command in (migrate, create_admin, sweep):
        app.cli.add_command(command)


def sweep_beside() -> "subprocess.Popen[bytes]":
    """Start the start's sweep as a process of its own, beside a server with very many files."""
    command = [sys.executable, "-m", "flask", "sweep", "--apply", "--young"]
    return subprocess.Popen(command, cwd=Path(__file__).parent, stdin=subprocess.DEVNULL)


@click.command()
def migrate() -> None:
    """Make the database, or bring it to the schema of this version."""
    with _opened(check_schema=False) as (config, _):
        applied = models.migrate()
        credentials.load_secret(credentials.secret_path(config.database.path))
    click.echo(f"Applied: {', '.join(applied)}." if applied else "The database is up to date.")


@click.command("create-admin")
@click.argument("name")
def create_admin(name: str) -> None:
    """Make an admin's account. The password is asked for, or read from standard input."""
    with _opened() as (config, _):
        credentials.valid_username(name)
        secret = credentials.load_secret(credentials.secret_path(config.database.path))
        cost = config.accounts.bcrypt_cost
        user = accounts.create_admin(secret, cost, name, _read_password())
    click.echo(f"{user.username} is an admin now.")


@click.command()
@click.option("--apply", "apply_", is_flag=True, help="Remove what was found.")
@click.option("--force", is_flag=True, help="Remove even if the database looks wrong or fresh.")
@click.option("--young", is_flag=True, help="Also files younger than an hour, as the start does.")
def sweep(apply_: bool, force: bool, young: bool) -> None:
    """Show files without an upload and uploads without a file; remove the former with --apply."""
    with _opened() as (_, store):
        found = upkeep.look(store, young=young)
        removed = upkeep.remove(store, found, force=force) if apply_ else 0
        if apply_:
            upkeep.tidy(store)
    for where, name in found.orphans:
        click.echo(f"{where} file without an upload: {name}")
    for name in found.temporary:
        click.echo(f"unfinished upload: {name}")
    for name in found.lost:
        click.echo(f"upload without its file: {name}")
    if found.held_back:
        click.echo(f"Held back: {found.held_back} (--force overrides)")
    click.echo(
        f"{found.files} files, {len(found.orphans)} without an upload, "
        f"{len(found.temporary)} unfinished, {len(found.lost)} missing; {removed} removed."
    )
    if apply_ and found.held_back and not force:
        sys.exit(1)


@contextmanager
def _opened(*, check_schema: bool = True) -> Iterator[tuple[Config, LocalStorage]]:
    """Configuration and files, with the database open; whatever is wrong is told in clear lines."""
    try:
        config = configuration.load()
        _require_owner(config.database.path)
        if check_schema and not config.database.path.exists():
            raise start.StartError(["there is no database yet; run: flask migrate"])
        store = LocalStorage(config.storage.directory, durable=config.storage.durable)
        models.open_database(
            config.database.path, durable=config.storage.durable, before_commit=store.sync
        )
        if check_schema:
            start.require_schema()
        yield config, store
    except (configuration.ConfigError, start.StartError) as error:
        _fail(*error.faults)
    except (ServiceError, credentials.SecretError) as error:
        _fail(str(error))
    except (OSError, PeeweeException) as error:
        _fail(f"{type(error).__name__}: {error}")
    finally:
        models.close_database()


def _require_owner(database: Path) -> None:
    """Run as anybody else, a command would leave files behind that the server cannot write."""
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


def _read_password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


def _fail(*lines: str) -> None:
    for line in lines:
        click.echo(line, err=True)
    sys.exit(1)
