"""A full quota: refused, or made room in by the oldest unpinned files of the same user."""

from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

import items
import models
import quota
import statements
from models import Item, User
from tests.conftest import Kissa, Person
from tests.forms import field, file, form
from tests.people import Browser, error_of

Start = Callable[..., Kissa]
MIB = 1024 * 1024
QUARTER = MIB // 4


@pytest.fixture
def kissa(start: Start) -> Kissa:
    return start(uploads_quota_mb=1, uploads_when_full="evict_oldest", uploads_per_minute=0)


def post(kissa: Kissa, person: Person, size: int, api: str = "nekos") -> TestResponse:
    """An upload of so many bytes; the body as bytes, since Werkzeug's client would leave a
    temporary file behind."""
    path, name = {
        "nekos": ("/api/files/upload", "uploadFile"),
        "f0ckm": ("/api/v2/upload", "file"),
    }[api]
    listing = field("rating", "sfw"), field("tags", "a,b,c")
    body = form(*listing, file(name, bytes(size), "cat.png"))
    return kissa.post(path, person.by_token | person.by_key, **body)


def send(kissa: Kissa, person: Person, *sizes: int) -> list[str]:
    """The names of uploads that must succeed."""
    sent = []
    for size in sizes:
        answer = post(kissa, person, size)
        assert answer.status_code == 200, answer.text
        sent.append(answer.get_json()["url"].rpartition("/")[2])
    return sent


def names(person: Person) -> list[str]:
    """The names of a person's files, oldest first."""
    owner = User.get(User.username == person.username)
    return [item.name for item in Item.select().where(Item.user == owner).order_by(Item.id)]


def pin(person: Person, *file_names: str, is_pinned: bool = True) -> None:
    owner = User.get(User.username == person.username)
    ids = [item.id for item in Item.select().where(Item.name.in_(file_names))]
    assert quota.pin(owner, ids, is_pinned=is_pinned) == len(file_names)


def require_agreement(kissa: Kissa) -> None:
    """See that rows, files and totals tell the same."""
    rows = list(Item.select().where(Item.state != "rejected"))
    assert kissa.files() == {
        f".pending/{item.pending_name}" if item.pending_name else item.name for item in rows
    }
    for user in User.select():
        own = [item.size for item in rows if item.user_id == user.id]
        assert (user.file_count, user.bytes) == (len(own), sum(own))


def test_as_many_of_the_oldest_go_as_it_takes(kissa: Kissa, alice: Person) -> None:
    first = send(kissa, alice, *[QUARTER] * 4)
    (tiny,) = send(kissa, alice, 1)
    assert names(alice) == [*first[1:], tiny]
    (fifth,) = send(kissa, alice, QUARTER - 1)  # now it is full to the byte
    assert names(alice) == [*first[1:], tiny, fifth]
    (large,) = send(kissa, alice, 2 * QUARTER + 1)
    assert names(alice) == [tiny, fifth, large]
    assert kissa.get(f"/f/{first[1]}").status_code == 404
    require_agreement(kissa)


def test_at_the_edge_nothing_goes(kissa: Kissa, alice: Person) -> None:
    stored = send(kissa, alice, *[QUARTER] * 4)
    assert names(alice) == stored
    (whole,) = send(kissa, alice, MIB)
    assert names(alice) == [whole]
    require_agreement(kissa)


@pytest.mark.parametrize("api", ["nekos", "f0ckm"])
def test_what_is_larger_than_all_of_it(kissa: Kissa, alice: Person, api: str) -> None:
    stored = send(kissa, alice, QUARTER, QUARTER)
    answer = post(kissa, alice, MIB + 1, api)
    assert answer.status_code == 507
    assert "1 MB" in answer.text
    assert names(alice) == stored
    require_agreement(kissa)


def test_pinned_files_stay(kissa: Kissa, alice: Person) -> None:
    one, _, three, four = send(kissa, alice, *[QUARTER] * 4)
    pin(alice, one, three)
    (five,) = send(kissa, alice, QUARTER)
    assert names(alice) == [one, three, four, five]
    refused = post(kissa, alice, 2 * QUARTER + 1)  # would take a pinned one
    assert refused.status_code == 507
    assert names(alice) == [one, three, four, five]
    pin(alice, one, is_pinned=False)
    (six,) = send(kissa, alice, 2 * QUARTER + 1)
    assert names(alice) == [three, six]
    pin(alice, three, six)
    assert post(kissa, alice, QUARTER).status_code == 507
    require_agreement(kissa)


def test_never_another_s(kissa: Kissa, alice: Person, bob: Person) -> None:
    of_bob = send(kissa, bob, *[QUARTER] * 4)
    for _ in range(6):
        send(kissa, alice, QUARTER)
    assert names(bob) == of_bob
    assert len(names(alice)) == 4
    require_agreement(kissa)


def test_a_quota_of_one_s_own(kissa: Kissa, alice: Person) -> None:
    send(kissa, alice, *[QUARTER] * 4)
    models.write(lambda: User.update(quota_mb=0).execute())
    send(kissa, alice, MIB)
    assert len(names(alice)) == 5  # 0 is no limit
    models.write(lambda: User.update(quota_mb=1).execute())
    (last,) = send(kissa, alice, QUARTER)
    assert names(alice) == [last]  # what was too much goes as well
    require_agreement(kissa)


def test_waiting_items_may_go_and_rejected_ones_have_nothing_to_give(start: Start) -> None:
    kissa = start(
        uploads_quota_mb=1,
        uploads_when_full="evict_oldest",
        gallery_manual_approval="true",
        uploads_per_minute=0,
    )
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    rejected = post(kissa, alice, QUARTER, "f0ckm").get_json()["itemid"]
    kissa.post(f"/api/v2/queue/{rejected}/reject", admin.by_admin_token)
    waiting = post(kissa, alice, 3 * QUARTER, "f0ckm").get_json()["itemid"]
    send(kissa, alice, 2 * QUARTER)
    assert Item.get_or_none(Item.id == waiting) is None
    assert Item.get_by_id(rejected).state == "rejected"
    require_agreement(kissa)


def test_many_small_ones_for_a_large_one(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "_BATCH", 3)
    small = send(kissa, alice, *[MIB // 16] * 16)
    pin(alice, small[2])
    (large,) = send(kissa, alice, 8 * MIB // 16)
    assert names(alice) == [small[2], *small[9:], large]
    require_agreement(kissa)


@pytest.mark.parametrize("what", ["publish", "insert", "delete"])
def test_an_upload_that_fails_has_deleted_nothing(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    stored = send(kissa, alice, *[QUARTER] * 4)

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        if what == "publish":
            patch.setattr(kissa.services.storage, "publish", fail)
        elif what == "insert":
            patch.setattr(statements, "insert_item", fail)
        else:
            patch.setattr(items, "_delete_row", fail)
        assert post(kissa, alice, QUARTER).status_code == 500
    assert names(alice) == stored
    require_agreement(kissa)


def test_refuse_is_the_default(start: Start) -> None:
    kissa = start(uploads_quota_mb=1, uploads_per_minute=0)
    alice = kissa.person("alice")
    stored = send(kissa, alice, *[QUARTER] * 4)
    assert post(kissa, alice, 1).status_code == 507
    assert names(alice) == stored


def test_pins_in_my_files(kissa: Kissa, alice: Person, bob: Person) -> None:
    send(kissa, alice, 10, 10)
    send(kissa, bob, 10)
    browser = Browser(kissa, "alice")
    text = browser.text("/files")
    assert "deletes your oldest files to make room" in text
    assert "1.0 MiB" in text
    assert ">Pinned" not in text
    assert browser.does("/files/pin", id=["1", "2", "3"], pin="1", next="/files?q=x") == (
        "/files?q=x"
    )
    pinned = [item.id for item in Item.select().where(Item.pinned.is_null(False))]
    assert pinned == [1, 2]
    assert browser.text("/files").count(">Pinned") == 2
    browser.does("/files/pin", id="1", pin="0")
    assert browser.text("/files").count(">Pinned") == 1
    assert error_of(browser.post("/files/pin", id="3", pin="1"))[0] == 404
    assert browser.post("/files/pin", pin="1").status_code == 400


@pytest.mark.parametrize(
    "keys", [{}, {"uploads_when_full": "evict_oldest"}, {"uploads_quota_mb": 1}]
)
def test_nobody_is_warned_of_what_does_not_happen(start: Start, keys: dict[str, object]) -> None:
    kissa = start(**keys)
    kissa.upload_name(kissa.person("alice"))
    text = Browser(kissa, "alice").text("/files")
    assert "make room" not in text
    assert "/files/pin" not in text
