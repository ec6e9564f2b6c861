"""Signing up, in and out."""

from flask import Response, request
from flask.typing import ResponseReturnValue

import accounts
import auth
import sessions
from blueprints.web import back_to, bp, page, safe_next, same_origin
from context import get_config
from errors import Invalid, ServiceError
from models import User


@bp.get("/signin")
def sign_in() -> ResponseReturnValue:
    """The form to sign in."""
    return _form("signin")


@bp.post("/signin")
def begin_session() -> ResponseReturnValue:
    """Sign in; a wrong password shows the form again with the reason."""
    same_origin()
    username, password = request.form.get("username", ""), request.form.get("password", "")
    try:
        user = accounts.log_in(auth.password_door(), username, password)
    except ServiceError as error:
        return _form("signin", error)
    return _signed_in(user)


@bp.get("/signup")
def sign_up() -> ResponseReturnValue:
    """The form to make an account; a registration key may come with the link."""
    return _form("signup")


@bp.post("/signup")
def create_account() -> ResponseReturnValue:
    """Make an account and sign in."""
    same_origin()
    username, password = request.form.get("username", ""), request.form.get("password", "")
    try:
        if password != request.form.get("again", ""):
            raise Invalid("The two passwords are not the same.")
        key = request.form.get("key", "").strip()
        user = accounts.sign_up(auth.password_door(), username, password, key)
    except ServiceError as error:
        return _form("signup", error)
    return _signed_in(user)


@bp.post("/signout")
def end_session() -> ResponseReturnValue:
    """Sign out: the session's row goes, so its cookie is worth nothing from now on."""
    same_origin()
    found = auth.find_session()
    if found is not None:
        session, user = found
        sessions.end(user, session.id)
    return without_session("/")


def without_session(target: str) -> Response:
    """Take the cookie of an ended session away and go on to `target`."""
    response = back_to(target)
    response.delete_cookie(
        auth.cookie_name(), secure=auth.is_https(), httponly=True, samesite="Lax"
    )
    return response


def _signed_in(user: User) -> Response:
    """A new session at each sign-in, so that nobody's prepared cookie becomes a signed-in one."""
    found = auth.find_session()
    if found is not None:
        sessions.end(found[1], found[0].id)
    return with_new_session(user, safe_next(request.form.get("next", "/")))


def with_new_session(user: User, target: str) -> Response:
    """Start a session of `user` in this browser and go on to `target`."""
    secret = sessions.begin(user, request.headers.get("User-Agent", ""))
    response = back_to(target)
    response.set_cookie(
        auth.cookie_name(),
        secret,
        max_age=int(sessions.ABSOLUTE.total_seconds()),
        secure=auth.is_https(),
        httponly=True,
        samesite="Lax",
    )
    return response


def _form(name: str, error: ServiceError | None = None) -> Response:
    values = request.form if error else request.args
    response = page(
        f"web/{name}.html",
        error.status if error else 200,
        error=error.message if error else None,
        username=request.form.get("username", ""),
        key=values.get("key", ""),
        next=safe_next(values.get("next", "/")),
        accounts=get_config().accounts,
    )
    if error is not None and error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    response.headers["Cache-Control"] = "no-store"
    return response
