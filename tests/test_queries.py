"""Every query that the app really runs is served by an index, and sorts nothing.

What is asked of the app is asked over HTTP; the statements are collected as they pass by, and
SQLite is asked how it would answer them.
"""

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

import accounts
import albums
import expiry
import gallery
import items
import models
import resumable
import takedown
import upkeep
from models import Album, Item, User
from tests.conftest import Clock, Kissa, Person
from tests.people import Browser
from tests.pieces import TUS, by_key

pytestmark = pytest.mark.sqlite  # on PostgreSQL: test_postgres_plans.py
SMALL = {"counter"}
# A walk along a list's own order, newest first, that ends with its page.
WALK = re.compile(r'order by ("?t1"?\.)?"?(id|item_id)"?( desc)? limit', re.IGNORECASE)
# One row at most: nothing to sort.
UNIQUE = re.compile(r"^SEARCH \w+ USING (COVERING )?INDEX \w+ \((name|username_key)=\?\)$")


class Collector(logging.Handler):
    """The statements that Peewee runs."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        sql, parameters = cast(tuple[str, Any], record.msg)
        if sql.split()[0].lower() in ("select", "insert", "update", "delete", "with"):
            self.found.append((sql, parameters))

    def plans(self) -> list[tuple[str, list[str]]]:
        connection = models.database.obj.connection()
        return [
            (sql, [row[3] for row in connection.execute(f"explain query plan {sql}", values or ())])
            for sql, values in self.found
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    logger = logging.getLogger("peewee")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(collector)
    yield collector
    logger.removeHandler(collector)
    logger.setLevel(level)


def faults(sql: str, plan: list[str]) -> list[str]:
    """The steps of a plan that would be slow with a million items."""
    found: list[str] = []
    if "(0 = 1)" in sql:
        return found  # an empty IN: SQLite does not even begin
    for step in plan:
        if step.startswith("USE TEMP B-TREE"):
            if not UNIQUE.match(plan[0]):
                found.append(step)
        elif step.startswith("SCAN") and "CONSTANT ROW" not in step:
            is_walk = step is plan[0] and WALK.search(sql)
            if not is_walk and step.split()[1] not in SMALL:
                found.append(step)
    return [f"{step} in {sql}" for step in found]


@pytest.fixture
def full(start: Callable[..., Kissa]) -> Kissa:
    """An app with an item of each kind, so that no list is answered from emptiness."""
    kissa = start(
        gallery_min_tags=1,
        accounts_invite_only="true",
        gallery_manual_approval="true",
        storage_durable="false",
    )
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    kissa.person("bob")
    for rating, tags in (("sfw", "a,b"), ("nsfw", "a"), ("sfw", "b"), ("sfw", "a,b")):
        item_id = kissa.item_id(alice, rating=rating, tags=tags, comment="hello")
        if rating == "sfw":
            kissa.post(f"/api/v2/queue/{item_id}/approve", admin.by_admin_token)
    item_id = kissa.item_id(alice, tags="c")
    kissa.post(f"/api/v2/queue/{item_id}/reject", admin.by_admin_token)
    kissa.upload_name(alice, name="NAME.txt")
    for title, chosen in (("Cats", [1, 3, 2]), ("Dogs", [6]), ("None", [1])):
        albums.add_files(User.get(User.username == "alice"), title, chosen)
    kissa.people = {"alice": alice, "admin": admin}  # type: ignore[attr-defined]
    return kissa


def headers(kissa: Kissa, who: str) -> dict[str, str]:
    name, _, way = who.partition(" by ")
    people: dict[str, Person] = kissa.people  # type: ignore[attr-defined]
    return dict(getattr(people[name], f"by_{way}")) if name else {}


TOKEN, KEY, ADMIN, PASSWORD = (
    "alice by token", "alice by key", "admin by admin_token", "alice by password",
)  # fmt: skip
PLAIN: list[tuple[str, str, str, dict[str, str]]] = [
    ("POST", "/api/files/list", TOKEN, {}),
    ("POST", "/api/files/list", TOKEN, {"limit": "2", "offset": "1"}),
    ("POST", "/api/admin/list/uploads", ADMIN, {}),
    ("POST", "/api/admin/list/uploads", ADMIN, {"limit": "2", "offset": "1"}),
    ("POST", "/api/admin/list/uploads", ADMIN, {"query": "abcdefg.txt"}),
    ("POST", "/api/admin/list/users", ADMIN, {}),
    ("POST", "/api/admin/list/users", ADMIN, {"limit": "2", "offset": "1"}),
    ("POST", "/api/admin/list/users", ADMIN, {"query": "Alice"}),
    ("GET", "/api/info", "", {}),
    ("POST", "/api/user/info", TOKEN, {}),
    ("POST", "/api/token/valid", TOKEN, {}),
    ("POST", "/api/token/get", PASSWORD, {}),
    ("POST", "/api/token/get", PASSWORD, {"password": "wrong"}),
    ("POST", "/api/token/regen", TOKEN, {}),
    ("POST", "/api/admin/token/valid", ADMIN, {}),
    ("POST", "/api/admin/token/valid", TOKEN, {}),
    ("POST", "/api/admin/token/regen", ADMIN, {}),
    ("POST", "/api/admin/regkeygen", ADMIN, {}),
    ("POST", "/api/admin/ban/user", ADMIN, {"username": "alice"}),
    ("POST", "/api/admin/delete/user", ADMIN, {"username": "admin"}),
    ("POST", "/api/admin/delete/file", ADMIN, {"file": "abcdefg.txt"}),
    ("POST", "/api/user/keys/list", TOKEN, {}),
    ("POST", "/api/user/albums/list", TOKEN, {}),
    ("POST", "/api/user/keys/create", TOKEN, {"name": "x"}),
    ("POST", "/api/user/keys/revoke", TOKEN, {"id": "1"}),
    ("POST", "/api/user/signup", "", {"username": "eve", "password": "correct horse"}),
    ("POST", "/api/user/signup", "", {"username": "eve", "password": "correct horse",
                                      "regkey": "01234567-89ab-4cde-8f01-23456789abcd"}),
    ("POST", "/api/files/delete", TOKEN, {"file": "abcdefg.txt"}),
    ("GET", "/f/abcdefg.txt", "", {}),
    ("GET", "/d/abcdefg.txt", "", {}),
    ("GET", "/t/abcdefg.txt", "", {}),
    ("GET", "/999", "", {}),
    ("GET", "/", "", {}),
    ("GET", "/1", "", {}),
    ("GET", "/healthz", "", {}),
    ("GET", "/delete/abcdefg.txt/0123456789012345678901", "", {}),
    ("POST", "/delete/abcdefg.txt/0123456789012345678901", "", {}),
    ("GET", "/api/v2/items/1", "", {}),
    ("GET", "/api/v2/items/2", KEY, {}),
    ("GET", "/api/v2/items/2/file", ADMIN, {}),
    ("DELETE", "/api/v2/items/1", KEY, {}),
    ("DELETE", "/api/v2/items/1", ADMIN, {}),
    ("GET", "/api/v2/queue", ADMIN, {}),
    ("GET", "/api/v2/queue?before=3", ADMIN, {}),
    ("POST", "/api/v2/queue/2/approve", ADMIN, {}),
    ("POST", "/api/v2/queue/2/reject", ADMIN, {}),
    ("POST", "/api/v2/sharex", KEY, {}),
    ("POST", "/api/files/tus/", TOKEN, TUS | {"Upload-Length": "9"}),
    ("HEAD", f"/api/files/tus/{'x' * 32}", TOKEN, TUS),
    ("DELETE", f"/api/files/tus/{'x' * 32}", TOKEN, TUS),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "who", "inputs"),
    [pytest.param(*row, id="-".join(filter(None, [*row[:3], *row[3]]))) for row in PLAIN],
)
def test_endpoint(
    full: Kissa, collector: Collector, method: str, path: str, who: str, inputs: dict[str, str]
) -> None:
    full.client.open(path, method=method, headers=headers(full, who) | inputs, buffered=True)
    found = [fault for sql, plan in collector.plans() for fault in faults(sql, plan)]
    assert found == []


def test_an_upload_in_pieces(full: Kissa, collector: Collector) -> None:
    alice: Person = full.people["alice"]  # type: ignore[attr-defined]
    pieces = by_key(full, alice)
    answer = pieces.whole(b"x" * 9, rating="sfw", tags="a")
    assert answer.status_code == 204
    pieces.ask("DELETE", pieces.begin(9, rating="sfw", tags="a"))
    seen = collector.found.copy()
    models.Resumable.update(expires=models.now()).execute()
    collector.found = seen
    assert resumable.forget_expired(full.services.storage) == 1
    found = [fault for sql, plan in collector.plans() for fault in faults(sql, plan)]
    assert found == []


def test_every_list_is_asked_for(full: Kissa, collector: Collector) -> None:
    """So that the test above does not look at refusals alone."""
    answers = [
        full.client.open(path, method=method, headers=headers(full, who) | inputs, buffered=True)
        for method, path, who, inputs in PLAIN[:8]
    ]
    assert [answer.status_code for answer in answers] == [200] * 8
    assert len(collector.found) >= 16


@pytest.mark.parametrize("before", ["", "before=4"])
@pytest.mark.parametrize(
    ("query", "index"),
    [
        pytest.param("", "INDEX item_listed_rating (rating=?", id="rating"),
        pytest.param("rating=nsfw", "INDEX item_listed_rating (rating=?", id="rare-rating"),
        pytest.param("rating=all", "INDEX item_listed", id="all"),
        pytest.param("user=alice", "INDEX item_listed_user (user_id=?", id="user"),
        pytest.param("user=alice&rating=all", "INDEX item_listed_user (user_id=?", id="user-all"),
        pytest.param("tag=a", "USING PRIMARY KEY (tag_id=?", id="tag"),
        pytest.param("tag=a&rating=all", "USING PRIMARY KEY (tag_id=?", id="tag-all"),
        pytest.param("tag=a&tag=b", "USING PRIMARY KEY (tag_id=?", id="two-tags"),
        pytest.param("tag=a&tag=b&rating=all", "USING PRIMARY KEY (tag_id=?", id="two-tags-all"),
        pytest.param("tag=a&user=alice", "INDEX item_listed_user (user_id=?", id="tag-and-user"),
    ],
)
def test_gallery(full: Kissa, collector: Collector, query: str, index: str, before: str) -> None:
    answer = full.get(f"/api/v2/items?{query}&{before}")
    assert answer.status_code == 200
    if "nsfw" not in query:
        assert len(answer.get_json()["items"]) >= 1
    plans = collector.plans()
    assert [fault for sql, plan in plans for fault in faults(sql, plan)] == []
    ((_, plan),) = [one for one in plans if "original_name" in one[0]]
    # The one user of a filter may be fetched first; then the list's own index leads.
    leading = next(step for step in plan if "USING INTEGER PRIMARY KEY" not in step)
    assert index in leading
    if before:
        assert "<?)" in leading


@pytest.mark.parametrize(
    "query",
    ["user=alice&rating=sfw", "tag=a&rating=all", "tag=a&tag=b", "tag=a&user=alice&rating=sfw"],
)
def test_a_gallery_of_several_conditions_has_an_end(
    full: Kissa, collector: Collector, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """With more items than one page looks at, its list is walked between two ids."""
    monkeypatch.setattr(gallery, "SCANNED", 1)
    for path in (f"/api/v2/items?before=4&{query}", f"/3?{query}"):
        assert full.get(path).status_code == 200
    plans = collector.plans()
    assert [fault for sql, plan in plans for fault in faults(sql, plan)] == []
    walks = [plan for sql, plan in plans if "original_name" in sql and "ORDER BY" in sql]
    assert len(walks) == 3  # the page, and the newer neighbour and the older one
    for plan in walks:
        leading = next(step for step in plan if "USING INTEGER PRIMARY KEY" not in step)
        assert re.search(r"item_listed_user|PRIMARY KEY \(tag_id", leading), plan
        assert re.search(r"id>\? AND \w+<\?", leading), plan


# Few rows by their nature, or all that there is asked for on purpose, and why that is no fault.
FEW = {
    "SCAN t1 USING COVERING INDEX user_admin_token_hash": "all accounts are counted",
    "USE TEMP B-TREE FOR ORDER BY": "one user's sessions",
    "SCAN _wrapped": "at most ten comments, from an index",
}
VIEWED: list[tuple[str, str, list[str]]] = [
    ("alice", "/", []),
    ("alice", "/?rating=all&before=4", []),
    ("alice", "/?rating=all&tag=a&tag=b&user=alice", []),
    ("alice", "/1", []),
    ("alice", "/1?rating=all", []),
    ("alice", "/3?tag=b", []),
    ("alice", "/3?tag=b&tag=a&rating=all", []),
    ("alice", "/3?user=alice", []),
    ("alice", "/3?user=alice&rating=all", []),
    ("alice", "/t/abcdefg.png", []),
    ("alice", "/waiting/2", []),
    ("alice", "/tags?q=a", []),
    *(
        ("alice", f"/files?sort={order}{search}{after}", [])
        for order, after in (
            ("newest", "&after=4"), ("oldest", "&after=2"), ("largest", "&after=4-70"),
            ("name", "&after=4-cat.png"),
        )
        for search in ("", "&q=ca")
        for after in ("", after)
    ),
    ("alice", "/files/links?id=1&id=3", []),
    ("alice", "/upload", []),
    ("alice", "/albums", []),
    ("alice", "/albums?before=3", []),
    ("alice", "/a/ALBUM", []),
    ("alice", "/a/ALBUM.zip", []),
    ("alice", "/a/ALBUM/delete", []),
    ("alice", "/settings", ["USE TEMP B-TREE FOR ORDER BY"]),
    ("alice", "/settings/delete", []),
    ("admin", "/admin", list(FEW)[:1]),
    ("admin", "/admin/queue", []),
    ("admin", "/admin/queue?before=3", []),
    ("admin", "/admin/reports", []),
    ("admin", "/admin/reports?before=3", []),
    ("admin", "/admin/uploads", []),
    ("admin", "/admin/uploads?before=3", []),
    ("admin", "/admin/uploads?user=alice&before=3", []),
    ("admin", "/admin/uploads?name=abcdefg.png", []),
    ("admin", "/admin/users", []),
    ("admin", "/admin/users?before=2", []),
    ("admin", "/admin/users?q=al", []),
    ("admin", "/admin/users?q=al&after=alex", []),
    ("admin", "/admin/keys", []),
    ("admin", "/admin/refused", []),
    ("admin", "/admin/refused?before=2", []),
    ("admin", "/admin/audit", []),
    ("admin", "/admin/audit?before=2", []),
]  # fmt: skip


@pytest.mark.parametrize(("who", "path", "known"), VIEWED, ids=[path for _, path, _ in VIEWED])
def test_page(full: Kissa, collector: Collector, who: str, path: str, known: list[str]) -> None:
    browser = Browser(full, who)
    Browser(full, "admin").post("/1/report", text="look")
    collector.found.clear()
    if "ALBUM" in path:
        path = path.replace("ALBUM", Album.get(Album.title == "Cats").name)
        collector.found.clear()
    assert browser.get(path).status_code == (404 if path == "/t/abcdefg.png" else 200)
    found = [fault for sql, plan in collector.plans() for fault in faults(sql, plan)]
    assert [fault.partition(" in ")[0] for fault in found] == known, found
    assert set(known) <= FEW.keys()


def test_acts_on_pages(full: Kissa, collector: Collector) -> None:
    alice, admin = Browser(full, "alice"), Browser(full, "admin")
    alice.does("/1/comments", text="hello")
    alice.does("/1/edit", rating="sfw", tags="x,y")
    admin.does("/1/report", text="look")
    admin.does("/admin/queue", act="approve", item="2")
    admin.does("/admin/uploads/delete", item="3", refuse="1", reason="spam")
    admin.does("/admin/refused/1/lift")
    alice.text("/files")
    alice.does("/files/notices/1/dismiss")
    alice.does("/files/pin", id=["1", "3"], pin="1")
    alice.does("/files/expiry", id=["1", "3"], expires="1d")
    alice.does("/files/album", id=["1", "2"], album="Cats")
    album = alice.does("/albums", title="New")
    alice.does(f"{album}/title", title="Newer")
    alice.does("/files/album", id=["1", "2"], album="newer")
    for move in ({"later": "1"}, {"item": "1", "before": "2"}, {"item": "1", "before": ""}):
        alice.does(f"{album}/move", **move)
    alice.does(f"{album}/remove", item="1")
    alice.does(f"{album}/delete", files="1")
    alice.does("/files/delete", id="1", sure="1")
    alice.does("/settings/sessions/end-others")
    alice.does("/signout")
    found = [fault for sql, plan in collector.plans() for fault in faults(sql, plan)]
    assert [fault.partition(" in ")[0] for fault in found] == ["SCAN _wrapped"]


def test_uploads_and_deletes(full: Kissa, collector: Collector) -> None:
    alice: Person = full.people["alice"]  # type: ignore[attr-defined]
    name = full.upload_name(alice)
    full.item_id(alice, tags="x,y,z", comment="hello", album="Cats")
    full.item_id(alice, tags="x,y,z", comment="hello", album="Birds")
    full.post("/api/files/delete", alice.by_token | {"file": name})
    assert len(collector.found) > 12
    assert [fault for sql, plan in collector.plans() for fault in faults(sql, plan)] == []


@pytest.fixture
def crowded(start: Callable[..., Kissa]) -> Kissa:
    """An app on which old files make room for new ones."""
    return start(uploads_quota_mb=1, uploads_when_full="evict_oldest")


def test_making_room(crowded: Kissa, collector: Collector) -> None:
    kissa, alice = crowded, crowded.person("alice")
    for _ in range(3):
        kissa.upload_name(alice, bytes(400_000))
    plans = collector.plans()
    assert [fault for sql, plan in plans for fault in faults(sql, plan)] == []
    (plan,) = [plan for sql, plan in plans if '"pinned" IS NULL' in sql and "SELECT" in sql]
    assert "INDEX item_user_id (user_id=? AND id>?)" in plan[0]


def test_the_end_of_a_file(full: Kissa, collector: Collector, clock: Clock) -> None:
    alice: Person = full.people["alice"]  # type: ignore[attr-defined]
    full.upload(alice, expires="1h")
    clock.advance(hours=1)
    collector.found.clear()
    assert expiry.end_due(full.services.storage) == 1
    plans = collector.plans()
    assert [fault for sql, plan in plans for fault in faults(sql, plan)] == []
    due = [plan for sql, plan in plans if 'WHERE ("t1"."expires" <= ?)' in sql]
    assert len(due) == 3  # is there one, which ones, is there another
    assert all(any("INDEX item_expires (expires<?)" in step for step in plan) for plan in due)


def test_end_of_an_account(full: Kissa, collector: Collector) -> None:
    alice: Person = full.people["alice"]  # type: ignore[attr-defined]
    assert full.post("/api/user/delete", alice.by_password).status_code == 200
    found = [fault for sql, plan in collector.plans() for fault in faults(sql, plan)]
    # Tags that nobody carries any more are looked for once an account, among the tags alone.
    assert [fault.split(" in ")[0] for fault in found] == ["SCAN tag"]


def test_upkeep(full: Kissa, collector: Collector, clock: Clock) -> None:
    store = full.services.storage
    for name in ("abcdefg.txt", ".pending/" + "x" * 32):
        (full.uploads / name).write_bytes(b"orphan")
    found = upkeep.look(store, young=True)
    assert len(found.orphans) == 2
    upkeep.remove(store, found)
    items.undo_releases(store)
    clock.advance(days=60)
    assert items.forget_rejected() == 1
    assert takedown.forget_notices() == 0
    wrong = [fault for sql, plan in collector.plans() for fault in faults(sql, plan)]
    # Whether there is any item; and all waiting ones, by the index that holds nothing else.
    assert [fault.split(" in ")[0] for fault in wrong] == [
        "SCAN t1 USING COVERING INDEX item_user_id",
        "SCAN t1 USING INDEX item_pending",
    ]
    assert 'FROM "item" AS "t1" LIMIT ?' in wrong[0]
    assert Item.select().where(models.PENDING).count() == 1
    collector.found.clear()
    assert accounts.secret_fits(full.services.secret)
    assert [fault for sql, plan in collector.plans() for fault in faults(sql, plan)] == []
