"""Sending files from the upload page: picked, dropped, pasted, slow, broken off, too large."""

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.conftest import PNG, Person
from tests.live.browser import (
    DEVICES,
    PLAIN,
    URL,
    Site,
    Visitor,
    abort,
    browsing,
    screenshot,
    slow_upload,
)
from tests.tagged import SECRET, tagged

pytestmark = pytest.mark.live
MEGABYTE = 1024 * 1024
_TRANSFER = """([[name, type, bytes], text]) => {
  const transfer = new DataTransfer();
  if (name) transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
  if (text) transfer.setData("text/plain", text);
  return transfer;
}"""
_PASTE = """(transfer) => document.body.dispatchEvent(
  new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }))"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with browsing(uploads_max_size_mb=2) as site:
        yield site


@pytest.fixture(scope="module")
def alice(site: Site) -> Person:
    return site.person("alice")


@pytest.fixture(params=DEVICES)
def visitor(site: Site, alice: Person, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """Alice at the upload page, wide and on a phone."""
    visitor = site.visitor(
        alice, permissions=["clipboard-read", "clipboard-write"], **DEVICES[request.param]
    )
    visitor.open("/upload")
    yield visitor
    visitor.close()


def file(name: str, content: bytes = PNG, kind: str = "image/png") -> Any:
    return {"name": name, "mimeType": kind, "buffer": content}


def pick(page: Page, *files: Any) -> None:
    page.locator("input[type=file]").set_input_files(list(files))


def entry(page: Page, name: str) -> Locator:
    return page.locator(".queue li").filter(has_text=name)


def clipboard(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def transfer(page: Page, name: str = "", content: bytes = PNG, text: str = "") -> Any:
    return page.evaluate_handle(_TRANSFER, [[name, "image/png", list(content)], text])


def test_pick_several_and_copy_the_links(visitor: Visitor) -> None:
    page = visitor.page
    pick(page, file("one.png"), file("two.png"), file("three.txt", b"three", "text/plain"))
    expect(page.get_by_text("3 of 3 sent")).to_be_visible()
    screenshot(page, f"upload-queue-{page.viewport_size['width']}")  # type: ignore[index]
    entry(page, "one.png").get_by_role("button", name="Copy link").click()
    expect(entry(page, "one.png").get_by_role("button", name="Copied")).to_be_visible()
    link = entry(page, "one.png").get_by_role("link").get_attribute("href")
    assert clipboard(page) == link
    page.get_by_role("button", name="Copy all links").click()
    expect(page.get_by_role("button", name="Copied").last).to_be_visible()
    links = clipboard(page).splitlines()
    assert len(links) == 3
    assert link in links
    visitor.watch.require_clean()
    page.goto(links[2])
    assert page.evaluate("document.body.innerText || document.images.length")


def test_what_is_chosen_before_the_script_has_come(visitor: Visitor) -> None:
    page, held = visitor.page, list[Route]()
    page.route("**/upload.js*", lambda route: held.append(route))
    with page.expect_request("**/upload.js*"):
        page.goto(f"{URL}/upload", wait_until="commit")
    pick(page, file("early.png"))
    held[0].continue_()
    expect(entry(page, "early.png").locator(".state")).to_have_text("done")
    visitor.watch.require_clean()


def test_metadata_goes_or_is_told_to_be_there(site: Site, visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_label("Place, time and camera").select_option("taken out")
    pick(page, file("photo.jpg", tagged()["jpeg"]), file("notes.txt", b"notes"))
    expect(entry(page, "photo.jpg").locator(".state")).to_have_text("done")
    state = entry(page, "notes.txt").locator(".state")
    expect(state).to_have_text("done · place, time and camera stay in it")
    screenshot(page, f"upload-metadata-{page.viewport_size['width']}")  # type: ignore[index]
    link = entry(page, "photo.jpg").get_by_role("link").get_attribute("href")
    assert SECRET not in (site.server.uploads / str(link).rsplit("/", 1)[1]).read_bytes()
    visitor.watch.require_clean()


def test_drop(visitor: Visitor) -> None:
    page = visitor.page
    dropped = transfer(page, "dropped.png")
    page.dispatch_event("main", "dragenter", {"dataTransfer": dropped})
    expect(page.locator("form.upload.over")).to_be_visible()
    page.dispatch_event("main", "drop", {"dataTransfer": dropped})
    expect(entry(page, "dropped.png").locator(".state")).to_have_text("done")
    expect(page.locator("form.upload.over")).to_have_count(0)
    visitor.watch.require_clean()


def test_paste_a_picture_and_a_text(site: Site, visitor: Visitor) -> None:
    page = visitor.page
    page.evaluate(_PASTE, transfer(page, "image.png"))
    expect(entry(page, "image.png").locator(".state")).to_have_text("done")
    page.evaluate(_PASTE, transfer(page, text="a line\nand another"))
    expect(entry(page, "paste-").locator(".state")).to_have_text("done")
    link = entry(page, "paste-").get_by_role("link").get_attribute("href")
    assert link
    assert (site.server.uploads / link.rpartition("/")[2]).read_text() == "a line\nand another"
    visitor.watch.require_clean()


def test_progress_cancel_and_retry(visitor: Visitor) -> None:
    page = visitor.page
    row = entry(page, "large.bin")
    with slow_upload(page, 200_000):
        pick(page, file("large.bin", os.urandom(MEGABYTE), "application/octet-stream"))
        expect(row.locator(".state")).to_have_text(
            re.compile(r"1\.0 MB · [1-9]\d? % · [\d.]+ KB/s · \d+ s left")
        )
        expect(row.locator("progress")).to_be_visible()
        assert 0 < float(row.locator("progress").evaluate("bar => bar.value")) < 1
        row.get_by_role("button", name="Cancel").click()
        expect(row.locator(".state")).to_have_text("Cancelled")
    row.get_by_role("button", name="Try again").click()
    expect(row.locator(".state")).to_have_text("done")
    visitor.watch.require_clean()


def test_retry_after_a_failure(visitor: Visitor) -> None:
    page = visitor.page
    page.route(f"{URL}/upload", abort)
    pick(page, file("unlucky.png"))
    row = entry(page, "unlucky.png")
    expect(row.locator(".state")).to_have_text("The connection broke")
    page.unroute(f"{URL}/upload")
    row.get_by_role("button", name="Try again").click()
    expect(row.locator(".state")).to_have_text("done")
    visitor.watch.require_clean("ERR_CONNECTION_RESET")


def test_limit_is_told_before_sending(visitor: Visitor) -> None:
    page = visitor.page
    expect(page.get_by_text("Up to 2 MB each")).to_be_visible()
    before = len(visitor.watch.requests)
    pick(page, file("huge.bin", bytes(2 * MEGABYTE + 1)), file("empty.bin", b""))
    expect(entry(page, "huge.bin")).to_contain_text("over this host’s limit of 2.0 MB")
    expect(entry(page, "empty.bin")).to_contain_text("This file is empty")
    assert not [url for url in visitor.watch.requests[before:] if not url.startswith("blob:")]
    entry(page, "huge.bin").get_by_role("button", name="Remove").click()
    expect(entry(page, "huge.bin")).to_have_count(0)


def test_into_the_gallery_with_completed_tags(site: Site, alice: Person, visitor: Visitor) -> None:
    site.list_item(alice, PNG, "known.png", tags="window, warm, cat")
    page = visitor.page
    page.get_by_label("Into the gallery").check()
    pick(page, file("bare.png"))
    expect(entry(page, "bare.png").locator(".state")).to_have_text(
        "Rating (sfw/nsfw/nsfl) is required"
    )
    page.get_by_label("sfw", exact=True).check()
    page.get_by_role("combobox", name="Tags").press_sequentially("quiet, cat, wi")
    expect(page.locator("datalist option")).to_have_count(1)
    expect(page.locator("datalist option")).to_have_attribute("value", "quiet, cat, window")
    page.get_by_role("combobox", name="Tags").fill("quiet, cat, window")
    page.get_by_label("Comment").fill("by the window")
    page.get_by_label("Original content").check()
    entry(page, "bare.png").get_by_role("button", name="Try again").click()
    expect(entry(page, "bare.png").locator(".state")).to_have_text("done")
    entry(page, "bare.png").get_by_role("link").click()
    expect(page.locator("#comments")).to_contain_text("by the window")
    expect(page.get_by_role("link", name="quiet", exact=True)).to_be_visible()
    visitor.watch.require_clean("status of 400")


def test_without_scripts(site: Site, alice: Person) -> None:
    visitor = site.visitor(alice, **PLAIN)
    page = visitor.open("/upload")
    pick(page, file("plain.png"))
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("heading", name="Sent")).to_be_visible()
    page.get_by_role("link", name="deletion link").click()
    page.get_by_role("button", name="Delete this file").click()
    expect(page.get_by_role("heading", name="Deleted")).to_be_visible()
    visitor.watch.require_clean()
    visitor.close()
