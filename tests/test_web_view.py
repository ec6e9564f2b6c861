"""View pages: what they show of each kind, to whom, what they tell chats; texts and Markdown."""

import html
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

import texts
from models import Item
from tests.conftest import PNG, Kissa, Person
from tests.forms import file, form
from tests.people import Browser, error_of
from tests.test_pages import Elements, is_page

Start = Callable[..., Kissa]
EVIL = "<img src=x onerror=alert(1)>'{{7*191}}.png"


@pytest.fixture
def page(kissa: Kissa, alice: Person) -> Callable[..., str]:
    """The view page of a new file, as a visitor sees it."""

    def show(content: bytes = PNG, name: str = "a.png", query: str = "") -> str:
        return is_page(kissa.get(f"/v/{send(kissa, alice, content, name)}{query}"))

    return show


def send(kissa: Kissa, person: Person, content: bytes, name: str) -> str:
    """The stored name of a new file, of any size."""
    answer = kissa.post(
        "/api/files/upload", person.by_token, **form(file("uploadFile", content, name))
    )
    return str(answer.get_json()["url"]).rpartition("/")[2]


def meta(text: str) -> dict[str, str]:
    found = re.findall(r'<meta (?:property|name)="([^"]+)" content="([^"]*)">', text)
    return {name: html.unescape(value) for name, value in found}


def lines_of(text: str) -> list[str]:
    """The lines shown, as a reader sees them."""
    found = re.findall(r'<li id="L\d+">.*?</a>(.*)\n', text)
    return [html.unescape(re.sub("</?span[^>]*>", "", line)) for line in found]


# Every kind


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [
        pytest.param("a.png", PNG, '<img src="{file}" alt="a.png"', id="picture"),
        pytest.param("a.mp4", b"x", '<video src="{file}" controls preload="metadata"', id="video"),
        pytest.param("a.ogg", b"x", '<audio src="{file}" controls preload="metadata"', id="audio"),
        pytest.param("a.py", b"x", '<ol class="lines"', id="code"),
        pytest.param("a.md", b"x", '<article class="panel rendered"><p>x</p>', id="markdown"),
        pytest.param("a.zip", b"x", "There is no preview of this kind of file.", id="other"),
        pytest.param("a.svg", b"<svg/>", "There is no preview of this kind", id="svg"),
        pytest.param("a.txt", b"x\0y", "it is too long, or no text", id="binary"),
        pytest.param("a.txt", b"x" * (1024 * 1024 + 1), "it is too long, or no", id="long"),
    ],
)
def test_kinds(kissa: Kissa, alice: Person, name: str, content: bytes, shown: str) -> None:
    stored = send(kissa, alice, content, name)
    text = is_page(kissa.get(f"/v/{stored}"))
    file_url = f"http://kissa.example/f/{stored}"
    assert shown.format(file=file_url) in text
    assert "autoplay" not in text
    assert f'<a class="button" href="{file_url}">Open file</a>' in text
    assert f'<a class="button" href="/d/{stored}">Download</a>' in text
    assert f'data-copy="http://kissa.example/v/{stored}"' in text
    assert f"<h1>{name}</h1>" in text


def test_nobody_is_named(kissa: Kissa, alice: Person) -> None:
    name, item_id = kissa.upload_name(alice), kissa.item_id(alice)
    listed = Item.get_by_id(item_id).name
    for one in (name, listed):
        answer = kissa.get(f"/v/{one}")
        assert "alice" not in answer.text
        assert answer.headers["X-Robots-Tag"] == "noindex"
        assert answer.headers["Referrer-Policy"] == "same-origin"
    assert f'<link rel="canonical" href="http://kissa.example/{item_id}">' in answer.text
    assert f'<a href="/{item_id}">in the gallery</a>' in answer.text
    assert f'/{Item.get(Item.name == name).id}"' not in kissa.get(f"/v/{name}").text
    assert "Disallow: /v/\n" in kissa.get("/robots.txt").text
    bob = kissa.person("bob")
    assert "change or delete" not in Browser(kissa, bob.username).text(f"/v/{name}")
    assert "change or delete" in Browser(kissa, "alice").text(f"/v/{name}")


def test_it_is_as_open_as_the_file(start: Start) -> None:
    kissa = start(gallery_visitors="none")
    alice = kissa.person("alice")
    listed = Item.get_by_id(kissa.item_id(alice, rating="nsfl")).name
    for name in (kissa.upload_name(alice), listed):
        assert kissa.get(f"/v/{name}").status_code == kissa.get(f"/f/{name}").status_code == 200
    assert 'class="stage veiled"' in kissa.get(f"/v/{listed}").text


@pytest.mark.parametrize("name", ["abcdefg.png", "x", "..", "%2e%2e", "a" * 400, "a.png%00", "ä"])
def test_unknown(kissa: Kissa, name: str) -> None:
    assert error_of(kissa.get(f"/v/{name}"))[0] == 404


def test_a_deleted_file(kissa: Kissa, alice: Person) -> None:
    name = kissa.upload_name(alice, b"text", "a.py")
    assert kissa.get(f"/v/{name}").status_code == 200
    kissa.post("/api/files/delete", alice.by_token | {"file": name})
    assert kissa.get(f"/v/{name}").status_code == 404


def test_lost_bytes(kissa: Kissa, alice: Person) -> None:
    name = kissa.upload_name(alice, b"text", "a.py")
    (kissa.uploads / name).unlink()
    assert "This is not shown here" in is_page(kissa.get(f"/v/{name}"))


@pytest.mark.parametrize(
    ("state", "where"), [("pending", "waiting"), ("rejected", "An admin has turned this down")]
)
def test_not_public(start: Start, state: str, where: str) -> None:
    kissa = start(gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    kissa.person("bob")
    item_id = kissa.item_id(alice)
    if state == "rejected":
        kissa.post(f"/api/v2/queue/{item_id}/reject", admin.by_admin_token)
    name = Item.get_by_id(item_id).name
    for person in (None, "bob"):
        assert Browser(kissa, person).get(f"/v/{name}").status_code == 404
    for person in ("alice", "admin"):
        answer = Browser(kissa, person).get(f"/v/{name}")
        assert (answer.status_code, answer.headers["Location"]) == (302, f"/{item_id}")
        assert where in Browser(kissa, person).text(f"/{item_id}")


# What chats are told


@pytest.mark.parametrize(
    ("name", "kind", "card"),
    [
        ("a.png", "website", "summary_large_image"),
        ("a.mp4", "video.other", None),
        ("a.mp3", "website", "summary"),
        ("a.zip", "website", "summary"),
    ],
)
def test_previews(start: Start, name: str, kind: str, card: str | None) -> None:
    kissa = start(
        site_url="https://kissa.example/", site_upload_url="https://f.example/", site_name="K"
    )
    stored = kissa.upload_name(kissa.person("alice"), name=name)
    Item.update(width=640, height=480).execute()
    told = meta(is_page(kissa.get(f"/v/{stored}")))
    file_url, size = f"https://f.example/{stored}", {"width": "640", "height": "480"}
    assert told["og:title"] == name
    assert told["og:url"] == f"https://kissa.example/v/{stored}"
    assert (told["og:site_name"], told["og:type"]) == ("K", kind)
    assert told["og:description"] == "70 Bytes · 640 × 480"
    assert (told["robots"], told["theme-color"]) == ("noindex", "#b0431c")
    assert card in (None, told["twitter:card"])
    sized = {"og:image": file_url} | {f"og:image:{one}": size[one] for one in size}
    film = {"og:video": file_url, "og:video:type": "video/mp4"}
    expected: dict[str, dict[str, str]] = {
        "a.png": sized,
        "a.mp4": film | {f"og:video:{one}": size[one] for one in size},
        "a.mp3": {"og:audio": file_url, "og:audio:type": "audio/mpeg"},
        "a.zip": {},
    }
    media = ("og:image", "og:video", "og:audio")
    seen = {key: value for key, value in told.items() if key.startswith(media)}
    if name == "a.mp4":  # with ffmpeg a film has a thumbnail, too
        assert seen.pop("og:image", None) in (None, f"https://kissa.example/t/{stored}")
    assert seen == expected[name]


def test_a_huge_picture_is_previewed_by_its_thumbnail(kissa: Kissa, alice: Person) -> None:
    name = kissa.upload_name(alice)
    Item.update(size=8 * 1024 * 1024 + 1).execute()
    assert meta(kissa.get(f"/v/{name}").text)["og:image"] == f"http://kissa.example/t/{name}"


def test_a_text_is_previewed_by_how_it_begins(page: Callable[..., str]) -> None:
    told = meta(page(b'A "first"\n\n line & <b>' + b" x" * 400, "a.txt"))
    assert told["og:description"].startswith('A "first" line & <b> x x')
    assert len(told["og:description"]) == 201


def test_hostile_name(page: Callable[..., str]) -> None:
    text = page(name=EVIL)
    assert "<img src=x" not in text
    assert "1337" not in text
    assert meta(text)["og:title"] == EVIL


# Texts


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"one", ["one"], id="no line end"),
        pytest.param(b"one\ntwo\n", ["one", "two"], id="line ends"),
        pytest.param(b"\n\none\n\n", ["", "", "one", ""], id="blank lines"),
        pytest.param(b"a\r\nb\rc", ["a", "b", "c"], id="other line ends"),
        pytest.param("\ufeffü \u2028 ☕".encode(), ["ü \u2028 ☕"], id="utf-8 with a mark"),
        pytest.param(b"caf\xe9", ["café"], id="latin-1"),
        pytest.param(b"<b>&amp;</b>\n'\"", ["<b>&amp;</b>", "'\""], id="markup"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.py"])
def test_lines(page: Callable[..., str], name: str, content: bytes, expected: list[str]) -> None:
    text = page(content, name)
    assert lines_of(text) == expected
    assert text.count(f'id="L{len(expected)}"') == 1
    assert f">{len(expected)} line{'s' if len(expected) > 1 else ''}" in text


@pytest.mark.parametrize(
    ("name", "content", "coloured"),
    [
        ("a.py", b"def f(): # yes\n", '<span class="k">def</span> <span class="f">f</span>'),
        ("a.json", b'{"a": 1}', '<span class="m">1</span>'),
        ("a.diff", b"--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n", '<span class="d">-x</span>'),
        ("a.rs", b"fn main() {}", '<span class="k">fn</span>'),
        ("a.css", b"a { color: red }", '<span class="k">a</span>'),
        ("CMakeLists.txt", b"# yes\n", '<span class="c"># yes</span>'),
    ],
)
def test_colours(page: Callable[..., str], name: str, content: bytes, coloured: str) -> None:
    assert coloured in page(content, name)


@pytest.mark.parametrize("name", ["a.txt", "a.log", "a.sxcu", "a.csv"])
def test_no_colours(page: Callable[..., str], name: str) -> None:
    text = page(b"def f(): pass\n", name)
    assert "<span class=" not in re.findall(r"<ol.*?</ol>", text, re.DOTALL)[0]
    assert "take too long" not in text


def test_prose_is_wrapped_and_code_is_not(page: Callable[..., str]) -> None:
    assert "data-wrap checked" in page(b"x", "a.txt")
    assert "data-wrap checked" not in page(b"x", "a.py")


@pytest.mark.sqlite  # no matter of the database
def test_limits_of_a_text(page: Callable[..., str]) -> None:
    for content, is_shown in (
        (b"x" * texts.SHOWN, True),
        (b"\n" * texts.LINES, True),
        (b"\n" * (texts.LINES + 1), False),
    ):
        assert ('<ol class="lines"' in page(content, "a.txt")) is is_shown


def test_the_item_page_has_colours_too(kissa: Kissa, alice: Person) -> None:
    item_id = kissa.item_id(alice, content=b"import os\n", name="a.py")
    assert '<span class="k">import</span>' in is_page(kissa.get(f"/{item_id}"))


# Markdown


def rendered(text: str) -> str:
    found = re.search(r'<article class="panel rendered">(.*?)</article>', text, re.DOTALL)
    assert found, text
    return found[1]


def test_markdown(page: Callable[..., str]) -> None:
    source = (
        "# Cats & *dogs*\n\n- [x] fed\n- [ ] brushed\n\n~~no~~ <kbd>k</kbd> https://a.example\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n```\n\n```nonsense\n<b>\n```\n"
    )
    text = rendered(page(source.encode(), "a.md"))
    for part in (
        "<h1>Cats &amp; <em>dogs</em></h1>", '<li class="task">☑ fed</li>', "☐ brushed",
        "<del>no</del>", "<kbd>k</kbd>", "<td>2</td>", '<span class="m">1</span>', "&lt;b&gt;",
        '<a href="https://a.example" rel="nofollow noreferrer noopener">',
    ):  # fmt: skip
        assert part in text, text


def test_markdown_as_it_was_written(kissa: Kissa, alice: Person) -> None:
    name = kissa.upload_name(alice, b"# Hi\n", "a.markdown")
    text = is_page(kissa.get(f"/v/{name}"))
    assert f'<a href="/v/{name}?source=1">Source</a>' in text
    assert f'<a href="/v/{name}" aria-current="true">Rendered</a>' in text
    text = is_page(kissa.get(f"/v/{name}?source=1"))
    assert lines_of(text) == ["# Hi"]
    assert f'<a href="/v/{name}?source=1" aria-current="true">Source</a>' in text
    assert "<article" not in text


def test_pictures_in_markdown(start: Start) -> None:
    kissa = start(site_url="https://kissa.example/", site_upload_url="https://f.example/")
    source = (
        "![mine](https://f.example/Ab3xK9q.png) ![thumb](https://kissa.example/t/Ab3xK9q.png)\n"
        "![theirs](https://evil.example/a.png) ![act](https://kissa.example/signout)\n"
        '<img src="https://evil.example/b.png" alt="c"> <img src="//evil.example/d.png">\n'
        "![near](https://f.example.evil.example/e.png) ![rel](/f/x.png)"
        " ![d](data:image/png;base64,)"
    )
    name = kissa.upload_name(kissa.person("alice"), source.encode(), "a.md")
    text = rendered(is_page(kissa.get(f"/v/{name}")))
    assert re.findall(r'src="([^"]*)"', text) == [
        "https://f.example/Ab3xK9q.png",
        "https://kissa.example/t/Ab3xK9q.png",
    ]
    assert '<a href="https://evil.example/a.png"' in text
    assert "data:" not in text


@pytest.mark.parametrize(
    "content",
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>",
        "<a href='javascript:alert(1)'>x</a>", "[x](javascript:alert(1))", "<javascript:alert(1)>",
        "[x](JaVaScRiPt&colon;alert(1))", "[x](data:text/html,<script>alert(1)</script>)",
        "![x](javascript:alert(1))", '![x](" onerror="alert(1))', "[x]: javascript:alert(1)\n\n[x]",
        "<iframe src=//evil.example>", "<object data=//evil.example>", "<embed src=x>",
        "<style>*{background:red}</style>", "<p style=color:red onclick=alert(1)>x</p>",
        "<base href=//evil.example>", "<meta http-equiv=refresh content=0>", "<link href=x rel=y>",
        "<form action=//evil.example><input name=a><button formaction=x>x</button></form>",
        "<div id=main class=bar data-copy=x data-confirm=x>x</div>", "</article></main><b>x</b>",
        "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
        "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></table></math>",
        '```<img onerror="alert(1)">\n</code></pre><script>alert(1)</script>\n```',
        "<span class='k button first'>x</span>", "<a href=//evil.example/x>x</a>", "[x](/signout)",
    ],
)  # fmt: skip
def test_hostile_markdown(page: Callable[..., str], content: str) -> None:
    text = rendered(page(f"{content}\n\n<p>{content}</p>\n".encode(), "a.md"))
    assert 'alert(1)"' not in text
    allowed = {"href", "rel", "title", "src", "alt", "class", "tabindex"}
    for tag, attributes in Elements.of(text):
        assert tag not in ("script", "svg", "math", "form", "input", "button", "meta", "link")
        assert {name for name, _ in attributes} <= allowed, text
        told = dict(attributes)
        assert told.get("class") in (None, "k", "task"), text
        assert told.get("href", "https://").startswith("https://"), text  # type: ignore[union-attr]
        assert tag != "a" or told["rel"] == "nofollow noreferrer noopener"


# Too much work


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def limit(**changed: Any) -> None:
        monkeypatch.setattr(texts, "LIMITS", texts.Limits(**changed))

    return limit


@pytest.mark.sqlite  # no matter of the database
def test_a_lexer_that_does_not_end_is_ended(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pygments looks for a `=` from each place of such a file to its end."""
    started = []
    ask = texts._ask

    def counted(*args: str) -> str:
        started.append(args[0])
        return ask(*args)

    monkeypatch.setattr(texts, "_ask", counted)
    content = b"=" * texts.SHOWN
    name = send(kissa, alice, content, "a.ini")
    for _ in range(2):  # and it is not tried again at once
        text = is_page(kissa.get(f"/v/{name}"))
        assert lines_of(text) == [content.decode()]
        assert "no colours, as they take too long" in text
    assert started == ["colour"]


@pytest.mark.sqlite  # no matter of the database
@pytest.mark.parametrize(
    "limits", [{"seconds": 0.5, "cpu": 60}, {"seconds": 60.0, "cpu": 1}], ids=["clock", "processor"]
)
def test_either_limit_is_enough(
    kissa: Kissa, alice: Person, quick: Callable[..., None], limits: dict[str, Any]
) -> None:
    quick(**limits)
    name = send(kissa, alice, b"=" * texts.SHOWN, "a.ini")
    begun = time.monotonic()
    assert "no colours, as they take too long" in kissa.get(f"/v/{name}").text
    assert time.monotonic() - begun < 30  # the other limit would have ended it at 60


def test_a_long_text_has_colours_as_far_as_they_go(
    page: Callable[..., str], quick: Callable[..., None]
) -> None:
    quick(colouring=0.0, seconds=60.0, cpu=60)
    text = page(b"x = 1\n" * 2000, "a.py")
    assert lines_of(text) == ["x = 1"] * 2000
    coloured = text.count('<span class="m">1</span>')
    assert 0 < coloured < 2000
    assert f"colours up to line {coloured + 1}<" in text or f"up to line {coloured}<" in text


def test_markdown_that_takes_too_long_is_shown_as_it_is(
    page: Callable[..., str], quick: Callable[..., None]
) -> None:
    quick(seconds=0.001)
    text = page(b"# Hi\n", "a.md")
    assert "Rendering this took too long" in text
    assert lines_of(text) == ["# Hi"]


@pytest.mark.sqlite  # no matter of the database
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"[" * 100_000, id="brackets"),
        pytest.param(b"> " * 50_000, id="quotes"),
        pytest.param(b"<div>" * 100_000, id="elements"),
        pytest.param(b"*_" * 200_000, id="emphasis"),
        pytest.param(b"| a " * 100_000 + b"\n" + b"|-" * 100_000, id="columns"),
    ],
)
def test_hostile_sizes_of_markdown(page: Callable[..., str], content: bytes) -> None:
    text = page(content, "a.md")
    assert ('<article class="panel rendered">' in text) != ("took too long" in text)


def test_no_place_for_a_child(page: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_PATIENCE", 0.01)
    held = [texts._turns.acquire(timeout=60) for _ in range(texts._AT_ONCE)]
    try:
        text = page(b"x = 1\n", "a.py")
    finally:
        for _ in held:
            texts._turns.release()
    assert lines_of(text) == ["x = 1"]
    assert '<span class="m">1</span>' not in text


def test_what_was_made_is_remembered(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = kissa.upload_name(alice, b"x = 1\n", "a.py")
    first = lines_of(kissa.get(f"/v/{name}").text)
    monkeypatch.setattr(texts, "_ask", None)  # it would fail
    assert lines_of(kissa.get(f"/v/{name}").text) == first


def test_what_is_remembered_has_a_limit() -> None:
    results = texts._Results()
    for number in range(3 * texts._ENTRIES):
        results.keep(("colour", str(number)), "x" * 10_000)
        results.keep_away_from(("colour", f"slow{number}"))
    assert len(results._kept) == len(results._slow) == texts._ENTRIES
    assert results._size == sum(map(len, results._kept.values()))
    assert results.find(("colour", "0")) is None
    noise = "".join(chr(33 + (number * number) % 90) for number in range(200_000))
    for number in range(200):
        results.keep(("colour", str(number)), noise[number:])
    assert results._size <= texts._KEPT


def test_the_server_imports_nothing_of_this() -> None:
    code = (
        "import sys; import app; app.create_app();"
        "sys.exit(bool({'pygments', 'mistune', 'nh3'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
