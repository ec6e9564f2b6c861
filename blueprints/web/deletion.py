"""A file's deletion link: its page asks, its POST deletes. A GET never deletes anything, since
link previews and browsers fetch links ahead."""

from flask import Response
from flask.typing import ResponseReturnValue

import items
from blueprints.web import bp, page
from context import get_storage
from errors import NotFound


@bp.get("/delete/<name>/<secret>")
def ask(name: str, secret: str) -> ResponseReturnValue:
    """Ask once."""
    item = items.find_by_deletion_secret(name, secret)
    if item is None:
        raise NotFound("There is nothing to delete under this link.")
    return _private(page("web/delete.html", item=item))


@bp.post("/delete/<name>/<secret>")
def delete(name: str, secret: str) -> ResponseReturnValue:
    """Delete the file."""
    items.delete_by_secret(get_storage(), name, secret)
    return _private(page("web/deleted.html", name=name))


def _private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex"
    return response
