"""The front page: everybody's listed items, by rating, tags and user."""

from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from flask import Response, request, url_for
from flask.typing import ResponseReturnValue

import auth
import gallery
import media
from blueprints.ids import before_id
from blueprints.web import back_to, bp, page, safe_next, same_origin
from context import get_config
from errors import Invalid
from gallery import Filter
from listing import RATINGS, parse_tags

PER_PAGE = 60
_YEAR = 365 * 24 * 3600
_SIGN_IN = "This host shows its gallery only to people who are signed in."


class View:
    """What of the gallery a request asks for, within what its viewer may see."""

    def __init__(self) -> None:
        self.rating = request.args.get("rating", "sfw")
        if self.rating not in (*RATINGS, "all"):
            raise Invalid("The rating must be sfw, nsfw, nsfl or all.")
        self.tags = _tags()
        self.user = request.args.get("user") or None
        visitors = get_config().gallery.visitors
        self.allowed = gallery.visible_ratings(visitors, is_known=auth.find_viewer() is not None)
        wanted: tuple[str, ...] | None = None if self.rating == "all" else (self.rating,)
        if self.allowed is not None:
            wanted = tuple(one for one in wanted or RATINGS if one in self.allowed)
        self.filter = Filter(tags=self.tags, ratings=wanted, username=self.user)

    @property
    def is_closed(self) -> bool:
        """Whether this viewer sees nothing of the gallery at all."""
        return self.allowed == ()

    @property
    def is_plain(self) -> bool:
        """Whether nothing but the newest is asked for."""
        return not self.tags and self.user is None and self.rating == "sfw"

    @property
    def choices(self) -> tuple[str, ...]:
        """The ratings to choose from."""
        return (*RATINGS, "all") if self.allowed is None else self.allowed

    def args(self, **changed: Any) -> dict[str, Any]:
        """The query of this view, with changes; None takes an argument away."""
        values: dict[str, Any] = {"rating": self.rating, "tag": self.tags, "user": self.user}
        values |= changed
        if values.get("rating") == "sfw":
            del values["rating"]
        return {name: value for name, value in values.items() if value not in (None, "", ())}

    def url(self, **changed: Any) -> str:
        """The address of this view, with changes."""
        return url_for("web.front", **self.args(**changed))

    def item_url(self, item_id: int) -> str:
        """The address of an item's page, which steps through this view."""
        return f"/{item_id}{self._item_query}"

    @cached_property
    def _item_query(self) -> str:
        # once for all tiles of a page: url_for takes as long as the rest of a tile
        args = self.args()
        return f"?{urlencode(args, doseq=True)}" if args else ""

    def without(self, tag: str) -> str:
        """The address of this view without one of its tags."""
        return self.url(tag=tuple(one for one in self.tags if one != tag))


def is_veiled(rating: str | None) -> bool:
    """Whether a picture of this rating is blurred until this browser lifts the veil."""
    return rating in ("nsfw", "nsfl") and request.cookies.get("veil") != "lifted"


@bp.get("/")
def front() -> ResponseReturnValue:
    """The newest items of a view, by page."""
    view = View()
    if view.is_closed:
        return page("web/front.html", view=view, items=[], hidden=_SIGN_IN)
    before = before_id()
    found = gallery.list_gallery(view.filter, before=before, limit=PER_PAGE)
    response = page(
        "web/front.html",
        view=view,
        items=found.items,
        tags=gallery.tags_of(found.items),
        kind=media.kind,
        is_veiled=is_veiled,
        older=view.url(before=found.before) if found.before else None,
        scanned=gallery.SCANNED if found.is_cut else None,
        is_first=before is None,
    )
    if view.rating != "sfw":
        response.headers["X-Robots-Tag"] = "noindex"
    return response


@bp.post("/veil")
def set_veil() -> ResponseReturnValue:
    """Lift the veil from nsfw and nsfl pictures in this browser, or lower it again."""
    same_origin()
    response: Response = back_to(safe_next(request.form.get("next", "/")))
    if request.form.get("veil") == "lifted":
        response.set_cookie("veil", "lifted", max_age=_YEAR, samesite="Lax", httponly=True)
    else:
        response.delete_cookie("veil")
    return response


def _tags() -> tuple[str, ...]:
    return parse_tags(",".join(request.args.getlist("tag")))
