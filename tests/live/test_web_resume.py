"""Large files from the upload page: in pieces, paused, cut off, resumed after a reload."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.conftest import Person
from tests.live.browser import DEVICES, URL, Site, Visitor, abort, browsing, screenshot, slow_upload

pytestmark = pytest.mark.live
MIB = 1024 * 1024
TUS = f"{URL}/upload/tus/**"
# Something that this browser remembers: of this user, or of somebody else.
_REMEMBER = """(user) => {
  const me = document.querySelector("form.upload").dataset.user;
  const key = JSON.stringify([user ?? me, "a", 9, 1]);
  localStorage[`kissa-upload:${key}`] = JSON.stringify({ url: "/x", offset: 3, at: Date.now() });
}"""
SHARE = re.compile(r"paused · (\d+) % sent")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with browsing(uploads_max_size_mb=20, uploads_piece_mb=1) as site:
        yield site


@pytest.fixture(scope="module")
def alice(site: Site) -> Person:
    return site.person("alice")


@pytest.fixture(params=DEVICES)
def visitor(site: Site, alice: Person, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    visitor = site.visitor(alice, **DEVICES[request.param])
    visitor.open("/upload")
    yield visitor
    visitor.close()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(os.urandom(5 * MIB + 1))
    return path


def pick(page: Page, film: Path) -> Locator:
    page.locator("input[type=file]").set_input_files(film)
    return page.locator(".queue li").filter(has_text=film.name)


def require_whole(site: Site, film: Path, row: Locator) -> None:
    expect(row.locator(".state")).to_have_text("done")
    link = row.get_by_role("link").get_attribute("href")
    assert link
    assert (site.server.uploads / link.rpartition("/")[2]).read_bytes() == film.read_bytes()
    assert not os.listdir(site.server.uploads / ".resumable")


def pause_in_the_middle(page: Page, row: Locator) -> int:
    """Pause once a quarter is sent; how much was, in percent."""
    expect(row.locator(".state")).to_have_text(re.compile(r" · [2-9]\d % · "))
    row.get_by_role("button", name="Pause").click()
    expect(row.locator(".state")).to_have_text(SHARE)
    found = SHARE.search(row.inner_text())
    assert found
    return int(found[1])


def test_in_pieces(site: Site, visitor: Visitor, film: Path) -> None:
    row = pick(visitor.page, film)
    require_whole(site, film, row)
    sent = [url for url in visitor.watch.requests if "/upload/tus/" in url]
    assert len(sent) == 7  # one to begin, six pieces
    expect(visitor.page.get_by_role("region", name="Unfinished uploads")).to_have_count(0)
    visitor.watch.require_clean()


def test_metadata_that_stays_is_told_of(visitor: Visitor, film: Path) -> None:
    visitor.page.get_by_label("Place, time and camera").select_option("taken out")
    row = pick(visitor.page, film)
    expect(row.locator(".state")).to_have_text("done · place, time and camera stay in it")


def test_with_metadata_treated_otherwise_it_begins_anew(
    site: Site, visitor: Visitor, film: Path
) -> None:
    page = visitor.page
    with slow_upload(page, 2 * MIB):
        pause_in_the_middle(page, pick(page, film))
    page.reload()
    page.get_by_label("Place, time and camera").select_option("taken out")
    row = pick(page, film)
    expect(row.locator(".state")).to_have_text("done · place, time and camera stay in it")
    assert not os.listdir(site.server.uploads / ".resumable")
    expect(page.get_by_role("region", name="Unfinished uploads")).to_be_hidden()
    visitor.watch.require_clean()


def test_pause_and_resume_by_keyboard(site: Site, visitor: Visitor, film: Path) -> None:
    page = visitor.page
    with slow_upload(page, 2 * MIB):
        row = pick(page, film)
        assert 20 <= pause_in_the_middle(page, row) < 100
        expect(row.get_by_role("button", name="Resume")).to_be_focused()
        screenshot(page, f"upload-paused-{page.viewport_size['width']}")  # type: ignore[index]
        page.keyboard.press("Enter")
        expect(row.get_by_role("button", name="Pause")).to_be_visible()
    require_whole(site, film, row)
    visitor.watch.require_clean()


def test_reload_and_choose_it_again(site: Site, visitor: Visitor, film: Path) -> None:
    page = visitor.page
    with slow_upload(page, 2 * MIB):
        row = pick(page, film)
        pause_in_the_middle(page, row)
    page.reload()
    left = page.get_by_role("region", name="Unfinished uploads")
    expect(left).to_contain_text("Choose or drop the same file again")
    expect(left.get_by_role("listitem")).to_have_text(
        re.compile(r"^film\.mp4 · 5\.0 MB · [1-9]\d % sent Give up$")
    )
    screenshot(page, f"upload-unfinished-{page.viewport_size['width']}")  # type: ignore[index]
    before = len(visitor.watch.requests)
    row = pick(page, film)
    require_whole(site, film, row)
    expect(left).to_be_hidden()
    asked = [url for url in visitor.watch.requests[before:] if "/upload/tus/" in url]
    assert f"{URL}/upload/tus/" not in asked  # nothing was begun anew
    assert len(asked) <= 6  # one question, the rest of the pieces
    visitor.watch.require_clean()


def test_reload_in_the_middle_of_a_piece(site: Site, visitor: Visitor, film: Path) -> None:
    page = visitor.page
    with slow_upload(page, MIB):
        row = pick(page, film)
        expect(row.locator(".state")).to_have_text(re.compile(r" · [3-9]\d % · "))
        page.reload()
    expect(page.get_by_role("region", name="Unfinished uploads")).to_contain_text("film.mp4")
    require_whole(site, film, pick(page, film))
    visitor.watch.require_clean()


def test_a_broken_connection(site: Site, visitor: Visitor, film: Path) -> None:
    """It is tried again by itself."""
    page = visitor.page
    broken: list[str] = []

    def fail_twice(route: Route) -> None:
        if route.request.method == "PATCH" and len(broken) < 2:
            broken.append(route.request.url)
            abort(route)
        else:
            route.continue_()

    page.route(TUS, fail_twice)
    row = pick(page, film)
    expect(row.locator(".state")).to_have_text("the connection broke, trying again …")
    require_whole(site, film, row)
    assert len(broken) == 2
    visitor.watch.require_clean("ERR_CONNECTION_RESET")


def test_cancel_and_give_up(site: Site, visitor: Visitor, film: Path) -> None:
    """Both remove what has come."""
    page, folder = visitor.page, site.server.uploads / ".resumable"
    left = page.get_by_role("region", name="Unfinished uploads")
    with slow_upload(page, 2 * MIB):
        row = pick(page, film)
        pause_in_the_middle(page, row)
        assert len(os.listdir(folder)) == 1
        with page.expect_response(TUS):
            row.get_by_role("button", name="Cancel").click()
        expect(row).to_have_count(0)
        assert os.listdir(folder) == []
        pause_in_the_middle(page, pick(page, film))
    page.reload()
    with page.expect_response(TUS):
        left.get_by_role("button", name="Give up film.mp4").click()
    expect(left).to_be_hidden()
    assert os.listdir(folder) == []
    visitor.watch.require_clean()


def test_into_the_gallery(site: Site, visitor: Visitor, film: Path) -> None:
    page = visitor.page
    page.get_by_label("Into the gallery").check()
    row = pick(page, film)
    expect(row.locator(".state")).to_have_text("Rating (sfw/nsfw/nsfl) is required")
    page.get_by_label("sfw", exact=True).check()
    page.get_by_role("combobox", name="Tags").fill("a, b, schön")
    row.get_by_role("button", name="Try again").click()
    expect(row.locator(".state")).to_have_text("done · place, time and camera stay in it")
    link = row.get_by_role("link").get_attribute("href")
    page.goto(str(link))
    expect(page.get_by_role("link", name="schön")).to_be_visible()
    visitor.watch.require_clean("400")


def test_somebody_elses_are_not_shown(visitor: Visitor) -> None:
    """In the same browser, by another account."""
    page = visitor.page
    left = page.get_by_role("region", name="Unfinished uploads")
    page.evaluate(_REMEMBER, "0")
    page.reload()
    expect(left).to_be_hidden()
    page.evaluate(_REMEMBER, None)
    page.reload()
    expect(left.get_by_role("listitem")).to_have_text("a · 9 B · 33 % sent Give up")
    visitor.watch.require_clean()
