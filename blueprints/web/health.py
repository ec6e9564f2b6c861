"""Whether this server can work."""

from flask import Response
from flask.typing import ResponseReturnValue

import upkeep
from blueprints.web import bp
from context import get_services, get_storage


@bp.get("/healthz")
def healthz() -> ResponseReturnValue:
    """200 when database and storage answer, space is left and the server is not about to stop,
    else 503; without details."""
    if get_services().stopping.is_set():
        return Response("stopping\n", 503, mimetype="text/plain")
    if not upkeep.is_healthy(get_storage()):
        return Response("unavailable\n", 503, mimetype="text/plain")
    return Response("ok\n", mimetype="text/plain", headers={"Cache-Control": "no-store"})
