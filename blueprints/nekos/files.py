"""Files endpoints: list, upload, delete."""

from flask.typing import ResponseReturnValue

import auth
import gallery
import items
from auth import require_input
from blueprints.nekos import bp, json_array, page, sentence
from blueprints.receive import Answer, Endpoint, Sent, answer, create
from context import Services, get_storage
from errors import NoFile

_FIELD = "uploadFile"


@bp.post("/files/list")
def list_files() -> ResponseReturnValue:
    """The names of the user's files, newest first."""
    user = auth.require_token()
    return json_array(gallery.list_names(user, *page()))


def _store(services: Services, sent: Sent) -> Answer:
    received = sent.received
    if received.file is None and received.stray_field is not None:
        raise NoFile(f"No file provided: it belongs in the field {_FIELD}.")
    created = create(services, sent)
    url = services.config.site.upload_url + created.name
    return answer(services, sent, created, url, {"url": url})


UPLOAD = Endpoint(
    api="nekos",
    path="/api/files/upload",
    file_field=_FIELD,
    authenticate=auth.sender_by_token,
    store=_store,
)
bp.add_url_rule("/files/upload", "upload", UPLOAD.view, methods=["POST"])


@bp.post("/files/delete")
def delete_file() -> ResponseReturnValue:
    """Delete one of the user's files."""
    user, name = auth.require_token(), require_input("file")
    items.delete_own(get_storage(), user, name)
    return sentence(f"{name} has been deleted!")
