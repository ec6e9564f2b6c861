"""Commands about people: accounts, roles, quotas, tokens, invitations."""

from dataclasses import asdict
from typing import Any

import click

import accounts
import cli_opening
import credentials
import keys
import rights
import stats


class Quota(click.ParamType):
    """A number of MB, `none` (0), or `default` (None, kept as -1 since click takes None amiss)."""

    name = "MB|default|none"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if value == "default":
            return -1
        if value == "none":
            return 0
        if str(value).isdecimal() and str(value).isascii() and int(value) <= rights.MAX_QUOTA_MB:
            return int(value)
        self.fail(f"{value!r} is not a number of MB, default or none.", param, ctx)
        return 0


@click.command("create-admin")
@click.argument("name")
def create_admin(name: str) -> None:
    """Make an admin's account.

    The password is asked for, or read from standard input.
    """
    with cli_opening.opened() as (config, _):
        credentials.valid_username(name)
        secret = cli_opening.load_secret(config)
        cost = config.accounts.bcrypt_cost
        password = cli_opening.read_password()
        user = accounts.create_admin(secret, cost, name, password, act="create admin")
        click.echo(f"{user.username} is an admin now.")


@click.command("set-password")
@click.argument("name")
def set_password(name: str) -> None:
    """Give a user another password.

    It is asked for, or read from standard input. Tokens and keys stay as they are.
    """
    with cli_opening.opened() as (config, _):
        accounts.get_user(name)
        password = cli_opening.read_password()
        user = rights.set_password(config.accounts.bcrypt_cost, name, password)
        click.echo(f"{user.username} has another password now.")


@click.command()
@click.argument("name")
@click.argument("role", type=click.Choice(["user", "admin"]))
def role(name: str, role: str) -> None:
    """Make a user an admin, or an admin a plain user.

    An admin gets an admin token, beside the upload token; a plain user's is gone. The last admin
    stays one.
    """
    with cli_opening.opened() as (config, _):
        changed = rights.set_role(cli_opening.load_secret(config), name, role)
        word = "an admin" if role == "admin" else "a plain user"
        click.echo(
            f"{accounts.get_user(name).username} is {word} {'now' if changed else 'already'}."
        )


@click.command()
@click.argument("name")
@click.argument("quota", type=Quota())
def quota(name: str, quota: int) -> None:
    """Limit what a user may store, in MB; `default` is the host's limit, `none` lifts it.

    What is stored already stays.
    """
    with cli_opening.opened():
        rights.set_quota(name, None if quota < 0 else quota)
        shown = {-1: "the host's quota", 0: "no quota"}.get(quota, f"a quota of {quota} MB")
        click.echo(f"{accounts.get_user(name).username} has {shown} now.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def users(as_json: bool) -> None:
    """List all users with their role, state, files, bytes, quota and day of signing up."""
    with cli_opening.opened() as (config, _):
        people = list(stats.list_people(config))
        if as_json:
            cli_opening.print_json([asdict(person) for person in people])
            return
        width = max([len(person.name) for person in people] + [4])
        head = ("name".ljust(width), "role ", "state   ", "  files", "    stored", "     quota")
        click.echo("  ".join((*head, "created")))
        for person in people:
            limit = cli_opening.size(person.quota) if person.quota else "none"
            cells = (
                person.name.ljust(width),
                person.role.ljust(5),
                person.state.ljust(8),
                f"{person.files:7}",
                cli_opening.size(person.bytes).rjust(10),
                limit.rjust(10),
                f"{person.created:%Y-%m-%d}",
            )
            click.echo("  ".join(cells))


@click.command()
def invite() -> None:
    """Make a registration key for one signup, and print it and its link."""
    with cli_opening.opened() as (config, _):
        if not config.accounts.invite_only:
            click.echo("Note: invite_only is off, so nobody needs a key to sign up.", err=True)
        key = keys.create_registration_key(None)
        click.echo(key)
        click.echo(f"{config.site.url}signup?key={key}")


@click.command()
@click.argument("name")
def ban(name: str) -> None:
    """Shut a user out, from the next request on. The files stay."""
    with cli_opening.opened():
        accounts.ban(None, name)
        click.echo(f"{accounts.get_user(name).username} is banned now.")


@click.command()
@click.argument("name")
def unban(name: str) -> None:
    """Let a banned user in again, with the token and keys of before."""
    with cli_opening.opened():
        accounts.unban(None, name)
        click.echo(f"{accounts.get_user(name).username} is no longer banned.")


@click.command("token-reset")
@click.argument("name")
@click.option("--admin", "of_admin", is_flag=True, help="The admin token, not the upload token.")
@click.option("--show", is_flag=True, help="Print the new token.")
def token_reset(name: str, of_admin: bool, show: bool) -> None:
    """Give a user another token; the old one dies at once.

    The user gets it with the password, by the page or the API. Keys for the f0ckm API stay.
    """
    with cli_opening.opened() as (config, _):
        token = rights.reset_token(cli_opening.load_secret(config), name, of_admin=of_admin)
        if show:
            click.echo(token)
        else:
            what = "admin token" if of_admin else "token"
            click.echo(f"{accounts.get_user(name).username} has another {what} now.")


COMMANDS = (create_admin, set_password, role, quota, users, invite, ban, unban, token_reset)
