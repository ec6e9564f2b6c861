"""The operator's commands: `flask ...` in the project's folder."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import click
from flask import Flask

import cli_move
import cli_opening
import cli_people
import cli_upkeep
import config as configuration
import models


def register(app: Flask) -> None:
    """Give `app` the commands. None of them needs a working configuration to be listed."""
    for command in (
        migrate,
        config,
        *cli_people.COMMANDS,
        *cli_upkeep.COMMANDS,
        *cli_move.COMMANDS,
    ):
        app.cli.add_command(command)


@click.command()
def migrate() -> None:
    """Make the database, or bring it to the schema of this version."""
    with cli_opening.opened(check_schema=False, may_be_new=True) as (config, _):
        applied = models.migrate()
        cli_opening.load_secret(config)
    click.echo(f"Applied: {', '.join(applied)}." if applied else "The database is up to date.")


@click.group()
def config() -> None:
    """Check or show the configuration in force."""


@config.command("check")
def config_check() -> None:
    """Tell every fault of the configuration, or that it is fine."""
    with cli_opening.told():
        faults = configuration.writable_faults(configuration.load())
        if faults:
            raise configuration.ConfigError(faults)
    click.echo("fine")


@config.command("show")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def config_show(as_json: bool) -> None:
    """Show every setting in force, and where it comes from. admin_key is not shown."""
    with cli_opening.told():
        settings = list(_settings(configuration.load()))
    if as_json:
        cli_opening.print_json(
            {key: {"value": value, "source": source} for key, value, source in settings}
        )
        return
    for key, value, source in settings:
        text = str(value).lower() if isinstance(value, bool) else value
        click.echo(f"{key} = {text}  ({source})")


def _settings(config: configuration.Config) -> Iterator[tuple[str, Any, str]]:
    """Every key as section.key, its value in force, and the file or variable that it is from."""
    for section, keys in configuration.KEYS.items():
        for name, key in keys.items():
            value = getattr(getattr(config, section), name)
            if key.secret and value:
                value = "(hidden)"
            elif (section, name) == ("database", "url"):
                value = configuration.without_password(value)
            elif isinstance(value, frozenset):
                value = ", ".join(sorted(value))
            elif isinstance(value, timedelta):
                value = f"{value // timedelta(minutes=1)}m"
            elif value is None:
                value = ""
            elif not isinstance(value, bool | int):
                value = str(value)
            yield f"{section}.{name}", value, config.sources[f"{section}.{name}"]
