"""Numbers in addresses and forms: an ASCII pattern first, since not all of them fit a database."""

import re

from flask import request

from errors import Invalid, NotFound

ID = re.compile(r"[0-9]{1,18}", re.ASCII)


def number(value: str, otherwise: str = "There is nothing under this address.") -> int:
    """The id in `value`.

    Args:
        otherwise: what is said where it is none.

    Raises:
        NotFound: it is none.
    """
    if not ID.fullmatch(value):
        raise NotFound(otherwise)
    return int(value)


def before_id() -> int | None:
    """The query's `before`, below whose id a page begins; None for the first page.

    Raises:
        Invalid: it is no id.
    """
    value = request.args.get("before", "")
    if not value:
        return None
    if not ID.fullmatch(value):
        raise Invalid("before must be a whole number.")
    return int(value)
