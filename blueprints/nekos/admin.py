"""Admin endpoints: sign up, registration keys, tokens, lists, takedowns, bans."""

from flask import jsonify
from flask.typing import ResponseReturnValue

import accounts
import auth
import gallery
import keys
import takedown
from auth import read_input, require_input
from blueprints.nekos import bp, json_array, page, query, sentence
from context import get_config, get_services, get_storage
from errors import Conflict
from listing import is_yes


@bp.post("/admin/signup")
def sign_up_admin() -> ResponseReturnValue:
    """Make an admin's account with the host's admin key."""
    username, password = require_input("username"), require_input("password")
    accounts.sign_up_admin(auth.password_door(), username, password, require_input("adminkey"))
    return sentence("Success!")


@bp.post("/admin/regkeygen")
def create_registration_key() -> ResponseReturnValue:
    """A key that admits one signup on an invite-only host."""
    admin = auth.require_admin()
    if not get_config().accounts.invite_only:
        raise Conflict("This host is not invite-only; nobody needs a registration key.")
    return jsonify(regkey=keys.create_registration_key(admin))


@bp.post("/admin/token/valid")
def check_admin_token() -> ResponseReturnValue:
    """Whether the admin token is good."""
    auth.require_admin_token()
    return sentence("This token is valid!")


@bp.post("/admin/token/get")
def get_admin_token() -> ResponseReturnValue:
    """The admin's token, for name and password."""
    username, password = require_input("username"), require_input("password")
    user = accounts.log_in(auth.password_door(), username, password)
    return jsonify(token=accounts.admin_token(get_services().secret, user))


@bp.post("/admin/token/regen")
def renew_admin_token() -> ResponseReturnValue:
    """Another admin token; the old one dies."""
    accounts.renew_admin_token(get_services().secret, auth.require_admin())
    return sentence("Token has been regenerated!")


@bp.post("/admin/list/uploads")
def list_uploads() -> ResponseReturnValue:
    """Every file and whose it is, newest first; or the one of the exact name `query`."""
    auth.require_admin()
    rows = gallery.list_uploads(query(), *page())
    return json_array({"file": name, "username": username} for name, username in rows)


@bp.post("/admin/list/users")
def list_users() -> ResponseReturnValue:
    """Every username, newest first; or the exact one in `query`."""
    auth.require_admin()
    return json_array(gallery.list_users(query(), *page()))


@bp.post("/admin/delete/file")
def delete_any_file() -> ResponseReturnValue:
    """Delete anybody's file."""
    admin, name = auth.require_admin(), require_input("file")
    reason, refuse = read_input("reason"), is_yes(read_input("refuse"))
    takedown.take_down(get_storage(), admin, name=name, reason=reason, refuse=refuse)
    return sentence(f"{name} has been deleted!")


@bp.post("/admin/delete/user")
def delete_any_user() -> ResponseReturnValue:
    """Delete anybody's account and files."""
    admin, username = auth.require_admin(), require_input("username")
    accounts.delete(get_storage(), accounts.get_user(username), admin=admin)
    return sentence("This user has been deleted")


@bp.post("/admin/ban/user")
def ban() -> ResponseReturnValue:
    """Shut a user out; the files stay."""
    admin, username = auth.require_admin(), require_input("username")
    accounts.ban(admin, username)
    return sentence("This user has been banned.")


@bp.post("/admin/unban/user")
def unban() -> ResponseReturnValue:
    """Let a banned user in again."""
    admin, username = auth.require_admin(), require_input("username")
    accounts.unban(admin, username)
    return sentence("This user is no longer banned.")
