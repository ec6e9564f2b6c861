"""Albums in a real browser: looked through, put into order by mouse, finger and keys, filled,
renamed, downloaded, ended; wide, on a phone, and without scripts."""

import zipfile
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.conftest import Person
from tests.live.browser import DEVICES, PLAIN, URL, Site, Visitor, browsing, settle
from tests.live.conftest import until
from tests.live.pictures import picture
from tests.live.test_web_pages import look
from tests.live.world import TEXT, silence, video

pytestmark = pytest.mark.live
with_scripts = pytest.mark.parametrize("device", DEVICES)
without_scripts = pytest.mark.parametrize("device", ["plain"])
LONG = "A title that goes on " * 4 + "to an end."
Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with browsing(uploads_per_minute=0, gallery_min_tags=0) as site:
        yield site


@pytest.fixture
def visit(site: Site, device: str) -> Iterator[Visit]:
    """Opens browsers of the device at hand."""

    def open_browser(person: Person | None = None, **more: object) -> Visitor:
        options = (DEVICES | {"plain": PLAIN})[device]
        return site.visitor(person, **(options | {"reduced_motion": "reduce"} | more))

    yield open_browser
    site.close_visitors()


def fill(site: Site, person: Person, files: dict[str, bytes], title: str = "Summer") -> str:
    """The path of an album with these files."""
    for name, content in files.items():
        headers = person.by_token | {"album": title}
        answer = site.server.post(
            "/api/files/upload", headers, files={"uploadFile": (name, content)}
        )
        assert answer.status_code == 200, answer.text
    return str(answer.headers["X-Album-URL"]).removeprefix(URL)


def views(count: int, *, small: bool = True) -> dict[str, bytes]:
    size = (240, 180) if small else (960, 720)
    return {f"view-{number}.jpg": picture(number, size) for number in range(count)}


def shown(page: Page) -> str:
    """The order on the page, by the number in each name."""
    names = page.locator(".tile .what > span:first-child").all_text_contents()
    return "".join(name.partition("-")[2].partition(".")[0] for name in names)


def kept(site: Site, path: str) -> str:
    """The order in the database."""
    rows = site.server.rows(
        "SELECT original_name FROM album JOIN album_item ON album_id = album.id"
        " JOIN item ON item_id = item.id WHERE album.name = ? ORDER BY position",
        path.rpartition("/")[2],
    )
    return "".join(name.partition("-")[2].partition(".")[0] for (name,) in rows)


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=4)
    page.mouse.move(*end, steps=4)
    page.wait_for_timeout(100)  # some frames, in which the page sees where the pointer is
    page.mouse.up()


def point(page: Page, number: int, x: float, part: str = ".tile") -> tuple[float, float]:
    """A point of the `number`-th tile: `x` from 0, its left edge, to 1."""
    box = page.locator("[data-arrange] > li").nth(number).locator(part).bounding_box()
    assert box
    return box["x"] + box["width"] * x, box["y"] + box["height"] / 2


@with_scripts
def test_order_by_keys(site: Site, visit: Visit, device: str) -> None:
    person = site.person(f"keys-{device}")
    path = fill(site, person, views(5))
    visitor = visit(person)
    page = visitor.open(path)
    settle(page)  # so that no thumbnail is left to be made, and refused, meanwhile
    page.get_by_role("link", name="Arrange").click()
    page.wait_for_url("**?arrange=1")  # loaded: the buttons are there before who listens to them
    grip = page.get_by_role("button", name="Move view-3.jpg")
    grip.focus()
    for key, order, said in (
        ("ArrowLeft", "01324", "3 of 5"),
        ("ArrowRight", "01234", "4 of 5"),
        ("Home", "30124", "1 of 5"),
        ("ArrowLeft", "30124", "1 of 5"),
        ("End", "01243", "5 of 5"),
        ("ArrowRight", "01243", "5 of 5"),
        ("ArrowUp", "30124" if device == "wide" else "01324", "of 5"),
    ):
        page.keyboard.press(key)
        expect(grip).to_be_focused()
        assert shown(page) == order, key
        expect(page.get_by_role("status")).to_contain_text("view-3.jpg is now")
        expect(page.get_by_role("status")).to_contain_text(said)
    page.get_by_role("button", name="view-4.jpg one place earlier").click()
    order = shown(page)
    until(lambda: kept(site, path) == order, "the order is kept")
    page.reload()
    settle(page)
    assert shown(page) == order
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_role("link", name="Arrange")).to_be_visible()
    assert shown(page) == order
    visitor.watch.require_clean()


@with_scripts
def test_order_by_mouse(site: Site, visit: Visit, device: str) -> None:
    person = site.person(f"mouse-{device}")
    path = fill(site, person, views(4))
    visitor = visit(person)
    page = visitor.open(f"{path}?arrange=1")
    settle(page)
    handle = "[data-grip]"
    drag(page, point(page, 0, 0.5, handle), point(page, 2, 0.9))
    expect(page.get_by_role("status")).to_have_text("view-0.jpg is now 3 of 4")
    assert shown(page) == "1203"
    drag(page, point(page, 3, 0.5, handle), point(page, 0, 0.1))
    assert shown(page) == "3120"
    if device == "wide":  # with a mouse the picture itself is taken
        drag(page, point(page, 1, 0.5), point(page, 2, 0.9))
        assert shown(page) == "3210"
    order = shown(page)
    until(lambda: kept(site, path) == order, "the order is kept")
    page.mouse.move(*point(page, 0, 0.5, handle))
    page.mouse.down()
    page.mouse.move(*point(page, 3, 0.9), steps=4)
    page.keyboard.press("Escape")
    page.mouse.up()
    assert shown(page) == kept(site, path) == order
    visitor.watch.require_clean()


@pytest.mark.parametrize("device", ["phone"])
def test_order_by_finger(site: Site, visit: Visit) -> None:
    person = site.person("finger")
    path = fill(site, person, views(4))
    visitor = visit(person)
    page = visitor.open(f"{path}?arrange=1")
    settle(page)
    touch = page.context.new_cdp_session(page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        told = [{"x": x, "y": y} for x, y in points]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": told})

    x, y = point(page, 0, 0.5, "[data-grip]")
    end_x, end_y = point(page, 3, 0.9)
    send("touchStart", (x, y))
    for share in (0.25, 0.5, 0.75, 1):
        send("touchMove", (x + (end_x - x) * share, y + (end_y - y) * share))
    expect(page.locator("[data-arrange] > .behind")).to_have_count(1)
    send("touchEnd")
    expect(page.get_by_role("status")).to_have_text("view-0.jpg is now 4 of 4")
    until(lambda: kept(site, path) == "1230", "the order is kept")
    visitor.watch.require_clean()


@with_scripts
def test_an_order_that_is_not_kept_is_told(site: Site, visit: Visit, device: str) -> None:
    person = site.person(f"lost-{device}")
    path = fill(site, person, views(3))
    visitor = visit(person)
    page = visitor.open(f"{path}?arrange=1")
    settle(page)
    page.route("**/move", lambda route: route.fulfill(status=503, body="{}"))
    with page.expect_navigation():
        page.get_by_role("button", name="view-0.jpg one place later").click()
    expect(page.get_by_role("alert")).to_contain_text("could not be kept")
    settle(page)
    assert shown(page) == kept(site, path) == "012"
    visitor.watch.require_clean("status of 503")


@without_scripts
def test_order_without_scripts(site: Site, visit: Visit, device: str) -> None:
    person = site.person("plain")
    path = fill(site, person, {f"view-{number}.txt": TEXT for number in range(3)})
    visitor = visit(person)
    page = visitor.open(path)
    page.get_by_role("link", name="Arrange").click()
    page.get_by_role("button", name="view-0.txt one place later").click()
    assert page.url.startswith(f"{URL}{path}?arrange=1#i")
    assert shown(page) == "102"
    page.get_by_role("button", name="Take view-2.txt out of the album").click()
    assert shown(page) == kept(site, path) == "10"
    expect(page.get_by_role("button", name="Move view-0.txt")).to_have_count(0)
    page.get_by_role("link", name="Done").click()
    page.locator("[data-album] a").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("view-1.txt")


@with_scripts
def test_looking_through(site: Site, visit: Visit, device: str) -> None:
    person = site.person(f"looks-{device}")
    files = {"view-0.jpg": picture(0), "purr.wav": silence(), "view-1.jpg": picture(1)}
    path = fill(site, person, files)
    visitor = visit()
    page = visitor.open(path)
    settle(page)
    first = page.get_by_role("link", name="view-0.jpg")
    first.click()
    caption = page.locator("[data-caption]")
    expect(caption).to_have_text("view-0.jpg · 1 of 2")
    picture_shown = page.locator("[data-stage] img")
    until(lambda: picture_shown.evaluate("one => one.naturalWidth") == 960, "it is there")
    page.keyboard.press("ArrowRight")
    expect(caption).to_have_text("view-1.jpg · 2 of 2")
    page.get_by_role("button", name="Next").click()
    expect(caption).to_have_text("view-0.jpg · 1 of 2")
    page.keyboard.press("Escape")
    expect(caption).to_be_hidden()
    expect(first).to_be_focused()
    first.click()
    page.get_by_role("link", name="Open", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("view-0.jpg")
    visitor.watch.require_clean()


@with_scripts
def test_download(site: Site, visit: Visit, device: str) -> None:
    person = site.person(f"loads-{device}")
    path = fill(
        site, person, views(3) | {"VIEW-1.jpg": picture(5, (240, 180))}, title="Süße Katzen: 1/2"
    )
    visitor = visit()
    page = visitor.open(path)
    settle(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all").click()
    assert download.value.suggested_filename == "Süße Katzen_ 1_2.zip"
    with zipfile.ZipFile(download.value.path()) as found:
        assert found.testzip() is None
        assert found.namelist() == ["view-0.jpg", "view-1.jpg", "view-2.jpg", "VIEW-1 (2).jpg"]
    visitor.watch.require_clean()


@with_scripts
def test_filling_renaming_ending(site: Site, visit: Visit, device: str) -> None:
    person = site.person(f"fills-{device}")
    visitor = visit(person)
    page = visitor.open("/files")
    for name in ("one.txt", "two.txt"):
        site.server.upload(person, TEXT, name)
    page.reload()
    page.get_by_label("Choose one.txt").check()
    page.get_by_label("Album, yours or a new one").fill("Cats & <dogs>")
    visitor.press("Add to album")
    expect(page.get_by_role("heading", level=1)).to_have_text("Cats & <dogs>")
    page.get_by_role("link", name="Add files").click()
    expect(page.get_by_label("Into an album")).to_have_value("Cats & <dogs>")
    file: FilePayload = {"name": "three.txt", "mimeType": "text/plain", "buffer": TEXT}
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("link", name="Open Cats & <dogs>").click()
    expect(page.get_by_text("2 files by")).to_be_visible()
    page.get_by_text("Change", exact=True).click()
    page.get_by_label("Title").fill(LONG)
    visitor.press("Save the title")
    expect(page.get_by_role("heading", level=1)).to_have_text(LONG)
    page.get_by_role("link", name="My files").click()
    page.get_by_role("link", name="Albums").click()
    page.get_by_role("link", name=LONG).click()
    page.get_by_text("Change", exact=True).click()
    page.get_by_role("link", name="Delete the album …").click()
    visitor.press("Delete the album and 2 files")
    expect(page.get_by_role("heading", name="No album yet")).to_be_visible()
    visitor.open("/files")
    expect(page.get_by_label("Choose two.txt")).to_be_visible()
    expect(page.get_by_label("Choose one.txt")).to_have_count(0)
    visitor.watch.require_clean()


@with_scripts
def test_looks(site: Site, visit: Visit, device: str) -> None:
    """Nothing that axe finds, nothing that sticks out, light and dark."""
    person = site.person(f"axe-{device}")
    files = views(9, small=False) | {
        "a-name-without-any-blank-that-goes-on-and-on" * 3 + ".jpg": picture(12),
        "sea.mp4": video(),
        "purr.wav": silence(),
        "notes.txt": TEXT,
        "minutes.pdf": b"%PDF-1.4\n",
    }
    path = fill(site, person, files, title="Summer by the sea")
    hidden = site.list_item(
        person, picture(2), "hidden.jpg", rating="nsfw", album="Summer by the sea"
    )
    assert hidden
    fill(site, person, {"one.jpg": picture(21)}, title=LONG)
    fill(site, person, {"notes.txt": TEXT}, title="Notes of the whole year")
    visitor, stranger = visit(person), visit()
    page, faults = visitor.page, []
    for name, where in (("album-own", path), ("album-arranged", f"{path}?arrange=1"),
                        ("albums", "/albums"), ("album-delete", f"{path}/delete")):  # fmt: skip
        visitor.open(where)
        faults += look(page, name, device)
    visitor.open(path)
    page.get_by_text("Change", exact=True).click()
    faults += look(page, "album-change", device)
    visitor.open("/files")
    page.locator("input[name=id]").first.check()
    faults += look(page, "album-choose", device)
    visitor.open("/upload?album=Cats")
    faults += look(page, "album-upload", device)
    visitor.open("/albums")
    page.get_by_label("Title of a new album").fill("Empty")
    visitor.press("Make it")
    faults += look(page, "album-empty", device)
    stranger.open(path)
    faults += look(stranger.page, "album", device)
    stranger.page.locator("[data-full]").first.click()
    until(
        lambda: stranger.page.locator("[data-stage] img").evaluate("one => one.complete"), "shown"
    )
    faults += look(stranger.page, "album-viewer", device)
    newcomer = visit(site.person(f"new-{device}"))
    newcomer.open("/albums")
    faults += look(newcomer.page, "albums-none", device)
    if device == "phone":
        for where in (path, f"{path}?arrange=1", "/albums"):
            page.set_viewport_size({"width": 320, "height": 640})
            visitor.open(where)
            over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert over <= 0, where
    assert faults == []
    visitor.watch.require_clean()
    stranger.watch.require_clean()
