"""Albums: everybody's who has the link, arranged by their owner, downloaded in one."""

from flask import Response, jsonify, request, url_for
from flask.typing import ResponseReturnValue

import albums
import auth
import gallery
import items
import media
import zipstream
from blueprints.ids import before_id, number
from blueprints.web import back_to, bp, page, same_origin, wants_json
from blueprints.web.files import attachment
from blueprints.web.gallery import is_veiled
from blueprints.web.my_files import STATES, thumbnail_url
from context import get_config, get_storage
from errors import Forbidden, NotFound
from models import Album, Item, User
from zipstream import Archive, Entry, Slots

ZIPS_AT_ONCE = 4  # of the 16 threads of a worker; two of one address
STALL_SECONDS = 60.0  # a client that takes nothing for so long has gone
_slots = Slots(ZIPS_AT_ONCE, ZIPS_AT_ONCE // 2)


@bp.get("/albums")
def my_albums() -> ResponseReturnValue:
    """One's own albums, newest first."""
    viewer = auth.require_viewer()
    rows = albums.list_page(viewer, before=before_id(), limit=albums.PER_PAGE + 1)
    shown = rows[: albums.PER_PAGE]
    return page(
        "web/albums.html",
        albums=shown,
        older=shown[-1].album.id if len(rows) > albums.PER_PAGE else None,
        is_first="before" not in request.args,
        kind=media.kind,
        thumbnail=thumbnail_url,
        is_veiled=is_veiled,
    )


@bp.post("/albums")
def make_album() -> ResponseReturnValue:
    """A new album, empty; or the one of this title."""
    same_origin()
    album = albums.create(auth.require_viewer(), request.form.get("title", ""))
    return back_to(_url(album.name))


@bp.get("/a/<name>")
def show_album(name: str) -> ResponseReturnValue:
    """An album, for whoever has its link."""
    album, viewer = albums.get(name), auth.find_viewer()
    is_own = viewer is not None and viewer.id == album.user_id
    shown = _shown(album, viewer)
    pictures = (one for one in shown if one.state in ("unlisted", "listed"))
    response = page(
        "web/album.html",
        album=album,
        items=shown,
        size=sum(item.size for item in shown if _is_stored(item)),
        stored=sum(map(_is_stored, shown)),
        is_own=is_own,
        may_delete=is_own or (viewer is not None and viewer.role == "admin"),
        arranging=is_own and request.args.get("arrange") == "1" and bool(shown),
        preview=next((one for one in pictures if _is_preview(one)), None),
        states=STATES,
        kind=media.kind,
        link=_link,
        full=_full,
        thumbnail=thumbnail_url,
        is_veiled=is_veiled,
    )
    response.headers["X-Robots-Tag"] = "noindex"
    return response


@bp.get("/a/<name>.zip")
def download_album(name: str) -> ResponseReturnValue:
    """All files of an album as a ZIP archive, made while it is sent."""
    album = albums.get(name)
    stored = [item for item in _shown(album, auth.find_viewer()) if _is_stored(item)]
    if not stored:
        raise NotFound("There is nothing in this album to download.")
    names = zipstream.safe_names(item.original_name or item.name for item in stored)
    entries = [
        Entry(key=item.name, name=name, size=item.size, modified=item.created)
        for item, name in zip(stored, names, strict=True)
    ]
    archive = Archive(entries, get_storage().open_file)
    response = Response(content_type="application/zip")
    if request.method != "HEAD":
        give_back = _slots.take(auth.client_address())
        socket = request.environ.get("gunicorn.socket")
        if socket is not None:
            socket.settimeout(STALL_SECONDS)
        response.response = archive.stream()
        response.call_on_close(give_back)
        if socket is not None:
            response.call_on_close(lambda: socket.settimeout(None))
    (title,) = zipstream.safe_names([album.title])
    response.headers["Content-Disposition"] = attachment(f"{title}.zip", f"{album.name}.zip")
    response.headers["Content-Length"] = str(archive.length)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Robots-Tag"] = "noindex"
    # nginx would else keep up to 1 GB of it in a file of its own.
    response.headers["X-Accel-Buffering"] = "no"
    return response


@bp.post("/a/<name>/title")
def rename_album(name: str) -> ResponseReturnValue:
    """Another title; the address stays."""
    same_origin()
    albums.rename(auth.require_viewer(), name, request.form.get("title", ""))
    return back_to(_url(name))


@bp.post("/a/<name>/move")
def move_in_album(name: str) -> ResponseReturnValue:
    """Move a file: one place `earlier` or `later`, or `item` in front of `before`."""
    same_origin()
    viewer, form = auth.require_viewer(), request.form
    step = next((one for one in ("earlier", "later") if one in form), None)
    if step is not None:
        item_id = number(form[step])
        place = albums.step(viewer, name, item_id, -1 if step == "earlier" else 1)
    else:
        item_id = number(form.get("item", ""))
        before = number(form["before"]) if form.get("before") else None
        place = albums.move(viewer, name, item_id, before)
    if wants_json():
        return jsonify(place=place)
    return back_to(url_for("web.show_album", name=name, arrange=1, _anchor=f"i{item_id}"))


@bp.post("/a/<name>/remove")
def remove_from_album(name: str) -> ResponseReturnValue:
    """Take a file out of the album; it stays among the files."""
    same_origin()
    albums.remove(auth.require_viewer(), name, [number(request.form.get("item", ""))])
    return back_to(url_for("web.show_album", name=name, arrange=1))


@bp.get("/a/<name>/delete")
def ask_album_deletion(name: str) -> ResponseReturnValue:
    """Ask whether to delete the album, and whether its files too."""
    viewer, album = auth.require_viewer(), albums.get(name)
    if viewer.id != album.user_id and viewer.role != "admin":
        raise Forbidden("This album belongs to someone else.")
    inside = albums.list_items(album)
    return page(
        "web/album_delete.html",
        album=album,
        count=len(inside),
        size=sum(item.size for item in inside),
        is_own=viewer.id == album.user_id,
    )


@bp.post("/a/<name>/delete")
def delete_album(name: str) -> ResponseReturnValue:
    """Delete the album; with `files`, its files too."""
    same_origin()
    viewer = auth.require_viewer()
    if request.form.get("files") == "1":
        items.delete_album(get_storage(), viewer, name)
    else:
        albums.delete(viewer, name)
    return back_to(url_for("web.my_albums"))


def _shown(album: Album, viewer: User | None) -> list[Item]:
    """What a viewer sees of an album: its owner and admins all of it."""
    if viewer is not None and (viewer.id == album.user_id or viewer.role == "admin"):
        return albums.list_items(album)
    visitors = get_config().gallery.visitors
    ratings = gallery.visible_ratings(visitors, is_known=viewer is not None)
    return albums.list_shown(album, ratings)


def _is_stored(item: Item) -> bool:
    """Whether the bytes of an item lie under its public name."""
    return item.state in ("unlisted", "listed")


def _is_preview(item: Item) -> bool:
    """Whether a picture may stand for the album in chats."""
    return media.kind(item.name) == "image" and item.rating in (None, "sfw")


def _link(item: Item) -> str:
    """The page of a file: what is not in the gallery has one for whoever knows its name."""
    return f"/v/{item.name}" if item.state == "unlisted" else f"/{item.id}"


def _full(item: Item) -> str | None:
    """The address of a picture or film that can be looked at on the album's page."""
    if not _is_stored(item) or media.kind(item.name) not in ("image", "video"):
        return None
    return None if is_veiled(item.rating) else get_config().site.upload_url + item.name


def _url(name: str) -> str:
    return url_for("web.show_album", name=name)
