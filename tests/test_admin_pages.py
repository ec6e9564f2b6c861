"""The admin's pages: queue, users, reports, uploads, registration keys, audit, numbers."""

import re
from collections.abc import Callable

import pytest

import items
from blueprints.web import admin as admin_pages
from models import Item, RegistrationKey, Report, User
from tests.conftest import PASSWORD, PNG, Clock, Kissa, Person
from tests.people import Browser, audit, error_of

Start = Callable[..., Kissa]
EVIL = "<img src=x onerror=alert(1)>'{{7*191}}"
PAGES = ["", "/queue", "/reports", "/uploads", "/users", "/keys", "/audit"]


@pytest.fixture
def kissa(start: Start) -> Kissa:
    """A host that approves by hand and by invitation."""
    return start(
        gallery_manual_approval="true",
        gallery_min_tags=1,
        accounts_invite_only="true",
        storage_durable="false",
        uploads_per_minute=0,
    )


@pytest.fixture
def desk(kissa: Kissa, alice: Person, admin: Person) -> Browser:
    """The admin is signed in."""
    return Browser(kissa, "admin")


def user_id(name: str) -> int:
    return int(User.get(User.username == name).id)


def ids(page: str) -> list[int]:
    return [int(number) for number in re.findall(r'name="item" value="(\d+)"', page)]


@pytest.mark.parametrize("path", PAGES)
def test_for_admins_alone(kissa: Kissa, alice: Person, admin: Person, path: str) -> None:
    answer = Browser(kissa).get(f"/admin{path}")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/signin?next=/admin{path}")
    answer = Browser(kissa, "alice").get(f"/admin{path}")
    assert error_of(answer) == (403, "This page is for admins.")
    assert ">Admin</a>" not in answer.text
    desk = Browser(kissa, "admin")
    assert desk.get(f"/admin{path}").headers["Cache-Control"] == "no-store"
    User.update(role="user").where(User.username == "admin").execute()
    assert desk.get(f"/admin{path}").status_code == 403  # at once, with the same session


@pytest.mark.parametrize("path", ["/queue", "/reports", "/uploads", "/users", "/audit"])
@pytest.mark.parametrize("before", ["x", "9" * 30, "-1", "%C2%B2"])
def test_faulty_places(desk: Browser, path: str, before: str) -> None:
    assert error_of(desk.get(f"/admin{path}?before={before}"))[0] == 400


# Queue


def test_many_at_once_with_one_decided_meanwhile(
    kissa: Kissa, desk: Browser, alice: Person, admin: Person
) -> None:
    waiting = [kissa.item_id(alice) for _ in range(4)]
    assert ids(desk.text("/admin/queue")) == waiting[::-1]
    items.approve(kissa.services.storage, User.get(User.username == "admin"), waiting[1])
    target = desk.does("/admin/queue", act="approve", item=waiting[:3])
    assert ">2 approved, 1 decided by others</p>" in desk.text(target)
    desk.does("/admin/queue", act="reject", item=waiting[3], reason=f" {EVIL} ")
    states = {item.id: (item.state, item.reason) for item in Item.select()}
    assert states == dict.fromkeys(waiting[:3], ("listed", None)) | {waiting[3]: ("rejected", EVIL)}
    assert "Nothing waits." in desk.text("/admin/queue")
    reason = Browser(kissa, "alice").text(f"/{waiting[3]}")
    assert "<img src=x" not in reason
    assert "1337" not in reason
    assert [act for act, _ in audit()] == ["approve"] * 3 + ["reject"]


@pytest.mark.parametrize(
    ("form", "status"),
    [
        pytest.param({"act": "approve"}, 400, id="nothing ticked"),
        pytest.param({"item": "{id}"}, 400, id="no act"),
        pytest.param({"item": "{id}", "act": "delete"}, 400, id="another act"),
        pytest.param({"item": "x", "act": "approve"}, 404, id="no id"),
        pytest.param({"item": "{id}", "act": "reject", "reason": "x" * 501}, 400, id="long reason"),
    ],
)
def test_decisions_that_are_none(
    kissa: Kissa, desk: Browser, alice: Person, form: dict[str, str], status: int
) -> None:
    item_id = kissa.item_id(alice)
    form = {key: value.replace("{id}", str(item_id)) for key, value in form.items()}
    assert error_of(desk.post("/admin/queue", **form))[0] == status
    assert Item.get().state == "pending"


def test_queue_shows_what_to_decide_about(kissa: Kissa, desk: Browser, alice: Person) -> None:
    item_id = kissa.item_id(alice, name=f"{EVIL}.png", tags=EVIL, comment=EVIL, rating="nsfw")
    page = desk.text("/admin/queue?decided=<b>+Send+all+to+evil.example")
    assert 'role="status"' not in page
    assert page.count("&lt;img src=x") >= 3  # name, tag, comment
    assert "<img src=x" not in page
    assert "1337" not in page
    assert f"/waiting/{item_id}/thumbnail" in page
    assert ">nsfw<" in page


def test_queue_by_page(
    kissa: Kissa, desk: Browser, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blueprints.web.queue.PER_PAGE", 2)
    waiting = [kissa.item_id(alice) for _ in range(3)][::-1]
    page = desk.text("/admin/queue")
    assert ids(page) == waiting[:2]
    assert f'rel="next" href="?before={waiting[1]}"' in page
    assert ids(desk.text(f"/admin/queue?before={waiting[1]}")) == waiting[2:]


# Users


def test_search(kissa: Kissa, desk: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Alfred", "albert", "bob"):
        kissa.person(name)

    def found(query: str) -> list[str]:
        return re.findall(
            r'<div class="row-main"><strong>([^<]*)</strong>', desk.text(f"/admin/users{query}")
        )

    assert found("") == ["bob", "albert", "Alfred", "admin", "alice"]
    assert found("?q=AL") == ["albert", "Alfred", "alice"]
    assert found("?q=l") == found("?q=%25") == found("?q=_") == found("?q=%00") == []
    monkeypatch.setattr(admin_pages, "PER_PAGE", 2)
    page = desk.text("/admin/users?q=al")
    older = re.search(r'rel="next" href="([^"]+)"', page)
    assert older
    assert found(older[1].replace("&amp;", "&")) == ["alice"]


def test_ban_and_let_in(kissa: Kissa, desk: Browser, alice: Person) -> None:
    browser = Browser(kissa, "alice")
    number = user_id("alice")
    assert desk.does(f"/admin/users/{number}/ban") == "/admin/users"
    assert "Let in again" in desk.text("/admin/users")
    assert browser.get("/files").status_code == 303
    assert browser.post("/signin", username="alice", password=PASSWORD).status_code == 401
    desk.does(f"/admin/users/{number}/unban")
    assert browser.get("/files").status_code == 303  # the session is gone for good
    Browser(kissa, "alice")


def test_quota(desk: Browser) -> None:
    number = user_id("alice")
    for text, quota in (("5", 5), ("0", 0), (" 7 ", 7), ("", None)):
        desk.does(f"/admin/users/{number}/quota", quota=text)
        assert User.get_by_id(number).quota_mb == quota
    for text in ("x", "-1", "1.5", "²", "9" * 10, "999999999999"):
        assert error_of(desk.post(f"/admin/users/{number}/quota", quota=text))[0] == 400
    assert audit()[:2] == [("set quota", f"#{number} 5 MB"), ("set quota", f"#{number} 0 MB")]


def test_roles(kissa: Kissa, desk: Browser) -> None:
    number, own = user_id("alice"), user_id("admin")
    desk.does(f"/admin/users/{number}/promote")
    other = Browser(kissa, "alice")
    assert other.get("/admin").status_code == 200
    other.does(f"/admin/users/{own}/demote")
    assert desk.get("/admin").status_code == 403
    assert audit() == [("make admin", f"#{number}"), ("make user", f"#{own}")]


@pytest.mark.parametrize("act", ["ban", "demote", "delete"])
def test_the_last_admin_stays(desk: Browser, act: str) -> None:
    answer = desk.post(f"/admin/users/{user_id('admin')}/{act}", confirm="admin")
    assert error_of(answer) == (409, "This is the last admin; make another one first.")
    admin = User.get(User.username == "admin")
    assert (admin.role, admin.is_banned, admin.is_deleting) == ("admin", False, False)
    assert desk.get("/admin").status_code == 200


def test_end_of_an_account_is_confirmed(kissa: Kissa, desk: Browser, alice: Person) -> None:
    kissa.upload_name(alice)
    kissa.item_id(alice)
    path = f"/admin/users/{user_id('alice')}/delete"
    for form in ({}, {"confirm": ""}, {"confirm": "bob"}):
        assert error_of(desk.post(path, **form))[0] == 400
    assert len(kissa.files()) == 2
    desk.does(path, confirm="ALICE")
    assert kissa.files() == set()
    assert error_of(desk.post(path, confirm="alice"))[0] == 404
    assert "alice" not in desk.text("/admin/users") + desk.text("/admin/audit")


def test_unknown_act(desk: Browser) -> None:
    assert error_of(desk.post(f"/admin/users/{user_id('alice')}/hug"))[0] == 400


# Reports and uploads


def listed(kissa: Kissa, desk: Browser, person: Person, **fields: str) -> int:
    item_id = kissa.item_id(person, **fields)
    desk.does("/admin/queue", act="approve", item=item_id)
    return item_id


def test_reports(kissa: Kissa, desk: Browser, alice: Person, bob: Person) -> None:
    left, taken = (listed(kissa, desk, alice, name=f"{EVIL}.png") for _ in range(2))
    browser = Browser(kissa, "bob")
    for item_id in (left, taken):
        browser.does(f"/{item_id}/report", text=f"{EVIL} {item_id}")
    page = desk.text("/admin/reports")
    assert "<img src=x" not in page
    assert "1337" not in page
    assert "reported by bob" in page
    assert ids(page) == [taken, left]
    first = Report.get(Report.item == left).id
    assert desk.does(f"/admin/reports/{first}/close") == "/admin/reports"
    assert error_of(desk.post(f"/admin/reports/{first}/close"))[0] == 404
    assert ids(desk.text("/admin/reports")) == [taken]
    assert desk.does("/admin/uploads/delete", item=taken, back="reports") == "/admin/reports"
    assert "No open reports" in desk.text("/admin/reports")
    assert browser.get(f"/{taken}").status_code == 404
    assert browser.get(f"/{left}").status_code == 200
    assert [act for act, _ in audit()][2:] == ["close report", "delete file"]


def test_uploads(
    kissa: Kissa, desk: Browser, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = kissa.upload_name(alice, name=f"{EVIL}.txt")
    by_bob, plain = kissa.item_id(bob), Item.get(Item.name == name).id
    assert ids(desk.text("/admin/uploads")) == [by_bob, plain]
    assert ids(desk.text(f"/admin/uploads?name={name}")) == [plain]
    assert ids(desk.text(f"/admin/uploads?name={name[:-1]}")) == []
    assert ids(desk.text(f"/admin/uploads?name={name}&user=bob")) == []
    assert ids(desk.text("/admin/uploads?user=BOB")) == [by_bob]
    assert error_of(desk.get("/admin/uploads?user=nobody"))[0] == 404
    page = desk.text("/admin/uploads")
    assert "<img src=x" not in page
    assert str(Item.get_by_id(by_bob).pending_name) not in page
    monkeypatch.setattr(admin_pages, "PER_PAGE", 1)
    assert f"?before={by_bob}" in desk.text("/admin/uploads")
    assert ids(desk.text(f"/admin/uploads?before={by_bob}")) == [plain]
    assert desk.does("/admin/uploads/delete", item=by_bob) == "/admin/uploads"
    desk.does("/admin/uploads/delete", item=plain, back="https://evil")
    assert kissa.files() == set()
    for gone in (plain, "x", "9" * 30, ""):
        assert error_of(desk.post("/admin/uploads/delete", item=gone))[0] == 404


# Registration keys, audit, numbers


def test_registration_keys(kissa: Kissa, desk: Browser) -> None:
    answer = desk.post("/admin/keys")
    (link,) = set(re.findall(r"http://kissa\.example(/signup\?key=[0-9a-f-]{36})", answer.text))
    key = link.rpartition("=")[2]
    page = desk.text("/admin/keys")
    assert key not in page
    assert f"<code>…{key[-4:]}</code>" in page
    assert "made by admin" in page
    assert f'value="{key}"' in Browser(kissa).text(link)
    Browser(kissa).does("/signup", username="carol", password=PASSWORD, again=PASSWORD, key=key)
    assert "No key is open" in desk.text("/admin/keys")
    desk.post("/admin/keys")
    number = RegistrationKey.select().order_by(RegistrationKey.id.desc()).get().id
    desk.does(f"/admin/keys/{number}/revoke")
    assert "No key is open" in desk.text("/admin/keys")
    assert error_of(desk.post(f"/admin/keys/{number}/revoke"))[0] == 404


def test_no_keys_where_nobody_needs_one(start: Start) -> None:
    kissa = start()
    kissa.person("admin", admin=True)
    desk = Browser(kissa, "admin")
    assert "nobody needs a key" in desk.text("/admin/keys")
    assert error_of(desk.post("/admin/keys"))[0] == 409


def test_audit(kissa: Kissa, desk: Browser, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    number = user_id("alice")
    desk.does(f"/admin/users/{number}/ban")
    desk.does(f"/admin/users/{number}/unban")
    own = user_id("admin")
    rows = re.findall(
        r"<td>(\w* #\d+)</td><td>(\w+)</td><td>([^<]*)</td>", desk.text("/admin/audit")
    )
    assert rows == [
        (f"admin #{own}", "unban", f"#{number}"),
        (f"admin #{own}", "ban", f"#{number}"),
    ]
    monkeypatch.setattr(admin_pages, "PER_PAGE", 1)
    older = re.search(r'href="(\?before=\d+)"', desk.text("/admin/audit"))
    assert older
    assert "<td>ban</td>" in desk.text(f"/admin/audit{older[1]}")


def test_numbers(start: Start, clock: Clock) -> None:
    kissa = start()
    alice = kissa.person("alice")
    kissa.person("admin", admin=True)
    kissa.upload(alice, b"x" * 3000, "a.txt")
    clock.advance(days=1)
    kissa.item_id(alice)
    kissa.item_id(alice)
    clock.advance(days=29)
    page = Browser(kissa, "admin").text("/admin")
    assert "<dt>Files</dt><dd>3</dd>" in page
    assert ">2</a></dd>" in page  # users
    day = re.findall(r"<title>2026-11-22: ([^<]*)</title>", page)
    assert day == ["2", f"{2 * len(PNG)} B"]
    assert "2026-11-21" not in page  # thirty days, and this is the thirty-first
    assert "uploads, 2026-11-22 to 2026-12-21, at most 2 a day" in page
    assert 'aria-label="image 2, text 1"' in page
    kissa.post("/api/user/delete", alice.by_password)
    later = Browser(kissa, "admin").text("/admin")
    assert "2026-11-22: 2" in later  # what came in stays counted
