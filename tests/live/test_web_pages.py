"""Every page in a real browser: nothing on the console, nothing foreign, nothing that sticks out,
nothing that axe finds; light and dark, wide and on a phone."""

from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FilePayload, Page

from tests.conftest import PNG
from tests.live.browser import DEVICES, PHONE, Site, Visitor, browsing, screenshot, settle
from tests.live.pictures import picture
from tests.live.world import World, make

pytestmark = pytest.mark.live
AXE = Axe()
_RUN = "(options) => axe.run(document, options)"
MOST = 60 * 1024  # bytes of the first page, compressed, without pictures


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with browsing(
        gallery_manual_approval="true",
        site_contact="cat@example.org",
        site_rules="rules.txt",
        uploads_quota_mb=100,
        uploads_when_full="evict_oldest",
    ) as site:
        rules = site.server.folder / "rules.txt"
        rules.write_text("Be kind.\n\nNo pictures of other people without their leave.\n")
        yield site


@pytest.fixture(scope="module")
def world(site: Site) -> World:
    return make(site)


def signed_in_pages(world: World) -> dict[str, str]:
    return {
        "upload": "/upload",
        "files": "/files",
        "files-search": "/files?q=screenshot",
        "files-no-match": "/files?q=nothing-like-it",
        "settings": "/settings",
        "account-end": "/settings/delete",
        "item-own": f"/{world.image}",
        "item-waiting": f"/{world.waiting}",
        "item-rejected": f"/{world.rejected}",
        "forbidden": "/admin",
    }


def visitor_pages(world: World) -> dict[str, str]:
    return {
        "gallery": "/",
        "gallery-filtered": "/?tag=cat&tag=window&user=alice",
        "gallery-nsfw": "/?rating=nsfw",
        "gallery-no-match": "/?tag=dog",
        "item": f"/{world.image}",
        "item-video": f"/{world.video}",
        "item-audio": f"/{world.audio}",
        "item-text": f"/{world.text}",
        "item-other": f"/{world.other}",
        "item-nsfw": f"/{world.nsfw}",
        "sign-in": "/signin",
        "sign-up": "/signup",
        "goodbye": "/goodbye",
        "rules": "/rules",
        "expired": f"/{world.expired}",
        "not-found": "/no-such-page",
    }


def admin_pages(world: World) -> dict[str, str]:
    return {
        "admin-numbers": "/admin",
        "admin-queue": "/admin/queue",
        "admin-reports": "/admin/reports",
        "admin-uploads": "/admin/uploads",
        "admin-users": "/admin/users",
        "admin-refused": "/admin/refused",
        "admin-keys": "/admin/keys",
        "admin-audit": "/admin/audit",
    }


def look(page: Page, name: str, size: str) -> list[str]:
    """Everything that axe and the ruler say against a page, in both themes."""
    faults = []
    settle(page)
    # On a phone innerWidth grows with what sticks out.
    over = (
        page.evaluate("document.documentElement.scrollWidth") - DEVICES[size]["viewport"]["width"]
    )
    if over > 0:
        faults.append(f"{name} {size}: {over} px too wide")
    page.evaluate(AXE.axe_script)
    for theme, options in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        # of all that axe looks at, only the colours are others in the dark
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        screenshot(page, f"{name}-{size}-{theme}")
        found = page.evaluate(_RUN, {"resultTypes": ["violations"], **options})
        for one in found["violations"]:
            nodes = [node["html"][:200] for node in one["nodes"]][:3]
            faults.append(f"{name} {size} {theme}: {one['id']} {nodes}")
    return faults


def walk(visitor: Visitor, pages: dict[str, str], size: str) -> list[str]:
    faults = []
    for name, path in pages.items():
        visitor.open(path)
        faults += look(visitor.page, name, size)
        if size == "phone":
            visitor.page.set_viewport_size({"width": 320, "height": 640})
            over = visitor.page.evaluate("document.documentElement.scrollWidth") - 320
            if over > 0:
                faults.append(f"{name}: {over} px too wide at 320")
            visitor.page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    return faults


@pytest.mark.parametrize("size", DEVICES)
@pytest.mark.parametrize("who", ["visitor", "alice", "admin"])
def test_pages(site: Site, world: World, who: str, size: str) -> None:
    lists: dict[str, Callable[[World], dict[str, str]]] = {
        "visitor": visitor_pages,
        "alice": signed_in_pages,
        "admin": admin_pages,
    }
    person = {"visitor": None, "alice": world.alice, "admin": world.admin}[who]
    visitor = site.visitor(person, reduced_motion="reduce", **DEVICES[size])
    faults = walk(visitor, lists[who](world), size)
    assert faults == []
    visitor.watch.require_clean("status of 403", "status of 404", "status of 410")
    visitor.close()


@pytest.mark.parametrize("size", DEVICES)
def test_pages_after_an_act(site: Site, world: World, size: str) -> None:
    """Pages that answer a form, and the lists of somebody who has nothing yet."""
    visitor = site.visitor(world.alice, reduced_motion="reduce", **DEVICES[size])
    page, faults = visitor.open("/files"), []
    ids = page.locator("input[name=id]").evaluate_all("boxes => boxes.map((box) => box.value)")
    visitor.open("/files/links?" + "&".join(f"id={one}" for one in ids[:5]))
    faults += look(page, "files-links", size)
    visitor.open("/files")
    page.locator("input[name=id]").first.check()
    visitor.press("Pin")
    page.get_by_text("Pinned").first.wait_for()
    page.locator("input[name=id]").nth(1).check()
    page.get_by_label("Expiry of the chosen files").select_option("30d")
    visitor.press("Set expiry")
    page.locator(".ends time").first.wait_for()
    page.locator("input[name=id]").first.check()
    page.locator("input[name=id]").nth(1).check()
    faults += look(page, "files-chosen", size)
    page.evaluate("document.querySelector('[data-shelf]').submit()")
    page.get_by_role("heading", name="Delete 2 files?").wait_for()
    faults += look(page, "files-delete", size)
    visitor.open("/settings")
    visitor.press("Show the token")
    faults += look(page, "settings-token", size)
    visitor.open(f"/{world.image}")
    page.locator("summary").first.click()
    faults += look(page, "item-change", size)
    staff = site.visitor(world.admin, reduced_motion="reduce", **DEVICES[size])
    staff.open("/admin/uploads").get_by_text("Delete …").first.click()
    faults += look(staff.page, "admin-take-down", size)
    staff.open(f"/{world.image}").get_by_text("Change or delete").click()
    faults += look(staff.page, "item-take-down", size)
    staff.watch.require_clean()
    visitor.open("/upload")
    page.get_by_label("Into the gallery").check()
    files: list[FilePayload] = [
        {"name": name, "mimeType": "image/png", "buffer": content}
        for name, content in (("view.png", picture(8)), ("long " * 40, PNG), ("empty.txt", b""))
    ]
    page.locator("input[type=file]").set_input_files(files)
    page.get_by_text("3 not").wait_for()
    faults += look(page, "upload-queue", size)
    visitor.watch.require_clean("status of 400")
    newcomer = site.visitor(world.nobody, reduced_motion="reduce", **DEVICES[size])
    newcomer.open("/files")
    faults += look(newcomer.page, "files-empty", size)
    answer = site.server.post(
        "/api/files/upload", world.bob.by_token, files={"uploadFile": ("gone.png", PNG)}
    )
    newcomer.page.goto(answer.headers["X-Deletion-URL"])
    faults += look(newcomer.page, "deletion", size)
    newcomer.press("Delete this file")
    faults += look(newcomer.page, "deleted", size)
    newcomer.watch.require_clean()
    assert faults == []
    site.close_visitors()


def test_first_page_is_light(site: Site, world: World) -> None:
    visitor = site.visitor()
    session = visitor.context.new_cdp_session(visitor.page)
    sizes: dict[str, int] = {}
    kinds: dict[str, str] = {}
    session.on(
        "Network.responseReceived",
        lambda told: kinds.update({told["requestId"]: told["type"]}),
    )
    session.on(
        "Network.loadingFinished",
        lambda told: sizes.update({told["requestId"]: told["encodedDataLength"]}),
    )
    session.send("Network.enable")
    visitor.open("/")
    settle(visitor.page)
    counted = {one: size for one, size in sizes.items() if kinds.get(one) != "Image"}
    total = sum(int(size) for size in counted.values())
    print(f"first page: {total} bytes in {len(counted)} answers, headers included")
    assert len(counted) == 5  # the page, its style, two scripts, the mark
    assert total < MOST
    visitor.close()
