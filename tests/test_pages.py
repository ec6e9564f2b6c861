"""What a browser gets: front page, item pages, errors in the dialect of their path."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from werkzeug.test import TestResponse

from models import Item
from tests.conftest import PNG, Clock, Kissa, Person
from tests.forms import field, file, form

Start = Callable[..., Kissa]
HOSTILE = "<script>alert(1)</script>\"'&lt;{{1234*1234}}"


def is_page(answer: TestResponse, status: int = 200) -> str:
    """See that this is a page of ours that runs no script but ours. Returns its text."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "text/html; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] in ("same-origin", "no-referrer")
    text = answer.text
    assert text.startswith("<!doctype html>")
    (nonce,) = set(
        re.findall(r'<script type="module" nonce="([A-Za-z0-9_-]{16,})" src="/static/', text)
    )
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == f"'nonce-{nonce}'"
    assert policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert text.count("<script") == text.count(
        f'<script type="module" nonce="{nonce}" src="/static/'
    )
    for tag, attributes in Elements.of(text):
        assert tag not in ("iframe", "object", "embed", "base", "style"), text
        for name, value in attributes:
            assert name != "style", text
            assert not name.startswith("on"), text
            assert not (value or "").startswith(("javascript:", "data:")), text
    return text


class Elements(HTMLParser):
    """The start tags of a page, as a browser would see them."""

    found: list[tuple[str, list[tuple[str, str | None]]]]

    @classmethod
    def of(cls, text: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
        parser = cls()
        parser.found = []
        parser.feed(text)
        parser.close()
        return parser.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


# The front page


def test_front_page(start: Start) -> None:
    kissa = start(site_name="Katten & Co", site_contact="mail@kissa.example")
    text = is_page(kissa.get("/"))
    assert ">Katten &amp; Co</h1>" in text
    assert "Contact: mail@kissa.example" in text
    assert "The first picture could be yours" in text
    alice = kissa.person("alice")
    first = kissa.item_id(alice, name="one.png")
    second = kissa.item_id(alice, name="two.mp4")
    kissa.item_id(alice, name="three.png", rating="nsfw")
    kissa.item_id(alice, name="four.png", rating="", is_shitpost="1")
    kissa.upload_name(alice, name="five.png")
    text = is_page(kissa.get("/"))
    assert re.findall(r'href="/(\d+)"', text) == [str(second), str(first)]
    pictures = {one for one in re.findall(r'"/t/([^"]+)"', text) if one.endswith(".png")}
    assert pictures == {Item.get_by_id(first).name}


def test_front_page_shows_the_newest_60(start: Start) -> None:
    kissa = start(storage_durable="false")
    alice = kissa.person("alice")
    for _ in range(62):
        kissa.item_id(alice)
    ids = re.findall(r'href="/(\d+)"', kissa.get("/").text)
    assert ids == [str(number) for number in range(62, 2, -1)]


def test_every_page_has_a_nonce_of_its_own(kissa: Kissa) -> None:
    assert len({re.findall(r'nonce="(.+?)"', kissa.get("/").text)[0] for _ in range(5)}) == 5


def test_pages_may_load_files_from_where_they_lie(start: Start) -> None:
    kissa = start(site_upload_url="https://cdn.example:8443/u/")
    number = kissa.item_id(kissa.person("alice"))
    answer = kissa.get(f"/{number}")
    assert 'src="https://cdn.example:8443/u/' in is_page(answer)
    policy = answer.headers["Content-Security-Policy"]
    assert "img-src 'self' blob: https://cdn.example:8443;" in policy
    assert "media-src 'self' blob: https://cdn.example:8443;" in policy


# Item pages


@pytest.mark.parametrize(
    ("name", "element"),
    [
        pytest.param("a.png", r'<img src="{url}" alt="black cat, cat, x">', id="image"),
        pytest.param("a.webm", r'<video src="{url}" controls', id="video"),
        pytest.param("a.mp3", r'<audio src="{url}" controls', id="audio"),
        pytest.param("a.zip", r'<a class="button" href="{url}">Open</a>', id="other"),
        pytest.param("a.html", r'<ol class="lines"', id="html"),
        pytest.param("a.svg", r'<a class="button" href="{url}">Open</a>', id="svg"),
        pytest.param("a", r'<a class="button" href="{url}">Open</a>', id="no extension"),
    ],
)
def test_item_page(kissa: Kissa, clock: Clock, name: str, element: str) -> None:
    alice = kissa.person("alice")
    content = b"<p>" if name == "a.html" else PNG
    number = kissa.item_id(
        alice, content=content, name=name, tags="cat,black cat,x", comment="hi", is_oc="1"
    )
    (stored,) = kissa.files()
    text = is_page(kissa.get(f"/{number}"))
    assert element.format(url=f"http://kissa.example/f/{stored}") in text
    for tag in ("img", "video", "audio"):
        assert text.count(f"<{tag}") == (1 if f"<{tag} " in element else 0)
    assert f'<h1 class="name">{name}</h1>' in text
    assert '<a href="/?user=alice">alice</a>' in text
    assert ">2026-11-21 12:00 UTC</time>" in text
    assert 'sfw <span class="badge">OC</span>' in text
    assert '<a class="tag" href="/?tag=black+cat">black cat</a>' in text
    assert '<strong>alice</strong> <span class="kept-lines">hi</span>' in text


@pytest.mark.parametrize(
    ("rating", "is_hidden"), [("sfw", False), ("nsfw", True), ("nsfl", True), ("", True)]
)
def test_search_engines_see_sfw_alone(
    kissa: Kissa, alice: Person, rating: str, is_hidden: bool
) -> None:
    number = kissa.item_id(alice, rating=rating, is_shitpost="1")
    robots = kissa.get(f"/{number}").headers.get("X-Robots-Tag")
    assert robots == ("noindex" if is_hidden else None)


def test_everything_is_escaped(start: Start) -> None:
    kissa = start(site_name=HOSTILE[:64], site_contact=HOSTILE)
    alice = kissa.person("a._-")
    tags = "<b>bold</b>,\"onload='x',{{1234*1234}}"
    name = '"><img src=x onerror=alert(1)>\u202egnp.png'.replace('"', "%22")
    parts = [
        field("rating", "sfw"),
        field("tags", tags),
        field("comment", f"{HOSTILE}\n</p><h1>x"),
        file("file", PNG, name),
    ]
    answer = kissa.post("/api/v2/upload", alice.by_key, **form(*parts))
    number = answer.get_json()["itemid"]
    deletion = answer.headers["X-Deletion-URL"].removeprefix("http://kissa.example")
    for path in ("/", f"/{number}", deletion, "/nothing"):
        text = is_page(kissa.get(path), 404 if path == "/nothing" else 200)
        for raw in ("<script>", "<b>", "<img src=x", "</p><h1>x", "\u202e", "1522756"):
            assert raw not in re.sub(r"<svg.*?</svg>", "", text, flags=re.S)
    text = kissa.get(f"/{number}").text
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
    assert "&lt;script&gt;alert(1)" in text
    assert ">a._-</a>" in text


def test_names_in_attributes_stay_inside(kissa: Kissa, alice: Person) -> None:
    part = file("file", PNG, "NAME.png").replace(b"NAME", rb"x\" onerror=\"alert(1)")
    fields = [field("rating", "sfw"), field("tags", "a,b,c")]
    number = kissa.post("/api/v2/upload", alice.by_key, **form(*fields, part)).get_json()["itemid"]
    for path, pictures in (
        ("/", 2),
        (f"/{number}", 1),
    ):  # on the front page once more for no script
        assert is_page(kissa.get(path)).count("<img") == pictures


def test_a_deleted_owner_takes_page_and_comments_along(
    kissa: Kissa, alice: Person, bob: Person
) -> None:
    number = kissa.item_id(alice, comment="mine")
    assert kissa.post("/api/user/delete", alice.by_password).status_code == 200
    is_page(kissa.get(f"/{number}"), 404)
    assert kissa.get("/").status_code == 200


# Errors


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/1", 404),
        ("GET", "/0", 404),
        ("GET", "/" + "9" * 18, 404),
        ("GET", "/" + "9" * 30, 404),
        ("GET", "/-1", 404),
        ("GET", "/1.0", 404),
        ("GET", "/%D9%A1", 404),
        ("GET", "/%C2%B2", 404),
        ("GET", "/%ED%A0%80", 404),
        ("GET", "/%00", 404),
        ("GET", "/f/%ED%A0%80.png", 404),
        ("GET", "/f/a%00b.png", 404),
        ("GET", "/f/..%2Fkissa.db", 404),
        ("GET", "/f/" + "a" * 5000, 404),
        ("GET", "/f/", 404),
        ("GET", "/delete/%ED%A0%80/%ED%A0%80", 404),
        ("GET", "/apis", 404),
        ("POST", "/", 405),
        ("DELETE", "/1", 405),
        ("POST", "/f/abcdefg", 405),
        ("GET", "/api/", 404),
        ("GET", "/api/nothing", 404),
        ("GET", "/api/%ED%A0%80", 404),
        ("GET", "/api/v2x", 404),
        ("GET", "/api/user/info", 405),
        ("POST", "/api/info", 405),
        ("GET", "/api/v2", 404),
        ("GET", "/api/v2/", 404),
        ("GET", "/api/v2/nothing", 404),
        ("GET", "/api/v2/items/%ED%A0%80", 404),
        ("GET", "/api/v2/items/" + "9" * 30, 404),
        ("GET", "/api/v2/upload", 405),
        ("POST", "/api/v2/items", 405),
        ("PUT", "/api/v2/items/1", 405),
    ],
)
def test_errors_speak_the_dialect_of_their_path(
    kissa: Kissa, method: str, path: str, status: int
) -> None:
    answer = kissa.client.open(path, method=method)
    assert answer.status_code == status, answer.text
    assert ("Allow" in answer.headers) is (status == 405)
    if path == "/api/v2" or path.startswith("/api/v2/"):
        assert answer.content_type == "application/json"
        assert list(answer.get_json()) == ["success", "msg"]
        assert answer.get_json()["success"] is False
        assert answer.get_json()["msg"]
    elif path == "/api" or path.startswith("/api/"):
        assert answer.content_type == "text/plain; charset=utf-8"
        assert re.fullmatch(r"[A-Z][^\n<]+\.", answer.text)
    else:
        is_page(answer, status)


def test_head_of_pages(kissa: Kissa, alice: Person) -> None:
    number = kissa.item_id(alice)
    for path in ("/", f"/{number}"):
        head = kissa.client.head(path)
        assert (head.status_code, head.data) == (200, b"")


@pytest.mark.parametrize("name", ["query", "rating", "user", "tag", "before"])
def test_surrogates_in_a_query(kissa: Kissa, name: str) -> None:
    answer: Any = kissa.get(f"/api/v2/items?{name}=%ED%A0%80%FF")
    assert answer.status_code in (200, 400)
    page = kissa.get(f"/?{name}=%ED%A0%80%FF")
    assert page.status_code == (400 if name in ("rating", "before") else 200)
    is_page(page, page.status_code)
