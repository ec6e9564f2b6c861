"""The gallery as JSON: shape, filters, pages, who sees what; items deleted and fetched."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

import gallery
from tests.conftest import PNG, Clock, Kissa, Person

ITEMS = "/api/v2/items"
NO_KEY = "Invalid or inactive API key"
Start = Callable[..., Kissa]


def listed(kissa: Kissa, query: str = "", headers: dict[str, str] | None = None) -> list[int]:
    """The ids of the items on a page of the gallery."""
    answer = kissa.get(ITEMS + query, headers)
    assert answer.status_code == 200, answer.text
    return [item["itemid"] for item in answer.get_json()["items"]]


def refused(answer: TestResponse, status: int, msg: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/json"
    assert list(answer.get_json()) == ["success", "msg"]
    assert answer.get_json()["success"] is False
    if msg is not None:
        assert answer.get_json()["msg"] == msg


def one_of_each(kissa: Kissa, person: Person) -> dict[str, int]:
    """An item of each rating and one without, by the filter that shows it."""
    found = {
        rating: kissa.item_id(person, rating=rating, name=f"{rating}-item.png")
        for rating in ("sfw", "nsfw", "nsfl")
    }
    found["none"] = kissa.item_id(person, rating="", is_shitpost="1", name="none-item.png")
    return found


# Shape


def test_shape(kissa: Kissa, clock: Clock) -> None:
    alice = kissa.person("Alice")
    number = kissa.item_id(alice, tags="b, A ,c d", is_oc="true", name="Größe.tar.GZ")
    (name,) = kissa.files()
    item = {
        "itemid": number,
        "url": f"http://kissa.example/{number}",
        "file": f"http://kissa.example/f/{name}",
        "thumbnail": None,
        "username": "Alice",
        "rating": "sfw",
        "tags": ["a", "b", "c d"],
        "is_oc": True,
        "created": "2026-11-21T12:00:00Z",
    }
    page = kissa.get(ITEMS)
    assert page.content_type == "application/json"
    assert page.get_json() == {"items": [item], "next": None}
    assert list(page.get_json()) == ["items", "next"]
    assert list(page.get_json()["items"][0]) == list(item)
    alone = kissa.get(f"{ITEMS}/{number}")
    assert alone.get_json() == item
    assert list(alone.get_json()) == list(item)
    assert type(alone.get_json()["itemid"]) is int
    assert re.fullmatch(r"[A-Za-z0-9]{7}\.tar\.gz", name)


def test_shape_of_an_item_without_anything(kissa: Kissa, alice: Person) -> None:
    number = kissa.item_id(alice, rating="", tags="", is_shitpost="1")
    item = kissa.get(f"{ITEMS}/{number}").get_json()
    assert (item["rating"], item["tags"], item["is_oc"]) == (None, [], False)


def test_files_elsewhere(start: Start) -> None:
    kissa = start(site_upload_url="https://cdn.example/u", site_url="https://kissa.example/k")
    number = kissa.item_id(kissa.person("alice"))
    (name,) = kissa.files()
    item = kissa.get(f"{ITEMS}/{number}").get_json()
    assert item["url"] == f"https://kissa.example/k/{number}"
    assert item["file"] == f"https://cdn.example/u/{name}"


def test_empty(kissa: Kissa) -> None:
    assert kissa.get(ITEMS).get_json() == {"items": [], "next": None}


# Filters


def test_rating(kissa: Kissa, alice: Person) -> None:
    ids = one_of_each(kissa, alice)
    assert listed(kissa) == [ids["sfw"]]
    for rating in ("sfw", "nsfw", "nsfl"):
        assert listed(kissa, f"?rating={rating}") == [ids[rating]]
    assert listed(kissa, "?rating=all") == sorted(ids.values(), reverse=True)


def test_tags_are_all_of_them(kissa: Kissa, alice: Person) -> None:
    both = kissa.item_id(alice, tags="cat,black cat,été")
    cat = kissa.item_id(alice, tags="cat,x,y")
    nsfw = kissa.item_id(alice, tags="cat,x,été", rating="nsfw")
    assert listed(kissa, "?tag=cat") == [cat, both]
    assert listed(kissa, "?tag=cat&tag=x") == [cat]
    assert listed(kissa, "?tag=cat,x") == [cat]
    assert listed(kissa, "?tag=cat&tag=x&rating=all") == [nsfw, cat]
    assert listed(kissa, "?tag=%20CAT%20&tag=Black%20%20Cat") == [both]
    assert listed(kissa, "?tag=e%CC%81t%C3%A9") == [both]
    assert listed(kissa, "?tag=cat&tag=cat") == [cat, both]
    assert listed(kissa, "?tag=cat&tag=dog") == []
    assert listed(kissa, "?tag=ca") == []
    assert listed(kissa, "?tag=c%25") == []
    assert listed(kissa, "?tag=") == [cat, both]
    assert listed(kissa, f"?tag=cat&before={cat}") == [both]
    assert listed(kissa, "?tag=cat&limit=1") == [cat]


def test_user_without_regard_to_case(kissa: Kissa, alice: Person, bob: Person) -> None:
    first, second = kissa.item_id(alice), kissa.item_id(bob)
    assert listed(kissa, "?user=alice") == listed(kissa, "?user=ALICE") == [first]
    assert listed(kissa, "?user=Bob") == [second]
    for nobody in ("carol", "ali", "alice%20", "%25", "al%C4%B0ce"):
        assert listed(kissa, f"?user={nobody}") == []
    assert listed(kissa, "?user=") == [second, first]


def test_filters_together(kissa: Kissa, alice: Person, bob: Person) -> None:
    wanted = kissa.item_id(alice, tags="x,y,z", rating="nsfw")
    kissa.item_id(alice, tags="x,y,w", rating="nsfw")
    kissa.item_id(alice, tags="x,y,z")
    kissa.item_id(bob, tags="x,y,z", rating="nsfw")
    assert listed(kissa, "?user=alice&tag=z&tag=x&rating=nsfw") == [wanted]


@pytest.mark.parametrize(
    "query",
    [
        "rating=safe",
        "rating=SFW",
        "rating=",
        "limit=0",
        "limit=-1",
        "limit=1.5",
        "limit=x",
        "limit=%D9%A3",
        "limit=1e2",
        "limit=9999999999999999999",
        "before=x",
        "before=-1",
        "before=99999999999999999999999999",
        "tag=" + "x" * 65,
        "tag=" + ",".join(f"t{i}" for i in range(51)),
        "&".join(f"tag=t{i}" for i in range(51)),
    ],
)
def test_bad_values(kissa: Kissa, query: str) -> None:
    refused(kissa.get(f"{ITEMS}?{query}"), 400)


def test_fifty_tags_may_be_asked_for(kissa: Kissa, alice: Person) -> None:
    tags = [f"t{i}" for i in range(50)]
    number = kissa.item_id(alice, tags=",".join(tags))
    assert listed(kissa, "?" + "&".join(f"tag={tag}" for tag in tags)) == [number]


# Pages


def test_pages(kissa: Kissa, alice: Person) -> None:
    ids = [kissa.item_id(alice) for _ in range(5)][::-1]
    page = kissa.get(f"{ITEMS}?limit=2").get_json()
    assert ([item["itemid"] for item in page["items"]], page["next"]) == (ids[:2], ids[1])
    page = kissa.get(f"{ITEMS}?limit=2&before={page['next']}").get_json()
    assert ([item["itemid"] for item in page["items"]], page["next"]) == (ids[2:4], ids[3])
    page = kissa.get(f"{ITEMS}?limit=2&before={page['next']}").get_json()
    assert ([item["itemid"] for item in page["items"]], page["next"]) == (ids[4:], None)
    assert listed(kissa, f"?before={ids[-1]}") == []


@pytest.mark.parametrize("filters", ["", "&tag=cat", "&user=alice", "&rating=all"])
def test_next_is_null_when_nothing_follows(kissa: Kissa, alice: Person, filters: str) -> None:
    ids = [kissa.item_id(alice) for _ in range(4)][::-1]
    for before, limit in ((ids[1], 2), (ids[0] + 1, 4)):
        page = kissa.get(f"{ITEMS}?limit={limit}&before={before}{filters}").get_json()
        assert len(page["items"]) == limit
        assert page["next"] is None


def test_pages_count_what_the_filter_shows(kissa: Kissa, alice: Person) -> None:
    old = kissa.item_id(alice)
    new = kissa.item_id(alice)
    kissa.item_id(alice, rating="nsfw")
    kissa.upload_name(alice)
    page = kissa.get(f"{ITEMS}?limit=1").get_json()
    assert ([item["itemid"] for item in page["items"]], page["next"]) == ([new], new)
    page = kissa.get(f"{ITEMS}?limit=1&before={new}").get_json()
    assert ([item["itemid"] for item in page["items"]], page["next"]) == ([old], None)


def test_limits(start: Start) -> None:
    kissa = start(uploads_per_minute=0, storage_durable="false")
    alice = kissa.person("alice")
    for _ in range(202):
        kissa.item_id(alice)
    assert len(listed(kissa)) == 60
    assert len(listed(kissa, "?limit=")) == 60
    assert len(listed(kissa, "?limit=200")) == 200
    assert len(listed(kissa, "?limit=201")) == 200
    page = kissa.get(f"{ITEMS}?limit=100000").get_json()
    assert (len(page["items"]), page["next"]) == (200, 3)


# Who sees what


def test_unlisted_uploads_are_in_no_gallery(
    kissa: Kissa, alice: Person, bob: Person, admin: Person
) -> None:
    name = kissa.upload_name(alice, name="secret.png")
    number = 1
    for headers in ({}, bob.by_key, bob.by_token, alice.by_token, admin.by_admin_token):
        assert listed(kissa, "?rating=all", headers) == []
        assert listed(kissa, "?rating=all&user=alice", headers) == []
        for path in ("/", f"/{number}"):
            page = kissa.get(path, headers).text
            assert name not in page
            assert "secret" not in page
    assert kissa.get(f"/{number}").status_code == 404
    for headers in ({}, bob.by_key, alice.by_token):
        refused(kissa.get(f"{ITEMS}/{number}", headers), 404)
    for headers in (alice.by_key, admin.by_admin_token):
        item = kissa.get(f"{ITEMS}/{number}", headers).get_json()
        assert item["file"] == f"http://kissa.example/f/{name}"
    refused(kissa.get(f"{ITEMS}/{number}/file", bob.by_key), 404)
    refused(kissa.client.delete(f"{ITEMS}/{number}", headers=bob.by_key), 404)
    assert kissa.get(f"/f/{name}").data == PNG


VISITORS = [
    pytest.param("all", {"sfw", "nsfw", "nsfl", "none"}, id="all"),
    pytest.param("sfw", {"sfw"}, id="sfw"),
    pytest.param("none", None, id="none"),
]


@pytest.mark.parametrize(("visitors", "visible"), VISITORS)
def test_visitors(start: Start, visitors: str, visible: set[str] | None) -> None:
    kissa = start(gallery_visitors=visitors)
    alice, bob, admin = (kissa.person(who, admin=who == "admin") for who in ("a1", "bob", "admin"))
    ids = one_of_each(kissa, alice)
    everything = sorted(ids.values(), reverse=True)
    for headers in (alice.by_key, bob.by_key, admin.by_admin_token):
        assert listed(kissa, "?rating=all", headers) == everything
        assert listed(kissa, "?rating=nsfl", headers) == [ids["nsfl"]]
        for number in everything:
            assert kissa.get(f"{ITEMS}/{number}", headers).status_code == 200
    front = kissa.get("/")
    assert front.status_code == 200
    assert (f'href="/{ids["sfw"]}"' in front.text) is (visible is not None)
    assert f'href="/{ids["nsfw"]}' not in front.text
    for headers in ({}, {"X-Api-Key": "0" * 64}, bob.by_token):
        for rating, number in ids.items():
            status = 401 if visible is None else 200 if rating in visible else 404
            assert kissa.get(f"{ITEMS}/{number}", headers).status_code == status
            assert kissa.get(f"/{number}", headers).status_code == status
        if visible is None:
            for query in ("", "?rating=sfw", "?rating=bad", "?tag=" + "x" * 65, "?limit=x"):
                refused(kissa.get(ITEMS + query, headers), 401, NO_KEY)
            refused(kissa.get(f"{ITEMS}/99", headers), 401, NO_KEY)
            continue
        assert listed(kissa, "?rating=all", headers) == [
            number for rating, number in reversed(ids.items()) if rating in visible
        ]
        expected = [ids["nsfw"]] if "nsfw" in visible else []
        assert listed(kissa, "?rating=nsfw", headers) == expected
    for name in kissa.files():
        assert kissa.get(f"/f/{name}").data == PNG  # direct links work for everybody


# Deleting


def test_delete(kissa: Kissa, alice: Person, bob: Person, admin: Person) -> None:
    first, second = kissa.item_id(alice), kissa.item_id(alice)

    def delete(number: object, headers: dict[str, str]) -> TestResponse:
        return kissa.client.delete(f"{ITEMS}/{number}", headers=headers)

    refused(delete(first, {}), 401, NO_KEY)
    refused(delete("x", {}), 401, NO_KEY)
    refused(delete(first, {"X-Api-Key": "x"}), 401, NO_KEY)
    refused(delete(first, alice.by_token), 401)
    refused(delete(first, admin.by_token), 401)
    refused(delete(first, bob.by_key), 403)
    refused(delete(first, admin.by_key), 403)
    refused(delete("99", alice.by_key), 404)
    refused(delete("x", alice.by_key), 404)
    refused(delete("9" * 30, alice.by_key), 404)
    assert len(kissa.files()) == 2
    answer = delete(first, alice.by_key)
    assert answer.status_code == 200
    assert answer.get_json() == {"success": True, "msg": "The item has been deleted."}
    refused(delete(first, alice.by_key), 404)
    answer = delete(second, admin.by_admin_token)
    assert answer.get_json() == {"success": True, "msg": "The item has been deleted."}
    refused(delete(second, admin.by_admin_token), 404)
    assert kissa.files() == set()
    assert listed(kissa, "?rating=all") == []
    assert kissa.get("/api/info").get_json()["totalfiles"] == 0


def test_ids_are_never_used_again(kissa: Kissa, alice: Person, bob: Person) -> None:
    for number in (1, 2, 3):
        assert kissa.item_id(alice) == number
        assert kissa.client.delete(f"{ITEMS}/{number}", headers=alice.by_key).status_code == 200
    kissa.upload_name(bob)
    assert kissa.item_id(bob) == 5
    for number in (1, 2, 3):
        assert kissa.get(f"/{number}").status_code == 404


# The file of an item


@pytest.mark.parametrize(
    ("name", "media_type", "is_sandboxed"),
    [
        ("a.png", "image/png", False),
        ("a.mp4", "video/mp4", False),
        ("a.html", "text/plain; charset=utf-8", True),
        ("a.svg", "image/svg+xml", True),
        ("a.exe", "application/octet-stream", True),
        ("a", "application/octet-stream", True),
    ],
)
def test_file_headers(
    kissa: Kissa, alice: Person, admin: Person, name: str, media_type: str, is_sandboxed: bool
) -> None:
    number = kissa.item_id(alice, name=name)
    for headers in (alice.by_key, admin.by_admin_token):
        answer = kissa.get(f"{ITEMS}/{number}/file", headers)
        assert answer.data == PNG
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert answer.headers["Content-Type"] == media_type
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert ("sandbox" in answer.headers["Content-Security-Policy"]) is is_sandboxed


def test_file_by_range_and_head(kissa: Kissa, alice: Person, bob: Person) -> None:
    number = kissa.item_id(alice, content=bytes(range(256)), name="a.bin")
    path = f"{ITEMS}/{number}/file"
    part = kissa.get(path, alice.by_key | {"Range": "bytes=10-19"})
    assert (part.status_code, part.data) == (206, bytes(range(10, 20)))
    assert part.headers["Content-Range"] == "bytes 10-19/256"
    assert part.headers["Cache-Control"] == "private, no-store"
    tail = kissa.get(path, alice.by_key | {"Range": "bytes=-6"})
    assert (tail.status_code, tail.data) == (206, bytes(range(250, 256)))
    beyond = kissa.get(path, alice.by_key | {"Range": "bytes=256-"})
    refused(beyond, 416)
    assert beyond.headers["Content-Range"] == "bytes */256"
    head = kissa.client.head(path, headers=alice.by_key)
    assert (head.status_code, head.data, head.content_length) == (200, b"", 256)
    assert head.headers["Cache-Control"] == "private, no-store"
    refused(kissa.get(path), 401, NO_KEY)
    refused(kissa.get(path, alice.by_token), 401, NO_KEY)
    refused(kissa.get(path, bob.by_key), 403)
    assert kissa.client.head(path).status_code == 401
    data = {"file": (io.BytesIO(b"x"), "a.bin")}
    refused(kissa.post(path, alice.by_key, data=data), 405)


def test_file_of_no_item(kissa: Kissa, alice: Person) -> None:
    numbers: list[Any] = [1, "x", "9" * 30]
    for number in numbers:
        refused(kissa.get(f"{ITEMS}/{number}/file", alice.by_key), 404)
        refused(kissa.get(f"{ITEMS}/{number}/file"), 401, NO_KEY)


# More items than one page looks at


def test_a_page_that_looked_at_enough_says_where_to_go_on(
    kissa: Kissa, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "SCANNED", 3)
    numbers = [
        kissa.item_id(
            alice if number % 4 else bob,
            rating="nsfw" if number % 3 else "sfw",
            tags="a, b, x" if number % 5 == 0 else "a, c, x" if number % 2 else "b, c, x",
        )
        for number in range(24)
    ]

    def walk(query: str) -> tuple[list[int], int]:
        found: list[int] = []
        before, pages = "", 0
        while True:
            page = kissa.get(f"{ITEMS}?limit=2&{query}{before}").get_json()
            found += [item["itemid"] for item in page["items"]]
            pages += 1
            if page["next"] is None:
                return found, pages
            assert pages < 50
            before = f"&before={page['next']}"

    for query, expected in (
        ("rating=all&tag=a&tag=b", [n for i, n in enumerate(numbers) if i % 5 == 0]),
        ("rating=all&tag=x", numbers),
        ("rating=sfw&tag=x", [n for i, n in enumerate(numbers) if i % 3 == 0]),
        ("rating=sfw&user=bob", [n for i, n in enumerate(numbers) if i % 12 == 0]),
        ("rating=all&user=bob&tag=b&tag=a", [n for i, n in enumerate(numbers) if i % 20 == 0]),
        ("rating=nsfl&user=alice", []),
    ):
        found, pages = walk(query)
        assert found == expected[::-1], query
        assert pages >= len(expected) / 2
    page = kissa.get("/?rating=nsfl&user=alice").text
    assert "No match among the newest 3 items." in page
    assert re.search(r'href="[^"]*before=\d+[^"]*" rel="next" data-older>Search further<', page)
    # steps from item to item look as far
    monkeypatch.setattr(gallery, "SCANNED", 2)
    text = kissa.get(f"/{numbers[12]}?rating=sfw&user=bob").text
    assert f'href="/{numbers[0]}?' not in text
    monkeypatch.setattr(gallery, "SCANNED", 30)
    text = kissa.get(f"/{numbers[12]}?rating=sfw&user=bob").text
    assert f'href="/{numbers[0]}?' in text
