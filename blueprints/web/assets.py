"""Styles, scripts and the mark; the rules; the choice of a theme."""

from flask import request, send_from_directory
from flask.typing import ResponseReturnValue

from blueprints.web import STATIC, back_to, bp, page, safe_next, same_origin
from context import get_config
from errors import NotFound

THEMES = ("light", "dark")
_YEAR = 365 * 24 * 3600


@bp.get("/static/<path:name>")
def show_static(name: str) -> ResponseReturnValue:
    """A file of ours; its address changes with its bytes, so it may be kept for ever."""
    response = send_from_directory(STATIC, name, max_age=_YEAR if "v" in request.args else 0)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


@bp.get("/rules")
def rules() -> ResponseReturnValue:
    """The operator's rules, from a text file of theirs."""
    path = get_config().site.rules
    try:
        text = path.read_text("utf-8", "replace") if path else None
    except OSError:
        text = None
    if text is None:
        raise NotFound("This host has no page of rules.")
    return page("web/rules.html", text=text)


@bp.post("/theme")
def choose_theme() -> ResponseReturnValue:
    """Keep the light or dark theme, or follow the system again."""
    same_origin()
    response = back_to(safe_next(request.form.get("next", "/")))
    theme = request.form.get("theme", "")
    if theme in THEMES:
        response.set_cookie("theme", theme, max_age=_YEAR, samesite="Lax", httponly=True)
    else:
        response.delete_cookie("theme")
    return response
