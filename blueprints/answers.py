"""Pieces of an answer that more than one door gives."""

from datetime import datetime
from typing import Any, BinaryIO

from flask import Response, jsonify, request
from werkzeug.exceptions import HTTPException, RequestedRangeNotSatisfiable
from werkzeug.wsgi import wrap_file

import media
import sharex
from config import Site
from context import get_config, get_storage
from storage import Where


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


def album_url(site: Site, name: str) -> str:
    """The page of the album `name`, for whoever has its link."""
    return f"{site.url}a/{name}"


class _NoSuchRange(RequestedRangeNotSatisfiable):
    """A 416 with the headers of the file, which our nginx cannot take back either."""

    def __init__(self, headers: dict[str, str], error: RequestedRangeNotSatisfiable) -> None:
        super().__init__(error.length, error.units)
        self._headers = headers

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """The headers of the answer; its door gives the type."""
        return [*super().get_headers(*args, **kwargs), *self._headers.items()]


def find_file(
    name: str, *, where: Where, kind_of: str, disposition: str = "", caching: str = "no-cache"
) -> Response | None:
    """The bytes of a stored file, from wherever they are had soonest: the store itself, our nginx,
    or this process.

    Args:
        name: what it is called in `where`.
        where: public or pending.
        kind_of: the name that decides over its type; without one it is just bytes.
        disposition: the Content-Disposition, empty for none.
        caching: the Cache-Control of the answer. A name is given once and its bytes never change;
            still the link dies with a delete, so caches ask each time.

    Returns:
        the answer, or None when there is no such file. A remote store tells that by itself, to
        whom it gives the bytes.
    """
    store, headers = get_storage(), media.headers(kind_of)
    told = {"Content-Disposition": disposition} if disposition else {}
    link = store.link(name, where=where, headers=headers | told)
    if link.url and request.method != "HEAD":  # an address signed for GET does not take HEAD
        more = {"Cache-Control": caching, "Referrer-Policy": "no-referrer"}
        return Response(status=302, headers={"Location": link.url} | more)
    is_inner = bool(link.inner) and _has_nginx()
    if not (is_inner and store.is_remote):
        file = store.open_pending(name) if where == "pending" else store.open_file(name)
        if file is None:
            return None
        if not is_inner:
            response = stored_file(file, headers, caching)
            if response.status_code in (200, 206):
                response.headers.update(told)
            return response
        file.close()
    # nginx keeps type, disposition and caching of this answer, adds the file's other headers from
    # it, and answers conditions and ranges itself, by the same date and tag.
    more = {"X-Accel-Redirect": link.inner, "Cache-Control": caching}
    return Response(headers=headers | told | more)


def _has_nginx() -> bool:
    return bool(get_config().server.proxy_hops) and request.headers.get("X-Kissa-Accel") == "1"


def stored_file(file: BinaryIO, headers: dict[str, str], caching: str) -> Response:
    """The bytes of a stored file from here, whole, by range, or 304.

    Args:
        file: the open file; closed when it is sent.
        headers: those of its type.
        caching: the Cache-Control of the answer.
    """
    status = get_storage().status(file)
    response = Response(wrap_file(request.environ, file), direct_passthrough=True)
    response.headers.update(headers)
    response.content_length = status.size
    response.last_modified = status.modified
    response.set_etag(f"{int(status.modified.timestamp()):x}-{status.size:x}")
    response.headers["Cache-Control"] = caching
    asked = request.headers.get("Range", "")
    if asked and ("," in asked or not asked.lower().startswith("bytes")):
        # RFC 9110 14.2: another unit is ignored, and for several ranges at once the whole may go.
        del request.environ["HTTP_RANGE"]
    try:
        response.make_conditional(request.environ, accept_ranges=True, complete_length=status.size)
    except RequestedRangeNotSatisfiable as error:
        file.close()
        raise _NoSuchRange(headers, error) from error
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
