"""The application factory: registers doors and commands, and opens nothing itself."""

import logging
import secrets

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, InternalServerError

import cli
from blueprints import f0ckm, nekos, web

log = logging.getLogger("kissa")
_FORM_MEMORY = 128 * 1024  # bytes; at or below 64 KiB Werkzeug refuses every larger form
_BODY = 256 * 1024  # bytes of a body that is not an upload


def create_app() -> Flask:
    """The Flask application of Kissa. Its services are opened by `context.attach`."""
    app = Flask("app", static_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=_BODY, MAX_FORM_MEMORY_SIZE=_FORM_MEMORY, MAX_FORM_PARTS=50
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.register_blueprint(nekos.bp)
    app.register_blueprint(f0ckm.bp)
    app.register_blueprint(web.bp)
    cli.register(app)
    app.register_error_handler(HTTPException, _refuse)
    app.register_error_handler(Exception, _fail)
    return app


_OWN_WORDS = {
    404: "There is nothing under this address.",
    405: "This address does not take this method.",
    413: "The body is larger than this address takes.",
}


def _refuse(error: HTTPException) -> Response:
    """An error that reached no blueprint, in the shape of the door that the path belongs to."""
    if error.description == type(error).description:
        error.description = _OWN_WORDS.get(error.code or 500, error.name)
    if request.path == "/api/v2" or request.path.startswith("/api/v2/"):
        return f0ckm.refuse_http(error)
    if request.path == "/api" or request.path.startswith("/api/"):
        return nekos.refuse_http(error)
    return web.refuse_http(error)


def _fail(error: Exception) -> Response:
    """A fault of ours: an id for the log, and nothing else for the client."""
    error_id = secrets.token_hex(4)
    log.error("error %s in %s", error_id, request.endpoint, exc_info=error)
    return _refuse(InternalServerError(f"Something went wrong here (error {error_id})."))
