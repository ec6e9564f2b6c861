"""The upload page: a queue with progress where scripts run, a plain form where not."""

from flask import jsonify, request
from flask.typing import ResponseReturnValue

import auth
import gallery
import intake
import items
from blueprints import receive
from blueprints.web import bp, page, wants_json
from context import get_config, get_storage
from items import NewItem
from listing import RATINGS, Listing, check_listing
from models import User

SUGGESTIONS = 8


@bp.get("/upload")
def upload_form() -> ResponseReturnValue:
    """The page."""
    auth.require_viewer()
    config = get_config()
    return page("web/upload.html", uploads=config.uploads, rules=config.gallery, ratings=RATINGS)


@bp.post("/upload")
def upload() -> ResponseReturnValue:
    """Store one file of the signed-in user, unlisted or as an item of the gallery."""
    config = get_config()
    with receive.receive(_sender, "file") as (user, received):
        file = intake.require_file(received)
        listing = _listing(received.fields)
        new = NewItem(user=user, original_name=received.original_name, listing=listing)
        created = items.create(config, get_storage(), new, file)
    file_url = config.site.upload_url + created.name
    link = file_url if listing is None else f"{config.site.url}{created.id}"
    if wants_json():
        return jsonify(url=link, waiting=created.is_pending, itemid=created.id)
    deletion = f"{config.site.url}delete/{created.name}/{created.deletion_secret}"
    return page("web/sent.html", created=created, link=link, deletion=deletion)


@bp.get("/tags")
def suggest_tags() -> ResponseReturnValue:
    """Known tags that begin with `q`, for completion."""
    auth.require_viewer()
    return jsonify(gallery.suggest_tags(request.args.get("q", ""), SUGGESTIONS))


def _sender() -> User:
    auth.require_same_origin()
    return auth.require_viewer()


def _listing(fields: dict[str, str]) -> Listing | None:
    """What the form says for the gallery; None for a plain unlisted file."""
    if fields.get("listed") != "1":
        return None
    return check_listing(
        get_config().gallery,
        rating=fields.get("rating", ""),
        tags=fields.get("tags", ""),
        comment=fields.get("comment", ""),
        is_oc=fields.get("is_oc") == "1",
        is_shitpost=fields.get("is_shitpost") == "1",
    )
