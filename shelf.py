"""A user's own files as they look through them: in an order, by page, searched.

In every order pages go by keyset, so that the first of a million files costs what the first of ten
does. A search reads at most SCANNED files at a time, and says where to go on.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from peewee import Tuple, fn

from errors import Invalid, NotFound
from models import Item, User

ORDERS = ("newest", "oldest", "largest", "name")
PER_PAGE = 60
SCANNED = 10_000  # files of which one search looks at the names: 50 ms at most
MAX_SEARCH = 100  # characters
_FALLING = ("newest", "largest")
_PLACE = re.compile(r"(?P<id>[0-9]{1,18})(?:-(?P<value>.{0,255}))?", re.ASCII | re.DOTALL)
_SIZE = re.compile(r"[0-9]{1,18}", re.ASCII)
_NAME = fn.LOWER(Item.original_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of files.

    Args:
        items: at most PER_PAGE of them.
        after: the place where the next page begins; None when this is the last.
        is_cut: whether a search ended here only because it had looked at SCANNED files.
    """

    items: list[Item]
    after: str | None
    is_cut: bool


def list_page(user: User, *, order: str = "newest", search: str = "", after: str = "") -> Page:
    """The files of `user`, in whatever state, rejected ones included.

    Args:
        order: one of ORDERS.
        search: what the original or the stored name must hold; without regard to case.
        after: the place that the page before named.

    Raises:
        Invalid: one of them is none.
    """
    if order not in ORDERS:
        raise Invalid(f"The order must be one of {', '.join(ORDERS)}.")
    query = Item.select().where(Item.user == user.id)
    if after:
        query = query.where(*_beyond(order, _parse(order, after)))
    end = None
    if search:
        fields = (Item.id, Item.size, Item.original_name)
        end = _ordered(query.select(*fields), order).offset(SCANNED - 1).first()
        if end is not None:
            query = query.where(*_up_to(order, _parse(order, _place(order, end))))
        query = query.where(_holds(search))
    rows = list(_ordered(query, order).limit(PER_PAGE + 1))
    items = rows[:PER_PAGE]
    if len(rows) > PER_PAGE:
        return Page(items=items, after=_place(order, items[-1]), is_cut=False)
    return Page(items=items, after=end and _place(order, end), is_cut=end is not None)


def list_chosen(user: User, item_ids: list[int]) -> list[Item]:
    """Those of these items that are `user`'s, newest first.

    Raises:
        NotFound: there is none.
    """
    mine = Item.select().where(Item.id.in_(item_ids), Item.user == user.id)
    found = sorted(mine, key=lambda item: -item.id)
    if not found:
        raise NotFound("You have none of these files; they may be gone already.")
    return found


def _ordered(query: Any, order: str) -> Any:
    columns = [column for column in (_column(order), Item.id) if column is not None]
    return query.order_by(*(c.desc() if order in _FALLING else c for c in columns))


def _column(order: str) -> Any:
    """What an order goes by before the id; None for nothing."""
    return {"largest": Item.size, "name": _NAME}.get(order)


def _place(order: str, item: Item) -> str:
    value = {"largest": item.size, "name": item.original_name}.get(order)
    return str(item.id) if value is None else f"{item.id}-{value}"


def _parse(order: str, place: str) -> tuple[int, Any]:
    """The id and the value of a place; it is not looked up, so the file there may be gone."""
    match = _PLACE.fullmatch(place)
    value = match and match["value"]
    fits = value is None if _column(order) is None else value is not None
    if match is None or not fits or (order == "largest" and not _SIZE.fullmatch(value or "")):
        raise Invalid("There is no such page; begin with the first one.")
    return int(match["id"]), int(value) if order == "largest" and value else value


def _beyond(order: str, place: tuple[int, Any]) -> list[Any]:
    item_id, value = place
    column, is_falling = _column(order), order in _FALLING
    if column is None:
        return [Item.id < item_id if is_falling else Item.id > item_id]
    if is_falling:
        return [Tuple(column, Item.id) < Tuple(value, item_id)]
    # SQLite does not seek by a row value on an expression; by the expression alone it does.
    value = fn.LOWER(value)
    return [column >= value, Tuple(column, Item.id) > Tuple(value, item_id)]


def _up_to(order: str, place: tuple[int, Any]) -> list[Any]:
    item_id, value = place
    column, is_falling = _column(order), order in _FALLING
    if column is None:
        return [Item.id >= item_id if is_falling else Item.id <= item_id]
    if is_falling:
        return [Tuple(column, Item.id) >= Tuple(value, item_id)]
    value = fn.LOWER(value)
    return [column <= value, Tuple(column, Item.id) <= Tuple(value, item_id)]


def _holds(search: str) -> Any:
    """Whether a name holds `search`. SQLite's LIKE knows the cases of ASCII alone, and clients
    send the composed or the decomposed form of a name: the likely ones are all asked for."""
    if len(search) > MAX_SEARCH:
        raise Invalid(f"A search has at most {MAX_SEARCH} characters.")
    cases = {search} if search.isascii() else {search, search.lower(), search.upper()}
    forms = {unicodedata.normalize(form, case) for case in cases for form in ("NFC", "NFD")}
    found = Item.name.contains(search)
    for form in sorted(forms):
        found |= Item.original_name.contains(form)
    return found
