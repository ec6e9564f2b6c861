"""/api/user/keys/... and /api/user/sharex: API keys and custom uploaders, by upload token."""

import json
from typing import Any

import pytest

from tests.answers import JSON, TEXT, UNKNOWN_TOKEN, missing, told
from tests.conftest import Clock, Kissa, Person

NO_KEY = (404, TEXT, "You have no key of this id.")
REVOKED = (200, TEXT, "The key has been revoked.")
BAD_NAME = (400, TEXT, "The name of a key has 1 to 64 characters.")


def create(kissa: Kissa, person: Person, name: str = "laptop") -> dict[str, Any]:
    response = kissa.post("/api/user/keys/create", person.by_token, json={"name": name})
    assert response.status_code == 200, response.text
    return dict(response.get_json())


def listed(kissa: Kissa, person: Person) -> list[dict[str, Any]]:
    return list(kissa.post("/api/user/keys/list", person.by_token).get_json())


def test_create_shows_the_key_once(clock: Clock, kissa: Kissa, alice: Person) -> None:
    answer = kissa.post("/api/user/keys/create", alice.by_token | {"name": "laptop"})
    key = answer.get_json()["key"]
    assert told(answer) == (200, JSON, f'{{"id":2,"name":"laptop","key":"{key}"}}\n')
    assert len(key) == 64
    assert set(key) <= set("0123456789abcdef")
    answer = kissa.post("/api/user/keys/list", alice.by_token)
    at = '"created":"2026-11-21T12:00:00Z","last_used":null'
    assert told(answer) == (
        200,
        JSON,
        f'[{{"id":2,"name":"laptop","last4":"{key[-4:]}",{at}}},'
        f'{{"id":1,"name":"tests","last4":"{alice.api_key[-4:]}",{at}}}]\n',
    )
    assert kissa.post("/api/v2/sharex", {"X-Api-Key": key}).status_code == 200


def test_last_use_is_told_to_the_minute(clock: Clock, kissa: Kissa, alice: Person) -> None:
    uses = []
    for seconds in (10, 30, 40):
        clock.advance(seconds=seconds)
        kissa.post("/api/v2/sharex", alice.by_key)
        uses.append(listed(kissa, alice)[0]["last_used"])
    assert uses == ["2026-11-21T12:00:10Z", "2026-11-21T12:00:10Z", "2026-11-21T12:01:20Z"]


def test_each_sees_their_own_keys(kissa: Kissa, alice: Person, bob: Person) -> None:
    create(kissa, bob, "of bob")
    assert [key["name"] for key in listed(kissa, alice)] == ["tests"]


def test_key_opens_v2_alone(kissa: Kissa, alice: Person) -> None:
    assert told(kissa.post("/api/token/valid", {"token": alice.api_key})) == UNKNOWN_TOKEN
    assert told(kissa.post("/api/token/valid", alice.by_key)) == UNKNOWN_TOKEN
    assert kissa.post("/api/v2/sharex", {"X-Api-Key": alice.token}).status_code == 401
    assert kissa.post("/api/v2/sharex", alice.by_token).status_code == 401


def test_revoked_key_is_dead_at_once(kissa: Kissa, alice: Person) -> None:
    other = create(kissa, alice)
    answer = kissa.post("/api/user/keys/revoke", alice.by_token | {"id": "1"})
    assert told(answer) == REVOKED
    assert kissa.post("/api/v2/sharex", alice.by_key).status_code == 401
    assert kissa.post("/api/v2/sharex", {"X-Api-Key": other["key"]}).status_code == 200
    assert [key["id"] for key in listed(kissa, alice)] == [other["id"]]
    assert told(kissa.post("/api/user/keys/revoke", alice.by_token | {"id": "1"})) == NO_KEY


def test_ids_are_not_used_twice(kissa: Kissa, alice: Person) -> None:
    first = create(kissa, alice)["id"]
    answer = kissa.post("/api/user/keys/revoke", alice.by_token, json={"id": first})
    assert told(answer) == REVOKED
    assert create(kissa, alice)["id"] > first


@pytest.mark.parametrize(
    ("key_id", "answer"),
    [
        pytest.param("", missing("id"), id="missing"),
        pytest.param("99", NO_KEY, id="unknown"),
        pytest.param("0", NO_KEY, id="zero"),
        pytest.param("-1", NO_KEY, id="negative"),
        pytest.param("x", NO_KEY, id="no number"),
        pytest.param("١", NO_KEY, id="arabic digit"),
        pytest.param("9" * 40, NO_KEY, id="beyond the database"),
    ],
)
def test_revoke_refuses(
    kissa: Kissa, alice: Person, key_id: str, answer: tuple[int, str, str]
) -> None:
    response = kissa.post("/api/user/keys/revoke", alice.by_token, json={"id": key_id})
    assert told(response) == answer
    assert len(listed(kissa, alice)) == 1


def test_another_s_key_is_none(kissa: Kissa, alice: Person, bob: Person) -> None:
    theirs = str(listed(kissa, bob)[0]["id"])
    answer = kissa.post("/api/user/keys/revoke", alice.by_token | {"id": theirs})
    assert told(answer) == NO_KEY
    assert kissa.post("/api/v2/sharex", bob.by_key).status_code == 200


@pytest.mark.parametrize("name", ["x", "x" * 64, "Büro ✓", "密码", "a, b; c"])
def test_names_of_keys_that_are(kissa: Kissa, alice: Person, name: str) -> None:
    assert create(kissa, alice, name)["name"] == name
    assert listed(kissa, alice)[0]["name"] == name


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        pytest.param("", missing("name"), id="missing"),
        pytest.param(" ", BAD_NAME, id="blank"),
        pytest.param("x" * 65, BAD_NAME, id="65 characters"),
        pytest.param("a\nb", BAD_NAME, id="newline"),
        pytest.param("a\0b", BAD_NAME, id="nul"),
        pytest.param("a\u202eb", BAD_NAME, id="bidi override"),
    ],
)
def test_names_of_keys_that_are_not(
    kissa: Kissa, alice: Person, name: str, answer: tuple[int, str, str]
) -> None:
    response = kissa.post("/api/user/keys/create", alice.by_token, json={"name": name})
    assert told(response) == answer


def test_an_account_has_a_hundred_keys_at_most(kissa: Kissa, alice: Person) -> None:
    for _ in range(99):
        create(kissa, alice)
    answer = kissa.post("/api/user/keys/create", alice.by_token | {"name": "one more"})
    expected = (409, TEXT, "An account has at most 100 keys; revoke one first.")
    assert told(answer) == expected


@pytest.mark.parametrize(
    "path",
    ["/api/user/keys/list", "/api/user/keys/create", "/api/user/keys/revoke", "/api/user/sharex"],
)
def test_keys_need_the_token(kissa: Kissa, alice: Person, admin: Person, path: str) -> None:
    for token in ("", "nonsense", alice.api_key, admin.admin_token):
        assert told(kissa.post(path, {"token": token})) == UNKNOWN_TOKEN
    assert told(kissa.post(path, alice.by_key)) == UNKNOWN_TOKEN


def test_sharex_is_an_uploader_to_save(kissa: Kissa, alice: Person) -> None:
    response = kissa.post("/api/user/sharex", alice.by_token)
    assert (response.status_code, response.content_type) == (200, JSON)
    disposition = 'attachment; filename="kissa.example-nekos.sxcu"'
    assert response.headers["Content-Disposition"] == disposition
    assert response.headers["Cache-Control"] == "no-store"
    assert json.loads(response.text) == {
        "Version": "17.0.0",
        "Name": "kissa.example (nekos)",
        "DestinationType": "ImageUploader, TextUploader, FileUploader",
        "RequestMethod": "POST",
        "RequestURL": "http://kissa.example/api/files/upload",
        "Headers": {"token": alice.token},
        "Body": "MultipartFormData",
        "FileFormName": "uploadFile",
        "URL": "{json:url}",
        "DeletionURL": "{header:X-Deletion-URL}",
        "ErrorMessage": "{response}",
    }


def test_sharex_follows_the_token(kissa: Kissa, alice: Person) -> None:
    kissa.post("/api/token/regen", alice.by_token)
    fresh = kissa.post("/api/token/get", alice.by_password).get_json()
    uploader = kissa.post("/api/user/sharex", fresh).get_json()
    assert uploader["Headers"] == fresh
