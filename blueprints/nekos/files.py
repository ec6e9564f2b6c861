"""Files endpoints: list, upload, delete."""

from flask import jsonify
from flask.typing import ResponseReturnValue

import auth
import gallery
import intake
import items
from auth import require_input
from blueprints import receive
from blueprints.nekos import bp, json_array, page, sentence
from context import get_config, get_storage
from errors import NoFile
from items import NewItem

FIELD = "uploadFile"


@bp.post("/files/list")
def list_files() -> ResponseReturnValue:
    """The names of the user's files, newest first."""
    user = auth.require_token()
    return json_array(gallery.list_names(user, *page()))


@bp.post("/files/upload")
def upload() -> ResponseReturnValue:
    """Store a file, unlisted."""
    with receive.receive(auth.require_upload_token, FIELD) as (user, received):
        if received.file is None and received.stray_field is not None:
            raise NoFile(f"No file provided: it belongs in the field {FIELD}.")
        file = intake.require_file(received)
        new = NewItem(user=user, original_name=received.original_name)
        created = items.create(get_config(), get_storage(), new, file)
    url = get_config().site.upload_url + created.name
    return receive.answer(created, url, lambda: jsonify(url=url))


@bp.post("/files/delete")
def delete_file() -> ResponseReturnValue:
    """Delete one of the user's files."""
    user, name = auth.require_token(), require_input("file")
    items.delete_own(get_storage(), user, name)
    return sentence(f"{name} has been deleted!")
