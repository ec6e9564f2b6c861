"""The description of both APIs for machines."""

from flask import jsonify
from flask.typing import ResponseReturnValue

import openapi
from blueprints.nekos import bp
from context import get_config


@bp.get("/openapi.json")
def describe() -> ResponseReturnValue:
    """Both APIs, the extensions and the pages, as OpenAPI 3.1."""
    return jsonify(openapi.document(get_config().site.url))
