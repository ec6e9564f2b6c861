"""POST /api/v2/upload: its documented answers, the rules of rating and tags, its modes."""

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

import models
from tests.conftest import PNG, Clock, Kissa, Person
from tests.forms import field, file, form

UPLOAD = "/api/v2/upload"
RATING = "Rating (sfw/nsfw/nsfl) is required"
TAGS = "At least 3 tags are required"
NO_KEY = "Invalid or inactive API key"
Start = Callable[..., Kissa]


def send(kissa: Kissa, person: Person, query: str = "", **fields: str) -> TestResponse:
    """An upload with exactly these fields."""
    parts = [field(name, value) for name, value in fields.items()]
    return kissa.post(UPLOAD + query, person.by_key, **form(*parts, file("file", PNG)))


def refused(answer: TestResponse, status: int, msg: str | None = None) -> None:
    """See that this is a refusal in the documented shape, with this `msg` if given."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/json"
    body = answer.get_json()
    assert list(body) == ["success", "msg"]
    assert body["success"] is False
    assert isinstance(body["msg"], str)
    assert body["msg"]
    if msg is not None:
        assert body["msg"] == msg


def shown(kissa: Kissa, answer: TestResponse) -> dict[str, Any]:
    """The item that a successful upload made."""
    assert answer.status_code == 200, answer.text
    item: dict[str, Any] = kissa.get(f"/api/v2/items/{answer.get_json()['itemid']}").get_json()
    return item


# Documented answers


def test_live_upload_is_answered_as_documented(kissa: Kissa, alice: Person) -> None:
    answer = kissa.list_item(alice)
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.get_json() == {
        "success": True,
        "msg": "Upload successful! Your upload is now live.",
        "itemid": 1,
        "manual_approval": False,
        "redirect": "/1",
        "url": "http://kissa.example/1",
    }
    keys = ["success", "msg", "itemid", "manual_approval", "redirect", "url"]
    assert list(answer.get_json()) == keys
    assert answer.headers["X-Deletion-URL"].startswith("http://kissa.example/delete/")


def test_pending_upload_is_answered_as_documented(start: Start) -> None:
    kissa = start(gallery_manual_approval="true")
    answer = kissa.list_item(kissa.person("alice"))
    assert answer.status_code == 200
    assert answer.get_json() == {
        "success": True,
        "msg": "Upload queued for manual approval.",
        "itemid": 1,
        "manual_approval": True,
        "redirect": None,
        "url": "http://kissa.example/",
    }


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        pytest.param(form(field("rating", "sfw"))["data"], form()["content_type"], id="no part"),
        pytest.param(form(field("file", "text"))["data"], form()["content_type"], id="as a field"),
        pytest.param(form(file("file", b"", ""))["data"], form()["content_type"], id="none chosen"),
        pytest.param(form(file("upload", b"x"))["data"], form()["content_type"], id="other field"),
        pytest.param(b"", form()["content_type"], id="empty body"),
        pytest.param(b"file=x&rating=sfw", "application/x-www-form-urlencoded", id="urlencoded"),
        pytest.param(b'{"file": "x"}', "application/json", id="json"),
        pytest.param(form(file("file", b"x"))["data"], "multipart/form-data", id="no boundary"),
        pytest.param(form(file("file", b"x"))["data"][:150], form()["content_type"], id="cut file"),
    ],
)
def test_missing_file(kissa: Kissa, alice: Person, data: bytes, content_type: str) -> None:
    answer = kissa.post(UPLOAD, alice.by_key, data=data, content_type=content_type)
    refused(answer, 400, "No file provided")
    assert kissa.files() == set()


@pytest.mark.parametrize(
    "rating",
    [
        pytest.param(None, id="missing"),
        pytest.param("", id="empty"),
        pytest.param("  ", id="blank"),
        pytest.param("SFW", id="upper case"),
        pytest.param("Nsfw", id="title case"),
        pytest.param("safe", id="unknown"),
        pytest.param("all", id="a filter, no rating"),
        pytest.param("sfw,nsfw", id="two"),
        pytest.param("ｓｆｗ", id="full width"),
    ],
)
def test_missing_or_invalid_rating(kissa: Kissa, alice: Person, rating: str | None) -> None:
    fields = {"tags": "a, b, c"} | ({} if rating is None else {"rating": rating})
    refused(send(kissa, alice, **fields), 400, RATING)
    assert kissa.files() == set()


@pytest.mark.parametrize("rating", ["sfw", "nsfw", "nsfl", "  sfw ", "\tnsfw\r\n"])
def test_rating_is_taken_trimmed(kissa: Kissa, alice: Person, rating: str) -> None:
    item = shown(kissa, send(kissa, alice, rating=rating, tags="a, b, c"))
    assert item["rating"] == rating.strip()


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param(None, id="missing"),
        pytest.param("", id="empty"),
        pytest.param(" , ,, ", id="blanks and commas"),
        pytest.param("a, b", id="two"),
        pytest.param("a, A, a , b", id="duplicates count once"),
        pytest.param("a, b, sfw, NSFW, nsfl", id="ratings do not count"),
        pytest.param("a b c", id="blanks separate nothing"),
        pytest.param("a, b\u0000, b", id="control characters make no difference"),
        pytest.param("a, é, e\u0301", id="both spellings of é are one"),
    ],
)
def test_too_few_tags(kissa: Kissa, alice: Person, tags: str | None) -> None:
    fields = {"rating": "sfw"} | ({} if tags is None else {"tags": tags})
    refused(send(kissa, alice, **fields), 400, TAGS)
    assert kissa.files() == set()


@pytest.mark.parametrize("credential", ["none", "empty", "short", "unknown", "upper", "token"])
def test_invalid_key(kissa: Kissa, alice: Person, credential: str) -> None:
    headers = {
        "none": {},
        "empty": {"X-Api-Key": ""},
        "short": {"X-Api-Key": alice.api_key[:-1]},
        "unknown": {"X-Api-Key": "0" * 64},
        "upper": {"X-Api-Key": "A" + alice.api_key[1:].upper()},
        "token": {"X-Api-Key": alice.token, "token": alice.token},
    }[credential]
    data = form(file("file", PNG), field("rating", "sfw"), field("tags", "a,b,c"))
    refused(kissa.post(UPLOAD, headers, **data), 401, NO_KEY)
    assert kissa.files() == set()


def test_banned_key(kissa: Kissa, alice: Person, admin: Person) -> None:
    assert kissa.post("/api/admin/ban/user", admin.by_admin_token | {"username": "alice"}).text
    refused(kissa.list_item(alice), 401, NO_KEY)


def test_key_is_read_from_the_header_alone(kissa: Kissa, alice: Person) -> None:
    key = alice.api_key
    data = form(
        field("X-Api-Key", key),
        field("token", alice.token),
        field("rating", "sfw"),
        field("tags", "a,b,c"),
        file("file", PNG),
    )
    path = f"{UPLOAD}?X-Api-Key={key}&x-api-key={key}&api_key={key}&key={key}&token={alice.token}"
    refused(kissa.post(path, **data), 401, NO_KEY)


# Tags


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        pytest.param("cats, funny, video", ["cats", "funny", "video"], id="documented"),
        pytest.param(" A ,b,  C", ["a", "b", "c"], id="trimmed and lower-cased"),
        pytest.param("x  y   z,a\tb,c\r\nd", ["a b", "c d", "x y z"], id="inner blanks folded"),
        pytest.param("a\u00a0b,c\u3000d,e\u2028f", ["a b", "c d", "e f"], id="other blanks"),
        pytest.param(",,a,,b, ,c,", ["a", "b", "c"], id="empty ones dropped"),
        pytest.param("b,a,B,c,A ", ["a", "b", "c"], id="duplicates dropped"),
        pytest.param("sfw,a,NSFW,b, nsfl ,c", ["a", "b", "c"], id="ratings ignored"),
        pytest.param("sfw pics,a,b", ["a", "b", "sfw pics"], id="a rating within a tag stays"),
        pytest.param("ÄRGER,НАКЛЕЙКА,日本", ["ärger", "наклейка", "日本"], id="unicode"),
        pytest.param("cafe\u0301,a,b", ["a", "b", "café"], id="NFC"),
        pytest.param("J\u030c,a,b", ["a", "b", "\u01f0"], id="NFC after lower case"),
        pytest.param("e\u0000\u0301,a,b", ["a", "b", "é"], id="NFC without control characters"),
        pytest.param("caf\u00e9,cafe\u0301,a,b", ["a", "b", "café"], id="one of both spellings"),
        pytest.param("🐈,a;b,#c", ["#c", "a;b", "🐈"], id="signs"),
        pytest.param("a,b\u0000\u0007,c\u007f", ["a", "b", "c"], id="no control characters"),
    ],
)
def test_tags_are_kept_as(kissa: Kissa, alice: Person, text: str, tags: list[str]) -> None:
    assert shown(kissa, send(kissa, alice, rating="sfw", tags=text))["tags"] == sorted(tags)


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        pytest.param(",".join(f"t{i}" for i in range(50)), 200, id="50"),
        pytest.param(",".join(f"t{i}" for i in range(51)), 400, id="51"),
        pytest.param(",".join(f"t{i % 50}" for i in range(99)), 200, id="50 and duplicates"),
        pytest.param(",".join(f"t{i}" for i in range(50)) + ",sfw,nsfw,,", 200, id="50, ratings"),
        pytest.param("a,b," + "x" * 64, 200, id="64 characters"),
        pytest.param("a,b," + "x" * 65, 400, id="65 characters"),
        pytest.param("a,b,   " + "x" * 64 + "  ", 200, id="64 when trimmed"),
        pytest.param("a,b,x" + " " * 70 + "y", 200, id="short when folded"),
        pytest.param("a,b," + "e\u0301" * 64, 200, id="64 in NFC"),
        pytest.param("a,b," + "日" * 64, 200, id="64 of three bytes"),
        pytest.param("a,b," + "日" * 65, 400, id="65 of three bytes"),
    ],
)
def test_tag_limits(kissa: Kissa, alice: Person, tags: str, status: int) -> None:
    answer = send(kissa, alice, rating="sfw", tags=tags)
    if status == 200:
        assert answer.status_code == 200, answer.text
    else:
        refused(answer, status)
        assert answer.get_json()["msg"] != TAGS


@pytest.mark.parametrize("number", [1, 5, 50])
def test_configured_number_of_tags_is_in_the_sentence(start: Start, number: int) -> None:
    kissa = start(gallery_min_tags=number)
    alice = kissa.person("alice")
    few, enough = (",".join(f"t{i}" for i in range(count)) for count in (number - 1, number))
    refused(send(kissa, alice, rating="sfw", tags=few), 400, f"At least {number} tags are required")
    assert send(kissa, alice, rating="sfw", tags=enough).status_code == 200


def test_no_tags_needed_with_min_tags_0(start: Start) -> None:
    kissa = start(gallery_min_tags=0)
    item = shown(kissa, send(kissa, kissa.person("alice"), rating="nsfl"))
    assert (item["rating"], item["tags"]) == ("nsfl", [])


# Flags, modes, comment


@pytest.mark.parametrize(
    ("value", "is_yes"),
    [
        *[(value, True) for value in ("1", "true", "True", "TRUE", " tRuE ", "1\r\n")],
        *[(value, False) for value in ("", "0", "false", "yes", "on", "2", "11", "truee", "１")],
    ],
)
def test_flags(kissa: Kissa, alice: Person, value: str, is_yes: bool) -> None:
    item = shown(kissa, send(kissa, alice, rating="sfw", tags="a,b,c", is_oc=value))
    assert item["is_oc"] is is_yes
    answer = send(kissa, alice, is_shitpost=value)
    assert answer.status_code == (200 if is_yes else 400)


@pytest.mark.parametrize(
    ("mode", "fields", "expected"),
    [
        pytest.param("off", {"is_shitpost": "1"}, RATING, id="off: the field is ignored"),
        pytest.param("off", {"is_shitpost": "1", "rating": "sfw"}, TAGS, id="off: tags needed"),
        pytest.param(
            "off",
            {"is_shitpost": "1", "rating": "sfw", "tags": "a,b,c"},
            ("sfw", ["a", "b", "c"], False),
            id="off: no shitpost is made",
        ),
        pytest.param("allowed", {}, RATING, id="allowed: unmarked needs a rating"),
        pytest.param("allowed", {"rating": "sfw"}, TAGS, id="allowed: unmarked needs tags"),
        pytest.param("allowed", {"is_shitpost": "true"}, (None, [], True), id="allowed: marked"),
        pytest.param(
            "allowed",
            {"is_shitpost": "1", "rating": "SFW", "tags": "one"},
            (None, ["one"], True),
            id="allowed: an invalid rating is none",
        ),
        pytest.param(
            "allowed",
            {"is_shitpost": "1", "rating": " nsfw ", "tags": "sfw, One"},
            ("nsfw", ["one"], True),
            id="allowed: rating and tags are kept",
        ),
        pytest.param("always", {}, (None, [], False), id="always: nothing needed"),
        pytest.param("always", {"rating": "bad"}, (None, [], False), id="always: invalid is none"),
        pytest.param("always", {"is_shitpost": "1"}, (None, [], True), id="always: marked"),
        pytest.param(
            "always",
            {"rating": "nsfl", "tags": "a"},
            ("nsfl", ["a"], False),
            id="always: rating and tags are kept",
        ),
    ],
)
def test_shitpost_mode(
    start: Start, mode: str, fields: dict[str, str], expected: str | tuple[object, ...]
) -> None:
    kissa = start(gallery_shitpost_mode=mode)
    answer = send(kissa, kissa.person("alice"), **fields)
    if isinstance(expected, str):
        refused(answer, 400, expected)
        return
    item = shown(kissa, answer)
    is_shitpost = models.Item.get_by_id(item["itemid"]).is_shitpost
    assert (item["rating"], item["tags"], is_shitpost) == expected


def test_tag_limits_hold_for_shitposts_too(kissa: Kissa, alice: Person) -> None:
    refused(send(kissa, alice, is_shitpost="1", tags="x" * 65), 400)


@pytest.mark.parametrize(
    ("comment", "status"),
    [
        pytest.param("x" * 2000, 200, id="2000"),
        pytest.param("x" * 2001, 400, id="2001"),
        pytest.param("猫" * 2000, 200, id="2000 of three bytes"),
        pytest.param(" " * 50 + "x" * 2000 + "\r\n", 200, id="2000 when trimmed"),
        pytest.param("x\r\n" * 1000, 200, id="a line end is one character"),
    ],
)
def test_comment_length(kissa: Kissa, alice: Person, comment: str, status: int) -> None:
    answer = kissa.list_item(alice, comment=comment)
    if status == 200:
        assert answer.status_code == 200, answer.text
    else:
        refused(answer, status)
        assert kissa.files() == set()


def test_comment_becomes_the_first_one_by_the_uploader(kissa: Kissa, alice: Person) -> None:
    number = kissa.item_id(alice, comment="  Look at this sleepy kitten!\r\nAnd this. ")
    page = kissa.get(f"/{number}").text
    comment = (
        '<strong>alice</strong> <span class="kept-lines">Look at this sleepy kitten!\nAnd this.<'
    )
    assert comment in page


# Where fields are read


def test_fields_may_stand_before_and_after_the_file(kissa: Kissa, alice: Person) -> None:
    before = [field("rating", "nsfw"), field("is_oc", "1")]
    after = [field("tags", "x,y,z"), field("comment", "hello")]
    for parts in (before + after, after + before, before, []):
        rest = [part for part in before + after if part not in parts]
        answer = kissa.post(UPLOAD, alice.by_key, **form(*parts, file("file", PNG), *rest))
        item = shown(kissa, answer)
        assert (item["rating"], item["tags"], item["is_oc"]) == ("nsfw", ["x", "y", "z"], True)
        assert "hello" in kissa.get(f"/{item['itemid']}").text


def test_fields_from_the_query(kissa: Kissa, alice: Person) -> None:
    query = "?rating=nsfl&tags=a%2Cb,%20C&comment=from+afar&is_oc=true"
    item = shown(kissa, send(kissa, alice, query))
    assert (item["rating"], item["tags"], item["is_oc"]) == ("nsfl", ["a", "b", "c"], True)
    assert "from afar" in kissa.get(f"/{item['itemid']}").text
    assert send(kissa, alice, "?is_shitpost=1").status_code == 200


def test_form_wins_over_query(kissa: Kissa, alice: Person) -> None:
    query = "?rating=nsfl&tags=q,r,s&is_oc=1&comment=query"
    fields = {"rating": "sfw", "tags": "a,b,c", "is_oc": "0", "comment": "form"}
    item = shown(kissa, send(kissa, alice, query, **fields))
    assert (item["rating"], item["tags"], item["is_oc"]) == ("sfw", ["a", "b", "c"], False)
    assert "query" not in kissa.get(f"/{item['itemid']}").text
    refused(send(kissa, alice, query, rating=""), 400, RATING)


def test_times_are_those_of_the_clock(kissa: Kissa, clock: Clock) -> None:
    clock.advance(minutes=5, milliseconds=999)
    item = shown(kissa, kissa.list_item(kissa.person("alice")))
    assert item["created"] == "2026-11-21T12:05:00Z"
