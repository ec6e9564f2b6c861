"""Where an input is read from: headers, then a JSON body, then a form, and never the URL."""

import io
from typing import Any

import pytest

from tests.answers import TEXT, UNKNOWN_TOKEN, WRONG_LOGIN, missing, told
from tests.conftest import PASSWORD, Kissa, Person

VALID = (200, TEXT, "This token is valid!")
TOKEN_WAYS = [
    pytest.param(lambda value: {"headers": {"token": value}}, id="header"),
    pytest.param(lambda value: {"headers": {"Token": f"  {value}\t"}}, id="header with blanks"),
    pytest.param(lambda value: {"json": {"token": value}}, id="json"),
    pytest.param(lambda value: {"data": {"token": value}}, id="form"),
    pytest.param(
        lambda value: {"data": {"token": value}, "content_type": "multipart/form-data"},
        id="multipart form",
    ),
    pytest.param(lambda value: {"headers": {"token": ""}, "json": {"token": value}}, id="empty+"),
    pytest.param(lambda value: {"headers": {"token": " "}, "data": {"token": value}}, id="blank+"),
]


@pytest.mark.parametrize("way", TOKEN_WAYS)
def test_inputs_come_by_header_json_or_form(kissa: Kissa, alice: Person, way: Any) -> None:
    assert told(kissa.client.post("/api/token/valid", **way(alice.token))) == VALID


@pytest.mark.parametrize(
    "request_parts",
    [
        pytest.param({"query_string": True}, id="query string"),
        pytest.param({"cookie": True}, id="cookie"),
        pytest.param({"json": "text"}, id="json that is no object"),
        pytest.param({"json": {"token": ["x"]}}, id="json of another type"),
        pytest.param({"json": {"token": None}}, id="json null"),
        pytest.param({"data": b"{", "content_type": "application/json"}, id="broken json"),
        pytest.param({"data": b"\xff\xfe", "content_type": "application/json"}, id="no utf-8"),
        pytest.param({"data": b"x", "content_type": "multipart/form-data"}, id="no boundary"),
    ],
)
def test_elsewhere_is_nowhere(kissa: Kissa, alice: Person, request_parts: dict[str, Any]) -> None:
    parts = dict(request_parts)
    if parts.pop("query_string", None):
        parts["query_string"] = alice.by_token
    if parts.pop("cookie", None):
        kissa.client.set_cookie("token", alice.token)
    assert told(kissa.client.post("/api/token/valid", **parts)) == UNKNOWN_TOKEN


def test_password_in_the_url_is_not_read(kissa: Kissa, alice: Person) -> None:
    answer = kissa.post("/api/token/get", query_string=alice.by_password)
    assert told(answer) == missing("username")


def test_header_wins_over_body(kissa: Kissa, alice: Person, bob: Person) -> None:
    answer = kissa.post("/api/user/info", alice.by_token, json=bob.by_token)
    assert answer.get_json()["username"] == "alice"
    answer = kissa.post("/api/user/info", alice.by_token, data=bob.by_token)
    assert answer.get_json()["username"] == "alice"


def test_wrong_header_is_not_saved_by_a_good_body(kissa: Kissa, alice: Person) -> None:
    answer = kissa.post("/api/token/valid", {"token": "nonsense"}, json=alice.by_token)
    assert told(answer) == UNKNOWN_TOKEN


def test_inputs_may_come_by_different_ways(kissa: Kissa, alice: Person) -> None:
    answer = kissa.post("/api/token/get", {"username": "alice"}, json={"password": PASSWORD})
    assert answer.get_json() == {"token": alice.token}


def test_numbers_in_json_are_inputs_too(kissa: Kissa, alice: Person) -> None:
    names = [kissa.upload_name(alice) for _ in range(3)]
    answer = kissa.post("/api/files/list", alice.by_token, json={"limit": 1, "offset": 1})
    assert answer.get_json() == [names[1]]
    answer = kissa.post("/api/files/list", alice.by_token, json={"limit": True})
    assert len(answer.get_json()) == 3


def test_upload_token_comes_by_header_alone(kissa: Kissa, alice: Person) -> None:
    form = {"token": alice.token, "uploadFile": (io.BytesIO(b"x"), "a.txt")}
    assert told(kissa.post("/api/files/upload", data=form)) == UNKNOWN_TOKEN
    assert kissa.files() == set()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"username": "alice", "password": "\ud800-lonely"}, id="password"),
        pytest.param({"username": "\ud800", "password": PASSWORD}, id="username"),
    ],
)
def test_lone_surrogates_are_no_text(kissa: Kissa, alice: Person, body: dict[str, str]) -> None:
    for path in ("/api/token/get", "/api/user/signup"):
        response = kissa.post(path, json=body)
        assert (response.status_code, response.content_type) == (400, TEXT)


def test_a_token_that_is_no_text_is_401_as_any_other(kissa: Kissa) -> None:
    assert told(kissa.post("/api/token/valid", json={"token": "\ud800"})) == UNKNOWN_TOKEN


# Text beyond ASCII

UTF8 = "pässwörd✓"


def as_utf8_header(text: str) -> str:
    """The text as a client that sends UTF-8 puts it into a header: WSGI shows latin-1."""
    return text.encode().decode("latin-1")


@pytest.mark.parametrize(
    ("chosen", "header"),
    [
        pytest.param(UTF8, as_utf8_header(UTF8), id="utf-8 bytes"),
        pytest.param("pässwörd", "pässwörd", id="latin-1 bytes"),
        pytest.param("pässwörd", as_utf8_header("pässwörd"), id="utf-8 bytes of latin-1 text"),
        pytest.param("pa\u0308sswo\u0308rd", as_utf8_header("pässwörd"), id="typed decomposed"),
        pytest.param("pässwörd", as_utf8_header("pa\u0308sswo\u0308rd"), id="sent decomposed"),
        pytest.param("密码密码密码", as_utf8_header("密码密码密码"), id="far from latin-1"),
        pytest.param("🐈🐈🐈🐈🐈🐈", as_utf8_header("🐈🐈🐈🐈🐈🐈"), id="beyond the BMP"),
    ],
)
def test_password_in_a_header_is_the_one_typed(kissa: Kissa, chosen: str, header: str) -> None:
    person = {"username": "carol", "password": chosen}
    assert kissa.post("/api/user/signup", json=person).status_code == 200
    by_json = kissa.post("/api/token/get", json=person)
    by_form = kissa.post("/api/token/get", data=person)
    by_header = kissa.post("/api/token/get", {"username": "carol", "password": header})
    assert by_json.status_code == by_form.status_code == by_header.status_code == 200
    assert by_json.data == by_form.data == by_header.data


def test_password_chosen_by_header_can_be_typed(kissa: Kissa) -> None:
    by_header = {"username": "carol", "password": as_utf8_header(UTF8)}
    assert kissa.post("/api/user/signup", by_header).status_code == 200
    typed = {"username": "carol", "password": UTF8}
    assert kissa.post("/api/token/get", json=typed).status_code == 200
    garbled = {"username": "carol", "password": as_utf8_header(UTF8)}
    assert told(kissa.post("/api/token/get", json=garbled)) == WRONG_LOGIN
