"""/api/admin/...: sign up, lists, takedowns, the ends of accounts, bans."""

from collections.abc import Callable
from typing import Any

import pytest

import models
from tests.answers import (
    JSON,
    LAST_ADMIN,
    NEEDS_ADMIN,
    NO_USER,
    TEXT,
    UNKNOWN_TOKEN,
    WRONG_LOGIN,
    missing,
    told,
)
from tests.conftest import ADMIN_KEY, PASSWORD, Kissa, Person

SIGNED_UP = (200, TEXT, "Success!")
NO_FILE = (404, TEXT, "There is no such file.")
BANNED = (200, TEXT, "This user has been banned.")
UNBANNED = (200, TEXT, "This user is no longer banned.")
DELETED = (200, TEXT, "This user has been deleted")

# signup


@pytest.fixture
def open_kissa(start: Callable[..., Kissa]) -> Kissa:
    """An app where admins may register."""
    return start(accounts_admin_registration="true", accounts_admin_key=ADMIN_KEY)


NEW_ADMIN = {"username": "root", "password": PASSWORD, "adminkey": ADMIN_KEY}


def test_signup_makes_an_admin(open_kissa: Kissa) -> None:
    assert told(open_kissa.post("/api/admin/signup", NEW_ADMIN)) == SIGNED_UP
    login = {"username": "root", "password": PASSWORD}
    token = open_kissa.post("/api/admin/token/get", login).get_json()
    assert told(open_kissa.post("/api/admin/list/users", token)) == (200, JSON, '["root"]')
    assert open_kissa.post("/api/token/get", login).status_code == 200


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        pytest.param({"username": ""}, missing("username"), id="no username"),
        pytest.param({"password": ""}, missing("password"), id="no password"),
        pytest.param({"adminkey": ""}, missing("adminkey"), id="no key"),
        pytest.param(
            {"adminkey": ADMIN_KEY + "x"}, (403, TEXT, "The admin key is wrong."), id="wrong key"
        ),
        pytest.param(
            {"adminkey": "schlüssel✓"}, (403, TEXT, "The admin key is wrong."), id="key of no ascii"
        ),
        pytest.param({"username": "ALICE"}, (409, TEXT, "This username is taken."), id="taken"),
        pytest.param(
            {"password": "short"},
            (400, TEXT, "The password must have 6 to 256 characters."),
            id="short password",
        ),
    ],
)
def test_signup_refuses(
    open_kissa: Kissa, change: dict[str, str], answer: tuple[int, str, str]
) -> None:
    open_kissa.person("alice")
    assert told(open_kissa.post("/api/admin/signup", json=NEW_ADMIN | change)) == answer


@pytest.mark.parametrize("key", ["", ADMIN_KEY])
def test_signup_is_off_unless_configured(start: Callable[..., Kissa], key: str) -> None:
    kissa = start(accounts_admin_key=key)
    off = (403, TEXT, "Admins cannot register on this host.")
    assert told(kissa.post("/api/admin/signup", NEW_ADMIN)) == off


def test_signup_of_admins_does_not_need_registration(start: Callable[..., Kissa]) -> None:
    kissa = start(
        accounts_admin_registration="true",
        accounts_admin_key=ADMIN_KEY,
        accounts_registration="false",
    )
    assert told(kissa.post("/api/admin/signup", NEW_ADMIN)) == SIGNED_UP


# every endpoint of the admin token

ADMIN_PATHS = [
    "/api/admin/regkeygen",
    "/api/admin/list/uploads",
    "/api/admin/list/users",
    "/api/admin/delete/file",
    "/api/admin/delete/user",
    "/api/admin/ban/user",
    "/api/admin/unban/user",
    "/api/admin/token/regen",
]


@pytest.mark.parametrize("path", ADMIN_PATHS)
def test_admin_token_is_needed(kissa: Kissa, alice: Person, admin: Person, path: str) -> None:
    for headers in ({}, {"token": "nonsense"}, {"token": alice.api_key}):
        assert told(kissa.post(path, headers)) == UNKNOWN_TOKEN
    for person in (alice, admin):
        assert told(kissa.post(path, person.by_token)) == NEEDS_ADMIN


# lists


def test_list_uploads_has_everybody_s_newest_first(
    kissa: Kissa, alice: Person, bob: Person, admin: Person
) -> None:
    path = "/api/admin/list/uploads"
    assert told(kissa.post(path, admin.by_admin_token)) == (200, JSON, "[]")
    first, second = kissa.upload_name(alice), kissa.upload_name(bob)
    kissa.item_id(bob)
    third = kissa.post("/api/files/list", bob.by_token).get_json()[0]
    entries = [(third, "bob"), (second, "bob"), (first, "alice")]
    text = ",".join(f'{{"file": "{name}", "username": "{user}"}}' for name, user in entries)
    assert told(kissa.post(path, admin.by_admin_token)) == (200, JSON, f"[{text}]")
    answer = kissa.post(path, admin.by_admin_token | {"query": first})
    expected = (200, JSON, f'[{{"file": "{first}", "username": "alice"}}]')
    assert told(answer) == expected
    answer = kissa.post(path, admin.by_admin_token | {"limit": "1", "offset": "1"})
    assert answer.get_json() == [{"file": second, "username": "bob"}]


def test_list_users_is_newest_first_and_shown_as_typed(kissa: Kissa, admin: Person) -> None:
    kissa.person("CaRol")
    answer = kissa.post("/api/admin/list/users", admin.by_admin_token)
    assert told(answer) == (200, JSON, '["CaRol","admin"]')
    answer = kissa.post("/api/admin/list/users", admin.by_admin_token | {"limit": "1"})
    assert answer.get_json() == ["CaRol"]


BLANKS = [
    pytest.param({}, id="absent"),
    pytest.param({"headers": {"query": ""}}, id="empty header"),
    pytest.param({"headers": {"query": " "}}, id="blank header"),
    pytest.param({"headers": {"query": '" "'}}, id="quoted blank"),
    pytest.param({"headers": {"query": "' '"}}, id="single-quoted blank"),
    pytest.param({"headers": {"query": '""'}}, id="quoted nothing"),
    pytest.param({"json": {"query": " "}}, id="json blank"),
    pytest.param({"json": {"query": ""}}, id="json empty"),
    pytest.param({"json": {"query": None}}, id="json null"),
    pytest.param({"data": {"query": " "}}, id="form blank"),
]


@pytest.mark.parametrize("parts", BLANKS)
def test_blank_query_means_everything(
    kissa: Kissa, alice: Person, admin: Person, parts: dict[str, Any]
) -> None:
    name = kissa.upload_name(alice)
    parts = parts | {"headers": admin.by_admin_token | parts.get("headers", {})}
    users = kissa.client.post("/api/admin/list/users", **parts).get_json()
    assert sorted(users) == ["admin", "alice"]
    uploads = kissa.client.post("/api/admin/list/uploads", **parts).get_json()
    assert uploads == [{"file": name, "username": "alice"}]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("alice", ["alice"], id="exact"),
        pytest.param("ALICE", ["alice"], id="another case"),
        pytest.param("ali", [], id="a part"),
        pytest.param("ali%", [], id="sql wildcard"),
        pytest.param("al_ce", [], id="sql single wildcard"),
        pytest.param("*", [], id="star"),
        pytest.param("nobody", [], id="nobody"),
        pytest.param("ÄLICE", [], id="beyond ascii"),
    ],
)
def test_query_of_users_is_exact(
    kissa: Kissa, alice: Person, admin: Person, query: str, found: list[str]
) -> None:
    answer = kissa.post("/api/admin/list/users", admin.by_admin_token, json={"query": query})
    assert answer.get_json() == found


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(str.swapcase, id="another case"),
        pytest.param(lambda name: name[:7], id="a part"),
        pytest.param(lambda name: "%", id="sql wildcard"),
    ],
)
def test_query_of_files_is_exact(
    kissa: Kissa, alice: Person, admin: Person, change: Callable[[str], str]
) -> None:
    name = kissa.upload_name(alice)
    answer = kissa.post("/api/admin/list/uploads", admin.by_admin_token | {"query": change(name)})
    assert told(answer) == (200, JSON, "[]")


def test_list_of_many_users_is_whole(kissa: Kissa, admin: Person) -> None:
    rows = [
        {
            "username": f"u{number}",
            "username_key": f"u{number}",
            "password_hash": "",
            "token_nonce": b"",
            "token_hash": f"{number}".encode(),
        }
        for number in range(1201)
    ]
    models.write(lambda: models.User.insert_many(rows).execute())
    names = [f"u{number}" for number in range(1200, -1, -1)] + ["admin"]
    answer = kissa.post("/api/admin/list/users", admin.by_admin_token)
    assert answer.get_json() == names
    page = admin.by_admin_token | {"limit": "600", "offset": "550"}
    assert kissa.post("/api/admin/list/users", page).get_json() == names[550:1150]


# deletes


def test_delete_file_takes_anybody_s(kissa: Kissa, alice: Person, admin: Person) -> None:
    name = kissa.upload_name(alice)
    headers = admin.by_admin_token | {"file": name}
    answer = kissa.post("/api/admin/delete/file", headers)
    assert told(answer) == (200, TEXT, f"{name} has been deleted!")
    assert kissa.files() == set()
    assert kissa.post("/api/files/list", alice.by_token).get_json() == []
    assert told(kissa.post("/api/admin/delete/file", headers)) == NO_FILE


def test_delete_user_takes_user_and_files(kissa: Kissa, alice: Person, admin: Person) -> None:
    kissa.upload_name(alice)
    answer = kissa.post("/api/admin/delete/user", admin.by_admin_token | {"username": "ALICE"})
    assert told(answer) == DELETED
    assert kissa.files() == set()
    assert told(kissa.post("/api/token/valid", alice.by_token)) == UNKNOWN_TOKEN
    assert told(kissa.post("/api/token/get", alice.by_password)) == WRONG_LOGIN
    assert kissa.post("/api/admin/list/users", admin.by_admin_token).get_json() == ["admin"]


@pytest.mark.parametrize(
    ("path", "inputs", "answer"),
    [
        pytest.param("delete/file", {}, missing("file"), id="delete no file"),
        pytest.param("delete/file", {"file": "aaaaaaa.png"}, NO_FILE, id="delete unknown file"),
        pytest.param("delete/file", {"file": "../kissa.db"}, NO_FILE, id="delete outside"),
        pytest.param("delete/user", {}, missing("username"), id="delete no user"),
        pytest.param("delete/user", {"username": "nobody"}, NO_USER, id="delete unknown user"),
        pytest.param("delete/user", {"username": "no body"}, NO_USER, id="delete no name"),
        pytest.param("delete/user", {"username": "admin"}, LAST_ADMIN, id="delete last admin"),
        pytest.param("ban/user", {}, missing("username"), id="ban no user"),
        pytest.param("ban/user", {"username": "nobody"}, NO_USER, id="ban unknown user"),
        pytest.param("ban/user", {"username": "admin"}, LAST_ADMIN, id="ban last admin"),
        pytest.param("unban/user", {}, missing("username"), id="unban no user"),
        pytest.param("unban/user", {"username": "nobody"}, NO_USER, id="unban unknown user"),
    ],
)
def test_admin_acts_refuse(
    kissa: Kissa, admin: Person, path: str, inputs: dict[str, str], answer: tuple[int, str, str]
) -> None:
    response = kissa.post(f"/api/admin/{path}", admin.by_admin_token | inputs)
    assert told(response) == answer
    assert kissa.post("/api/admin/token/valid", admin.by_admin_token).status_code == 200


def test_one_of_two_admins_may_go(kissa: Kissa, admin: Person) -> None:
    second = kissa.person("second", admin=True)
    answer = kissa.post("/api/admin/delete/user", second.by_admin_token | {"username": "admin"})
    assert told(answer) == DELETED
    answer = kissa.post("/api/admin/delete/user", second.by_admin_token | {"username": "second"})
    assert told(answer) == LAST_ADMIN


# bans


def test_ban_shuts_every_door_and_unban_opens_them(
    kissa: Kissa, alice: Person, bob: Person, admin: Person
) -> None:
    name = kissa.upload_name(alice)

    def doors() -> list[int]:
        answers = [
            kissa.post("/api/token/valid", alice.by_token),
            kissa.post("/api/user/info", alice.by_token),
            kissa.post("/api/files/list", alice.by_token),
            kissa.upload(alice),
            kissa.post("/api/v2/sharex", alice.by_key),
            kissa.list_item(alice),
            kissa.post("/api/token/get", alice.by_password),
        ]
        return [answer.status_code for answer in answers]

    headers = admin.by_admin_token | {"username": "Alice"}
    assert told(kissa.post("/api/admin/ban/user", headers)) == BANNED
    assert doors() == [401] * 7
    assert told(kissa.post("/api/token/get", alice.by_password)) == WRONG_LOGIN
    for path in ("/api/user/delete", "/api/user/passreset"):
        inputs = alice.by_password | {"newpassword": "new secret"}
        assert told(kissa.post(path, inputs)) == WRONG_LOGIN
    taken = kissa.post("/api/user/signup", {"username": "alice", "password": PASSWORD})
    assert told(taken) == (409, TEXT, "This username is taken.")
    assert kissa.get(f"/f/{name}").status_code == 200
    assert kissa.post("/api/token/valid", bob.by_token).status_code == 200
    assert told(kissa.post("/api/admin/ban/user", headers)) == BANNED

    assert told(kissa.post("/api/admin/unban/user", headers)) == UNBANNED
    assert doors() == [200] * 7
    assert told(kissa.post("/api/admin/unban/user", headers)) == UNBANNED


def test_banned_admin_is_none(kissa: Kissa, admin: Person) -> None:
    second = kissa.person("second", admin=True)
    ban = admin.by_admin_token | {"username": "second"}
    assert told(kissa.post("/api/admin/ban/user", ban)) == BANNED
    unban = second.by_admin_token | {"username": "second"}
    assert told(kissa.post("/api/admin/unban/user", unban)) == UNKNOWN_TOKEN
    assert told(kissa.post("/api/admin/list/users", second.by_token)) == UNKNOWN_TOKEN
    assert told(kissa.post("/api/admin/token/get", second.by_password)) == WRONG_LOGIN
    assert told(kissa.post("/api/admin/unban/user", ban)) == UNBANNED
    assert told(kissa.post("/api/admin/ban/user", unban)) == BANNED  # by themself: not the last
