"""The view page of a file, for whoever has its link: a picture, a film, a sound, a text, a card."""

from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

import auth
import gallery
import media
import texts
from blueprints.web import bp, page
from blueprints.web.gallery import is_veiled
from context import get_config, get_storage
from models import Item
from storage import MIB
from thumbnails import is_possible

_PREVIEW = 8 * MIB  # bytes of a picture that chats still fetch as a preview; above, its thumbnail
_EXCERPT = 200  # characters of a text that its preview shows


@bp.get("/v/<name>")
def view_file(name: str) -> ResponseReturnValue:
    """The page of a public file, as open to everybody as the file itself."""
    viewer = auth.find_viewer()
    is_admin = viewer is not None and viewer.role == "admin"
    item = gallery.get_by_name(name, viewer=viewer, as_admin=is_admin)
    if item.state in ("pending", "rejected"):
        # Only owner and admins come so far, and the item's page has what they need to know.
        return redirect(url_for("web.show_item", item_id=item.id))
    site, kind = get_config().site, media.kind(name)
    text = texts.find_text(get_storage(), item) if kind == "text" else None
    source = rendered = None
    can_render, wants_source = texts.is_markdown(name), "source" in request.args
    if text is not None:
        shall_render = can_render and not wants_source
        if shall_render:
            own = (site.upload_url, f"{site.url}f/", f"{site.url}t/")
            rendered = texts.render(item, text, own)
        if rendered is None:
            source = texts.source(item, text, is_late=shall_render)
    response = page(
        "web/view.html",
        item=item,
        kind=kind,
        link=f"{site.url}v/{name}",
        file_url=site.upload_url + name,
        media_type=media.media_type(name),
        preview=_preview(item),
        description=_description(item, text),
        source=source,
        rendered=None if rendered is None else Markup(rendered),
        can_render=can_render and text is not None,
        wants_source=wants_source,
        is_prose=texts.is_prose(name),
        is_veiled=is_veiled(item.rating),
        may_edit=is_admin or (viewer is not None and viewer.id == item.user_id),
    )
    response.headers["X-Robots-Tag"] = "noindex"
    return response


def _preview(item: Item) -> str | None:
    """The address of the picture that chats show of a file; None when there can be none."""
    site = get_config().site
    if media.kind(item.name) == "image" and item.size <= _PREVIEW:
        return site.upload_url + item.name
    return f"{site.url}t/{item.name}" if is_possible(item.name) else None


def _description(item: Item, text: str | None) -> str:
    """What chats show of a text: how it begins."""
    words = " ".join((text or "")[: 4 * _EXCERPT].split())
    return words if len(words) <= _EXCERPT else f"{words[:_EXCERPT]}…"
