"""What people say under items, and what they report to the admins."""

from datetime import timedelta

import audit
import models
from errors import Forbidden, Invalid, NotFound, TooMany
from listing import check_comment
from models import Comment, Item, Report, User

PER_MINUTE = 10
WINDOW = timedelta(minutes=1)
MAX_REPORT_LENGTH = 500


def add(user: User, item: Item, text: str) -> Comment:
    """Put a comment under a listed item.

    Raises:
        Invalid: it is empty or too long.
        NotFound: the item is not, or no longer, listed.
        TooMany: the user has said enough for this minute.
    """
    text = check_comment(text)
    if not text:
        raise Invalid("A comment needs some text.")

    def work() -> Comment:
        _require_listed(item)
        recent = Comment.user == user.id, Comment.created > models.now() - WINDOW
        if Comment.select().where(*recent).limit(PER_MINUTE).count() >= PER_MINUTE:
            raise TooMany("That is enough for a minute; comment again soon.", retry_after=60)
        return Comment.create(item=item.id, user=user.id, text=text, created=models.now())

    return models.write(work)


def _require_listed(item: Item) -> None:
    if not Item.select().where(Item.id == item.id, models.LISTED).exists():
        raise NotFound("There is no such item.")


def delete(user: User, comment_id: int) -> int:
    """Delete a comment, as its author, as the owner of the item it stands under, or as an admin.

    Returns:
        the id of that item.

    Raises:
        NotFound: there is no such comment.
        Forbidden: it is none of the user's business.
    """

    def work() -> int:
        comment = Comment.select(Comment, Item).join(Item).where(Comment.id == comment_id).first()
        if comment is None:
            raise NotFound("There is no such comment.")
        is_allowed = user.id in (comment.user_id, comment.item.user_id) or user.role == "admin"
        if not is_allowed:
            raise Forbidden("This comment is someone else's.")
        Comment.delete().where(Comment.id == comment_id).execute()
        if user.id not in (comment.user_id, comment.item.user_id):
            audit.record(user.id, "delete comment", f"comment {comment_id} of #{comment.user_id}")
        return int(comment.item_id)

    return models.write(work)


def report(user: User, item: Item, text: str) -> None:
    """Put an item before the admins. A second report of the same user on the same item, while the
    first is open, replaces its text.

    Raises:
        Invalid: there is no reason, or it is too long.
        NotFound: the item is not, or no longer, listed.
    """
    text = check_comment(text)
    if not text or len(text) > MAX_REPORT_LENGTH:
        raise Invalid(f"A report needs a reason of at most {MAX_REPORT_LENGTH} characters.")

    def work() -> None:
        _require_listed(item)
        mine = (Report.user == user.id) & (Report.item == item.id) & Report.closed.is_null()
        if not Report.update(text=text).where(mine).execute():
            Report.insert(user=user.id, item=item.id, text=text, created=models.now()).execute()

    models.write(work)


def count_by(user: User) -> int:
    """How many comments `user` has written."""
    return int(Comment.select().where(Comment.user == user.id).count())


def list_reports(*, before: int | None = None, limit: int = 60) -> list[Report]:
    """At most `limit` open reports, newest first, with their items and users."""
    owner = User.alias()
    query = (
        Report.select(Report, Item, User, owner)
        .join(Item)
        .join(owner, on=(Item.user == owner.id), attr="owner")
        .switch(Report)
        .join(User, on=(Report.user == User.id))
        .where(Report.closed.is_null())
    )
    if before is not None:
        query = query.where(Report.id < before)
    return list(query.order_by(Report.id.desc()).limit(limit))


def count_reports(limit: int) -> int:
    """How many reports are open; `limit` when there are as many or more."""
    open_ones = Report.select(Report.id).where(Report.closed.is_null())
    return len(models.rows(open_ones.order_by(Report.id).limit(limit)))


def close_report(admin: User, report_id: int) -> None:
    """Close a report.

    Raises:
        NotFound: there is no open one of this id.
    """

    def work() -> None:
        this = (Report.id == report_id) & Report.closed.is_null()
        if not Report.update(closed=models.now()).where(this).execute():
            raise NotFound("There is no open report of this id.")
        audit.record(admin.id, "close report", f"report {report_id}")

    models.write(work)
