"""The admin's queue: what waits, looked at and decided singly or many at once."""

import re

from flask import request
from flask.typing import ResponseReturnValue

import auth
import gallery
import items
import media
from blueprints.ids import before_id, number
from blueprints.web import back_to, bp, page, same_origin
from context import get_storage
from errors import Conflict, Invalid, NotFound

PER_PAGE = 60
_DECIDED = re.compile(r"[0-9]{1,4} (approved|rejected)(, [0-9]{1,4} decided by others)?")


@bp.get("/admin/queue")
def admin_queue() -> ResponseReturnValue:
    """What waits, newest first."""
    auth.require_admin_viewer()
    rows = gallery.list_queue(before=before_id(), limit=PER_PAGE + 1)
    waiting = rows[:PER_PAGE]
    decided = request.args.get("decided", "")
    return page(
        "web/admin/queue.html",
        items=waiting,
        tags=gallery.tags_of(waiting),
        comments=gallery.first_comments(waiting),
        kind=media.kind,
        older=waiting[-1].id if len(rows) > PER_PAGE else None,
        decided=decided if _DECIDED.fullmatch(decided) else None,
    )


@bp.post("/admin/queue")
def decide() -> ResponseReturnValue:
    """Approve or reject what is ticked; what somebody else decided meanwhile is passed over."""
    same_origin()
    admin = auth.require_admin_viewer()
    act, reason = request.form.get("act"), request.form.get("reason", "")
    if act not in ("approve", "reject"):
        raise Invalid("Choose to approve or to reject.")
    chosen = [number(value) for value in request.form.getlist("item")]
    if not chosen:
        raise Invalid("Tick the items that you decide about.")
    done = 0
    for item_id in chosen:
        try:
            if act == "approve":
                items.approve(get_storage(), admin, item_id)
            else:
                items.reject(get_storage(), admin, item_id, reason)
            done += 1
        except (Conflict, NotFound):
            continue
    words = "approved" if act == "approve" else "rejected"
    passed_over = len(chosen) - done
    told = f"{done} {words}" + (f", {passed_over} decided by others" if passed_over else "")
    return back_to(f"/admin/queue?decided={told}".replace(" ", "+"))
