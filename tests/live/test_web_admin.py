"""What admins do on the pages, wide and on a phone, by keys and by form."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.conftest import PNG, Person
from tests.live.browser import DEVICES, URL, Site, Visitor, browsing

pytestmark = [pytest.mark.live, pytest.mark.parametrize("device", DEVICES)]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with browsing(gallery_manual_approval="true", accounts_invite_only="true") as site:
        yield site


@pytest.fixture(scope="module")
def miriam(site: Site) -> Person:
    return site.person("miriam", admin=True)


@pytest.fixture
def admin(site: Site, miriam: Person, device: str) -> Iterator[Visitor]:
    """The admin's browser, which answers every question with yes."""
    visitor = site.visitor(miriam, **DEVICES[device])
    visitor.page.on("dialog", lambda dialog: dialog.accept())
    yield visitor
    visitor.watch.require_clean()
    site.close_visitors()


@pytest.fixture
def guest(site: Site, miriam: Person, device: str, request: pytest.FixtureRequest) -> Person:
    """Somebody new for each test."""
    key = site.server.ask("/api/admin/regkeygen", miriam.by_admin_token)["regkey"]
    name = f"{device}-{request.node.originalname[5:]}".replace("_", "-")[:32].rstrip("-")
    return site.person(name, key=key)


def wait_for_approval(site: Site, person: Person, count: int) -> list[int]:
    """New waiting items, newest first as in the queue; texts, which need no thumbnails."""
    names = [f"{person.username}-{number}.txt" for number in range(count)]
    return [site.list_item(person, b"text", name) for name in names][::-1]


def states(site: Site, ids: list[int]) -> list[str]:
    return [site.server.rows("select state from item where id = ?", one)[0][0] for one in ids]


def test_queue_by_keys(site: Site, admin: Visitor, guest: Person) -> None:
    ids = wait_for_approval(site, guest, 4)
    page = admin.open("/admin/queue")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("a")  # the first one, on which it stands
    expect(page.get_by_role("status")).to_have_text("1 approved")
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    page.keyboard.press("r")  # the two that are ticked
    expect(page.get_by_role("status")).to_have_text("2 rejected")
    assert states(site, ids) == ["listed", "rejected", "rejected", "pending"]
    page.get_by_label("Reason for rejecting").fill("a reason with a and r in it")
    assert states(site, ids)[3] == "pending"  # letters in the field decide nothing
    page.get_by_label("All", exact=True).check()
    admin.press("Reject the ticked")
    expect(page.get_by_text("Nothing waits.")).to_be_visible()
    owner = site.visitor(guest)
    owner.open("/files")
    expect(owner.page.get_by_text("a reason with a and r in it")).to_be_visible()


def test_queue_without_scripts(site: Site, miriam: Person, guest: Person, device: str) -> None:
    ids = wait_for_approval(site, guest, 3)
    visitor = site.visitor(miriam, **(DEVICES[device] | {"java_script_enabled": False}))
    page = visitor.open("/admin/queue")
    boxes = page.locator("input[name=item]")
    boxes.nth(0).check()
    boxes.nth(2).check()
    visitor.press("Approve the ticked")
    expect(page.get_by_role("status")).to_have_text("2 approved")
    boxes.nth(0).check()
    visitor.press("Reject the ticked")
    expect(page.get_by_role("status")).to_have_text("1 rejected")
    assert states(site, ids) == ["listed", "rejected", "listed"]
    visitor.watch.require_clean()
    visitor.close()


def test_waiting_item_is_seen_by_owner_and_admin_alone(
    site: Site, admin: Visitor, guest: Person
) -> None:
    item = site.list_item(guest, PNG, "waiting.png")
    admin.open("/admin/queue")
    expect(admin.page.locator("img[data-shown]").first).to_be_visible()
    admin.page.get_by_role("link", name="waiting.png").first.click()
    expect(admin.page.locator(".stage img")).to_be_visible()
    visitor = site.visitor()
    visitor.open(f"/{item}")
    expect(visitor.page.get_by_role("heading", name="Nothing here")).to_be_visible()
    admin.open("/admin/queue")
    admin.page.get_by_label("All", exact=True).check()
    admin.press("Approve the ticked")
    expect(admin.page.get_by_role("status")).to_be_visible()
    visitor.open(f"/{item}")
    expect(visitor.page.locator(".stage img")).to_be_visible()


def test_takedown_and_reports(
    site: Site, admin: Visitor, miriam: Person, guest: Person, device: str
) -> None:
    (item,) = wait_for_approval(site, guest, 1)
    site.server.ask(f"/api/v2/queue/{item}/approve", miriam.by_admin_token)
    reporter = site.visitor(miriam)
    for text in ("first", "second"):
        page = reporter.open(f"/{item}")
        page.get_by_text("Report", exact=True).click()
        page.get_by_label("What is wrong with it?").fill(f"{text} of {guest.username}")
        reporter.press("Report to the admins")
        expect(page.get_by_text("Thank you.")).to_be_visible()
    page = admin.open("/admin/reports")
    rows = page.locator(".rows > li").filter(has_text=guest.username)
    count = rows.count()
    rows.first.get_by_role("button", name="Leave the item, close").click()
    expect(rows).to_have_count(count - 1)
    assert states(site, [item]) == ["listed"]
    name = site.server.upload(guest, b"bad", "bad.txt")
    page = admin.open(f"/admin/uploads?name={name}")
    expect(page.locator(".rows > li")).to_have_count(1)
    page.get_by_text("Delete …").click()
    page.get_by_label("Reason, which the owner is told").fill("Not here, please.")
    expect(page.get_by_label("Refuse this content from now on")).to_be_checked()
    admin.press("Delete it")
    page.wait_for_url(f"{URL}/admin/uploads")
    assert name not in site.server.files()
    told = site.visitor(guest)
    notice = told.open("/files").get_by_role("status").filter(has_text="bad.txt")
    expect(notice).to_contain_text("Not here, please.")
    again = site.server.post(
        "/api/files/upload", guest.by_token, files={"uploadFile": ("x.txt", b"bad")}
    )
    assert again.status_code == 451
    told.press("Dismiss")
    expect(notice).to_have_count(0)
    told.close()
    admin.open("/admin/refused")
    admin.press("Lift")
    expect(page.get_by_text("Nothing is refused.")).to_be_visible()
    admin.open("/admin/audit")
    expect(page.get_by_role("cell", name=f"#{1}").first).to_be_visible()


def test_banned_is_out_at_the_next_click(site: Site, admin: Visitor, guest: Person) -> None:
    banned = site.visitor(guest)
    banned.open("/files")
    page = admin.open(f"/admin/users?q={guest.username}")
    page.get_by_text("Act", exact=True).click()
    admin.press("Ban")
    page.wait_for_url(f"{URL}/admin/users")
    banned.page.get_by_role("link", name="Upload", exact=True).click()
    expect(banned.page.get_by_role("heading", name="Sign in")).to_be_visible()
    page = admin.open(f"/admin/users?q={guest.username}")
    expect(page.get_by_text("banned", exact=True)).to_be_visible()
    page.get_by_text("Act", exact=True).click()
    page.get_by_label("Quota in MB").fill("5")
    admin.press("Set quota")
    page = admin.open(f"/admin/users?q={guest.username}")
    expect(page.get_by_text("of 5 MB")).to_be_visible()
    page.get_by_text("Act", exact=True).click()
    page.get_by_label(f"Type {guest.username} to confirm").fill(guest.username)
    page.get_by_role("button", name="Delete account and").click()
    page.wait_for_url(f"{URL}/admin/users")
    assert site.server.rows("select 1 from user where username = ?", guest.username) == []


def test_registration_key_and_its_link(site: Site, admin: Visitor, device: str) -> None:
    page = admin.open("/admin/keys")
    admin.press("Make a key")
    link = page.get_by_role("link", name=f"{URL}/signup?key=").get_attribute("href")
    assert link
    visitor = site.visitor(**DEVICES[device])
    visitor.page.goto(link)
    for name, value in {"username": f"guest-{device}", "password": "long enough"}.items():
        visitor.page.locator(f"main [name={name}]").fill(value)
    visitor.page.locator("main [name=again]").fill("long enough")
    visitor.press("Make the account")
    expect(visitor.page.get_by_role("button", name="Sign out")).to_be_visible()
    admin.open("/admin/keys")
    admin.press("Make a key")
    page = admin.open("/admin/keys")
    while (count := page.get_by_role("button", name="Revoke").count()) > 0:
        page.get_by_role("button", name="Revoke").first.click()
        expect(page.get_by_role("button", name="Revoke")).to_have_count(count - 1)
