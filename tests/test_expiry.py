"""Files that end: what a sender may wish, what becomes of the links, and who may change it."""

import io
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

import expiry
import items
import models
import timer
from models import Expired, Item
from tests.conftest import PNG, Clock, Kissa, Person
from tests.people import Browser, approve, error_of

Start = Callable[..., Kissa]
PATHS = {"nekos": "/api/files/upload", "f0ckm": "/api/v2/upload", "web": "/upload"}
GONE = "This file has expired."
START = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def upload(
    kissa: Kissa,
    api: str,
    *,
    header: str | None = None,
    field: str | None = None,
    query: str | None = None,
) -> TestResponse:
    """An upload by alice, whose wish stands where it is given."""
    person: Person = kissa.alice  # type: ignore[attr-defined]
    data: dict[str, Any] = {"rating": "sfw", "tags": "a,b,c"}
    if field is not None:
        data["expires"] = field or " "  # Werkzeug's client writes an empty field wrongly
    data["uploadFile" if api == "nekos" else "file"] = (io.BytesIO(PNG), "cat.png")
    headers = {} if header is None else {"expires": header}
    path = PATHS[api] + ("" if query is None else f"?expires={query}")
    if api == "web":
        client = Browser(kissa, "alice").client
        ours = {"Sec-Fetch-Site": "same-origin", "Accept": "application/json"}
        return client.post(path, headers=headers | ours, data=data)
    return kissa.post(path, headers | person.by_token | person.by_key, data=data)


@pytest.fixture
def host(start: Start, clock: Clock) -> Callable[..., Kissa]:
    """Start an app on which alice lives."""

    def begin(**keys: object) -> Kissa:
        kissa = start(uploads_per_minute=0, **keys)
        kissa.alice = kissa.person("alice")  # type: ignore[attr-defined]
        return kissa

    return begin


def sentence(answer: TestResponse) -> str:
    if answer.is_json:
        body = answer.get_json()
        return str(body.get("msg") or body["error"])
    return answer.text


def end(kissa: Kissa) -> int:
    return expiry.end_due(kissa.services.storage)


# What may be wished


@pytest.mark.parametrize("api", PATHS)
@pytest.mark.parametrize("where", ["header", "field", "query"])
def test_three_ways_to_say_it(host: Callable[..., Kissa], api: str, where: str) -> None:
    answer = upload(host(), api, **{where: "7d"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Expires-At"] == "2026-11-28T12:00:00Z"
    assert Item.get().expires == START + timedelta(days=7)


def test_the_header_wins_over_the_field_and_that_over_the_query(
    host: Callable[..., Kissa],
) -> None:
    kissa = host()
    answer = upload(kissa, "nekos", header="1h", field="2h", query="3h")
    assert answer.headers["Expires-At"] == "2026-11-21T13:00:00Z"
    answer = upload(kissa, "nekos", header="", field="2h", query="3h")
    assert answer.headers["Expires-At"] == "2026-11-21T14:00:00Z"


@pytest.mark.parametrize("api", PATHS)
def test_without_a_wish_nothing_changes(host: Callable[..., Kissa], api: str) -> None:
    kissa = host()
    answer = upload(kissa, api)
    assert answer.status_code == 200
    assert "Expires-At" not in answer.headers
    assert Item.get().expires is None
    keys = {
        "nekos": {"url"},
        "web": {"url", "waiting", "itemid"},
        "f0ckm": {"success", "msg", "itemid", "manual_approval", "redirect", "url"},
    }
    assert answer.get_json().keys() == keys[api]
    assert upload(kissa, api, field="1h").get_json().keys() == keys[api]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("30m", "2026-11-21T12:30:00Z"),
        ("12H", "2026-11-22T00:00:00Z"),
        (" 2w ", "2026-12-05T12:00:00Z"),
        ("2026-11-21T12:00:01Z", "2026-11-21T12:00:01Z"),
        ("2026-11-21t12:00:01z", "2026-11-21T12:00:01Z"),
        ("2026-11-21T14:30:00+02:00", "2026-11-21T12:30:00Z"),
        ("2026-11-21T14:30:00.75+02:00", "2026-11-21T12:30:00Z"),
        ("36500d", "2126-10-28T12:00:00Z"),
        ("never", None),
        ("Never", None),
        ("", None),
    ],
)
def test_accepted(host: Callable[..., Kissa], text: str, told: str | None) -> None:
    kissa = host()
    for where in ("header", "field", "query"):
        answer = upload(kissa, "nekos", **{where: text})  # in a query + is a blank
        assert answer.status_code == 200, answer.text
        assert answer.headers.get("Expires-At") == told


@pytest.mark.parametrize("api", PATHS)
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("soon", "a time such as"),
        ("7", "a time such as"),
        ("-1d", "a time such as"),
        ("1.5h", "a time such as"),
        ("1y", "a time such as"),
        ("٣d", "a time such as"),
        ("2026-11-28", "a time such as"),
        ("2026-11-28T12:00:00", "a time such as"),
        ("2026-13-28T12:00:00Z", "a time such as"),
        ("0001-01-01T00:00:00+23:00", "a time such as"),
        ("9" * 300, "a time such as"),
        ("0m", "in the future"),
        ("2026-11-21T12:00:00Z", "in the future"),
        ("1999-01-01T00:00:00Z", "in the future"),
        ("36501d", "at most 36500 days after"),
        ("99999999w", "at most 36500 days after"),
        ("9999-12-31T23:59:59Z", "at most 36500 days after"),
    ],
)
def test_refused(host: Callable[..., Kissa], api: str, text: str, told: str) -> None:
    kissa = host()
    answer = upload(kissa, api, field=text)
    assert answer.status_code == 400
    assert sentence(answer).startswith("The expiry must be ")
    assert told in sentence(answer)
    assert kissa.files() == set()
    assert not Item.select().exists()


@pytest.mark.parametrize(
    ("usual", "most", "wish", "told"),
    [
        ("30d", "", "", "2026-12-21T12:00:00Z"),
        ("30d", "", "never", None),
        ("30d", "", "60d", "2027-01-20T12:00:00Z"),
        ("", "1w", "", "2026-11-28T12:00:00Z"),
        ("2d", "1w", "", "2026-11-23T12:00:00Z"),
        ("2d", "1w", "7d", "2026-11-28T12:00:00Z"),
        ("2d", "1w", "2026-11-28T12:00:00Z", "2026-11-28T12:00:00Z"),
    ],
)
def test_the_host_s_own(
    host: Callable[..., Kissa], usual: str, most: str, wish: str, told: str | None
) -> None:
    kissa = host(uploads_default_expiry=usual, uploads_max_expiry=most)
    answer = upload(kissa, "nekos", header=wish)
    assert (answer.status_code, answer.headers.get("Expires-At")) == (200, told)


@pytest.mark.parametrize("wish", ["8d", "10081m", "2026-11-28T12:00:01Z", "never"])
def test_longer_than_the_host_takes(host: Callable[..., Kissa], wish: str) -> None:
    answer = upload(host(uploads_max_expiry="1w"), "f0ckm", header=wish)
    assert answer.status_code == 400
    assert sentence(answer) == "The expiry must be at most 7 days after the upload."


# What becomes of it


def paths(name: str, item_id: int) -> list[str]:
    return [f"/f/{name}", f"/d/{name}", f"/t/{name}", f"/{item_id}"]


def test_ends_at_its_time_however_late_the_timer_is(
    host: Callable[..., Kissa], clock: Clock
) -> None:
    kissa = host()
    item_id = upload(kissa, "f0ckm", field="1h").get_json()["itemid"]
    item = Item.get_by_id(item_id)
    clock.advance(minutes=59, seconds=59)
    assert end(kissa) == 0
    assert [kissa.get(path).status_code for path in paths(item.name, item_id)] == [200] * 4
    clock.advance(seconds=1)
    for _ in range(2):  # before the timer, and after it
        for path in paths(item.name, item_id):
            answer = kissa.get(path)
            assert answer.status_code == 410, path
            assert error_of(answer) == (410, GONE), path
            assert kissa.client.head(path).status_code == 410
        for path in (f"/api/v2/items/{item_id}", f"/api/v2/items/{item_id}/file"):
            answer = kissa.get(path, kissa.alice.by_key)  # type: ignore[attr-defined]
            assert (answer.status_code, answer.get_json()["msg"]) == (410, GONE)
        end(kissa)
    assert kissa.files() == set()
    assert not Item.select().exists()
    assert (Expired.get().at, Expired.get().was_listed) == (START + timedelta(hours=1), True)
    user = models.User.get()
    assert (user.file_count, user.bytes) == (0, 0)
    clock.advance(days=30)
    for path in paths(item.name, item_id):
        assert kissa.get(path).status_code == 404
    assert end(kissa) == 0
    assert not Expired.select().exists()


def test_what_was_deleted_stays_404(host: Callable[..., Kissa], clock: Clock) -> None:
    kissa = host()
    item_id = upload(kissa, "f0ckm", field="1h").get_json()["itemid"]
    name = Item.get_by_id(item_id).name
    delete = kissa.alice.by_token | {"file": name}  # type: ignore[attr-defined]
    assert kissa.post("/api/files/delete", delete).status_code == 200
    clock.advance(hours=2)
    assert end(kissa) == 0
    assert [kissa.get(path).status_code for path in paths(name, item_id)] == [404] * 4


def test_the_page_of_an_unlisted_file_is_gone_for_its_owner_and_admins_alone(
    host: Callable[..., Kissa], clock: Clock
) -> None:
    kissa = host()
    kissa.person("bob")
    kissa.person("admin", admin=True)
    upload(kissa, "nekos", field="1h")
    item = Item.get()
    clock.advance(hours=1)
    end(kissa)
    for who, status in {None: 404, "bob": 404, "alice": 410, "admin": 410}.items():
        assert Browser(kissa, who).get(f"/{item.id}").status_code == status
    assert kissa.get(f"/f/{item.name}").status_code == 410
    login = kissa.alice.by_password  # type: ignore[attr-defined]
    assert kissa.post("/api/user/delete", login).status_code == 200
    assert kissa.get(f"/f/{item.name}").status_code == 404  # nothing is left of an account


def test_waiting_and_rejected_items(host: Callable[..., Kissa], clock: Clock) -> None:
    kissa = host(gallery_manual_approval="true")
    admin = kissa.person("admin", admin=True)
    waiting, rejected, approved = (
        upload(kissa, "f0ckm", field="1h").get_json()["itemid"] for _ in range(3)
    )
    kissa.post(f"/api/v2/queue/{rejected}/reject", admin.by_admin_token | {"reason": "blurred"})
    approve(kissa, admin, approved)
    clock.advance(hours=1)
    assert end(kissa) == 2
    assert kissa.files() == set()
    assert Browser(kissa, "alice").get(f"/{waiting}").status_code == 410
    assert kissa.get(f"/{waiting}").status_code == 404
    assert kissa.get(f"/{approved}").status_code == 410
    assert "blurred" in Browser(kissa, "alice").text(f"/{rejected}")


def test_many_at_once_and_nothing_else(
    host: Callable[..., Kissa], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "BATCH", 3)
    kissa = host(storage_durable="false")
    for text in ("1h",) * 8 + ("2h", "never"):
        upload(kissa, "nekos", field=text)
    clock.advance(hours=1)
    assert end(kissa) == 8
    assert {item.name for item in Item.select()} == kissa.files()
    assert Expired.select().count() == 8
    assert end(kissa) == 0


def test_a_disk_that_refuses_leaves_it_for_the_next_time(
    host: Callable[..., Kissa], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kissa = host()
    upload(kissa, "nekos", field="1h")
    name = Item.get().name
    clock.advance(hours=1)
    with monkeypatch.context() as patch:
        store = kissa.services.storage

        def refuse() -> None:
            raise OSError(5, "Input/output error")

        patch.setattr(models._engine, "before_commit", refuse)
        with pytest.raises(OSError, match="Input/output"):
            expiry.end_due(store)
        assert Item.select().count() == 1
        assert kissa.get(f"/f/{name}").status_code == 410
    assert end(kissa) == 1
    assert kissa.files() == set()


def test_an_item_that_came_back_with_a_backup_ends_again(
    host: Callable[..., Kissa], clock: Clock
) -> None:
    kissa = host()
    upload(kissa, "nekos", field="1h")
    row = Item.select().dicts().get()
    clock.advance(hours=1)
    end(kissa)
    models.write(lambda: Item.insert(row).execute())
    assert end(kissa) == 1


# The timer


def test_the_timer_ends_files_and_itself(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kissa = start()
    alice = kissa.person("alice")
    kissa.upload(alice, expires="1h")
    store = kissa.services.storage
    later = models.now() + timedelta(hours=1)
    monkeypatch.setattr(models, "now", lambda: later)
    one = timer.Timer(store, every=0.01)
    one.start()
    deadline = threading.Event()
    for _ in range(3000):
        if not kissa.files():
            break
        deadline.wait(0.01)
    assert kissa.files() == set()
    one.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "timer"]


def test_whose_turn_it_is_not_leaves_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    kissa = start()
    ended: list[object] = []
    monkeypatch.setattr(timer.expiry, "end_due", ended.append)
    waits = threading.Event()
    with models.turn("timer") as is_ours:
        assert is_ours
        other = timer.Timer(kissa.services.storage, every=0.001)
        other.start()
        waits.wait(0.1)
        assert ended == []
    while not ended:
        waits.wait(0.01)
    other.stop()


def test_one_look_where_nothing_is_due(host: Callable[..., Kissa]) -> None:
    kissa = host()
    upload(kissa, "nekos", field="1h")
    asked: list[str] = []
    run = models.database.obj.execute_sql

    def listen(sql: str, *values: object) -> object:
        asked.append(sql)
        return run(sql, *values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.database.obj, "execute_sql", listen)
        end(kissa)
    assert len(asked) == 2  # what is due, and what was due long ago; no write


# My files, the item's page, the upload page


def test_changed_by_its_owner(host: Callable[..., Kissa], clock: Clock) -> None:
    kissa = host()
    upload(kissa, "nekos", field="1h")
    upload(kissa, "nekos")
    alice = Browser(kissa, "alice")
    assert '<time datetime="2026-11-21T13:00:00Z" data-ago>' in alice.text("/files")
    assert '<time datetime="2026-11-21T13:00:00Z" data-ago>' in alice.text("/1")
    assert alice.does("/files/expiry", id=["1", "2"], expires="1w", next="/1") == "/1"
    assert {item.expires for item in Item.select()} == {START + timedelta(days=7)}
    assert alice.does("/files/expiry", id="1", expires="never") == "/files"
    assert Item.get_by_id(1).expires is None
    clock.advance(days=7)
    assert end(kissa) == 1
    assert alice.post("/files/expiry", id="2", expires="1w").status_code == 404


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"id": "1", "expires": ""}, 400),
        ({"id": "1"}, 400),
        ({"id": "1", "expires": "soon"}, 400),
        ({"expires": "1h"}, 400),
        ({"id": "99", "expires": "1h"}, 404),
        ({"id": "x", "expires": "1h"}, 404),
        ({"id": "2", "expires": "1h"}, 404),
    ],
)
def test_changes_that_are_refused(
    host: Callable[..., Kissa], form: dict[str, str], status: int
) -> None:
    kissa = host()
    upload(kissa, "nekos", field="5h")
    kissa.upload(kissa.person("bob"))
    before = [item.expires for item in Item.select().order_by(Item.id)]
    assert Browser(kissa, "alice").post("/files/expiry", **form).status_code == status
    assert [item.expires for item in Item.select().order_by(Item.id)] == before


def test_max_expiry_counts_from_the_upload(host: Callable[..., Kissa], clock: Clock) -> None:
    kissa = host(uploads_max_expiry="10d")
    upload(kissa, "nekos", field="1d")
    clock.advance(hours=12)
    upload(kissa, "nekos", field="1d")
    clock.advance(hours=11)
    alice = Browser(kissa, "alice")
    answer = alice.post("/files/expiry", id=["1", "2"], expires="228h")
    assert error_of(answer) == (400, "The expiry must be at most 10 days after the upload.")
    assert alice.post("/files/expiry", id="1", expires="never").status_code == 400
    assert {item.expires for item in Item.select()} == {
        START + timedelta(days=1),
        START + timedelta(hours=36),
    }
    alice.does("/files/expiry", id="2", expires="228h")


def test_a_file_past_its_time_cannot_be_saved(host: Callable[..., Kissa], clock: Clock) -> None:
    kissa = host()
    upload(kissa, "nekos", field="1h")
    clock.advance(hours=1)
    assert Browser(kissa, "alice").post("/files/expiry", id="1", expires="1h").status_code == 410
    assert end(kissa) == 1


def test_rejected_files_have_no_expiry(host: Callable[..., Kissa]) -> None:
    kissa = host(gallery_manual_approval="true")
    admin = kissa.person("admin", admin=True)
    item_id = upload(kissa, "f0ckm").get_json()["itemid"]
    kissa.post(f"/api/v2/queue/{item_id}/reject", admin.by_admin_token)
    assert Browser(kissa, "alice").post("/files/expiry", id="1", expires="1h").status_code == 409
    assert items.forget_rejected() == 0


@pytest.mark.parametrize(
    ("usual", "most", "offered"),
    [
        ("", "", ["never", "after 1 hour", "after 1 day", "after 7 days", "after 30 days",
                  "after 365 days"]),
        ("7d", "", ["after 7 days", "after 1 hour", "after 1 day", "after 30 days",
                    "after 365 days", "never"]),
        ("", "1w", ["after 7 days", "after 1 hour", "after 1 day"]),
        ("36h", "40h", ["after 36 hours", "after 1 hour", "after 1 day"]),
    ],
)  # fmt: skip
def test_what_the_upload_page_offers(
    host: Callable[..., Kissa], usual: str, most: str, offered: list[str]
) -> None:
    kissa = host(uploads_default_expiry=usual, uploads_max_expiry=most)
    text = Browser(kissa, "alice").text("/upload")
    [choice] = re.findall(r'name="expires">(.*?)</select>', text)
    assert re.findall(r"<option[^>]*>([^<]*)</option>", choice) == offered
    for value in re.findall(r'<option value="([^"]*)"', choice):
        answer = upload(kissa, "web", field=value)
        assert answer.status_code == 200, (value, answer.text)


def test_the_page_after_a_plain_form_tells_it(host: Callable[..., Kissa]) -> None:
    answer = Browser(host(), "alice")
    sent = answer.send(expires="1d")
    assert "It expires <time" in sent.text
    assert sent.headers["Expires-At"] == "2026-11-22T12:00:00Z"


def test_words() -> None:
    lengths = {
        "90m": "90 minutes",
        "1h": "1 hour",
        "24h": "1 day",
        "2w": "14 days",
        "1m": "1 minute",
    }
    for text, told in lengths.items():
        length = expiry.duration(text)
        assert length is not None
        assert expiry.words(length) == told
