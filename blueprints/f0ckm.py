"""The f0ckm upload API and our extensions of it, /api/v2/...: always JSON."""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

import auth
import gallery
import intake
import items
import sharex
import takedown
import thumbnails
from auth import INVALID_TOKEN, read_input
from blueprints.answers import find_file, rfc3339, sharex_attachment, with_headers_of
from blueprints.ids import ID, number
from blueprints.receive import Answer, Endpoint, Sent, answer, create
from context import Services, get_config, get_storage
from errors import Forbidden, Invalid, NoFile, NotFound, ServiceError, Unauthorized
from gallery import Filter
from listing import RATINGS, is_yes, parse_tags, read_listing
from models import Item, User

bp = Blueprint("f0ckm", __name__, url_prefix="/api/v2")
INVALID_KEY = "Invalid or inactive API key"
_LIMIT = 60
_MAX_LIMIT = 200


def refusal(message: str, status: int) -> Response:
    """A refusal in this API's documented shape."""
    response = jsonify(success=False, msg=message)
    response.status_code = status
    return response


@bp.errorhandler(ServiceError)
def refuse(error: ServiceError) -> Response:
    """A refusal in this API's shape."""
    message = "No file provided" if isinstance(error, NoFile) else error.message
    response = refusal(message or INVALID_KEY, error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


@bp.errorhandler(HTTPException)
def refuse_http(error: HTTPException) -> Response:
    """An error of routing or of the server in this API's shape."""
    return with_headers_of(error, refusal(error.description or error.name, error.code or 500))


def _store(services: Services, sent: Sent) -> Answer:
    intake.require_file(sent.received)  # said before anything of the fields
    created = create(services, sent, read_listing(services.config.gallery, sent.field_or_query))
    site, waits = services.config.site.url, created.is_pending
    url = site if waits else f"{site}{created.id}"
    document = {
        "success": True,
        "msg": (
            "Upload queued for manual approval."
            if waits
            else "Upload successful! Your upload is now live."
        ),
        "itemid": created.id,
        "manual_approval": waits,
        "redirect": None if waits else f"/{created.id}",
        "url": url,
    }
    return answer(services, sent, created, url, document)


UPLOAD = Endpoint(
    api="f0ckm",
    path="/api/v2/upload",
    file_field="file",
    authenticate=auth.sender_by_api_key,
    store=_store,
)
bp.add_url_rule("/upload", "upload", UPLOAD.view, methods=["POST"])


@bp.post("/sharex")
def sharex_uploader() -> ResponseReturnValue:
    """The user's ShareX custom uploader for /api/v2/upload, with the key that asks for it."""
    auth.sender_by_api_key(request.environ)
    key = auth.header("X-Api-Key")
    return sharex_attachment(sharex.f0ckm(get_config().site, key, read_input("link")))


# The gallery


@bp.get("/items")
def list_items() -> ResponseReturnValue:
    """Listed items, newest first, by page."""
    what = Filter(ratings=_ratings(), tags=_tags(), username=request.args.get("user") or None)
    before, limit = _page()
    found = gallery.list_gallery(what, before=before, limit=limit)
    return jsonify(_page_of(found.items, found.before))


@bp.get("/items/<item_id>")
def show_item(item_id: str) -> ResponseReturnValue:
    """One item: a listed one for everybody, any other for its owner and admins."""
    item = _visible(item_id)
    return jsonify(_shape(item, gallery.tags_of([item])[item.id]))


@bp.get("/items/<item_id>/file")
def show_file(item_id: str) -> ResponseReturnValue:
    """The bytes, for the owner's key and admins' token, also while the item waits."""
    viewer, admin = _viewer()
    if viewer is None and admin is None:
        raise Unauthorized
    item = gallery.get_item(_number(item_id), viewer=viewer, as_admin=admin is not None)
    if admin is None and (viewer is None or item.user_id != viewer.id):
        raise Forbidden("This item belongs to someone else.")
    more = {"kind_of": item.name, "caching": "private, no-store"}
    response = None
    if item.pending_name:
        response = find_file(item.pending_name, where="pending", **more)
    response = response or find_file(item.name, where="public", **more)
    if response is None:
        raise NotFound("The bytes of this item are gone.")
    return response


@bp.delete("/items/<item_id>")
def delete_item(item_id: str) -> ResponseReturnValue:
    """Delete an item, by its owner's key or an admin's token."""
    viewer, admin = _viewer()
    if admin is not None:
        reason, refuse = read_input("reason"), is_yes(read_input("refuse"))
        number = _number(item_id)
        takedown.take_down(get_storage(), admin, item_id=number, reason=reason, refuse=refuse)
    elif viewer is not None:
        items.delete_own_item(get_storage(), viewer, _number(item_id))
    else:
        raise Unauthorized
    return jsonify(success=True, msg="The item has been deleted.")


# The queue


@bp.get("/queue")
def list_queue() -> ResponseReturnValue:
    """Waiting items, newest first, by page, with the comment sent with them."""
    _require_admin()
    before, limit = _page()
    rows = gallery.list_queue(before=before, limit=limit + 1)
    shown = rows[:limit]
    page = _page_of(shown, shown[-1].id if len(rows) > limit else None)
    comments = gallery.first_comments(shown)
    for entry in page["items"]:
        entry["comment"] = comments.get(entry["itemid"])
    return jsonify(page)


@bp.post("/queue/<item_id>/approve")
def approve(item_id: str) -> ResponseReturnValue:
    """Make a waiting item public."""
    items.approve(get_storage(), _require_admin(), _number(item_id))
    return jsonify(success=True, msg="The item has been approved.")


@bp.post("/queue/<item_id>/reject")
def reject(item_id: str) -> ResponseReturnValue:
    """Remove a waiting item's bytes, with an optional reason for its owner."""
    items.reject(get_storage(), _require_admin(), _number(item_id), read_input("reason"))
    return jsonify(success=True, msg="The item has been rejected.")


def _require_admin() -> User:
    try:
        return auth.require_admin()
    except Unauthorized:
        raise Unauthorized(INVALID_TOKEN) from None


def _viewer() -> tuple[User | None, User | None]:
    """Who asks: the user of the API key, the admin of the admin token; None where there is none."""
    return auth.find_api_key_user(), auth.find_admin()


def _visible(item_id: str) -> Item:
    viewer, admin = _viewer()
    allowed = _allowed_ratings(viewer or admin)
    item = gallery.get_item(_number(item_id), viewer=viewer, as_admin=admin is not None)
    is_own = viewer is not None and item.user_id == viewer.id
    if not is_own and allowed is not None and item.rating not in allowed:
        raise NotFound("There is no such item.")
    return item


def _allowed_ratings(viewer: User | None) -> tuple[str, ...] | None:
    """The ratings that the host shows to `viewer`; None for all of them.

    Raises:
        Unauthorized: it shows its gallery to nobody unknown.
    """
    visitors = get_config().gallery.visitors
    allowed = gallery.visible_ratings(visitors, is_known=viewer is not None)
    if allowed == ():
        raise Unauthorized
    return allowed


def _ratings() -> tuple[str, ...] | None:
    allowed = _allowed_ratings(next((user for user in _viewer() if user), None))
    rating = request.args.get("rating", "sfw")
    if rating not in (*RATINGS, "all"):
        raise Invalid("The rating must be sfw, nsfw, nsfl or all.")
    wanted = None if rating == "all" else (rating,)
    if allowed is None:
        return wanted
    return tuple(one for one in wanted or RATINGS if one in allowed)


def _tags() -> tuple[str, ...]:
    return parse_tags(",".join(request.args.getlist("tag")))


def _page() -> tuple[int | None, int]:
    """The query's `before` (an item's id, or None) and `limit`."""
    before = request.args.get("before", "")
    limit = request.args.get("limit", "") or str(_LIMIT)
    if not all(ID.fullmatch(one) and int(one) for one in (before or "1", limit)):
        raise Invalid("before and limit must be whole numbers above 0.")
    return int(before) if before else None, min(int(limit), _MAX_LIMIT)


def _number(item_id: str) -> int:
    return number(item_id, "There is no such item.")


def _page_of(shown: list[Item], following: int | None) -> dict[str, Any]:
    """A page of items, and the `before` of the next one."""
    tags = gallery.tags_of(shown)
    return {"items": [_shape(item, tags[item.id]) for item in shown], "next": following}


def _shape(item: Item, tags: list[str]) -> dict[str, Any]:
    site = get_config().site
    has_thumbnail = item.state == "listed" and thumbnails.is_possible(item.name)
    return {
        "itemid": item.id,
        "url": f"{site.url}{item.id}",
        "file": site.upload_url + item.name,
        "thumbnail": f"{site.url}t/{item.name}" if has_thumbnail else None,
        "username": item.user.username,
        "rating": item.rating,
        "tags": tags,
        "is_oc": item.is_oc,
        "created": rfc3339(item.created),
    }
