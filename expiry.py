"""When files end: what their senders may wish, and ending those whose time has come."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import items
import models
import statements
from config import LONGEST, Uploads, duration
from errors import Conflict, Gone, Invalid, NotFound
from models import Expired, Item, User
from storage import NAME_PATTERN, Storage

KEPT = timedelta(days=30)  # in which a link says that the file has expired
BATCH = 200  # files that are ended in one write
NEVER = "never"
CHOICES = ("1h", "1d", "1w", "30d", "365d")  # what forms offer
_GONE = "This file has expired."
# RFC 3339 5.6; a + in a query arrives as a blank.
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:Z|[ +-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_SHAPE = "The expiry must be a time such as 30m, 12h, 7d or 2w, or a moment of RFC 3339."


def check(rules: Uploads, text: str, *, since: datetime | None = None) -> datetime | None:
    """When a file ends by its sender's wish, under the host's rules.

    Args:
        text: a length from now on such as 30m, 12h, 7d, 2w, or a moment of RFC 3339, or never;
            empty for what the host does by itself.
        since: when the file was uploaded, None for just now: from then on counts `max_expiry`.

    Returns:
        the moment, to the second; None for never.

    Raises:
        Invalid: it is none of these, in the past, or later than the host takes.
    """
    text = text.strip()
    if not text:
        length = rules.default_expiry or rules.max_expiry
        return None if length is None else _whole((since or models.now()) + length)
    if text.lower() == NEVER and rules.max_expiry is None:
        return None
    now = models.now()
    most = rules.max_expiry or LONGEST
    if text.lower() == NEVER:
        raise Invalid(f"The expiry must be at most {words(most)} after the upload.")
    length = duration(text)
    moment = _moment(text) if length is None else _whole(now + min(length, 2 * LONGEST))
    if moment <= now:
        raise Invalid("The expiry must be in the future.")
    if moment > (since or now) + most:
        raise Invalid(f"The expiry must be at most {words(most)} after the upload.")
    return moment


def words(length: timedelta) -> str:
    """A length of time as a person says it."""
    minutes = round(length.total_seconds()) // 60
    for unit, size in (("day", 1440), ("hour", 60), ("minute", 1)):
        if minutes % size == 0:
            return f"{minutes // size} {unit}{'' if minutes == size else 's'}"
    raise AssertionError


def usual(rules: Uploads) -> str:
    """When a file ends whose sender chooses nothing, in words."""
    length = rules.default_expiry or rules.max_expiry
    return "never" if length is None else f"after {words(length)}"


def choices(rules: Uploads) -> list[tuple[str, str]]:
    """What a form offers besides the host's own way: pairs of input and words."""
    lengths = [(text, length) for text in CHOICES if (length := duration(text)) is not None]
    most = rules.max_expiry
    offered = [(text, words(length)) for text, length in lengths if most is None or length <= most]
    return offered if most else [*offered, (NEVER, NEVER)]


def change(rules: Uploads, user: User, item_ids: list[int], text: str) -> int:
    """Let those of these items that are `user`'s end at another time, or never.

    Args:
        text: as for `check`, but not empty.

    Returns:
        how many.

    Raises:
        Invalid: as `check`, for any of them; then none is changed.
        NotFound: none of them is.
        Conflict: one of them was turned down, and has no file.
    """
    if not text.strip():
        raise Invalid(_SHAPE)

    def work() -> int:
        mine = list(Item.select().where(Item.id.in_(item_ids), Item.user == user.id))
        if not mine:
            raise NotFound("You have none of these files; they may be gone already.")
        for item in mine:
            if item.state == "rejected":
                raise Conflict("A file that was turned down is gone already.")
            require_alive(item)
            moment = check(rules, text, since=item.created)
            Item.update(expires=moment).where(Item.id == item.id).execute()
        return len(mine)

    return models.write(work)


def require_alive(item: Item) -> None:
    """See that an item's time is not over, however late the timer is.

    Raises:
        Gone: it is.
    """
    if item.expires is not None and item.expires <= models.now():
        raise Gone(_GONE)


def require_file_alive(name: str) -> None:
    """See that the time of the file `name` is not over, by one look-up where it is not.

    Raises:
        Gone: it is, for 30 days after its end.
    """
    if not NAME_PATTERN.fullmatch(name):
        return
    is_there, expires = statements.find_expiry(name)
    if not is_there:
        ended = Expired.get_or_none(Expired.name == name)
        if ended is not None and ended.at > models.now() - KEPT:
            raise Gone(_GONE)
    elif expires is not None and expires <= models.now():
        raise Gone(_GONE)


def require_not_ended(item_id: int, *, viewer: User | None, as_admin: bool) -> None:
    """See that no item of this id, which is not there, was there for this viewer until its end.

    Raises:
        Gone: it was, for 30 days after its end.
    """
    ended = Expired.get_or_none(Expired.id == item_id)
    if ended is None or ended.at <= models.now() - KEPT:
        return
    if ended.was_listed or as_admin or (viewer is not None and viewer.id == ended.user_id):
        raise Gone(_GONE)


def end_due(store: Storage) -> int:
    """Delete every item whose time is over, and forget those that ended more than 30 days ago.

    Returns:
        how many were deleted.
    """
    ended = 0
    while has_due():
        ended += items.unlink_and_write(store, _list_due, _end)
    old = Expired.at <= models.now() - KEPT
    if Expired.select(Expired.id).where(old).limit(1).exists():
        models.write(lambda: Expired.delete().where(old).execute())
    return ended


def has_due() -> bool:
    """Whether there is an item whose time is over: one look at an index."""
    return bool(Item.select(Item.id).where(_due()).limit(1).exists())


def _due() -> Any:
    return Item.expires <= models.now()


def _list_due() -> list[Item]:
    return list(Item.select().where(_due()).order_by(Item.expires).limit(BATCH))


def _end(due: list[Item]) -> int:
    """As every delete: the bytes went first; the sync of the folders follows."""
    if due:
        Item.delete().where(Item.id.in_([item.id for item in due])).execute()
        fields = [Expired.id, Expired.user, Expired.name, Expired.was_listed, Expired.at]
        rows = [
            (item.id, item.user_id, item.name, item.state == "listed", item.expires) for item in due
        ]
        # A restored backup may hold an item that ended after it was made.
        ids, names = [item.id for item in due], [item.name for item in due]
        Expired.delete().where(Expired.id.in_(ids) | Expired.name.in_(names)).execute()
        Expired.insert_many(rows, fields).execute()
    return len(due)


def _moment(text: str) -> datetime:
    text = text.upper()
    if not _MOMENT.fullmatch(text):
        raise Invalid(_SHAPE)
    try:
        return _whole(datetime.fromisoformat(text.replace(" ", "+")).astimezone(UTC))
    except (ValueError, OverflowError):
        raise Invalid(_SHAPE) from None


def _whole(moment: datetime) -> datetime:
    """To the second, as answers tell it."""
    return moment.replace(microsecond=0)
