"""User endpoints: sign up, look at, delete the account, change its password, its keys."""

from flask import jsonify
from flask.typing import ResponseReturnValue

import accounts
import albums
import auth
import keys
import sharex
from auth import read_input, require_input
from blueprints.answers import album_url, rfc3339, sharex_attachment
from blueprints.ids import number
from blueprints.nekos import bp, sentence
from context import get_config, get_services, get_storage


@bp.post("/user/info")
def user_info() -> ResponseReturnValue:
    """Name and number of files of the token's user."""
    user = auth.require_token()
    return jsonify(username=user.username, filecount=user.file_count)


@bp.post("/user/signup")
def signup() -> ResponseReturnValue:
    """Make an account."""
    username, password = require_input("username"), require_input("password")
    accounts.sign_up(auth.password_door(), username, password, read_input("regkey"))
    return sentence("Success!")


@bp.post("/user/delete")
def delete_user() -> ResponseReturnValue:
    """Delete the account and all that belongs to it."""
    username, password = require_input("username"), require_input("password")
    user = accounts.log_in(auth.password_door(), username, password)
    accounts.delete(get_storage(), user)
    return sentence("This user has been deleted")


@bp.post("/user/passreset")
def reset_password() -> ResponseReturnValue:
    """Change the password; the token stays."""
    username, password = require_input("username"), require_input("password")
    new_password = require_input("newpassword")
    accounts.reset_password(auth.password_door(), username, password, new_password)
    return sentence("The password has been reset!")


@bp.post("/user/keys/list")
def list_keys() -> ResponseReturnValue:
    """The user's API keys, without their text."""
    rows = keys.list_api_keys(auth.require_token())
    return jsonify(
        [
            {
                "id": row.id,
                "name": row.name,
                "last4": row.last4,
                "created": rfc3339(row.created),
                "last_used": row.last_used and rfc3339(row.last_used),
            }
            for row in rows
        ]
    )


@bp.post("/user/keys/create")
def create_key() -> ResponseReturnValue:
    """A new API key; its text is shown this once."""
    user = auth.require_token()
    row, key = keys.create_api_key(user, require_input("name"))
    return jsonify(id=row.id, name=row.name, key=key)


@bp.post("/user/keys/revoke")
def revoke_key() -> ResponseReturnValue:
    """Revoke one of the user's API keys."""
    user = auth.require_token()
    keys.revoke_api_key(user, number(require_input("id"), "You have no key of this id."))
    return sentence("The key has been revoked.")


@bp.post("/user/albums/list")
def list_albums() -> ResponseReturnValue:
    """The user's albums, newest first."""
    rows = albums.list_page(auth.require_token(), limit=None)
    site = get_config().site
    return jsonify(
        [
            {
                "title": row.album.title,
                "url": album_url(site, row.album.name),
                "zip": f"{album_url(site, row.album.name)}.zip",
                "files": row.count,
                "created": rfc3339(row.album.created),
            }
            for row in rows
        ]
    )


@bp.post("/user/sharex")
def sharex_uploader() -> ResponseReturnValue:
    """The user's ShareX custom uploader for /api/files/upload."""
    user = auth.require_token()
    token = accounts.upload_token(get_services().secret, user)
    return sharex_attachment(sharex.nekos(get_config().site, token, read_input("link")))
