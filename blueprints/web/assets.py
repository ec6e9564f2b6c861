"""Styles, scripts and the mark; the rules; the choice of a theme."""

from flask import Response, request
from flask.typing import ResponseReturnValue

from blueprints.compression import takes_gzip
from blueprints.web import back_to, bp, page, safe_next, same_origin, static_files
from context import get_config
from errors import NotFound

THEMES = ("light", "dark")
_YEAR = 365 * 24 * 3600


@bp.get("/static/<path:name>")
def show_static(name: str) -> ResponseReturnValue:
    """A file of ours; its address changes with its bytes, so it may be kept for ever."""
    file = static_files.all_files().get(name)
    if file is None:
        raise NotFound("There is nothing under this address.")
    is_packed = file.packed is not None and takes_gzip()
    response = Response(file.packed if is_packed else file.body, mimetype=file.media_type)
    if is_packed:
        response.headers["Content-Encoding"] = "gzip"
    # Other bytes, another tag (RFC 9110 8.8.3.3).
    response.set_etag(file.version + ("-gzip" if is_packed else ""))
    response.vary.add("Accept-Encoding")
    # Under another version's address these bytes must not stay: while a new Kissa takes over, its
    # page may have its style from the old one.
    is_current = request.args.get("v") == file.version
    kept = f"public, max-age={_YEAR}, immutable" if is_current else "no-cache"
    response.headers["Cache-Control"] = kept
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
