"""The page of one item: looking, commenting, reporting, editing, deleting."""

from flask import request, url_for
from flask.typing import ResponseReturnValue

import auth
import comments
import expiry
import gallery
import items
import media
import takedown
import texts
from blueprints.ids import number
from blueprints.web import back_to, bp, page, same_origin
from blueprints.web.gallery import View, is_veiled
from context import get_config, get_storage
from errors import NotFound, Unauthorized
from listing import check_listing
from models import Item


@bp.get("/<item_id>")
def show_item(item_id: str) -> ResponseReturnValue:
    """An item with its picture, video, sound or text."""
    view = View()
    if view.is_closed:
        raise Unauthorized("This host shows its gallery only to people who are signed in.")
    item = _visible(item_id, view)
    is_listed = item.state == "listed"
    newer, older = gallery.neighbours(view.filter, item.id) if is_listed else (None, None)
    viewer = auth.find_viewer()
    kind = media.kind(item.name)
    text = texts.find_text(get_storage(), item) if kind == "text" else None
    response = page(
        "web/item.html",
        item=item,
        view=view,
        kind=kind,
        source=texts.source(item, text) if text is not None else None,
        is_prose=texts.is_prose(item.name),
        tags=gallery.tags_of([item])[item.id],
        comments=gallery.comments_of(item),
        newer=view.item_url(newer) if newer else None,
        older=view.item_url(older) if older else None,
        is_veiled=is_veiled(item.rating),
        may_edit=viewer is not None and (viewer.id == item.user_id or viewer.role == "admin"),
        file_url=_file_url(item),
        media_type=media.media_type(item.name),
        is_listed=is_listed,
        expiries=expiry.choices(get_config().uploads),
    )
    if item.rating != "sfw" or not is_listed:
        response.headers["X-Robots-Tag"] = "noindex"
    return response


@bp.post("/<item_id>/comments")
def add_comment(item_id: str) -> ResponseReturnValue:
    """Say something under an item."""
    same_origin()
    viewer = auth.require_viewer()
    item = _visible(item_id, View())
    comment = comments.add(viewer, item, request.form.get("text", ""))
    return back_to(url_for("web.show_item", item_id=item.id, _anchor=f"c{comment.id}"))


@bp.post("/comments/<comment_id>/delete")
def delete_comment(comment_id: str) -> ResponseReturnValue:
    """Delete a comment."""
    same_origin()
    item_id = comments.delete(auth.require_viewer(), number(comment_id))
    return back_to(url_for("web.show_item", item_id=item_id, _anchor="comments"))


@bp.post("/<item_id>/report")
def report_item(item_id: str) -> ResponseReturnValue:
    """Put an item before the admins."""
    same_origin()
    viewer = auth.require_viewer()
    item = _visible(item_id, View())
    comments.report(viewer, item, request.form.get("text", ""))
    return back_to(url_for("web.show_item", item_id=item.id, reported=1))


@bp.post("/<item_id>/edit")
def edit_item(item_id: str) -> ResponseReturnValue:
    """Give an item another rating and other tags."""
    same_origin()
    viewer = auth.require_viewer()
    item = _visible(item_id, View())
    listing = check_listing(
        get_config().gallery,
        rating=request.form.get("rating", ""),
        tags=request.form.get("tags", ""),
        comment="",
        is_oc=request.form.get("is_oc") == "1",
        is_shitpost=item.is_shitpost,
    )
    items.edit(viewer, item.id, listing)
    return back_to(url_for("web.show_item", item_id=item.id))


@bp.post("/<item_id>/delete")
def delete_item(item_id: str) -> ResponseReturnValue:
    """Delete an item, as its owner or as an admin."""
    same_origin()
    viewer, wanted = auth.require_viewer(), number(item_id)
    item = gallery.get_item(wanted, viewer=viewer, as_admin=viewer.role == "admin")
    if viewer.role == "admin" and item.user_id != viewer.id:
        form = request.form
        reason, refuse = form.get("reason", ""), form.get("refuse") == "1"
        takedown.take_down(get_storage(), viewer, item_id=wanted, reason=reason, refuse=refuse)
        return back_to("/")
    items.delete_own_item(get_storage(), viewer, wanted)
    return back_to("/files")


def _visible(item_id: str, view: View) -> Item:
    """The item as the viewer may see it: owners and admins see all, others what is listed and of
    a rating shown to them."""
    viewer = auth.find_viewer()
    is_admin = viewer is not None and viewer.role == "admin"
    item = gallery.get_item(number(item_id), viewer=viewer, as_admin=is_admin)
    if view.allowed is not None and item.rating not in view.allowed:
        raise NotFound("There is no such item.")
    return item


def _file_url(item: Item) -> str | None:
    """Where the bytes are; None when they are gone."""
    if item.state == "rejected":
        return None
    if item.state == "pending":
        return url_for("web.show_waiting_file", item_id=item.id)
    return get_config().site.upload_url + item.name
