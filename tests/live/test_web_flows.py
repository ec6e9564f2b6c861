"""What people do on the pages, wide and on a phone: accounts, gallery, items, files, settings."""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import PASSWORD, PNG, Person
from tests.live.browser import DEVICES, PLAIN, URL, Site, Visitor, browsing
from tests.live.pictures import picture

pytestmark = pytest.mark.live
MODES = DEVICES | {"plain": PLAIN}  # without scripts
with_scripts = pytest.mark.parametrize("device", DEVICES)
with_and_without = pytest.mark.parametrize("device", MODES)
without_scripts = pytest.mark.parametrize("device", ["plain"])
ANOTHER = "another good password"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with browsing() as site:
        yield site


@pytest.fixture(scope="module")
def alice(site: Site) -> Person:
    return site.person("alice")


@pytest.fixture(scope="module")
def bob(site: Site) -> Person:
    return site.person("bob")


@pytest.fixture
def visit(site: Site, device: str) -> Iterator[Callable[..., Visitor]]:
    """Opens browsers of the device at hand."""

    def open_browser(person: Person | None = None, **more: object) -> Visitor:
        return site.visitor(person, **(MODES[device] | more))

    yield open_browser
    site.close_visitors()


def fill_in(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        page.locator(f"main [name={name}]").fill(value)


def sure(page: Page) -> list[str]:
    """Answer every question with yes. Returns where the questions are told."""
    asked: list[str] = []

    def accept(dialog) -> None:
        asked.append(dialog.message)
        dialog.accept()

    page.on("dialog", accept)
    return asked


@with_and_without
def test_sign_up_in_and_out(visit, device: str) -> None:
    visitor = visit()
    page, name = visitor.open("/"), f"carol-{device}"
    page.get_by_role("banner").get_by_role("link", name="Sign in").click()
    page.get_by_role("link", name="Make an account").click()
    fill_in(page, username=name, password=PASSWORD, again=PASSWORD)
    visitor.press("Make the account")
    expect(page.get_by_role("link", name=name)).to_be_visible()
    cookie = next(one for one in visitor.context.cookies() if one["name"] == "__Host-kissa")
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Lax")
    visitor.press("Sign out")
    expect(page.get_by_role("banner").get_by_role("link", name="Sign in")).to_be_visible()
    visitor.open("/files")  # asks to sign in, and goes on there
    fill_in(page, username=name, password="not this one")
    visitor.press("Sign in")
    expect(page.get_by_role("alert")).to_have_text("The username or the password is wrong.")
    fill_in(page, password=PASSWORD)
    visitor.press("Sign in")
    expect(page).to_have_url(f"{URL}/files")
    expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    visitor.watch.require_clean("status of 401")


@pytest.fixture(scope="module")
def crowd(site: Site, bob: Person) -> None:
    """More items than one page of the gallery holds; of most there is no thumbnail to make."""
    for number in range(64):
        name = f"dot-{number}.{'png' if number > 61 else 'txt'}"
        item_id = site.list_item(bob, PNG, name, tags=f"dots, small, {number % 2 and 'odd'}")
        if number > 61:  # made now: on a loaded machine a page may have to ask for it again
            item = site.server.session.get(f"{site.server.url}/api/v2/items/{item_id}").json()
            thumbnail = item["thumbnail"].partition("/t/")[2]
            assert site.server.get(f"/t/{thumbnail}").status_code == 200


@with_scripts
def test_gallery_filters_and_goes_on(site: Site, crowd: None, visit) -> None:
    visitor = visit()
    page = visitor.open("/?user=bob")
    tiles = page.locator("[data-grid] > li")
    page.locator("footer").scroll_into_view_if_needed()
    expect(tiles).to_have_count(64)
    expect(page.get_by_role("link", name="Older")).to_have_count(0)
    page.get_by_role("searchbox").fill("odd, small")
    visitor.press("Filter")
    expect(page.get_by_role("link", name="Without odd")).to_be_visible()
    expect(tiles).to_have_count(32)
    page.get_by_role("link", name="Without odd").click()
    expect(page.get_by_role("link", name="Without odd")).to_have_count(0)
    expect(page.get_by_role("link", name="Without small")).to_be_visible()
    visitor.watch.require_clean()


@without_scripts
def test_gallery_without_scripts(crowd: None, visit) -> None:
    visitor = visit()
    page = visitor.open("/?user=bob&tag=dots")
    expect(page.locator("[data-grid] > li")).to_have_count(60)
    expect(page.locator("[data-grid] noscript img").first).to_be_visible()
    page.locator("[data-grid] a").first.click()
    expect(page.locator(".stage img")).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="Older").click()
    expect(page.locator("[data-grid] > li")).to_have_count(4)
    visitor.watch.require_clean()


@with_and_without
def test_veil_is_lifted_and_remembered(site: Site, alice: Person, visit) -> None:
    item = site.list_item(alice, picture(1), "secret.jpg", rating="nsfw")
    visitor = visit()
    page = visitor.open("/")
    expect(page.locator(f'[data-grid] a[href="/{item}"]')).to_have_count(0)
    page.get_by_role("link", name="nsfw", exact=True).click()
    expect(page.locator(".tile").first).to_have_class("tile veiled")
    page.locator(".tile a").first.click()
    expect(page.locator(".stage.veiled")).to_have_count(1)
    visitor.press("Show nsfw pictures")
    expect(page.locator(".stage.veiled")).to_have_count(0)
    visitor.open("/?rating=nsfw")
    expect(page.locator(".tile").first).to_have_class("tile")
    visitor.press("Blur nsfw pictures again")
    expect(page.locator(".tile").first).to_have_class("tile veiled")
    visitor.watch.require_clean()


@with_and_without
def test_item(site: Site, alice: Person, bob: Person, visit, device: str) -> None:
    item = site.list_item(alice, picture(2), "cat & <window>.jpg", tags="cat, window, warm")
    reader = visit(bob)
    page = reader.open(f"/{item}")
    expect(page.get_by_role("heading", level=1)).to_have_text("cat & <window>.jpg")
    page.get_by_label("Your comment").fill("What a <b>window</b>!")
    reader.press("Comment")
    expect(page.locator(".comment")).to_contain_text("What a <b>window</b>!")
    page.get_by_text("Report", exact=True).click()
    page.get_by_label("What is wrong with it?").fill("Nothing, really.")
    reader.press("Report to the admins")
    expect(page.get_by_text("Thank you.")).to_be_visible()
    owner = visit(alice)
    page, asked = owner.open(f"/{item}"), sure(owner.page)
    page.get_by_text("Change or delete").click()
    page.get_by_label("nsfw").check()
    page.get_by_label("Tags").fill("cat, view, evening")
    owner.press("Save rating and tags")
    expect(page.get_by_role("link", name="evening", exact=True)).to_be_visible()
    expect(page.locator(".stage.veiled")).to_have_count(1)
    owner.press("Delete comment")
    expect(page.locator(".comment")).to_have_count(0)
    page.get_by_text("Change or delete").click()
    owner.press("Delete this item")
    expect(page).to_have_url(f"{URL}/files")
    assert len(asked) == (device != "plain")
    reader.open(f"/{item}")
    expect(reader.page.get_by_role("heading", name="Nothing here")).to_be_visible()
    reader.watch.require_clean("status of 404")
    owner.watch.require_clean()


@with_scripts
def test_arrows_step_through_items(site: Site, alice: Person, visit) -> None:
    first, second = (
        site.list_item(alice, picture(number), "a.jpg", tags="x, y, steps") for number in (1, 2)
    )
    visitor = visit()
    page = visitor.open(f"/{second}?tag=steps&user=alice")
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(f"{URL}/{first}\\?"))
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(re.compile(f"{URL}/{second}\\?"))
    visitor.watch.require_clean()


@with_scripts
def test_my_files(site: Site, visit, device: str) -> None:
    dora = site.person(f"dora-{device}")
    names = [site.server.upload(dora, b"note", f"note-{number}.txt") for number in range(4)]
    visitor = visit(dora, permissions=["clipboard-read", "clipboard-write"])
    page, asked = visitor.open("/files"), sure(visitor.page)
    boxes = page.locator("input[name=id]")
    boxes.nth(0).check()
    boxes.nth(1).check()
    visitor.press("Copy 2 links")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    links = str(page.evaluate("navigator.clipboard.readText()")).splitlines()
    assert [link.rpartition("/")[2] for link in links] == names[:1:-1]
    visitor.press("Delete 2 files")
    expect(page.get_by_role("status")).to_have_text("2 files are gone.")
    assert asked == ["Delete 2 files? Nobody can bring them back."]
    assert site.server.files() & set(names) == set(names[:2])
    page.get_by_role("searchbox").fill("note-1")
    visitor.press("Search")
    expect(boxes).to_have_count(1)
    visitor.watch.require_clean()


@without_scripts
def test_my_files_without_scripts(site: Site, visit, device: str) -> None:
    dora = site.person(f"dora-plain-{device}")
    for number in range(2):
        site.server.upload(dora, PNG, f"note-{number}.png")
    visitor = visit(dora)
    page = visitor.open("/files")
    page.locator("input[name=id]").nth(0).check()
    visitor.press("Delete the chosen files")
    visitor.press("Delete 1 file")
    expect(page.get_by_role("status")).to_have_text("1 file is gone.")
    expect(page.locator("input[name=id]")).to_have_count(1)


@with_scripts
def test_settings(site: Site, visit, device: str) -> None:
    erin = site.person(f"erin-{device}")
    visitor, other = visit(erin), visit(erin)
    page = visitor.open("/settings")
    sure(page)
    assert erin.token not in page.content()
    visitor.press("Show the token")
    expect(page.locator("code[aria-label='Upload token']")).to_have_text(erin.token)
    page.get_by_label("Name of a new key").fill("laptop")
    visitor.press("Make a key")
    key = page.locator("code[aria-label='API key']").inner_text()
    answer = site.server.get("/api/v2/items", {"X-Api-Key": key})
    assert answer.status_code == 200
    page.get_by_role("button", name=re.compile("Revoke the key laptop")).click()
    expect(page.get_by_text("The key is revoked.")).to_be_visible()
    expect(page.get_by_text("laptop", exact=True)).to_have_count(0)
    for button, path in (
        ("For links to its page: download the ShareX file", "/api/files/upload"),
        (
            "For links to the file: make a key and download the ShareX file for the gallery",
            "/api/v2/upload",
        ),
    ):
        with page.expect_download() as download:
            visitor.press(button)
        uploader = json.loads(download.value.path().read_text())
        assert download.value.suggested_filename.endswith(".sxcu")
        assert uploader["RequestURL"] == URL + path
        assert uploader["URL"].startswith("{header:X-")
    other.open("/files")
    expect(other.page.get_by_role("heading", name="My files")).to_be_visible()
    fill_in(page, old=PASSWORD, new=ANOTHER, again=ANOTHER)
    visitor.press("Change the password")
    expect(page.get_by_text("The password is changed")).to_be_visible()
    other.open("/files")
    expect(other.page.get_by_role("heading", name="Sign in")).to_be_visible()
    visitor.watch.require_clean()


@with_scripts
def test_ended_session_is_out(site: Site, visit, device: str) -> None:
    finn = site.person(f"finn-{device}")
    visitor, other = visit(finn), visit(finn, user_agent="Mozilla/5.0 (X11; Linux) Firefox/999.0")
    other.open("/files")
    page = visitor.open("/settings")
    page.get_by_role("button", name="Sign out Firefox on Linux").click()
    expect(page.get_by_text("Signed out there.")).to_be_visible()
    other.page.get_by_role("link", name="Upload", exact=True).click()
    expect(other.page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_role("link", name="Delete my account …").click()
    page.get_by_label("Your password").fill(PASSWORD)
    visitor.press("Delete the account")
    expect(page.get_by_role("heading", name="The account is gone")).to_be_visible()
    visitor.watch.require_clean()
