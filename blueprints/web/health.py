"""Whether this server can work."""

from flask import Response
from flask.typing import ResponseReturnValue

import upkeep
from blueprints.web import bp
from context import get_storage


@bp.get("/healthz")
def healthz() -> ResponseReturnValue:
    """200 when database and storage answer and space is left, else 503; without details."""
    if not upkeep.is_healthy(get_storage()):
        return Response("unavailable\n", 503, mimetype="text/plain")
    return Response("ok\n", mimetype="text/plain", headers={"Cache-Control": "no-store"})
