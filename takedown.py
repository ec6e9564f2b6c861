"""What admins take down: whose it was is told why, and the same content may be refused."""

from datetime import timedelta

import audit
import items
import models
from errors import NotFound
from listing import check_reason
from models import Item, Notice, RefusedContent, User
from storage import Storage

NOTICE_KEPT = timedelta(days=30)


def take_down(
    store: Storage,
    admin: User,
    *,
    name: str | None = None,
    item_id: int | None = None,
    reason: str = "",
    refuse: bool = False,
) -> None:
    """Delete anybody's item, by its file's name or by its id, as an admin; and tell its owner.

    Args:
        reason: shown to the owner, at most 500 characters; may be empty.
        refuse: whether the same bytes are refused from now on, from everybody.

    Raises:
        Invalid: the reason is too long.
        NotFound: there is no such file or item.
    """
    reason = check_reason(reason)

    def choose() -> list[Item]:
        item = items.named(name) if name is not None else Item.get_or_none(Item.id == item_id)
        if item is None:
            raise NotFound("There is no such item.")
        return [item]

    def work(some: list[Item]) -> None:
        (item,) = some
        Item.delete().where(Item.id == item.id).execute()
        audit.record(admin.id, "delete file", f"item {item.id} of #{item.user_id}")
        if refuse:
            row = {"sha256": item.sha256, "reason": reason, "admin": admin.id}
            RefusedContent.insert(row).on_conflict_ignore().execute()
            audit.record(admin.id, "refuse content", f"of item {item.id}")
        if item.user_id != admin.id:
            Notice.insert(
                user=item.user_id,
                name=item.name,
                original_name=item.original_name,
                reason=reason,
                is_refused=refuse,
            ).execute()

    items.unlink_and_write(store, choose, work)


def list_refused(*, before: int | None = None, limit: int = 60) -> list[RefusedContent]:
    """At most `limit` refused contents, newest first, with the admins who took them down."""
    query = RefusedContent.select(RefusedContent, User).left_outer_join(
        User, on=(RefusedContent.admin == User.id)
    )
    if before is not None:
        query = query.where(RefusedContent.id < before)
    return list(query.order_by(RefusedContent.id.desc()).limit(limit))


def lift(admin: User, refused_id: int) -> None:
    """Take a content again.

    Raises:
        NotFound: it is not refused.
    """

    def work() -> None:
        if not RefusedContent.delete().where(RefusedContent.id == refused_id).execute():
            raise NotFound("This content is not refused.")
        audit.record(admin.id, "lift refusal", f"refusal {refused_id}")

    models.write(work)


def list_notices(user: User) -> list[Notice]:
    """What of `user`'s was taken down in the last 30 days and not dismissed, newest first."""
    young = Notice.created > models.now() - NOTICE_KEPT
    query = Notice.select().where(Notice.user == user.id, young)
    return list(query.order_by(Notice.id.desc()).limit(100))


def dismiss(user: User, notice_id: int) -> None:
    """Show a notice no more.

    Raises:
        NotFound: `user` has no such notice.
    """
    this = (Notice.id == notice_id) & (Notice.user == user.id)
    if not models.write(lambda: Notice.delete().where(this).execute()):
        raise NotFound("There is no such notice.")


def forget_notices() -> int:
    """Drop notices of more than 30 days ago. Returns how many."""
    old = Notice.created <= models.now() - NOTICE_KEPT
    return models.write(lambda: int(Notice.delete().where(old).execute()))
