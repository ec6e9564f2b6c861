"""Public files by their name, so that one process is enough; in front of it, nginx does this."""

from flask.typing import ResponseReturnValue

from blueprints.answers import stored_file
from blueprints.web import bp
from context import get_storage
from errors import NotFound


@bp.get("/f/<name>")
def show_file(name: str) -> ResponseReturnValue:
    """The bytes of a public file."""
    file = get_storage().open_file(name)
    if file is None:
        raise NotFound("There is no such file.")
    return stored_file(file, name)
