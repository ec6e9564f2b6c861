"""Public files by their name, so that one process is enough; in front of it, nginx does this."""

import unicodedata
from urllib.parse import quote

from flask import Response, request
from flask.typing import ResponseReturnValue

import auth
import expiry
import gallery
import media
from blueprints.answers import find_file
from blueprints.ids import number
from blueprints.web import bp
from context import get_storage
from errors import NotFound

_ATTR_CHARS = "!#$&+-.^_`|~"  # RFC 8187 3.2.1, besides letters and digits
_PRIVATE = "private, no-store"
_HIDDEN = ("/f/", "/d/", "/v/", "/delete/", "/api/")
_ROBOTS = "User-agent: *\n" + "".join(f"Disallow: {path}\n" for path in _HIDDEN)


@bp.get("/f/<name>", provide_automatic_options=False)
def show_file(name: str) -> ResponseReturnValue:
    """The bytes of a public file, until its time is over."""
    if get_storage().is_remote:
        gallery.get_by_name(name)  # who gets the address of an object is asked nothing more
    else:
        expiry.require_file_alive(name)
    return _found(find_file(name, where="public", kind_of=name))


@bp.get("/d/<name>", provide_automatic_options=False)
def download_file(name: str) -> ResponseReturnValue:
    """The bytes of a public file, to be saved under the name that its sender gave it."""
    item = gallery.get_by_name(name)
    disposition = attachment(item.original_name or name, name)
    return _found(find_file(name, where="public", kind_of="", disposition=disposition))


@bp.get("/robots.txt")
def robots() -> ResponseReturnValue:
    """Pages may be found by search engines; files, whose links are given away, may not."""
    return Response(_ROBOTS, content_type=media.TEXT_TYPE)


@bp.after_app_request
def keep_link_private(response: Response) -> Response:
    """A refusal below the files' paths gives the link away as little as the file would."""
    if request.path.startswith(("/f/", "/d/", "/t/")):
        response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _found(response: Response | None) -> Response:
    if response is None:
        raise NotFound("There is no such file.")
    return response


@bp.get("/waiting/<item_id>")
def show_waiting_file(item_id: str) -> ResponseReturnValue:
    """The bytes of a waiting item, for its owner and admins alone."""
    viewer = auth.require_viewer()
    item = gallery.get_item(number(item_id), viewer=viewer, as_admin=viewer.role == "admin")
    if not item.pending_name:
        raise NotFound("There is no such file.")
    return _found(
        find_file(item.pending_name, where="pending", kind_of=item.name, caching=_PRIVATE)
    )


def attachment(original_name: str, name: str) -> str:
    """A Content-Disposition by RFC 6266: the name in ASCII for clients that know no other, with
    nothing in it that they would unescape differently (appendix D), and the whole one."""
    plain = unicodedata.normalize("NFKD", original_name).encode("ascii", "ignore").decode()
    fallback = "".join("_" if char in '"\\%' else char for char in plain).strip()
    stem = fallback.rpartition(".")[0] if "." in fallback else fallback
    if not stem.strip("._ "):
        fallback = name  # nothing, or nothing but an extension, is left of it
    exact = quote(original_name, safe=_ATTR_CHARS)
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{exact}"
