"""What a client has already is not sent again: tags of pages and JSON, and 304."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from tests.conftest import Kissa, Person
from tests.people import Browser

Start = Callable[..., Kissa]
ITEMS = "/api/v2/items"
PATHS = [
    "/", "/?rating=all&tag=cat", "/1", "/1?tag=cat", "/rules", "/goodbye", "/robots.txt",
    "/api/info", "/api/openapi.json", ITEMS, f"{ITEMS}?limit=1", f"{ITEMS}/1",
]  # fmt: skip


@pytest.fixture
def site(start: Start, tmp_path: Path) -> Kissa:
    """A Kissa with something to show under each of the paths."""
    (tmp_path / "rules.txt").write_text("Be kind.\n")
    kissa = start(site_rules=tmp_path / "rules.txt")
    alice = kissa.person("alice")
    assert kissa.item_id(alice) == 1
    kissa.item_id(alice)
    return kissa


def tag_of(answer: TestResponse) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.headers["ETag"])


@pytest.mark.parametrize("path", PATHS)
def test_304_for_what_the_client_has(site: Kissa, path: str) -> None:
    first = site.get(path)
    assert re.fullmatch(r'W/"[0-9a-f]{32}"', tag_of(first))
    again = site.get(path, {"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    # RFC 9110 15.4.5: what the 200 would have told to caches, and nothing about a body
    for name in ("ETag", "Cache-Control", "Vary", "Referrer-Policy", "X-Content-Type-Options"):
        assert again.headers.getlist(name) == first.headers.getlist(name), name
    for name in ("Content-Type", "Content-Length", "Content-Encoding"):
        assert name not in again.headers
    # the page that the client has runs under the nonce that it came with
    assert "Content-Security-Policy" not in again.headers
    assert first.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", ["/", ITEMS])
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        pytest.param("{weak}", 304, id="as given"),
        pytest.param("{strong}", 304, id="weak comparison"),
        pytest.param('"other", {weak}', 304, id="list"),
        pytest.param('W/"other",{strong} , "x"', 304, id="list, strong"),
        pytest.param("*", 304, id="any"),
        pytest.param('"other"', 200, id="other"),
        pytest.param('W/"other", "x"', 200, id="others"),
        pytest.param("", 200, id="empty"),
        pytest.param("{bare}x", 200, id="no tag"),
    ],
)
def test_if_none_match(site: Kissa, path: str, asked: str, status: int) -> None:
    weak = tag_of(site.get(path))
    strong = weak.removeprefix("W/")
    value = asked.format(weak=weak, strong=strong, bare=strong.strip('"'))
    answer = site.get(path, {"If-None-Match": value})
    assert answer.status_code == status
    head = site.client.head(path, headers={"If-None-Match": value})
    assert (head.status_code, head.data, head.headers["ETag"]) == (status, b"", weak)


def test_a_nonce_is_no_change(site: Kissa) -> None:
    one, two = site.get("/"), site.get("/")
    assert one.text != two.text
    assert tag_of(one) == tag_of(two)


def test_another_tag_for_another_page(site: Kissa) -> None:
    alice = Browser(site, "alice")
    tags = [tag_of(site.get("/1"))]
    alice.does("/1/comments", text="hello")
    tags.append(tag_of(site.get("/1")))
    alice.does("/1/edit", rating="nsfw", tags="x, y, z")
    tags.append(tag_of(site.get("/1?rating=nsfw")))
    for name, value in (("veil", "lifted"), ("theme", "dark"), ("theme", "light")):
        site.client.set_cookie(name, value)
        tags.append(tag_of(site.get("/1?rating=nsfw")))
    assert len(set(tags)) == 6


def test_another_tag_for_another_list(site: Kissa, bob: Person) -> None:
    pages = {path: tag_of(site.get(path)) for path in ("/", ITEMS, "/api/info")}
    site.item_id(bob)
    for path, tag in pages.items():
        assert site.get(path, {"If-None-Match": tag}).status_code == 200, path


def test_another_tag_for_another_policy(start: Start, tmp_path: Path) -> None:
    """A 304 leaves the policy that the page came with, so that must not have changed."""
    tags = set()
    for url in ("https://one.example/", "https://two.example/"):
        tags.add(tag_of(start(site_upload_url=url).get("/goodbye")))
    assert len(tags) == 2


@pytest.mark.parametrize("path", ["/", "/1", "/files", "/settings", "/upload"])
def test_pages_of_the_signed_in_are_kept_nowhere(site: Kissa, path: str) -> None:
    answer = Browser(site, "alice").get(path, **{"If-None-Match": "*"})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert "ETag" not in answer.headers
    assert "Cookie" in answer.headers["Vary"]


@pytest.mark.parametrize("path", ["/signin", "/signup?key=x", "/healthz"])
def test_what_nobody_keeps_has_no_tag(site: Kissa, path: str) -> None:
    answer = site.get(path, {"If-None-Match": "*"})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert "ETag" not in answer.headers


@pytest.mark.parametrize("path", ["/nothing", "/99", "/api/nothing", f"{ITEMS}/99", "/files"])
def test_only_200_is_answered_by_304(site: Kissa, path: str) -> None:
    answer = site.get(path, {"If-None-Match": "*"})
    assert answer.status_code in (303, 404)
    assert "ETag" not in answer.headers


def test_what_somebody_known_sees_is_for_them_alone(start: Start) -> None:
    kissa = start(gallery_manual_approval="true")
    alice, bob = kissa.person("alice"), kissa.person("bob")
    admin = kissa.person("admin", admin=True)
    waiting = f"{ITEMS}/{kissa.item_id(alice)}"
    for path, who in ((waiting, alice.by_key), ("/api/v2/queue", admin.by_admin_token)):
        first = kissa.get(path, who)
        tag = tag_of(first)
        assert first.headers["Cache-Control"] == "private, no-cache"
        assert {"Token", "X-Api-Key"} <= set(first.vary)
        again = kissa.get(path, who | {"If-None-Match": tag})
        assert (again.status_code, again.headers["Cache-Control"]) == (304, "private, no-cache")
        for other in ({}, bob.by_key):
            refused = kissa.get(path, other | {"If-None-Match": tag})
            assert refused.status_code in (401, 404)
    assert {"Token", "X-Api-Key"} <= set(kissa.get(ITEMS).vary)


def test_posts_have_no_tag(kissa: Kissa, alice: Person) -> None:
    for path in ("/api/user/info", "/api/files/list", "/api/token/valid"):
        answer = kissa.post(path, alice.by_token | {"If-None-Match": "*"})
        assert answer.status_code == 200
        assert "ETag" not in answer.headers
