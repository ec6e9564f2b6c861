"""Settings: the account, its tokens and keys, uploaders to download, password, sessions, its end.

A token or key is in a page only as the answer to the POST that asked for it.
"""

from typing import Any

from flask import Response, request, url_for
from flask.typing import ResponseReturnValue

import accounts
import auth
import comments
import keys
import quota
import sessions
import sharex
from blueprints.answers import sharex_attachment
from blueprints.ids import number
from blueprints.web import back_to, bp, page, same_origin
from blueprints.web.session import with_new_session, without_session
from context import get_config, get_services, get_storage
from errors import Invalid, ServiceError, Unauthorized
from models import User

# What a redirect back to the page says was done, and in which section it says so.
_DONE = {
    "token": "You have a new upload token; the old one is refused from now on.",
    "admin-token": "You have a new admin token; the old one is refused from now on.",
    "keys": "The key is revoked.",
    "password": "The password is changed, and all other browsers are signed out.",
    "sessions": "Signed out there.",
}


@bp.get("/settings")
def settings() -> ResponseReturnValue:
    """The page, without any secret."""
    done = request.args.get("done", "")
    return _show(done, done=_DONE.get(done))


@bp.get("/settings/token")
@bp.get("/settings/admin-token")
@bp.get("/settings/keys")
@bp.get("/settings/password")
def go_to_settings() -> ResponseReturnValue:
    """Whoever asks again for the address of an act comes back to the page."""
    return back_to(url_for("web.settings"))


# Tokens


@bp.post("/settings/token")
def show_token() -> ResponseReturnValue:
    """The page with the upload token."""
    viewer = _actor()
    return _show("token", token=accounts.upload_token(get_services().secret, viewer))


@bp.post("/settings/token/renew")
def renew_token() -> ResponseReturnValue:
    """Another upload token; not shown at once, since a reload would renew it again."""
    accounts.renew_upload_token(get_services().secret, _actor())
    return _back("token")


@bp.post("/settings/admin-token")
def show_admin_token() -> ResponseReturnValue:
    """The page with the admin token."""
    viewer = _admin_actor()
    return _show("admin-token", admin_token=accounts.admin_token(get_services().secret, viewer))


@bp.post("/settings/admin-token/renew")
def renew_admin_token() -> ResponseReturnValue:
    """Another admin token."""
    accounts.renew_admin_token(get_services().secret, _admin_actor())
    return _back("admin-token")


# API keys, and uploaders with a token or key inside


@bp.post("/settings/keys")
def create_key() -> ResponseReturnValue:
    """The page with a new API key, shown this once."""
    viewer = _actor()
    try:
        row, key = keys.create_api_key(viewer, request.form.get("name", ""))
    except ServiceError as error:
        return _show("keys", error)
    return _show("keys", key=key, key_name=row.name)


@bp.post("/settings/keys/<key_id>/revoke")
def revoke_key(key_id: str) -> ResponseReturnValue:
    """Revoke an API key."""
    keys.revoke_api_key(_actor(), number(key_id))
    return _back("keys")


@bp.post("/settings/sharex/nekos")
def download_nekos_uploader() -> ResponseReturnValue:
    """The ShareX uploader for plain files, with the upload token inside."""
    token = accounts.upload_token(get_services().secret, _actor())
    link = request.form.get("link", "")
    return sharex_attachment(sharex.nekos(get_config().site, token, link))


@bp.post("/settings/sharex/f0ckm")
def download_f0ckm_uploader() -> ResponseReturnValue:
    """The ShareX uploader for the gallery. Of a key only the hash is kept: a new one goes in."""
    viewer, link = _actor(), request.form.get("link", "")
    sharex.f0ckm(get_config().site, "", link)  # before a key is made for it
    try:
        _, key = keys.create_api_key(viewer, "ShareX")
    except ServiceError as error:
        return _show("sharex", error)
    return sharex_attachment(sharex.f0ckm(get_config().site, key, link))


# Password and sessions


@bp.post("/settings/password")
def change_password() -> ResponseReturnValue:
    """Another password; this browser stays signed in, all others do not."""
    viewer = _actor()
    old, new = request.form.get("old", ""), request.form.get("new", "")
    try:
        if new != request.form.get("again", ""):
            raise Invalid("The two new passwords are not the same.")
        accounts.reset_password(auth.password_door(), viewer.username, old, new)
    except ServiceError as error:
        return _show("password", _about_password(error))
    target = url_for("web.settings", done="password", _anchor="password")
    return with_new_session(viewer, target)


@bp.post("/settings/sessions/<session_id>/end")
def end_one_session(session_id: str) -> ResponseReturnValue:
    """Sign a browser out, this one included."""
    viewer, chosen = _actor(), number(session_id)
    sessions.end(viewer, chosen)
    found = auth.find_session()
    if found is not None and found[0].id == chosen:
        return without_session("/")
    return _back("sessions")


@bp.post("/settings/sessions/end-others")
def end_other_sessions() -> ResponseReturnValue:
    """Sign all other browsers out."""
    viewer, found = _actor(), auth.find_session()
    if found is not None:
        sessions.end_others(viewer, found[0])
    return _back("sessions")


# The end


@bp.get("/settings/delete")
def ask_for_end() -> ResponseReturnValue:
    """What would go with the account, and the form to end it."""
    return _ask_for_end()


@bp.post("/settings/delete")
def delete_account() -> ResponseReturnValue:
    """End the account and all that belongs to it."""
    viewer = _actor()
    try:
        password = request.form.get("password", "")
        user = accounts.log_in(auth.password_door(), viewer.username, password)
        accounts.delete(get_storage(), user)
    except ServiceError as error:
        return _ask_for_end(_about_password(error))
    return without_session(url_for("web.say_goodbye"))


@bp.get("/goodbye")
def say_goodbye() -> ResponseReturnValue:
    """What is left of an account."""
    return page("web/goodbye.html")


def _ask_for_end(error: ServiceError | None = None) -> Response:
    viewer = auth.require_viewer()
    said = comments.count_by(viewer)
    return _told(
        page("web/end.html", error.status if error else 200, error=error, said=said), error
    )


def _actor() -> User:
    """Who acts, from a page of ours."""
    same_origin()
    return auth.require_viewer()


def _admin_actor() -> User:
    same_origin()
    return auth.require_admin_viewer()


def _show(section: str, error: ServiceError | None = None, **values: Any) -> Response:
    """The page, with what happened told in its section."""
    viewer, found, config = auth.require_viewer(), auth.find_session(), get_config()
    secrets: dict[str, Any] = {"token": None, "admin_token": None, "key": None, "key_name": None}
    response = page(
        "web/settings.html",
        error.status if error else 200,
        section=section,
        error=error,
        quota=quota.quota_of(config, viewer.quota_mb),
        keys=keys.list_api_keys(viewer),
        most_keys=keys.MAX_API_KEYS,
        sessions=sessions.list_sessions(viewer),
        this=found and found[0].id,
        describe=sessions.describe,
        min_tags=config.gallery.min_tags,
        **{"done": None} | secrets | values,
    )
    return _told(response, error)


def _told(response: Response, error: ServiceError | None) -> Response:
    if error is not None and error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _back(section: str) -> Response:
    return back_to(url_for("web.settings", done=section, _anchor=section))


def _about_password(error: ServiceError) -> ServiceError:
    """A refused sign-in, in the words for somebody whose name is known."""
    return Unauthorized("The password is wrong.") if isinstance(error, Unauthorized) else error
