"""What admins take down: refused from then on where they say so, and its owner told why."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

import takedown
from models import Item, Notice, RefusedContent
from tests.conftest import PNG, Clock, Kissa, Person
from tests.people import Browser, audit, error_of

Start = Callable[..., Kissa]
SENTENCE = "An admin has taken this content down; this host does not take it again."
BAD, GOOD = b"bad content", b"good content"


def ids() -> list[int]:
    return [item.id for item in Item.select().order_by(Item.id)]


def delete(kissa: Kissa, admin: Person, way: str, **inputs: str) -> TestResponse:
    """An admin's delete of the newest item, by one of the four ways."""
    item = Item.select().order_by(Item.id.desc()).get()
    if way == "nekos":
        headers = admin.by_admin_token | {"file": item.name} | inputs
        return kissa.post("/api/admin/delete/file", headers)
    if way == "f0ckm":
        headers = admin.by_admin_token | inputs
        return kissa.client.delete(f"/api/v2/items/{item.id}", headers=headers)
    browser = Browser(kissa, admin.username)
    if way == "list":
        return browser.post("/admin/uploads/delete", item=item.id, **inputs)
    return browser.post(f"/{item.id}/delete", **inputs)


def send(kissa: Kissa, person: Person, api: str, content: bytes = BAD) -> TestResponse:
    """An upload of these bytes, under whatever name, by one of the three ways."""
    if api == "nekos":
        return kissa.upload(person, content, "other.txt")
    if api == "f0ckm":
        return kissa.list_item(person, content, "other.txt")
    data: dict[str, Any] = {"file": (io.BytesIO(content), "other.txt")}
    headers = {"Sec-Fetch-Site": "same-origin", "Accept": "application/json"}
    return Browser(kissa, person.username).client.post("/upload", data=data, headers=headers)


@pytest.mark.parametrize("way", ["nekos", "f0ckm", "list", "page"])
def test_refused_from_then_on(
    kissa: Kissa, alice: Person, bob: Person, admin: Person, way: str
) -> None:
    kissa.upload_name(alice, BAD)
    kissa.upload_name(bob, BAD)
    kissa.item_id(alice, content=BAD)
    answer = delete(kissa, admin, way, refuse="1", reason="not here")
    assert answer.status_code in (200, 303), answer.text
    (row,) = takedown.list_refused()
    assert row.reason == "not here"
    assert row.admin is not None
    assert row.admin.username == "admin"
    assert ids() == [1, 2], "copies that are there stay"
    files = kissa.files()
    for person in (alice, bob, admin):
        for api in ("nekos", "f0ckm", "web"):
            refused = send(kissa, person, api)
            assert refused.status_code == 451
            told = refused.text if api == "nekos" else refused.get_json()
            assert (
                told
                == {
                    "nekos": SENTENCE,
                    "f0ckm": {"success": False, "msg": SENTENCE},
                    "web": {"error": SENTENCE},
                }[api]
            )
    plain = Browser(kissa, "alice").client.post(
        "/upload",
        data={"file": (io.BytesIO(BAD), "x.txt")},
        headers={"Sec-Fetch-Site": "same-origin"},
    )
    assert error_of(plain) == (451, SENTENCE)
    assert kissa.files() == files
    assert [send(kissa, bob, api, GOOD).status_code for api in ("nekos", "f0ckm", "web")] == [
        200
    ] * 3
    assert audit()[-2:] == [("delete file", "item 3 of #1"), ("refuse content", "of item 3")]


@pytest.mark.parametrize("way", ["nekos", "f0ckm", "list", "page"])
@pytest.mark.parametrize("inputs", [{}, {"refuse": "0"}, {"refuse": "no"}, {"reason": "spam"}])
def test_not_refused_unless_said(
    kissa: Kissa, alice: Person, admin: Person, way: str, inputs: dict[str, str]
) -> None:
    kissa.item_id(alice, content=BAD)
    assert delete(kissa, admin, way, **inputs).status_code in (200, 303)
    assert not RefusedContent.select().exists()
    assert send(kissa, alice, "nekos").status_code == 200
    notice = Notice.get()
    assert (notice.reason, notice.is_refused) == (inputs.get("reason", ""), False)


@pytest.mark.parametrize("way", ["nekos", "f0ckm", "list", "page"])
def test_a_reason_that_is_too_long(kissa: Kissa, alice: Person, admin: Person, way: str) -> None:
    kissa.item_id(alice)
    assert delete(kissa, admin, way, reason="x" * 501, refuse="1").status_code == 400
    assert ids() == [1]
    assert not RefusedContent.select().exists()
    assert not Notice.select().exists()


def test_documented_answers_stay(kissa: Kissa, alice: Person, admin: Person) -> None:
    name = kissa.upload_name(alice)
    answer = delete(kissa, admin, "nekos", refuse="1")
    assert answer.text == f"{name} has been deleted!"
    kissa.item_id(alice, content=GOOD)
    answer = delete(kissa, admin, "f0ckm", refuse="1")
    assert answer.get_json() == {"success": True, "msg": "The item has been deleted."}


def test_an_owner_s_own_delete_refuses_nothing(kissa: Kissa, alice: Person) -> None:
    name = kissa.upload_name(alice)
    inputs = {"file": name, "refuse": "1", "reason": "x"}
    assert kissa.post("/api/files/delete", alice.by_token | inputs).status_code == 200
    item_id = kissa.item_id(alice)
    headers = alice.by_key | {"refuse": "1"}
    assert kissa.client.delete(f"/api/v2/items/{item_id}", headers=headers).status_code == 200
    item_id = kissa.item_id(alice)
    Browser(kissa, "alice").does(f"/{item_id}/delete", refuse="1")
    assert not RefusedContent.select().exists()
    assert not Notice.select().exists()


def test_an_admin_s_own_file_makes_no_notice(kissa: Kissa, admin: Person) -> None:
    kissa.upload_name(admin, BAD)
    delete(kissa, admin, "nekos", refuse="1")
    assert RefusedContent.select().count() == 1
    assert not Notice.select().exists()
    assert send(kissa, admin, "nekos").status_code == 451


def test_twice_is_once(kissa: Kissa, alice: Person, bob: Person, admin: Person) -> None:
    kissa.upload_name(alice, BAD)
    kissa.upload_name(bob, BAD)
    delete(kissa, admin, "nekos", refuse="1", reason="first")
    delete(kissa, admin, "nekos", refuse="1", reason="second")
    assert [row.reason for row in RefusedContent.select()] == ["first"]
    assert Notice.select().count() == 2


def test_lifted(kissa: Kissa, alice: Person, admin: Person) -> None:
    kissa.upload_name(alice, BAD)
    delete(kissa, admin, "nekos", refuse="1", reason="<b>why</b>")
    desk = Browser(kissa, "admin")
    text = desk.text("/admin/refused")
    assert RefusedContent.get().sha256.hex()[:16] in text
    assert RefusedContent.get().sha256.hex() not in text
    assert "&lt;b&gt;why" in text
    assert "by admin," in text
    assert desk.does("/admin/refused/1/lift") == "/admin/refused"
    assert "Nothing is refused" in desk.text("/admin/refused")
    assert error_of(desk.post("/admin/refused/1/lift"))[0] == 404
    assert send(kissa, alice, "f0ckm").status_code == 200
    assert audit()[-1] == ("lift refusal", "refusal 1")


def test_many_are_shown_by_page(kissa: Kissa, alice: Person, admin: Person) -> None:
    for number in range(61):
        kissa.upload_name(alice, b"%d" % number)
        delete(kissa, admin, "nekos", refuse="1")
    desk = Browser(kissa, "admin")
    first = desk.text("/admin/refused")
    assert first.count("/lift") == 60
    older = re.search(r'rel="next" href="([^"]*)"', first)
    assert older
    assert desk.text(f"/admin/refused{older[1]}").count("/lift") == 1


def test_a_refusal_outlives_its_admin(kissa: Kissa, alice: Person, admin: Person) -> None:
    kissa.upload_name(alice, BAD)
    delete(kissa, admin, "nekos", refuse="1")
    other = kissa.person("other", admin=True)
    assert kissa.post("/api/user/delete", admin.by_password).status_code == 200
    assert send(kissa, alice, "nekos").status_code == 451
    assert "an admin who is gone" in Browser(kissa, other.username).text("/admin/refused")


def test_the_owner_is_told(
    kissa: Kissa, alice: Person, bob: Person, admin: Person, clock: Clock
) -> None:
    name = kissa.upload_name(alice, BAD, "<i>cat.txt")
    delete(kissa, admin, "nekos", refuse="1", reason="somebody else's work")
    browser = Browser(kissa, "alice")
    text = browser.text("/files")
    assert "&lt;i&gt;cat.txt" in text
    assert name in text
    assert "somebody else&#39;s work" in text
    assert "does not take the same content again" in text
    assert '<time datetime="2026-11-21T12:00:00Z"' in text
    assert "taken down" not in Browser(kissa, "bob").text("/files")
    assert error_of(Browser(kissa, "bob").post("/files/notices/1/dismiss"))[0] == 404
    assert browser.does("/files/notices/1/dismiss") == "/files"
    assert "taken down" not in browser.text("/files")
    assert error_of(browser.post("/files/notices/1/dismiss"))[0] == 404


def test_a_notice_is_shown_for_30_days(
    kissa: Kissa, alice: Person, admin: Person, clock: Clock
) -> None:
    kissa.upload_name(alice, BAD)
    delete(kissa, admin, "nekos")
    clock.advance(days=13)
    browser = Browser(kissa, "alice")
    clock.advance(days=13)
    browser.text("/files")
    clock.advance(days=3, hours=23)
    assert "An admin has taken down" in browser.text("/files")
    assert takedown.forget_notices() == 0
    clock.advance(hours=1)
    assert "taken down" not in browser.text("/files")
    assert takedown.forget_notices() == 1


def test_notices_go_with_the_account(kissa: Kissa, alice: Person, admin: Person) -> None:
    kissa.upload_name(alice, BAD)
    delete(kissa, admin, "nekos", refuse="1")
    assert kissa.post("/api/user/delete", alice.by_password).status_code == 200
    assert not Notice.select().exists()
    assert RefusedContent.select().exists()


def test_before_the_quota_and_behind_the_kind(start: Start) -> None:
    kissa = start(uploads_quota_mb=1, uploads_blocked_extensions="exe")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    kissa.upload_name(alice, PNG)
    delete(kissa, admin, "nekos", refuse="1")
    assert kissa.upload(alice, PNG, "a.exe").status_code == 415
    assert kissa.upload(alice, PNG).status_code == 451


def test_the_forms_ask_for_a_reason_of_others_files_alone(
    kissa: Kissa, alice: Person, admin: Person
) -> None:
    kissa.item_id(admin)
    kissa.item_id(alice)
    Browser(kissa, "alice").text("/2")
    desk = Browser(kissa, "admin")
    assert 'name="reason"' not in desk.text("/1")
    assert 'name="refuse" value="1" checked' in desk.text("/2")
    assert desk.text("/admin/uploads").count('name="refuse" value="1" checked') == 1
    assert 'name="reason"' not in Browser(kissa, "alice").text("/2")
