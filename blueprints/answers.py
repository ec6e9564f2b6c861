"""Pieces of an answer that more than one door gives."""

import os
from datetime import UTC, datetime
from typing import Any, BinaryIO

from flask import Response, jsonify, request
from werkzeug.exceptions import HTTPException, RequestedRangeNotSatisfiable
from werkzeug.wsgi import wrap_file

import media
import sharex
from config import Site
from context import get_config


def rfc3339(moment: datetime) -> str:
    """An aware UTC moment as RFC 3339 writes it, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def with_headers_of(error: HTTPException, response: Response) -> Response:
    """A door's own answer to an error of Flask's, with what that must tell: Allow, Retry-After."""
    for name, value in error.get_headers():
        if name not in ("Content-Type", "Content-Length"):
            response.headers[name] = value
    return response


def deletion_url(site: Site, name: str, secret: str) -> str:
    """The page that deletes the file `name`, for whoever has its link."""
    return f"{site.url}delete/{name}/{secret}"


class _NoSuchRange(RequestedRangeNotSatisfiable):
    """A 416 with the headers of the file, which our nginx cannot take back either."""

    def __init__(self, name: str, error: RequestedRangeNotSatisfiable) -> None:
        super().__init__(error.length, error.units)
        self._name = name

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """The headers of the answer; its door gives the type."""
        return [*super().get_headers(*args, **kwargs), *media.headers(self._name).items()]


def stored_file(file: BinaryIO, name: str, inner: str | None) -> Response:
    """The bytes of a stored file, whole, by range, or 304, under the headers of its type.

    Args:
        file: the open file; closed when it is sent.
        name: its stored name, which decides over its type; without one it is just bytes.
        inner: the path under which our nginx, and nobody outside, finds the same bytes; None to
            send them from here.
    """
    if inner and get_config().server.proxy_hops and request.headers.get("X-Kissa-Accel") == "1":
        # nginx keeps type, disposition and caching of this answer, adds the file's other headers
        # from it, and answers conditions and ranges itself, by the same date and tag.
        file.close()
        response = Response(headers={**media.headers(name), "X-Accel-Redirect": inner})
        response.headers["Cache-Control"] = "no-cache"
        return response
    status = os.fstat(file.fileno())
    response = Response(wrap_file(request.environ, file), direct_passthrough=True)
    response.headers.update(media.headers(name))
    response.content_length = status.st_size
    response.last_modified = datetime.fromtimestamp(int(status.st_mtime), UTC)
    # A name is given once and its bytes never change; still the link dies with a delete, so
    # caches ask each time.
    response.set_etag(f"{int(status.st_mtime):x}-{status.st_size:x}")
    response.headers["Cache-Control"] = "no-cache"
    asked = request.headers.get("Range", "")
    if asked and ("," in asked or not asked.lower().startswith("bytes")):
        # RFC 9110 14.2: another unit is ignored, and for several ranges at once the whole may go.
        del request.environ["HTTP_RANGE"]
    try:
        response.make_conditional(
            request.environ, accept_ranges=True, complete_length=status.st_size
        )
    except RequestedRangeNotSatisfiable as error:
        file.close()
        raise _NoSuchRange(name, error) from error
    except BaseException:
        file.close()
        raise
    if response.status_code != 200:
        del response.headers["Accept-Ranges"]  # nginx tells it with a whole file alone
    if request.method == "HEAD" or response.status_code == 304:
        file.close()  # nobody iterates over the body of these, which would close it
    return response


def sharex_attachment(uploader: dict[str, object]) -> Response:
    """A ShareX custom uploader as a file to save; it holds a credential, so nobody caches it."""
    response = jsonify(uploader)
    name = sharex.file_name(get_config().site, uploader)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response
