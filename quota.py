"""The space of a user: how much there is, what goes to make room, and what never does."""

import models
from config import Config
from errors import NoSpace, NotFound
from models import REJECTED, Item, User
from statements import Rights
from storage import MIB

_BATCH = 500  # files looked at in one go


def quota_of(config: Config, quota_mb: int | None) -> int:
    """The space in bytes of a user with this `quota_mb`, None for the default; 0 is no limit."""
    return config.uploads.quota_bytes if quota_mb is None else quota_mb * MIB


def make_room(config: Config, user_id: int, rights: Rights, size: int) -> list[Item]:
    """See that `size` more bytes fit into a user's space, within the write that stores them.

    Returns:
        the files that must go for it, oldest first; mostly none.

    Raises:
        NoSpace: they do not fit, or only if a pinned file went.
    """
    quota = quota_of(config, rights.quota_mb)
    needed = rights.bytes + size - quota
    if not quota or needed <= 0:
        return []
    victims = []
    if config.uploads.when_full == "evict_oldest" and size <= quota:
        victims = _oldest(user_id, needed)
    if not victims:
        raise NoSpace(f"This upload would pass your quota of {quota // MIB} MB.")
    return victims


def _oldest(user_id: int, needed: int) -> list[Item]:
    """The oldest files that have `needed` bytes together; none when all of them have fewer."""
    victims: list[Item] = []
    last = 0
    may_go = Item.select().where(Item.user == user_id, Item.pinned.is_null(), ~REJECTED)
    while True:
        page = list(may_go.where(Item.id > last).order_by(Item.id).limit(_BATCH))
        for item in page:
            victims.append(item)
            needed -= item.size
            if needed <= 0:
                return victims
        if len(page) < _BATCH:
            return []
        last = page[-1].id


def pin(user: User, item_ids: list[int], *, is_pinned: bool) -> int:
    """Keep those of these items that are `user`'s when room is made, or no longer.

    Returns:
        how many.

    Raises:
        NotFound: none of them is.
    """
    moment = models.now() if is_pinned else None
    mine = Item.id.in_(item_ids), Item.user == user.id, ~REJECTED

    def work() -> int:
        count = int(Item.update(pinned=moment).where(*mine).execute())
        if not count:
            raise NotFound("You have none of these files; they may be gone already.")
        return count

    return models.write(work)
