"""Thumbnails, of public files for everybody and of waiting ones for their owner and admins."""

from flask import Response
from flask.typing import ResponseReturnValue

import auth
import gallery
import media
import thumbnails
from blueprints.answers import stored_file
from blueprints.ids import number
from blueprints.web import bp
from context import get_storage
from errors import NotFound
from models import Item


@bp.get("/t/<name>", provide_automatic_options=False)
def show_thumbnail(name: str) -> ResponseReturnValue:
    """The thumbnail of a public file, which is as visible as the file itself."""
    return _thumbnail(gallery.get_by_name(name))


@bp.get("/waiting/<item_id>/thumbnail")
def show_waiting_thumbnail(item_id: str) -> ResponseReturnValue:
    """The thumbnail of a waiting item, for its owner and admins alone."""
    viewer = auth.require_viewer()
    item = gallery.get_item(number(item_id), viewer=viewer, as_admin=viewer.role == "admin")
    if item.state != "pending":
        raise NotFound("There is no such item.")
    return _thumbnail(item, "private, no-store")


def _thumbnail(item: Item, caching: str = "no-cache") -> Response:
    # As with the files, caches ask each time: after a delete there is nothing to see.
    file = thumbnails.get_thumbnail(get_storage(), item)
    return stored_file(file, media.headers("thumbnail.webp"), caching)
