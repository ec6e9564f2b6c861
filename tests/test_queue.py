"""Manual approval: waiting items are out of reach, and an admin decides once."""

import hashlib
from collections.abc import Callable
from typing import Any

import peewee
import pytest
from werkzeug.test import TestResponse

import items
import models
import upkeep
from tests.conftest import PNG, Clock, Kissa, Person

QUEUE = "/api/v2/queue"
INVALID_TOKEN = "The token is missing or not valid."
Start = Callable[..., Kissa]


@pytest.fixture
def kissa(start: Start) -> Kissa:
    """An app on which listed uploads wait."""
    return start(gallery_manual_approval="true")


def waiting_file(kissa: Kissa) -> str:
    """The one file in `.pending`, by its own name there."""
    (path,) = kissa.files()
    folder, _, name = path.partition("/")
    assert folder == ".pending"
    return name


def decide(
    kissa: Kissa, admin: Person, number: int, verdict: str, **headers: str
) -> tuple[int, Any]:
    answer = kissa.post(f"{QUEUE}/{number}/{verdict}", admin.by_admin_token | headers)
    return answer.status_code, answer.get_json()


def names(kissa: Kissa, person: Person) -> list[str]:
    found: list[str] = kissa.post("/api/files/list", person.by_token).get_json()
    return found


def total(kissa: Kissa) -> int:
    return int(kissa.get("/api/info").get_json()["totalfiles"])


def refused(answer: TestResponse, status: int, msg: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    assert list(answer.get_json()) == ["success", "msg"]
    assert answer.get_json()["success"] is False
    if msg is not None:
        assert answer.get_json()["msg"] == msg


# Out of reach


def test_waiting_bytes_lie_under_another_name(kissa: Kissa, alice: Person) -> None:
    kissa.item_id(alice)
    (name,) = names(kissa, alice)
    hidden = waiting_file(kissa)
    assert hidden not in name
    assert (kissa.uploads / ".pending" / hidden).read_bytes() == PNG
    assert "." not in hidden


def test_waiting_item_is_out_of_reach_by_any_url(kissa: Kissa, alice: Person, bob: Person) -> None:
    number = kissa.item_id(alice)
    (name,) = names(kissa, alice)
    hidden = waiting_file(kissa)
    key = bob.by_key
    hidden_paths = ("f/", "f/.pending/", "f/.pending%2F", "f/x/../.pending/", ".pending/")
    paths = [f"/{path}{hidden}" for path in hidden_paths]
    paths += [f"/f/{name}", f"/{name}", f"/{number}", f"/api/v2/items/{number}"]
    for path in paths:
        for headers in ({}, key, bob.by_token, alice.by_token):
            assert kissa.get(path, headers).status_code == 404, (path, headers)
    refused(kissa.get(f"/api/v2/items/{number}/file", key), 404)
    refused(kissa.get(f"/api/v2/items/{number}/file"), 401)
    refused(kissa.client.delete(f"/api/v2/items/{number}", headers=key), 404)
    assert kissa.post("/api/files/delete", bob.by_token | {"file": hidden}).status_code == 404
    assert names(kissa, bob) == []
    for query in ("", "?rating=all", "?user=alice&rating=all", "?tag=cat"):
        assert kissa.get(f"/api/v2/items{query}", key).get_json() == {"items": [], "next": None}
    assert name not in kissa.get("/").text
    assert "cat.png" not in kissa.get("/").text
    assert total(kissa) == 0


def test_owner_and_admin_reach_a_waiting_item(kissa: Kissa, alice: Person, admin: Person) -> None:
    number = kissa.item_id(alice)
    (name,) = names(kissa, alice)
    for headers in (alice.by_key, admin.by_admin_token):
        item = kissa.get(f"/api/v2/items/{number}", headers)
        assert item.status_code == 200
        assert item.get_json()["itemid"] == number
        bytes_ = kissa.get(f"/api/v2/items/{number}/file", headers)
        assert (bytes_.status_code, bytes_.data) == (200, PNG)
        assert bytes_.headers["Cache-Control"] == "private, no-store"
        assert bytes_.content_type == "image/png"
        # it is no item of the gallery even for them
        assert kissa.get("/api/v2/items?rating=all", headers).get_json()["items"] == []
    info = kissa.post("/api/user/info", alice.by_token).get_json()
    assert info == {"username": "alice", "filecount": 1}
    uploads = kissa.post("/api/admin/list/uploads", admin.by_admin_token).get_json()
    assert uploads == [{"file": name, "username": "alice"}]
    # an admin's other credentials open nothing
    assert kissa.get(f"/api/v2/items/{number}/file", admin.by_key).status_code == 404
    assert kissa.get(f"/api/v2/items/{number}/file", admin.by_token).status_code == 401


@pytest.mark.parametrize("by", ["file", "item", "admin", "admin item"])
def test_waiting_item_can_be_deleted(kissa: Kissa, alice: Person, admin: Person, by: str) -> None:
    number = kissa.item_id(alice)
    (name,) = names(kissa, alice)
    item = f"/api/v2/items/{number}"
    answer = {
        "file": lambda: kissa.post("/api/files/delete", alice.by_token | {"file": name}),
        "item": lambda: kissa.client.delete(item, headers=alice.by_key),
        "admin": lambda: kissa.post(
            "/api/admin/delete/file", admin.by_admin_token | {"file": name}
        ),
        "admin item": lambda: kissa.client.delete(item, headers=admin.by_admin_token),
    }[by]()
    assert answer.status_code == 200
    assert kissa.files() == set()
    assert names(kissa, alice) == []
    assert decide(kissa, admin, number, "approve")[0] == 404


# Approve


def test_approve_makes_it_public(kissa: Kissa, alice: Person, admin: Person) -> None:
    number = kissa.item_id(alice, comment="hello", is_oc="1", rating="sfw", tags="x,y,z")
    (name,) = names(kissa, alice)
    before = kissa.get(f"/api/v2/items/{number}", alice.by_key).get_json()
    status, body = decide(kissa, admin, number, "approve")
    assert status == 200
    assert body == {"success": True, "msg": "The item has been approved."}
    assert kissa.files() == {name}
    assert kissa.get(f"/f/{name}").data == PNG
    assert total(kissa) == 1
    public = before | {"thumbnail": f"http://kissa.example/t/{name}"}
    assert before["thumbnail"] is None
    assert kissa.get("/api/v2/items").get_json() == {"items": [public], "next": None}
    assert kissa.get(f"/api/v2/items/{number}").get_json() == public
    assert "hello" in kissa.get(f"/{number}").text
    assert kissa.get(f"/api/v2/items/{number}/file", alice.by_key).data == PNG
    assert kissa.get(QUEUE, admin.by_admin_token).get_json() == {"items": [], "next": None}


def test_approved_bytes_are_those_that_were_sent(
    kissa: Kissa, alice: Person, admin: Person
) -> None:
    content = bytes(range(256)) * 1024
    number = kissa.item_id(alice, content=content, name="a.bin")
    hidden = kissa.uploads / ".pending" / waiting_file(kissa)
    assert hidden.read_bytes() == content
    decide(kissa, admin, number, "approve")
    (name,) = names(kissa, alice)
    assert kissa.get(f"/f/{name}").data == content
    assert models.Item.get_by_id(number).sha256 == hashlib.sha256(content).digest()


# Reject


def test_reject_removes_the_bytes_at_once(kissa: Kissa, alice: Person, admin: Person) -> None:
    number = kissa.item_id(alice)
    (name,) = names(kissa, alice)
    status, body = decide(kissa, admin, number, "reject", reason="  too blurred ")
    assert status == 200
    assert body == {"success": True, "msg": "The item has been rejected."}
    assert kissa.files() == set()
    assert models.Item.get_by_id(number).reason == "too blurred"
    assert names(kissa, alice) == []
    assert total(kissa) == 0
    info = kissa.post("/api/user/info", alice.by_token).get_json()
    assert info == {"username": "alice", "filecount": 0}
    for path in (f"/{number}", f"/f/{name}", f"/api/v2/items/{number}"):
        assert kissa.get(path).status_code == 404
    for headers in (alice.by_key, admin.by_admin_token):
        assert kissa.get(f"/api/v2/items/{number}", headers).status_code == 200
        refused(kissa.get(f"/api/v2/items/{number}/file", headers), 404)
    assert kissa.get(QUEUE, admin.by_admin_token).get_json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        pytest.param("", 200, id="none"),
        pytest.param("x" * 500, 200, id="500"),
        pytest.param("x" * 501, 400, id="501"),
        pytest.param("é" * 500, 200, id="500 of two bytes"),
        pytest.param("é" * 501, 400, id="501 of two bytes"),
        pytest.param("  " + "x" * 500 + "\t", 200, id="500 when trimmed"),
    ],
)
@pytest.mark.parametrize("way", ["header", "form", "json"])
def test_reason(
    kissa: Kissa, alice: Person, admin: Person, reason: str, status: int, way: str
) -> None:
    number = kissa.item_id(alice)
    path, token = f"{QUEUE}/{number}/reject", admin.by_admin_token
    if way == "header":
        on_wire = reason.encode().decode("latin-1")
        answer = kissa.post(path, token | {"reason": on_wire})
    elif way == "form":
        answer = kissa.post(path, token, data={"reason": reason})
    else:
        answer = kissa.post(path, token, json={"reason": reason})
    if status == 400:
        refused(answer, 400)
        assert waiting_file(kissa)
        assert decide(kissa, admin, number, "approve")[0] == 200
    else:
        assert answer.status_code == 200
        assert models.Item.get_by_id(number).reason == (reason.strip() or None)


def test_reason_is_never_read_from_the_url(kissa: Kissa, alice: Person, admin: Person) -> None:
    number = kissa.item_id(alice)
    assert kissa.post(f"{QUEUE}/{number}/reject?reason=no", admin.by_admin_token).status_code == 200
    assert models.Item.get_by_id(number).reason is None


def test_a_rejected_row_goes_after_30_days(
    kissa: Kissa, alice: Person, admin: Person, clock: Clock
) -> None:
    rejected, kept = kissa.item_id(alice), kissa.item_id(alice)
    clock.advance(days=1)
    decide(kissa, admin, rejected, "reject")
    clock.advance(days=30)
    upkeep.tidy(kissa.services.storage)
    assert kissa.get(f"/api/v2/items/{rejected}", alice.by_key).status_code == 200
    clock.advance(seconds=1)
    upkeep.tidy(kissa.services.storage)
    assert kissa.get(f"/api/v2/items/{rejected}", alice.by_key).status_code == 404
    assert kissa.get(f"/api/v2/items/{kept}/file", alice.by_key).data == PNG
    assert kissa.item_id(alice) == kept + 1


# Once


@pytest.mark.parametrize("first", ["approve", "reject"])
@pytest.mark.parametrize("second", ["approve", "reject"])
def test_a_second_decision_is_409(
    kissa: Kissa, alice: Person, admin: Person, first: str, second: str
) -> None:
    number = kissa.item_id(alice)
    assert decide(kissa, admin, number, first)[0] == 200
    stored = kissa.files()
    status, body = decide(kissa, admin, number, second, reason="again")
    assert status == 409
    assert body["success"] is False
    assert kissa.files() == stored
    assert models.Item.get_by_id(number).reason is None
    assert models.Audit.select().count() == 1


@pytest.mark.parametrize("verdict", ["approve", "reject"])
@pytest.mark.parametrize("what", ["unlisted", "listed", "none", "word", "30 digits", "0"])
def test_what_never_waited_is_404(start: Start, verdict: str, what: str) -> None:
    kissa = start()
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    name = kissa.upload_name(alice)
    listed = kissa.item_id(alice)
    number = {
        "unlisted": str(listed - 1),
        "listed": str(listed),
        "none": "99",
        "word": name,
        "30 digits": "9" * 30,
        "0": "0",
    }[what]
    refused(kissa.post(f"{QUEUE}/{number}/{verdict}", admin.by_admin_token), 404)
    assert len(kissa.files()) == 2


@pytest.mark.parametrize(
    ("who", "status"),
    [("nobody", 401), ("malformed", 401), ("key", 401), ("upload token", 403), ("bob", 403)],
)
def test_only_admins_see_and_decide(
    kissa: Kissa, alice: Person, bob: Person, admin: Person, who: str, status: int
) -> None:
    number = kissa.item_id(alice)
    headers = {
        "nobody": {},
        "malformed": {"token": "x"},
        "key": admin.by_key,
        "upload token": admin.by_token,
        "bob": bob.by_token,
    }[who]
    for answer in (
        kissa.get(QUEUE, headers),
        kissa.post(f"{QUEUE}/{number}/approve", headers),
        kissa.post(f"{QUEUE}/{number}/reject", headers),
        kissa.post(f"{QUEUE}/99/reject", headers | {"reason": "x" * 501}),
    ):
        refused(answer, status, INVALID_TOKEN if status == 401 else None)
    assert waiting_file(kissa)


# The list


def test_queue_shape_and_pages(kissa: Kissa, alice: Person, admin: Person, clock: Clock) -> None:
    first = kissa.item_id(alice, comment="look", tags="b,a,c", rating="nsfl", is_oc="1")
    more = [kissa.item_id(alice) for _ in range(3)]
    (name,) = names(kissa, alice)[3:]
    page = kissa.get(f"{QUEUE}?limit=3", admin.by_admin_token).get_json()
    assert [item["itemid"] for item in page["items"]] == more[::-1]
    assert {item["comment"] for item in page["items"]} == {None}
    assert page["next"] == more[0]
    page = kissa.get(f"{QUEUE}?limit=3&before={page['next']}", admin.by_admin_token).get_json()
    assert page == {
        "items": [
            {
                "itemid": first,
                "url": f"http://kissa.example/{first}",
                "file": f"http://kissa.example/f/{name}",
                "thumbnail": None,
                "username": "alice",
                "rating": "nsfl",
                "tags": ["a", "b", "c"],
                "is_oc": True,
                "created": "2026-11-21T12:00:00Z",
                "comment": "look",
            }
        ],
        "next": None,
    }
    exact = kissa.get(f"{QUEUE}?limit=4", admin.by_admin_token).get_json()
    assert (len(exact["items"]), exact["next"]) == (4, None)
    refused(kissa.get(f"{QUEUE}?limit=x", admin.by_admin_token), 400)


# The audit


def test_decisions_are_written_down_by_ids(kissa: Kissa, alice: Person, admin: Person) -> None:
    one, two, three = (kissa.item_id(alice) for _ in range(3))
    decide(kissa, admin, one, "approve")
    decide(kissa, admin, two, "reject", reason="alice sent nonsense")
    kissa.client.delete(f"/api/v2/items/{three}", headers=admin.by_admin_token)
    ids = {user.username: user.id for user in models.User.select()}
    rows = [(row.actor_id, row.act, row.target) for row in models.Audit.select()]
    assert rows == [
        (ids["admin"], "approve", f"item {one} of #{ids['alice']}"),
        (ids["admin"], "reject", f"item {two} of #{ids['alice']}"),
        (ids["admin"], "delete file", f"item {three} of #{ids['alice']}"),
    ]


@pytest.mark.parametrize("statement", ["delete from audit", "update audit set act = 'nothing'"])
def test_audit_is_append_only(kissa: Kissa, alice: Person, admin: Person, statement: str) -> None:
    decide(kissa, admin, kissa.item_id(alice), "approve")
    with pytest.raises(peewee.IntegrityError, match="append-only"):
        models.write(lambda: models.database.execute_sql(statement))
    assert [row.act for row in models.Audit.select()] == ["approve"]


# What a crash leaves


@pytest.mark.parametrize("way", ["linked", "moved"])
def test_a_release_without_commit_is_undone(
    kissa: Kissa, alice: Person, admin: Person, way: str
) -> None:
    number = kissa.item_id(alice)
    (name,) = names(kissa, alice)
    hidden = waiting_file(kissa)
    store = kissa.services.storage
    store.release(hidden, name)
    if way == "moved":  # as on a filesystem without hard links
        (kissa.uploads / ".pending" / hidden).unlink()
    assert name in kissa.files()
    assert items.undo_releases(store) == 1
    assert kissa.files() == {f".pending/{hidden}"}
    assert items.undo_releases(store) == 0
    assert decide(kissa, admin, number, "approve")[0] == 200
    assert kissa.get(f"/f/{name}").data == PNG
    assert kissa.files() == {name}
    assert items.undo_releases(store) == 0
    assert kissa.files() == {name}


def test_lost_bytes_cannot_be_approved(kissa: Kissa, alice: Person, admin: Person) -> None:
    number = kissa.item_id(alice)
    (kissa.uploads / ".pending" / waiting_file(kissa)).unlink()
    assert decide(kissa, admin, number, "approve")[0] == 404
    assert kissa.files() == set()
    assert models.Audit.select().count() == 0
    assert decide(kissa, admin, number, "reject")[0] == 200
