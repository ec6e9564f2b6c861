"""The front page: what a view shows, to whom, and how it goes on."""

import re
from collections.abc import Callable

import pytest

import sessions
from models import Item
from tests.conftest import Kissa, Person
from tests.people import Browser, error_of

Start = Callable[..., Kissa]


def shown(browser: Browser, query: str = "") -> list[int]:
    """The ids of the items in the grid, in their order."""
    tiles = re.findall(r'<li class="tile[^>]*><a href="/(\d+)', browser.text(f"/{query}"))
    return [int(number) for number in tiles]


@pytest.fixture
def items(kissa: Kissa, alice: Person, bob: Person) -> dict[str, int]:
    return {
        "cat": kissa.item_id(alice, tags="cat,window,warm"),
        "dog": kissa.item_id(bob, tags="dog,window,warm"),
        "nsfw": kissa.item_id(alice, tags="cat,night,warm", rating="nsfw"),
        "nsfl": kissa.item_id(bob, tags="cat,night,cold", rating="nsfl"),
        "none": kissa.item_id(bob, rating="", tags="", is_shitpost="1"),
    }


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["dog", "cat"]),
        ("?rating=sfw", ["dog", "cat"]),
        ("?rating=nsfw", ["nsfw"]),
        ("?rating=nsfl", ["nsfl"]),
        ("?rating=all", ["none", "nsfl", "nsfw", "dog", "cat"]),
        ("?tag=cat", ["cat"]),
        ("?tag=CAT&tag=warm", ["cat"]),
        ("?tag=cat, warm&rating=all", ["nsfw", "cat"]),
        ("?tag=cat&tag=dog", []),
        ("?tag=unknown", []),
        ("?user=ALICE", ["cat"]),
        ("?user=bob&rating=all&tag=cat", ["nsfl"]),
        ("?user=nobody", []),
        ("?before=0", []),
    ],
)
def test_filters(kissa: Kissa, items: dict[str, int], query: str, names: list[str]) -> None:
    assert shown(Browser(kissa), query) == [items[name] for name in names]


@pytest.mark.parametrize(
    "query", ["rating=best", "before=x", "before=" + "9" * 30, "before=-1", "tag=" + "x" * 65]
)
def test_faulty_filters(kissa: Kissa, query: str) -> None:
    assert error_of(Browser(kissa).get(f"/?{query}"))[0] == 400


def test_links_keep_the_view(kissa: Kissa, items: dict[str, int]) -> None:
    page = Browser(kissa).text("/?rating=all&tag=cat&user=alice").replace("&amp;", "&")
    assert f'href="/{items["nsfw"]}?rating=all&tag=cat&user=alice"' in page
    assert 'href="/?rating=nsfl&tag=cat&user=alice"' in page
    assert 'href="/?rating=all&user=alice" aria-label="Without cat"' in page
    assert '<a class="tag chosen" href="/?rating=all&tag=cat"' in page


def test_older_pages_by_keyset(start: Start) -> None:
    kissa = start(storage_durable="false", uploads_per_minute=0)
    alice, browser = kissa.person("alice"), Browser(kissa)
    ids = [kissa.item_id(alice, tags="a,b,c") for _ in range(61)]
    assert shown(browser, "?tag=a") == ids[:0:-1]
    found = re.search(r'href="([^"]+)" rel="next"', browser.text("/?tag=a"))
    assert found
    older = found[1].replace("&amp;", "&")
    assert older == f"/?tag=a&before={ids[1]}"
    kissa.item_id(alice, tags="a,b,c")  # what comes meanwhile moves nothing
    assert shown(browser, older[1:]) == ids[:1]
    assert 'rel="next"' not in browser.text(older)


@pytest.mark.parametrize(
    ("visitors", "ratings", "status"),
    [
        pytest.param("all", ["sfw", "nsfw", "nsfl", "all"], 200, id="all"),
        pytest.param("sfw", ["sfw"], 404, id="sfw"),
        pytest.param("none", [], 401, id="none"),
    ],
)
def test_visitors(start: Start, visitors: str, ratings: list[str], status: int) -> None:
    kissa = start(gallery_visitors=visitors)
    alice = kissa.person("alice")
    sfw, nsfw = kissa.item_id(alice), kissa.item_id(alice, rating="nsfw")
    visitor, known = Browser(kissa), Browser(kissa, "alice")
    segments = re.compile(r'<a href="/[^"]*"[^>]*>(sfw|nsfw|nsfl|all)</a>')
    for query in ("", "?rating=nsfw", "?rating=all", "?tag=cat", f"?before={nsfw + 1}"):
        page = visitor.text(f"/{query}")
        assert segments.findall(page) == ratings
        assert ("only to people who are signed in" in page) is (visitors == "none")
        assert (f'href="/{nsfw}' in page) is (visitors == "all" and "rating" in query)
        assert Item.get_by_id(nsfw).name not in page or visitors == "all"
    assert (sfw in shown(visitor)) is (visitors != "none")
    assert visitor.get(f"/{nsfw}").status_code == status
    assert shown(known, "?rating=all") == [nsfw, sfw]
    assert known.get(f"/{nsfw}").status_code == 200


def test_veil(kissa: Kissa, items: dict[str, int]) -> None:
    browser = Browser(kissa)
    view = "/?rating=all&tag=cat"
    assert browser.text(view).count('<li class="tile veiled"') == 2
    assert browser.does("/veil", veil="lifted", next=view) == view
    cookie = browser.client.get_cookie("veil")
    assert cookie is not None
    assert (cookie.http_only, cookie.same_site, cookie.value) == (True, "Lax", "lifted")
    assert 'tile veiled"' not in browser.text(view)
    assert 'stage veiled"' not in browser.text(f"/{items['nsfw']}")
    browser.does("/veil", next=view)
    assert browser.text(view).count('<li class="tile veiled"') == 2
    assert 'stage veiled"' in browser.text(f"/{items['nsfw']}")
    assert 'stage veiled"' not in browser.text(f"/{items['cat']}")


@pytest.mark.parametrize("path", ["/veil", "/theme"])
@pytest.mark.parametrize(
    "target", ["//evil", "/\\evil", "/\t/evil", "https://evil", "javascript:x"]
)
def test_next_stays_here(kissa: Kissa, path: str, target: str) -> None:
    assert Browser(kissa).does(path, next=target) == "/"


def test_empty(kissa: Kissa, alice: Person) -> None:
    visitor, known = Browser(kissa), Browser(kissa, "alice")
    assert "The first picture could be yours" in visitor.text("/")
    assert 'href="/signup"' in visitor.text("/")
    assert 'class="button first" href="/upload"' in known.text("/")
    for query in ("?rating=nsfw", "?tag=x", "?user=alice", "?before=5"):
        page = visitor.text(f"/{query}")
        assert "Nothing here matches" in page
        assert "could be yours" not in page


def test_search_engines_see_sfw_alone(kissa: Kissa) -> None:
    for query, told in (("", None), ("?tag=x", None), ("?rating=all", "noindex")):
        assert Browser(kissa).get(f"/{query}").headers.get("X-Robots-Tag") == told


def test_waiting_rejected_and_unlisted_are_never_here(start: Start) -> None:
    kissa = start(gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    kissa.item_id(alice)
    kissa.post(f"/api/v2/queue/{kissa.item_id(alice)}/reject", admin.by_admin_token)
    kissa.upload_name(alice)
    for browser in (Browser(kissa), Browser(kissa, "alice"), Browser(kissa, "admin")):
        assert shown(browser, "?rating=all") == []


def test_hostile_names_and_tags(kissa: Kissa) -> None:
    mallory = kissa.person("mallory")
    evil = "\"><img src=x onerror=alert(1)>'{{7*191}}"
    kissa.item_id(mallory, tags=f"{evil},b,c", name="x<svg onload=alert(1)>.png")
    page = Browser(kissa).text(f"/?tag=b&tag={evil.replace('{', '%7B').replace('#', '')}")
    assert page.count("<img") == 2  # the tile's, and its copy for no script
    for raw in ("<img src=x", "<svg onload", "1337"):
        assert raw not in page


def test_a_failing_database_is_told_without_it(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of a fault does not need what failed."""
    browser = Browser(kissa, "alice")

    def fail(secret: str) -> None:
        raise RuntimeError("disk I/O error in /var/lib")

    monkeypatch.setattr(sessions, "find", fail)
    answer = browser.get("/files")
    status, sentence = error_of(answer)
    assert status == 500
    assert re.fullmatch(r"Something went wrong here \(error [0-9a-f]{8}\)\.", sentence)
    assert "disk" not in answer.text
