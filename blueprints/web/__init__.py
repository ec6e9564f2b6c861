"""What is looked at in a browser: pages, files, deletion links; and the health check."""

import re
import secrets

from flask import Blueprint, Response, jsonify, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException

import auth
import home
import models
from blueprints import conditional
from blueprints.answers import with_headers_of
from blueprints.web import static_files
from context import get_config
from errors import ServiceError, Unauthorized
from thumbnails import is_possible

bp = Blueprint("web", __name__)
_TITLES = {
    400: "This does not work",
    401: "Sign in to see this",
    403: "Not for you",
    404: "Nothing here",
    405: "This does not work",
    409: "This does not work",
    410: "Gone",
    413: "Too large",
    429: "A moment, please",
    451: "Not taken here",
    503: "A moment, please",
    507: "No space left",
}
_LOOKS = ("GET", "HEAD")
# A path of ours, and no way to another host: `//evil`, `/\evil` and blanks all leave the site.
_OURS = re.compile(r"/(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%?/-]*", re.ASCII)


def same_origin() -> None:
    """A `before_request` of every page whose POST acts by the session cookie."""
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        auth.require_same_origin()


def page(template: str, status: int = 200, **values: object) -> Response:
    """A page of ours, under a policy that runs only our scripts and loads from us alone."""
    config = get_config()
    nonce = secrets.token_urlsafe(16)
    conditional.leave_out(nonce)
    viewer = auth.find_viewer()
    shared = {"site": config.site, "viewer": viewer, "nonce": nonce, "static": static}
    shared["banner"] = home.BANNER if status < 500 and _is_moving() else ""
    # Where choosing a theme leads back to: the path of a deletion link holds a secret, which is
    # not written into a page; nor is that of a link that leads nowhere.
    may_return = status < 400 and request.method != "POST" and "/delete/" not in request.path
    shared["returns_to"] = request.full_path.rstrip("?") if may_return else "/"
    html = render_template(template, has_picture=is_possible, **shared, **values)
    response = Response(html, status, mimetype="text/html")
    host = "/".join(config.site.upload_url.split("/", 3)[:3])
    # A nonce and not 'self' for scripts: on the origin of the uploads, 'self' runs an uploaded .js.
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; "
        f"img-src 'self' blob: {host}; media-src 'self' blob: {host}; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "no-store" if viewer else "no-cache"
    response.vary.add("Cookie")
    return response


def _is_moving() -> bool:
    """Whether visitors are told why nothing can be changed. A page that needs no database is shown
    without one."""
    try:
        return not models.is_open()
    except ServiceError:
        return False


def static(name: str) -> str:
    """The address of a file in static/, another one whenever its bytes change."""
    return url_for("web.show_static", name=name, v=static_files.all_files()[name].version)


def safe_next(target: str) -> str:
    """`target` when it is a path of ours, else the front page."""
    return target if _OURS.fullmatch(target) else "/"


def back_to(target: str) -> Response:
    """After an act by POST: see other (RFC 9110 15.4.4), so that a reload does not repeat it."""
    return redirect(target, 303)  # type: ignore[return-value]


def error_page(message: str, status: int) -> Response:
    """What went wrong, as a page of ours."""
    title = _TITLES.get(status, "Something went wrong")
    if status == 500:
        auth.forget_unknown_session()
    return page("error.html", status, title=title, message=message)


@bp.errorhandler(ServiceError)
def refuse(error: ServiceError) -> Response:
    """A refusal as a page, or as JSON where a script of ours asked."""
    message = error.message or "Sign in to see this page."
    if wants_json():
        response = jsonify(error=message)
        response.status_code = error.status
    elif isinstance(error, Unauthorized) and not error.message and request.method in _LOOKS:
        return back_to(url_for("web.sign_in", next=request.full_path.rstrip("?")))
    else:
        response = error_page(message, error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


@bp.errorhandler(HTTPException)
def refuse_http(error: HTTPException) -> Response:
    """An error of routing or of the server as a page."""
    return with_headers_of(error, error_page(error.description or error.name, error.code or 500))


def wants_json() -> bool:
    """Whether a script of ours asks, which shows errors beside the thing itself."""
    return request.headers.get("Accept", "").startswith("application/json")


from blueprints.web import (  # noqa: E402, F401
    admin,
    albums,
    assets,
    deletion,
    files,
    gallery,
    health,
    item,
    my_files,
    paste,
    queue,
    resumable,
    session,
    settings,
    thumbnails,
    upload,
    view,
)
