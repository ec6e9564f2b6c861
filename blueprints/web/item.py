"""The front page and the page of one item, plain until they get their looks."""

import re

from flask.typing import ResponseReturnValue

import gallery
import media
from blueprints.web import bp, page
from context import get_config
from errors import NotFound, Unauthorized
from gallery import Filter

_ID = re.compile(r"[0-9]{1,18}", re.ASCII)
_SIGN_IN = "This host shows its gallery only to people who are signed in."


@bp.get("/")
def front() -> ResponseReturnValue:
    """The host's name and its newest sfw items."""
    if get_config().gallery.visitors == "none":
        return page("web/front.html", items=[], kinds={}, hidden=_SIGN_IN)
    items = gallery.list_gallery(Filter())
    return page(
        "web/front.html", items=items, kinds={item.id: media.kind(item.name) for item in items}
    )


@bp.get("/<item_id>")
def show_item(item_id: str) -> ResponseReturnValue:
    """A listed item with its picture, video, sound or a link to it."""
    if not _ID.fullmatch(item_id):
        raise NotFound("There is nothing under this address.")
    visitors = get_config().gallery.visitors
    if visitors == "none":
        raise Unauthorized(_SIGN_IN)
    item = gallery.get_item(int(item_id))
    if visitors == "sfw" and item.rating != "sfw":
        raise NotFound("There is no such item.")
    response = page(
        "web/item.html",
        item=item,
        kind=media.kind(item.name),
        tags=gallery.tags_of([item])[item.id],
        comments=gallery.comments_of(item),
    )
    if item.rating != "sfw":
        response.headers["X-Robots-Tag"] = "noindex"
    return response
