"""What is looked at in a browser: pages, files, deletion links; and the health check."""

import secrets

from flask import Blueprint, Response, g, render_template
from werkzeug.exceptions import HTTPException

from context import get_config
from errors import ServiceError

bp = Blueprint("web", __name__)
_TITLES = {
    400: "This does not work",
    401: "Sign in to see this",
    403: "Not for you",
    404: "Nothing here",
    405: "This does not work",
    413: "Too large",
    429: "A moment, please",
    503: "A moment, please",
    507: "No space left",
}


@bp.before_request
def make_nonce() -> None:
    """A nonce for this page's one style element."""
    g.nonce = secrets.token_urlsafe(16)


def page(template: str, status: int = 200, **values: object) -> Response:
    """A page of ours, with the policy under which it runs no script and loads from us alone."""
    g.setdefault("nonce", secrets.token_urlsafe(16))
    config = get_config()
    response = Response(
        render_template(template, site=config.site, **values), status, mimetype="text/html"
    )
    host = "/".join(config.site.upload_url.split("/", 3)[:3])
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{g.nonce}'; img-src 'self' {host}; "
        f"media-src 'self' {host}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def error_page(message: str, status: int) -> Response:
    """What went wrong, as a page of ours."""
    title = _TITLES.get(status, "Something went wrong")
    return page("error.html", status, title=title, message=message)


@bp.errorhandler(ServiceError)
def refuse(error: ServiceError) -> Response:
    """A refusal as a page."""
    response = error_page(error.message or "Sign in to see this page.", error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


@bp.errorhandler(HTTPException)
def refuse_http(error: HTTPException) -> Response:
    """An error of routing or of the server as a page."""
    response = error_page(error.description or error.name, error.code or 500)
    for name, value in error.get_headers():
        if name not in ("Content-Type", "Content-Length"):
            response.headers[name] = value
    return response


from blueprints.web import deletion, files, health, item  # noqa: E402, F401
