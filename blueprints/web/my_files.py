"""My files: looked through, chosen from, deleted, their links copied."""

from typing import Any

from flask import request, url_for
from flask.typing import ResponseReturnValue

import albums
import auth
import expiry
import items
import media
import quota
import shelf
import takedown
from blueprints.ids import number
from blueprints.web import back_to, bp, page, safe_next, same_origin
from blueprints.web.gallery import is_veiled
from context import get_config, get_storage
from errors import Invalid
from models import Item, User
from thumbnails import is_possible

STATES = {
    "unlisted": "Unlisted",
    "pending": "Waiting",
    "listed": "Public",
    "rejected": "Rejected",
}


@bp.get("/files")
def my_files() -> ResponseReturnValue:
    """One's own files, by page."""
    viewer = auth.require_viewer()
    order, search = request.args.get("sort", shelf.ORDERS[0]), request.args.get("q", "").strip()
    after = request.args.get("after", "")
    found = shelf.list_page(viewer, order=order, search=search, after=after)

    def url(**changed: str | None) -> str:
        values: dict[str, Any] = {"sort": order, "q": search} | changed
        if values["sort"] == shelf.ORDERS[0]:
            del values["sort"]
        return url_for("web.my_files", **{name: value for name, value in values.items() if value})

    return page(
        "web/files.html",
        found=found,
        orders=shelf.ORDERS,
        order=order,
        search=search,
        scanned=shelf.SCANNED,
        url=url,
        this_page=url(after=after or None),
        expiries=expiry.choices(get_config().uploads),
        is_first=not after,
        deleted=_deleted(),
        notices=takedown.list_notices(viewer) if not after else [],
        evicting=_evicting(viewer),
        states=STATES,
        kind=media.kind,
        thumbnail=thumbnail_url,
        albums=albums.list_titles(viewer),
        link=_link,
        view_page=_view_page,
        is_veiled=is_veiled,
    )


@bp.post("/files/delete")
def delete_files() -> ResponseReturnValue:
    """Delete the chosen files, once it was said that it is meant."""
    same_origin()
    viewer, chosen = auth.require_viewer(), _chosen(request.form.getlist("id"))
    target = safe_next(request.form.get("next") or url_for("web.my_files"))
    mine = shelf.list_chosen(viewer, chosen)
    if request.form.get("sure") != "1":
        size = sum(item.size for item in mine)
        return page("web/files_delete.html", items=mine, size=size, target=target)
    count = items.delete_own_items(get_storage(), viewer, chosen)
    return back_to(f"{target}{'&' if '?' in target else '?'}deleted={count}")


@bp.post("/files/expiry")
def change_expiry() -> ResponseReturnValue:
    """Let the chosen files end at another time."""
    same_origin()
    viewer, chosen = auth.require_viewer(), _chosen(request.form.getlist("id"))
    target = safe_next(request.form.get("next") or url_for("web.my_files"))
    expiry.change(get_config().uploads, viewer, chosen, request.form.get("expires", ""))
    return back_to(target)


@bp.post("/files/pin")
def pin_files() -> ResponseReturnValue:
    """Keep the chosen files when room is made, or no longer."""
    same_origin()
    viewer, chosen = auth.require_viewer(), _chosen(request.form.getlist("id"))
    target = safe_next(request.form.get("next") or url_for("web.my_files"))
    quota.pin(viewer, chosen, is_pinned=request.form.get("pin") == "1")
    return back_to(target)


@bp.post("/files/notices/<notice_id>/dismiss")
def dismiss_notice(notice_id: str) -> ResponseReturnValue:
    """Show no more what was taken down."""
    same_origin()
    takedown.dismiss(auth.require_viewer(), number(notice_id))
    return back_to(url_for("web.my_files"))


@bp.get("/files/links")
def show_links() -> ResponseReturnValue:
    """The links of the chosen files, one a line, where no script copies them."""
    viewer, chosen = auth.require_viewer(), _chosen(request.args.getlist("id"))
    links = [link for item in shelf.list_chosen(viewer, chosen) if (link := _link(item))]
    target = safe_next(request.args.get("next") or url_for("web.my_files"))
    return page("web/files_links.html", links=links, left_out=len(chosen) - len(links), next=target)


@bp.post("/files/album")
def add_to_album() -> ResponseReturnValue:
    """Put the chosen files into an album, which is made when it is new."""
    same_origin()
    viewer, chosen = auth.require_viewer(), _chosen(request.form.getlist("id"))
    album = albums.add_files(viewer, request.form.get("album", ""), chosen)
    return back_to(url_for("web.show_album", name=album.name))


@bp.get("/files/delete")
def go_to_files() -> ResponseReturnValue:
    """Whoever asks again for the address of an act comes back to the list."""
    return back_to(url_for("web.my_files"))


def _chosen(values: list[str]) -> list[int]:
    if not values:
        raise Invalid("No file was chosen.")
    if len(values) > shelf.PER_PAGE:
        raise Invalid(f"At most {shelf.PER_PAGE} files at a time.")
    return list(dict.fromkeys(number(value) for value in values))


def _deleted() -> int:
    """How many files have just been deleted."""
    value = request.args.get("deleted", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 3 else 0


def _evicting(viewer: User) -> int:
    """The bytes beyond which one's oldest files go; 0 where none ever do."""
    config = get_config()
    is_on = config.uploads.when_full == "evict_oldest"
    return quota.quota_of(config, viewer.quota_mb) if is_on else 0


def _link(item: Item) -> str | None:
    """What one gives away of a file: its page in the gallery, or the file itself."""
    site = get_config().site
    if item.state == "listed":
        return f"{site.url}{item.id}"
    return site.upload_url + item.name if item.state == "unlisted" else None


def _view_page(item: Item) -> str | None:
    """The address of a file's view page, where it has one and is not in the gallery."""
    return f"/v/{item.name}" if item.state == "unlisted" else None


def thumbnail_url(item: Item) -> str | None:
    """The address of a small picture of a file, where there can be one."""
    if item.state == "rejected" or not is_possible(item.name):
        return None
    return f"/waiting/{item.id}/thumbnail" if item.state == "pending" else f"/t/{item.name}"
