"""One's own files in a browser: orders, pages, search, choosing, deleting, links."""

import re
from typing import Any

import pytest
from werkzeug.test import TestResponse

import models
import shelf
from models import Item, User
from tests.conftest import Kissa, Person
from tests.test_sessions import OURS, sign_in

HOSTILE = "\"><img src=x onerror=alert(1)>' onmouseover=x.png"


def shown(kissa: Kissa, query: str = "") -> list[str]:
    """The original names on a page, in their order."""
    answer = kissa.get(f"/files{query}")
    assert answer.status_code == 200, answer.text
    return re.findall(r'<div class="names"><a href="/\d+">([^<]*)</a>', answer.text)


def next_page(kissa: Kissa, query: str = "") -> str | None:
    """The query of the link to the next page."""
    found = re.search(r'href="/files(\?[^"]*)" rel="next"', kissa.get(f"/files{query}").text)
    return found[1].replace("&amp;", "&") if found else None


def delete(kissa: Kissa, *ids: object, **form: str) -> TestResponse:
    return kissa.client.post("/files/delete", data={"id": [*map(str, ids)]} | form, headers=OURS)


def insert(person: Person, count: int, name: str = "f{:03}.txt") -> None:
    """Rows without bytes, as many as pages need."""
    user = User.get(User.username == person.username)

    def work() -> None:
        for index in range(count):
            Item.create(
                user=user, name=f"r{user.id}x{index}.txt", original_name=name.format(index),
                size=index * 7 % 40, sha256=b"", state="unlisted", deletion_hash=b"",
            )  # fmt: skip

    models.write(work)


@pytest.fixture
def few(kissa: Kissa, alice: Person) -> Kissa:
    """Alice is signed in and has three files."""
    for name, size in (("Banana.txt", 3), ("apple.txt", 9), ("Cherry ü.txt", 6)):
        kissa.upload(alice, b"x" * size, name)
    sign_in(kissa, "alice")
    return kissa


def test_visitors_sign_in_first(kissa: Kissa) -> None:
    for path in ("/files", "/files/links?id=1"):
        answer = kissa.get(path)
        assert answer.status_code == 303
        assert answer.headers["Location"].startswith("/signin?next=/files")
    assert delete(kissa, 1).status_code == 401


def test_empty(kissa: Kissa, alice: Person) -> None:
    sign_in(kissa, "alice")
    answer = kissa.get("/files")
    assert "Nothing here yet" in answer.text
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        pytest.param("", ["Cherry ü.txt", "apple.txt", "Banana.txt"], id="newest"),
        pytest.param("?sort=oldest", ["Banana.txt", "apple.txt", "Cherry ü.txt"], id="oldest"),
        pytest.param("?sort=largest", ["apple.txt", "Cherry ü.txt", "Banana.txt"], id="largest"),
        pytest.param("?sort=name", ["apple.txt", "Banana.txt", "Cherry ü.txt"], id="name"),
        pytest.param("?q=ANAN", ["Banana.txt"], id="any case"),
        pytest.param("?q=%C3%9C", ["Cherry ü.txt"], id="any case beyond ASCII"),
        pytest.param("?q=u%CC%88", ["Cherry ü.txt"], id="decomposed"),
        pytest.param("?q=%25", [], id="percent is no wildcard"),
        pytest.param("?q=_pple", [], id="underscore is no wildcard"),
        pytest.param("?q=txt&sort=name", ["apple.txt", "Banana.txt", "Cherry ü.txt"], id="both"),
    ],
)
def test_orders_and_search(few: Kissa, query: str, names: list[str]) -> None:
    assert shown(few, query) == names


def test_search_by_stored_name(few: Kissa) -> None:
    name = Item.get(Item.original_name == "apple.txt").name
    assert shown(few, f"?q={name}") == ["apple.txt"]


def test_others_files_are_not_there(few: Kissa, bob: Person) -> None:
    few.upload(bob, b"x", "bobs.txt")
    for query in ("", "?q=bobs", "?sort=largest", "?sort=name"):
        assert "bobs.txt" not in shown(few, query)


@pytest.mark.parametrize("order", shelf.ORDERS)
def test_pages_hold_everything_once(kissa: Kissa, alice: Person, bob: Person, order: str) -> None:
    insert(alice, 150)
    insert(bob, 3)
    sign_in(kissa, "alice")
    seen, query = [], f"?sort={order}"
    following: str | None = query
    while following is not None:
        seen += shown(kissa, following)
        following = next_page(kissa, following)
    rows = [(f"f{index:03}.txt", index, index * 7 % 40) for index in range(150)]
    keys: dict[str, Any] = {
        "newest": lambda row: -row[1],
        "oldest": lambda row: row[1],
        "largest": lambda row: (-row[2], -row[1]),
        "name": lambda row: row[0],
    }
    assert seen == [row[0] for row in sorted(rows, key=keys[order])]


@pytest.mark.parametrize("order", shelf.ORDERS)
def test_page_goes_on_where_a_file_was(kissa: Kissa, alice: Person, order: str) -> None:
    insert(alice, 70, "same name")
    sign_in(kissa, "alice")
    following = next_page(kissa, f"?sort={order}")
    before = shown(kissa, following or "")
    ids = re.findall(r'name="id" value="(\d+)"', kissa.get(f"/files?sort={order}").text)
    assert delete(kissa, ids[-1], sure="1").status_code == 303
    assert shown(kissa, following or "") == before
    assert len(before) == 10


@pytest.mark.parametrize("order", shelf.ORDERS)
def test_a_search_goes_on_by_a_link(
    kissa: Kissa, alice: Person, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "SCANNED", 20)
    insert(alice, 50)
    sign_in(kissa, "alice")
    seen, query = [], f"?sort={order}&q=9.txt"
    following: str | None = query
    steps = 0
    while following is not None:
        seen += shown(kissa, following)
        following = next_page(kissa, following)
        steps += 1
    assert sorted(seen) == ["f009.txt", "f019.txt", "f029.txt", "f039.txt", "f049.txt"]
    assert steps == 3
    assert "Search further" in kissa.get(f"/files{query}").text


@pytest.mark.parametrize(
    "query",
    [
        "?sort=rating",
        "?after=x",
        "?after=-1",
        "?after=1-2",
        "?after=1111111111111111111",
        "?sort=largest&after=1",
        "?sort=largest&after=1-x",
        "?sort=name&after=1",
        "?after=%D9%A1",
        f"?q={'x' * 101}",
    ],
)
def test_bad_input_is_told(few: Kissa, query: str) -> None:
    assert few.get(f"/files{query}").status_code == 400


def test_states_in_words(start) -> None:
    kissa = start(gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    ids = [kissa.item_id(alice, name=f"{index}.png") for index in range(3)]
    kissa.post(f"/api/v2/queue/{ids[1]}/approve", admin.by_admin_token)
    reason = admin.by_admin_token | {"reason": "too <blurry>"}
    kissa.post(f"/api/v2/queue/{ids[2]}/reject", reason)
    plain = kissa.upload_name(alice)
    sign_in(kissa, "alice")
    text = kissa.get("/files").text
    for word in ("Unlisted", "Waiting", "Public", "Rejected", "too &lt;blurry&gt;"):
        assert word in text
    public = Item.get_by_id(ids[1]).name
    assert f'src="/t/{plain}"' in text
    assert f'src="/t/{public}"' in text
    assert f'src="/waiting/{ids[0]}/thumbnail"' in text
    assert text.count("data-src") == 3
    links = re.findall(r'data-link="([^"]*)"', text)
    assert links == [f"http://kissa.example/f/{plain}", f"http://kissa.example/{ids[1]}"]


def test_hostile_names_are_escaped(kissa: Kissa, alice: Person) -> None:
    insert(alice, 1, HOSTILE)
    sign_in(kissa, "alice")
    item_id = Item.get().id
    pages = [
        kissa.get("/files").text,
        kissa.get("/files", query_string={"q": HOSTILE}).text,
        kissa.get("/files", query_string={"q": HOSTILE + "not there"}).text,
        kissa.get(f"/files/links?id={item_id}").text,
        delete(kissa, item_id).text,
    ]
    for text in pages:
        assert "<img src=x" not in text
        assert "' onmouseover" not in text
    assert "&lt;img src=x" in pages[0]


# Deleting


def test_delete_asks_once(few: Kissa) -> None:
    ids = [item.id for item in Item.select()][:2]
    asked = delete(few, *ids, next="/files?sort=name")
    assert asked.status_code == 200
    assert "Delete 2 files?" in asked.text
    assert "12 Bytes in all" in asked.text
    assert len(few.files()) == 3
    done = delete(few, *ids, sure="1", next="/files?sort=name")
    assert (done.status_code, done.headers["Location"]) == (303, "/files?sort=name&deleted=2")
    assert len(few.files()) == 1
    assert "2 files are gone." in few.get("/files?sort=name&deleted=2").text
    assert shown(few) == ["Cherry ü.txt"]


def test_deleting_comes_back_to_the_same_page(few: Kissa) -> None:
    text = few.get("/files?q=a&sort=name&after=0-a").text
    found = re.search(r'name="next" value="(/files[^"]*)"', text)
    assert found is not None
    assert found[1].replace("&amp;", "&") == "/files?sort=name&q=a&after=0-a"


def test_delete_leaves_others_files_alone(few: Kissa, bob: Person) -> None:
    few.upload(bob, b"x", "bobs.txt")
    own, others = Item.get(Item.original_name == "apple.txt").id, Item.select().count()
    assert delete(few, others, sure="1").status_code == 404
    assert delete(few, others).status_code == 404
    assert delete(few, own, others, sure="1").headers["Location"] == "/files?deleted=1"
    assert Item.get_or_none(Item.original_name == "bobs.txt") is not None
    assert few.get(f"/files/links?id={others}").status_code == 404


@pytest.mark.parametrize(
    ("ids", "status"),
    [([], 400), (["x"], 404), (["9" * 30], 404), (["٣"], 404), (range(1, 62), 400), ([99], 404)],
)
def test_delete_of_nothing(few: Kissa, ids: list[object], status: int) -> None:
    assert delete(few, *ids, sure="1").status_code == status
    assert len(few.files()) == 3


def test_delete_from_elsewhere_is_refused(few: Kissa) -> None:
    item_id = Item.select().first().id
    for headers in ({}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"}):
        data = {"id": str(item_id), "sure": "1"}
        assert few.client.post("/files/delete", data=data, headers=headers).status_code == 403
    assert len(few.files()) == 3
    assert few.get("/files/delete").headers["Location"] == "/files"


@pytest.mark.parametrize("target", ["//evil", "https://evil.example", "/\\evil"])
def test_next_stays_here(few: Kissa, target: str) -> None:
    item_id = Item.select().first().id
    answer = delete(few, item_id, sure="1", next=target)
    assert answer.headers["Location"] == "/?deleted=1"


def test_links(few: Kissa, alice: Person) -> None:
    item_id = few.item_id(alice)
    ids = "&".join(f"id={item.id}" for item in Item.select())
    text = few.get(f"/files/links?{ids}").text
    assert "4 links" in text
    assert f"http://kissa.example/{item_id}" in text
    assert text.count("http://kissa.example/f/") == 6  # in the field and on the button


# How the database answers


@pytest.mark.sqlite  # on PostgreSQL: test_postgres_plans.py
@pytest.mark.parametrize("search", ["", "txt"])
@pytest.mark.parametrize("order", shelf.ORDERS)
def test_no_page_scans_or_sorts(
    few: Kissa,
    order: str,
    search: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = User.get(User.username == "alice")
    index = {"largest": "item_user_size", "name": "item_user_named"}.get(order, "item_user_id")
    after = {"largest": "9-5", "name": "9-b"}.get(order, "9")
    monkeypatch.setattr(shelf, "SCANNED", 1)
    with caplog.at_level("DEBUG", "peewee"):
        shelf.list_page(user, order=order, search=search)
        shelf.list_page(user, order=order, search=search, after=after)
    statements: list[Any] = [record.msg for record in caplog.records if record.name == "peewee"]
    assert len(statements) >= 2
    connection = models.database.obj.connection()
    plans = []
    for sql, values in statements:
        (plan,) = connection.execute(f"explain query plan {sql}", values).fetchall()
        plans.append(plan[3])
    for plan in plans:
        assert re.match(rf"SEARCH t1 USING (COVERING )?INDEX {index} \(user_id=\?", plan)
    assert re.search(r"[<>]\?\)$", plans[-1])  # it begins where the page before ended
