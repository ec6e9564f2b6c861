"""The admin's lists: numbers, users, reports, uploads, registration keys, the audit."""

from flask import request
from flask.typing import ResponseReturnValue

import accounts
import auth
import charts
import comments
import gallery
import keys
import media
import people
import rights
import takedown
from blueprints.ids import before_id, number
from blueprints.web import back_to, bp, page, same_origin
from context import get_config, get_services, get_storage
from errors import Conflict, Invalid

PER_PAGE = 60
DAYS = 30
MOST = 1000  # above that nobody counts what waits


@bp.get("/admin")
def admin_numbers() -> ResponseReturnValue:
    """The numbers of the instance."""
    auth.require_admin_viewer()
    days = people.list_days(DAYS)
    return page(
        "web/admin/numbers.html",
        files=gallery.count_public(),
        users=people.count_users(),
        waiting=gallery.count_queue(MOST),
        reports=comments.count_reports(MOST),
        room=get_storage().room(),
        uploads_chart=charts.bars([(day, uploads) for day, uploads, _ in days], "uploads"),
        bytes_chart=charts.bars([(day, size) for day, _, size in days], "bytes", charts.bytes_text),
        kinds_chart=charts.shares([(kind, count) for kind, count, _ in people.count_kinds()]),
        days=DAYS,
    )


@bp.get("/admin/users")
def admin_users() -> ResponseReturnValue:
    """Users, newest first; with a search, by the beginning of their name, in its order."""
    auth.require_admin_viewer()
    search = request.args.get("q", "").strip()
    if search:
        after = request.args.get("after", "")
        rows = people.find_users(search, after=after, limit=PER_PAGE + 1)
    else:
        rows = people.list_users(before=before_id(), limit=PER_PAGE + 1)
    users = rows[:PER_PAGE]
    return page(
        "web/admin/users.html",
        users=users,
        search=search,
        last=users[-1] if len(rows) > PER_PAGE else None,
        default_quota=get_config().uploads.quota_mb,
    )


@bp.post("/admin/users/<user_id>/<act>")
def act_on_user(user_id: str, act: str) -> ResponseReturnValue:
    """Ban, unban, delete, promote, demote a user or set the quota."""
    same_origin()
    admin = auth.require_admin_viewer()
    user = people.get_user(number(user_id))
    if act in ("ban", "unban"):
        (accounts.ban if act == "ban" else accounts.unban)(admin, user.username)
    elif act == "delete":
        if request.form.get("confirm", "").lower() != user.username.lower():
            raise Invalid("Type the user's name to delete the account and all its files.")
        accounts.delete(get_storage(), user, admin=admin)
    elif act in ("promote", "demote"):
        role = "admin" if act == "promote" else "user"
        rights.set_role(get_services().secret, user.username, role, by=admin)
    elif act == "quota":
        rights.set_quota(user.username, _quota(request.form.get("quota", "")), by=admin)
    else:
        raise Invalid("There is no such act.")
    return back_to("/admin/users")


def _quota(text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Invalid("A quota is a number of MB; empty for the host's own.")
    return int(text)


@bp.get("/admin/reports")
def admin_reports() -> ResponseReturnValue:
    """Open reports, newest first."""
    auth.require_admin_viewer()
    rows = comments.list_reports(before=before_id(), limit=PER_PAGE + 1)
    reports = rows[:PER_PAGE]
    return page(
        "web/admin/reports.html",
        reports=reports,
        kind=media.kind,
        older=reports[-1].id if len(rows) > PER_PAGE else None,
    )


@bp.post("/admin/reports/<report_id>/close")
def close_report(report_id: str) -> ResponseReturnValue:
    """Leave the item as it is, and the report behind."""
    same_origin()
    comments.close_report(auth.require_admin_viewer(), number(report_id))
    return back_to("/admin/reports")


@bp.get("/admin/uploads")
def admin_uploads() -> ResponseReturnValue:
    """Uploads of any state: all, one by its exact name, one user's."""
    auth.require_admin_viewer()
    name, username = request.args.get("name", "").strip(), request.args.get("user", "").strip()
    user = accounts.get_user(username) if username else None
    rows = people.list_uploads(name=name, user=user, before=before_id(), limit=PER_PAGE + 1)
    uploads = rows[:PER_PAGE]
    return page(
        "web/admin/uploads.html",
        uploads=uploads,
        name=name,
        username=username,
        kind=media.kind,
        older=uploads[-1].id if len(rows) > PER_PAGE else None,
    )


@bp.post("/admin/uploads/delete")
def take_down() -> ResponseReturnValue:
    """Delete an upload of anybody's."""
    same_origin()
    admin = auth.require_admin_viewer()
    form = request.form
    wanted, reason = number(form.get("item", "")), form.get("reason", "")
    refuse = form.get("refuse") == "1"
    takedown.take_down(get_storage(), admin, item_id=wanted, reason=reason, refuse=refuse)
    return back_to((request.form.get("back") == "reports" and "/admin/reports") or "/admin/uploads")


@bp.get("/admin/refused")
def admin_refused() -> ResponseReturnValue:
    """Content that is refused, newest first."""
    auth.require_admin_viewer()
    rows = takedown.list_refused(before=before_id(), limit=PER_PAGE + 1)
    refused = rows[:PER_PAGE]
    return page(
        "web/admin/refused.html",
        refused=refused,
        older=refused[-1].id if len(rows) > PER_PAGE else None,
    )


@bp.post("/admin/refused/<refused_id>/lift")
def lift_refusal(refused_id: str) -> ResponseReturnValue:
    """Take a content again."""
    same_origin()
    takedown.lift(auth.require_admin_viewer(), number(refused_id))
    return back_to("/admin/refused")


@bp.get("/admin/keys")
def admin_keys() -> ResponseReturnValue:
    """Open registration keys."""
    auth.require_admin_viewer()
    return _keys_page()


@bp.post("/admin/keys")
def make_key() -> ResponseReturnValue:
    """A new registration key, shown this once with its link."""
    same_origin()
    admin = auth.require_admin_viewer()
    if not get_config().accounts.invite_only:
        raise Conflict("This host is not invite-only; nobody needs a registration key.")
    return _keys_page(keys.create_registration_key(admin))


@bp.post("/admin/keys/<key_id>/revoke")
def revoke_registration_key(key_id: str) -> ResponseReturnValue:
    """Revoke an open registration key."""
    same_origin()
    keys.revoke_registration_key(auth.require_admin_viewer(), number(key_id))
    return back_to("/admin/keys")


def _keys_page(made: str | None = None) -> ResponseReturnValue:
    config = get_config()
    return page(
        "web/admin/keys.html",
        keys=people.list_registration_keys(),
        made=made,
        link=f"{config.site.url}signup?key={made}" if made else None,
        invite_only=config.accounts.invite_only,
    )


@bp.get("/admin/audit")
def admin_audit() -> ResponseReturnValue:
    """What admins did, newest first."""
    auth.require_admin_viewer()
    rows = people.list_audit(before=before_id(), limit=PER_PAGE + 1)
    lines = rows[:PER_PAGE]
    actors = {line.actor_id for line in lines if line.actor_id is not None}
    return page(
        "web/admin/audit.html",
        lines=lines,
        names=people.usernames(actors),
        older=lines[-1].id if len(rows) > PER_PAGE else None,
    )
