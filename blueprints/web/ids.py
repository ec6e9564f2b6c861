"""Numbers in addresses and forms: an ASCII pattern first, since not all of them fit a database."""

import re

from flask import request

from errors import Invalid, NotFound

_ID = re.compile(r"[0-9]{1,18}", re.ASCII)


def number(value: str) -> int:
    """The id in `value`.

    Raises:
        NotFound: it is none.
    """
    if not _ID.fullmatch(value):
        raise NotFound("There is nothing under this address.")
    return int(value)


def before_id() -> int | None:
    """The query's `before`, below whose id a page begins; None for the first page.

    Raises:
        Invalid: it is no id.
    """
    value = request.args.get("before", "")
    if not value:
        return None
    if not _ID.fullmatch(value):
        raise Invalid("before must be a whole number.")
    return int(value)
