"""Whether this server can work."""

from flask import Response
from flask.typing import ResponseReturnValue
from peewee import PeeweeException

import gallery
import items
from blueprints.web import bp
from context import get_storage
from errors import ServiceError


@bp.get("/healthz")
def healthz() -> ResponseReturnValue:
    """200 when database and storage answer and space is left, else 503; without details."""
    try:
        gallery.count_public()
        get_storage().require_space()
        items.require_database_space()
    except (ServiceError, PeeweeException, OSError):
        return Response("unavailable\n", 503, mimetype="text/plain")
    return Response("ok\n", mimetype="text/plain")
