"""Token endpoints: get, renew, check."""

from flask import jsonify
from flask.typing import ResponseReturnValue

import accounts
import auth
from auth import require_input
from blueprints.nekos import bp, sentence
from context import get_services


@bp.post("/token/get")
def get_token() -> ResponseReturnValue:
    """The user's upload token, for name and password."""
    username, password = require_input("username"), require_input("password")
    user = accounts.log_in(auth.password_door(), username, password)
    return jsonify(token=accounts.upload_token(get_services().secret, user))


@bp.post("/token/regen")
def renew_token() -> ResponseReturnValue:
    """Another upload token; the old one dies."""
    accounts.renew_upload_token(get_services().secret, auth.require_token())
    return sentence("Token has been regenerated!")


@bp.post("/token/valid")
def check_token() -> ResponseReturnValue:
    """Whether the token is good."""
    auth.require_token()
    return sentence("This token is valid!")
