"""The command that moves a host to another database or file store."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

import cli_opening
import config as configuration
import move as moves
import start
from cli_opening import size
from config import Config
from move_files import Copied, Done

_EVERY = 10.0  # seconds between two lines of progress; a second at a terminal


@click.command()
@click.option("--to-database", "url", metavar="URL", help="sqlite:///PATH or postgresql://...")
@click.option(
    "--to-storage",
    "backend",
    type=click.Choice(configuration.BACKENDS),
    help="The other backend; [storage] has its settings already.",
)
@click.option("--verify", is_flag=True, help="Read files again that an earlier run has copied.")
@click.option("--undo", is_flag=True, help="Stay: take an unfinished or finished move back.")
def move(url: str | None, backend: str | None, verify: bool, undo: bool) -> None:
    """Move to another database, another place for the files, or both, beside the running server.

    Files are copied first. Then the host can only be read, until a server runs on the new
    configuration. Cut short, it is gone on with by the same command. Links stay the same.
    """
    if undo == bool(url or backend):
        raise click.UsageError("Name --to-database or --to-storage, or --undo alone.")
    with _interruptible(), cli_opening.opened(check_schema=False) as (config, store):
        start.require_schema()
        if undo:
            told = "Uploads are taken here again." if moves.undo(config) else "Nothing is moved."
            click.echo(told)
            return
        new = _changed(url, backend)
        done = moves.move(config, store, new, progress=_Lines(), tell=_tell, verify=verify)
    _print(config, new, done)


@contextmanager
def _interruptible() -> Iterator[None]:
    """What ends the command, or the connection to its terminal, lets it take back what it has
    begun."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _changed(url: str | None, backend: str | None) -> Config:
    """The configuration as it will be."""
    given = {"KISSA_DATABASE_URL": url, "KISSA_STORAGE_BACKEND": backend}
    return configuration.load(environ=os.environ | {k: v for k, v in given.items() if v})


class _Lines:
    """Progress as lines, now and then."""

    def __init__(self) -> None:
        self._every = 1.0 if sys.stderr.isatty() else _EVERY
        self._last = time.monotonic()
        self._bytes = 0

    def __call__(self, done: Done) -> None:
        passed = time.monotonic() - self._last
        if passed < self._every:
            return
        rate = max(done.bytes - self._bytes, 0) / passed
        self._last, self._bytes = time.monotonic(), done.bytes
        files, bytes_ = f"{done.files} of {done.all_files} files", size(done.bytes)
        told = f"{files}, {bytes_} of {size(done.all_bytes)}, {size(int(rate))}/s"
        click.echo(told, err=True)


def _tell(copied: Copied) -> None:
    there = copied.files - copied.copied
    click.echo(
        f"{copied.copied} files of {size(copied.copied_bytes)} copied and compared by SHA-256 in "
        f"{copied.seconds:.1f} seconds; {there} were there."
    )
    for name in copied.damaged:
        click.echo(f"{name}: not the bytes that were uploaded; see: flask check", err=True)
    for name in copied.lost:
        click.echo(f"{name}: an upload without its file", err=True)


def _print(config: Config, new: Config, done: moves.Moved) -> None:
    if done.was_over:
        click.echo("It has moved already.")
    if done.files is not None:
        _tell(done.files)
        click.echo(
            f"{done.files.files} files of {size(done.files.bytes)} are there, as the rows say; "
            f"{done.files.removed} deleted meanwhile were removed."
        )
    for table in done.tables:
        click.echo(f"{table.table:<17}{table.rows:>10} rows  {table.sha256}")
    if done.secret:
        click.echo(f"The server's secret was copied to {done.secret}.")
    if done.restarting:
        click.echo(f"{done.restarting} unfinished uploads in pieces have to begin anew.")
    if not done.was_over:
        seconds = (done.until - done.since).total_seconds()
        click.echo(f"For {seconds:.1f} seconds now the host can only be read.")
    click.echo("It takes uploads again once the server runs with:")
    for section, key, old, value in (
        ("database", "url", config.database.url, new.database.url),
        ("storage", "backend", config.storage.backend, new.storage.backend),
    ):
        if old != value:
            where = config.sources[f"{section}.{key}"]
            at = f"  ({where} now has {configuration.without_password(old)})"
            click.echo(f"[{section}]\n{key} = {configuration.without_password(value)}{at}")


COMMANDS = (move,)
