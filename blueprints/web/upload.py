"""The upload page: a queue with progress where scripts run, a plain form where not."""

from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue

import albums
import auth
import expiry
import gallery
import intake
import media
import metadata
from auth import Environ
from blueprints.answers import album_url, deletion_url
from blueprints.receive import Endpoint, Sent, create
from blueprints.web import bp, page, wants_json
from context import Services, get_config
from listing import RATINGS, Listing, check_listing

SUGGESTIONS = 8


@bp.get("/upload")
def upload_form() -> ResponseReturnValue:
    """The page."""
    viewer, config = auth.require_viewer(), get_config()
    return page(
        "web/upload.html",
        uploads=config.uploads,
        rules=config.gallery,
        ratings=RATINGS,
        albums=albums.list_titles(viewer),
        album=request.args.get("album", ""),
        expiries=expiry.choices(config.uploads),
        usual=expiry.usual(config.uploads),
        stripping=config.uploads.strip_metadata,
    )


def _store(services: Services, sent: Sent) -> Response:
    intake.require_file(sent.received)  # said before anything of the fields
    listing = _listing(sent.received.fields)
    created = create(services, sent, listing)
    site = services.config.site
    link = site.upload_url + created.name if listing is None else f"{site.url}{created.id}"
    album = album_url(site, created.album) if created.album else None
    if wants_json():
        more = {"album": album} if album else {}
        response = jsonify(url=link, waiting=created.is_pending, itemid=created.id, **more)
    else:
        deletion = deletion_url(site, created.name, created.deletion_secret)
        response = page(
            "web/sent.html",
            created=created,
            link=link,
            deletion=deletion,
            album=album,
            is_kept=_is_kept(sent, created.name),
        )
    response.headers.extend(sent.told)
    return response


def _is_kept(sent: Sent, name: str) -> bool:
    """Whether metadata was to be taken out of something that may have some, and was not."""
    has_some = media.kind(name) in ("image", "video", "other")
    is_asked = bool(sent.received.fields.get("strip-metadata"))
    return (is_asked or has_some) and dict(sent.told).get(metadata.HEADER) in metadata.KEPT


def _sender(_: Environ) -> int:
    auth.require_same_origin()
    return auth.require_viewer().id


UPLOAD = Endpoint(api="web", path="/upload", file_field="file", authenticate=_sender, store=_store)
bp.add_url_rule("/upload", "upload", UPLOAD.view, methods=["POST"])


@bp.get("/tags")
def suggest_tags() -> ResponseReturnValue:
    """Known tags that begin with `q`, for completion."""
    auth.require_viewer()
    return jsonify(gallery.suggest_tags(request.args.get("q", ""), SUGGESTIONS))


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
