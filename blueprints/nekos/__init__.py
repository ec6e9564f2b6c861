"""The nekos.cafe API, /api/...: one file per heading of its document."""

import json
import re
from collections.abc import Iterable, Iterator

from flask import Blueprint, Response
from werkzeug.exceptions import HTTPException

from auth import INVALID_TOKEN, read_input
from blueprints.answers import with_headers_of
from errors import Invalid, ServiceError

bp = Blueprint("nekos", __name__, url_prefix="/api")
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


def sentence(text: str, status: int = 200) -> Response:
    """A plain-text answer of one sentence, as the document shows them."""
    return Response(text, status, content_type="text/plain; charset=utf-8")


@bp.errorhandler(ServiceError)
def refuse(error: ServiceError) -> Response:
    """A refusal in this API's shape."""
    response = sentence(error.message or INVALID_TOKEN, error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


@bp.errorhandler(HTTPException)
def refuse_http(error: HTTPException) -> Response:
    """An error of routing or of the server in this API's shape."""
    return with_headers_of(error, sentence(error.description or error.name, error.code or 500))


def json_array(values: Iterable[object]) -> Response:
    """A JSON array that is sent as it is made, in memory that does not grow with it."""

    def parts() -> Iterator[str]:
        separator, pending = "[", []
        for value in values:
            pending.append(separator + json.dumps(value))
            separator = ","
            if len(pending) >= 200:
                yield "".join(pending)
                pending.clear()
        yield "".join(pending) + ("[]" if separator == "[" else "]")

    return Response(parts(), content_type="application/json")


def page() -> tuple[int | None, int]:
    """The optional inputs `limit` (None: everything) and `offset`.

    Raises:
        Invalid: one of them is not a whole number.
    """
    limit, offset = (_number(name) for name in ("limit", "offset"))
    return limit, offset or 0


def _number(name: str) -> int | None:
    value = read_input(name)
    if value and not _NUMBER.fullmatch(value):
        raise Invalid(f"The {name} must be a whole number.")
    return int(value) if value else None


def query() -> str | None:
    """The input `query`, None for everything.

    The document asks for " ", which HTTP strips from a header; so absent, empty, blank and a
    quoted blank are the same.
    """
    return read_input("query").strip().strip("\"'").strip() or None


from blueprints.nekos import (  # noqa: E402, F401
    admin,
    files,
    info,
    openapi,
    resumable,
    token,
    user,
)
