"""The paste page: text that is written or dropped becomes an unlisted file."""

from flask import Response, request
from flask.typing import ResponseReturnValue

import albums
import auth
import expiry
import items
import pastes
from blueprints.answers import album_url, deletion_url
from blueprints.web import bp, page
from context import get_config, get_services, get_storage
from errors import ServiceError
from items import NewItem
from models import User

# A form may send each line end as two bytes; and what stands around the text.
_BODY = 2 * pastes.MAX + 64 * 1024


@bp.get("/paste")
def paste_form() -> ResponseReturnValue:
    """The page."""
    return _form(auth.require_viewer())


@bp.post("/paste")
def paste() -> ResponseReturnValue:
    """Store the text as an unlisted file of the signed-in user."""
    auth.require_same_origin()
    user = auth.require_viewer()  # before the body, which may be larger here than elsewhere
    request.max_content_length = request.max_form_memory_size = _BODY
    config, store = get_config(), get_storage()
    try:
        items.require_rate(config.uploads.per_minute, user.id)
        text = pastes.check_text(request.form.get("text", ""), config.uploads.max_bytes)
        language = request.form.get("language", "")
        name = pastes.name_for(request.form.get("title", ""), language, text)
        expires = expiry.check(config.uploads, request.form.get("expires", ""))
        album = albums.read_title(request.form.get("album", ""))
        new = NewItem(user_id=user.id, original_name=name, album=album, expires=expires)
        with store.open() as file:
            file.write(text.encode())
            created = items.create(config, store, new, file)
            get_services().metrics.count_upload("web", file.size)
    except ServiceError as error:
        return _form(user, error)
    site = config.site
    return page(
        "web/sent.html",
        created=created,
        link=f"{site.url}v/{created.name}",
        file_url=site.upload_url + created.name,
        deletion=deletion_url(site, created.name, created.deletion_secret),
        album=album_url(site, created.album) if created.album else None,
        again="/paste",
    )


def _form(viewer: User, error: ServiceError | None = None) -> Response:
    """The page, with what was refused still in it."""
    rules = get_config().uploads
    response = page(
        "web/paste.html",
        error.status if error else 200,
        error=error,
        languages=pastes.LANGUAGES,
        most=min(pastes.MAX, rules.max_bytes),
        expiries=expiry.choices(rules),
        usual=expiry.usual(rules),
        # Not after an error, which may be the database's: the text must not be lost.
        albums=[] if error else albums.list_titles(viewer),
        sent=request.form if error else {},
    )
    if error is not None and error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response
