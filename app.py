"""The application factory: registers doors and commands, and opens nothing itself."""

import logging
import secrets
import time

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, InternalServerError

import cli
from blueprints import compression, conditional, f0ckm, metrics, nekos, web
from blueprints.receive import Shortcut
from context import get_services

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
    app.register_blueprint(metrics.bp)
    cli.register(app)
    app.before_request(_begin)
    app.after_request(_count)
    app.after_request(compression.compress)  # the last of these comes first
    app.after_request(conditional.answer)
    app.register_error_handler(HTTPException, _refuse)
    app.register_error_handler(Exception, _fail)
    shortcut = Shortcut(app, nekos.files.UPLOAD, f0ckm.UPLOAD)
    app.wsgi_app = shortcut  # type: ignore[method-assign]
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
    doors = {"f0ckm": f0ckm, "nekos": nekos, "web": web}
    return doors[_door(request.path)].refuse_http(error)


def _door(path: str) -> str:
    """Whose path this is, whether it leads anywhere or not."""
    if path == "/api/v2" or path.startswith("/api/v2/"):
        return "f0ckm"
    return "nekos" if path == "/api" or path.startswith("/api/") else "web"


def _begin() -> None:
    g.began = time.perf_counter()


def _count(response: Response) -> Response:
    seconds = time.perf_counter() - g.began
    counted = get_services().metrics
    counted.count_request(_door(request.path), request.method, response.status_code, seconds)
    return response


def _fail(error: Exception) -> Response:
    """A fault of ours: an id for the log, and nothing else for the client."""
    error_id = secrets.token_hex(4)
    log.error("error %s in %s", error_id, request.endpoint, exc_info=error)
    return _refuse(InternalServerError(f"Something went wrong here (error {error_id})."))
