"""GET /metrics for Prometheus: a door of its own, whose refusals are plain text."""

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

import auth
import media
import metrics
from context import get_services
from errors import ServiceError

bp = Blueprint("metrics", __name__)


@bp.errorhandler(ServiceError)
def refuse(error: ServiceError) -> Response:
    """A refusal as one sentence."""
    return Response(error.message or auth.INVALID_TOKEN, error.status, content_type=media.TEXT_TYPE)


@bp.get("/metrics")
def show() -> ResponseReturnValue:
    """What the server has counted since it started, and how it stands; for admins."""
    auth.require_admin_by_header()
    services = get_services()
    text = services.metrics.render(metrics.look(services.config))
    return Response(text, content_type=metrics.CONTENT_TYPE, headers={"Cache-Control": "no-store"})
