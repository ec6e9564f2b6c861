"""View pages and the paste page in a real browser: how they look, wide and on a phone, light and
dark, with and without scripts, by keyboard; and hostile Markdown met by a victim."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import Person
from tests.live.attacks import BEACON, CORPUS
from tests.live.browser import DEVICES, EVIL, FILES_URL, PHONE, PLAIN, URL, Site, Visitor, browsing
from tests.live.conftest import until
from tests.live.pictures import picture
from tests.live.test_web_hostile import Trap
from tests.live.test_web_pages import look
from tests.live.world import silence, video

pytestmark = pytest.mark.live
with_scripts = pytest.mark.parametrize("size", DEVICES)

BARE: dict[str, Any] = PLAIN
RUNNING = "script style iframe object embed form input base link meta svg math video audio"
CODE = '''"""How a cat purrs: a small model, with a length of line that no phone has room for."""

import random
from dataclasses import dataclass

LOUD = 0.75  # of what a cat can


@dataclass(frozen=True)
class Purr:
    """One purr."""

    seconds: float
    loudness: float = LOUD

    def __str__(self) -> str:
        rs = "r" * int(self.seconds * 10)
        return f"p{rs}\\n" if self.loudness < 0.5 else f"P{rs.upper()}! <b>&amp;</b>"


def purrs(count: int, seed: int | None = None) -> list[Purr]:
    """As many purrs as wanted, no two of them alike."""
    chance = random.Random(seed)
    return [Purr(seconds=chance.uniform(0.5, 3.0), loudness=chance.random()) for _ in range(count)]


if __name__ == "__main__":
    for number, purr in enumerate(purrs(12), start=1):
        print(number, purr)
'''
MARKDOWN = """# Keeping a cat at a window

A cat needs **a window**, *warmth* and ~~mice~~ quiet. Read [the long text](https://example.org/).

> She sits there all day.

## What to buy

- [x] A cushion
- [ ] A `bowl` of water

| what | how many |
| --- | --- |
| cushions | 2 |
| windows | 1 |

```python
def feed(cat):
    return cat.eat("fish")  # she does
```

1. Open the window.
2. Wait.

---

<details><summary>More</summary>Press <kbd>P</kbd> to purr.</details>
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with browsing(uploads_per_minute=0) as site:
        yield site


@pytest.fixture(scope="module")
def alice(site: Site) -> Person:
    return site.person("alice")


@pytest.fixture(autouse=True)
def closed(site: Site) -> Iterator[None]:
    yield
    site.close_visitors()


def open_coloured(visitor: Visitor, path: str) -> Page:
    """Open a text; on a busy machine its colours may come with a later try."""

    def is_coloured() -> bool:
        return visitor.open(path).locator(".lines .k, .rendered .k").count() > 0

    until(is_coloured, "the text has colours", 90)
    return visitor.page


@with_scripts
def test_how_they_look(site: Site, alice: Person, size: str) -> None:
    files = {
        "picture": (picture(3, (1600, 1200)), "cat at the window.jpg"),
        "tall": (picture(9, (500, 1600)), "a-name-without-any-blank-" * 6 + ".png"),
        "video": (video(), "sea.mp4"),
        "audio": (silence(), "purr.wav"),
        "code": (CODE.encode(), "purrs.py"),
        "text": (
            b"Dear Bob,\n\n" + b"the cat is well, and so am I. " * 12 + b"\n\nAlice\n",
            "a.txt",
        ),
        "markdown": (MARKDOWN.encode(), "window.md"),
        "other": (b"PK\3\4", "photos.zip"),
        "binary": (b"\0" * 10, "notes.txt"),
    }
    visitor = site.visitor(reduced_motion="reduce", **DEVICES[size])
    faults = []
    for what, (content, name) in files.items():
        path = f"/v/{site.server.upload(alice, content, name)}"
        page = open_coloured(visitor, path) if what in ("code", "markdown") else visitor.open(path)
        faults += look(page, f"view-{what}", size)
        if size == "phone":
            page.set_viewport_size({"width": 320, "height": 640})
            over = page.evaluate("document.documentElement.scrollWidth") - 320
            faults += [f"{what}: {over} px too wide at 320"] if over > 0 else []
            page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        if what == "code":
            page.goto(f"{URL}{path}#L9-L16")
            expect(page.locator(".lines .marked")).to_have_count(8)
            faults += look(page, "view-code-marked", size)
    author = site.visitor(alice, reduced_motion="reduce", **DEVICES[size])
    page = author.open("/paste")
    faults += look(page, "paste", size)
    page.locator("[name=text]").fill(CODE)
    faults += look(page, "paste-filled", size)
    author.press("Make a link")
    page.get_by_role("heading", name="Sent").wait_for()
    faults += look(page, "paste-sent", size)
    author.open("/files")
    faults += look(page, "files-with-pages", size)
    assert faults == []
    visitor.watch.require_clean()
    author.watch.require_clean()


@with_scripts
def test_lines_of_code(site: Site, alice: Person, size: str) -> None:
    path = f"/v/{site.server.upload(alice, CODE.encode(), 'purrs.py')}"
    visitor = site.visitor(permissions=["clipboard-read", "clipboard-write"], **DEVICES[size])
    page = visitor.open(path)
    lines = page.locator(".lines")
    page.locator("#L5 > a").click()
    expect(page).to_have_url(f"{URL}{path}#L5")
    expect(page.locator(".marked")).to_have_count(1)
    page.locator("#L8 > a").click(modifiers=["Shift"])
    expect(page).to_have_url(f"{URL}{path}#L5-L8")
    expect(page.locator(".marked")).to_have_count(4)
    page.locator("#L3 > a").click(modifiers=["Shift"])
    expect(page).to_have_url(f"{URL}{path}#L3-L5")
    page.reload()
    expect(page.locator(".marked")).to_have_count(3)
    visitor.press("Copy text")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == CODE
    visitor.press("Copy link")
    until(lambda: page.evaluate("navigator.clipboard.readText()") == URL + path, "it is copied")
    overflows = "list => list.scrollWidth > list.clientWidth"
    if size == "phone":
        assert lines.evaluate(overflows)
    page.get_by_label("Wrap lines").check()
    assert not lines.evaluate(overflows)
    for hash in ("#L0", "#L999", "#L9-L999", "#L5-", "#<b>", "#L1-L2-L3"):
        page.evaluate("hash => { location.hash = hash; }", hash)
    visitor.watch.require_clean()


def test_by_keyboard(site: Site, alice: Person) -> None:
    """The text takes one stop, however many lines it has, and scrolls by the arrow keys."""
    name = site.server.upload(alice, b"x = 1\n" * 200, "a.py")
    visitor = site.visitor(**DEVICES["wide"])
    page = visitor.open(f"/v/{name}")
    seen = []
    for _ in range(20):
        page.keyboard.press("Tab")
        seen.append(str(page.evaluate("document.activeElement.textContent.trim().slice(0, 9)")))
        if page.evaluate("document.activeElement.matches('.lines')"):
            break
    assert "Copy link" in seen
    assert "Copy text" in seen
    page.keyboard.press("End")
    until(lambda: page.locator(".lines").evaluate("list => list.scrollTop") > 500, "it scrolls")
    visitor.watch.require_clean()


def test_without_scripts(site: Site, alice: Person) -> None:
    name = site.server.upload(alice, CODE.encode(), "purrs.py")
    visitor = site.visitor(**BARE)
    page = visitor.open(f"/v/{name}#L20")
    expect(page.locator("#L20")).to_be_in_viewport()
    marked = page.locator("#L20").evaluate("line => getComputedStyle(line).backgroundColor")
    assert marked != page.locator("#L21").evaluate("line => getComputedStyle(line).backgroundColor")
    for button in ("Copy link", "Copy text"):
        expect(page.get_by_role("button", name=button)).to_have_count(0)
    page.get_by_label("Wrap lines").check()
    wrap = page.locator("#L1").evaluate("line => getComputedStyle(line).whiteSpace")
    assert wrap == "pre-wrap"
    name = site.server.upload(alice, MARKDOWN.encode(), "window.md")
    page = visitor.open(f"/v/{name}")
    expect(page.locator(".rendered h1")).to_have_text("Keeping a cat at a window")
    page.get_by_role("link", name="Source").click()
    expect(page.locator("#L1")).to_have_text("# Keeping a cat at a window\n")
    author = site.visitor(alice, **BARE)
    page = author.open("/paste")
    page.get_by_label("Title").fill("plain")
    page.get_by_label("Language").select_option("Python")
    page.locator("[name=text]").fill("import this\n")
    author.press("Make a link")
    page.get_by_role("link", name=f"{URL}/v/").click()
    expect(page.get_by_role("heading", name="plain.py")).to_be_visible()
    expect(page.locator("#L1")).to_have_text("import this\n")
    visitor.watch.require_clean()
    author.watch.require_clean()


@pytest.mark.parametrize("kind", ["picture", "video", "audio"])
def test_media_is_there_and_does_not_start_by_itself(site: Site, alice: Person, kind: str) -> None:
    content, file = {
        "picture": (picture(3, (3000, 2600)), "a.jpg"),
        "video": (video(), "a.mp4"),
        "audio": (silence(), "a.wav"),
    }[kind]
    name = site.server.upload(alice, content, file)
    visitor = site.visitor()
    page = visitor.open(f"/v/{name}")
    if kind == "picture":
        image = page.locator(".stage img")
        expect(image).to_be_in_viewport(ratio=1)
        image.click()
        expect(page).to_have_url(f"{FILES_URL}/{name}")
    else:
        player = page.locator(f".stage {kind}")
        until(lambda: player.evaluate("player => player.readyState") > 0, "it is loaded")
        assert player.evaluate("player => player.paused && player.controls && !player.autoplay")
    visitor.watch.require_clean("status of 404")  # the files' host has no icon


@with_scripts
def test_pasting(site: Site, alice: Person, size: str) -> None:
    visitor = site.visitor(alice, **DEVICES[size])
    page = visitor.open("/")
    page.get_by_role("link", name="Paste", exact=True).click()
    text = page.locator("[name=text]")
    expect(text).to_be_focused()
    text.fill("x" * (1024 * 1024 + 1))
    expect(page.get_by_role("alert")).to_have_text("This is 1.0 MB; a paste has at most 1.0 MB.")
    visitor.press("Make a link")
    expect(page).to_have_url(f"{URL}/paste")
    drop(page, "purrs.py", CODE)
    expect(text).to_have_value(CODE)
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_label("Title")).to_have_value("purrs.py")
    drop(page, "cat.png", "\x89PNG\x00")
    expect(page.get_by_role("alert")).to_contain_text("cat.png is not text")
    expect(text).to_have_value(CODE)
    text.press("Tab")
    expect(text).not_to_be_focused()  # the key goes on, as everywhere
    text.press("Control+Enter")
    expect(page.get_by_role("heading", name="Sent")).to_be_visible()
    deletion = str(page.get_by_role("link", name="deletion link").get_attribute("href"))
    page.get_by_role("link", name=f"{URL}/v/").click()
    expect(page.get_by_role("heading", name="purrs.py")).to_be_visible()
    page.goto(deletion)
    visitor.press("Delete this file")
    visitor.watch.require_clean()


def drop(page: Page, name: str, content: str) -> None:
    """Let go of a file over the page."""
    page.evaluate(
        """([name, content]) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([content], name));
          for (const kind of ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true,
              cancelable: true }));
        }""",
        [name, content],
    )


def test_hostile_markdown_and_code(site: Site, alice: Person) -> None:
    """Every hostile text as Markdown in many dresses and as code: nothing runs or is fetched."""
    trap = Trap(site.visitor(alice, reduced_motion="reduce"))
    beat = BEACON % "markdown"
    dressed = [
        *CORPUS,
        *(f"[x]({text})" for text in CORPUS),
        *(f'![{text}](x "{text}")' for text in CORPUS),
        *(f"```{text}\n{text}\n```" for text in CORPUS),
        *(f"<div>\n\n{text}\n\n</div>" for text in CORPUS),
        f"[x](javascript:{beat})", f"[x](JaVaScRiPt&colon;{beat})", f"<javascript:{beat}>",
        "[x](data:text/html;base64,PHNjcmlwdD5yYW4oMSk8L3NjcmlwdD4=)",
        f"[x]: javascript:{beat}\n\n[x]", f"<style>@import '//{EVIL}/ran'</style>",
        f"![x](//{EVIL}/ran)", f"<img src='https://{EVIL}/ran' srcset='//{EVIL}/ran 2x'>",
        f"<p style=\"background:url('//{EVIL}/ran')\">x</p>",
        f"<a href='java\tscript:{beat}'>x</a>", f"<a href='&#1;javascript:{beat}'>x</a>",
        f"<math><mtext><table><mglyph><style><img src=x onerror='{beat}'></style></mglyph></table>",
        f"<svg><style><img src=x onerror='{beat}'></style></svg>",
        f"<noscript><p title='</noscript><img src=x onerror={beat}>'></noscript>",
        "<form id=main><input name=attributes></form><p id=L1 class=bar>x</p><base href=//x>",
        f"<video poster=//{EVIL}/ran src=//{EVIL}/ran></video><table background=//{EVIL}/ran>",
    ]  # fmt: skip
    together = "\n\n".join(dressed)
    pages = 0
    for content in (together, *dressed[-18:]):
        for name in ("a.md", "a.html", "a.py"):
            if name != "a.md" and content is not together:
                continue
            stored = site.server.upload(alice, content.encode(), name)
            for query in ("", "?source=1"):
                trap.spring(f"/v/{stored}{query}")
                pages += 1
    tags = trap.page.goto(f"{URL}/v/{site.server.upload(alice, together.encode(), 'b.md')}")
    assert tags is not None
    inside = trap.page.locator(".rendered *")
    found = set(inside.evaluate_all("all => all.map((one) => one.localName)"))
    assert not found & set(RUNNING.split())
    attributes = set(
        inside.evaluate_all("all => all.flatMap((one) => [...one.attributes].map((a) => a.name))")
    )
    assert attributes <= {"href", "rel", "title", "alt", "open", "class", "start", "tabindex"}
    print(f"hostile Markdown: texts={len(dressed)} pages={pages} ran={len(trap.ran)}")
    assert trap.ran == []
    trap.visitor.watch.require_clean()


def test_a_file_that_keeps_a_lexer_busy_keeps_nobody_waiting(site: Site, alice: Person) -> None:
    name = site.server.upload(alice, b"=" * 1024 * 1024, "a.ini")
    visitor = site.visitor()
    page = visitor.open(f"/v/{name}")
    expect(page.get_by_text("no colours, as they take too long")).to_be_visible()
    visitor.watch.require_clean()
