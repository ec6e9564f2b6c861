"""Pieces of an answer that more than one door gives."""

import os
from datetime import UTC, datetime
from typing import BinaryIO

from flask import Response, jsonify, request
from werkzeug.wsgi import wrap_file

import media
import sharex
from context import get_config


def rfc3339(moment: datetime) -> str:
    """An aware UTC moment as RFC 3339 writes it, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def stored_file(file: BinaryIO, name: str) -> Response:
    """The bytes of a stored file, whole, by range, or 304, under the headers of its type.

    Args:
        file: the open file; closed when it is sent.
        name: its stored name, which decides over its type.
    """
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
    except BaseException:
        file.close()
        raise
    if request.method == "HEAD" or response.status_code == 304:
        file.close()  # nobody iterates over the body of these, which would close it
    return response


def sharex_attachment(uploader: dict[str, object], api: str) -> Response:
    """A ShareX custom uploader as a file to save; it holds a credential, so nobody caches it."""
    response = jsonify(uploader)
    name = sharex.file_name(get_config().site, api)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response
