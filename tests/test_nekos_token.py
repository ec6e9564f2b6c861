"""/api/token/...: get, renew, check; and the two purposes of an admin's tokens."""

import re
from collections.abc import Callable

import pytest

from tests.answers import JSON, TEXT, UNKNOWN_TOKEN, WRONG_LOGIN, missing, told
from tests.conftest import PASSWORD, Kissa, Person

RENEWED = (200, TEXT, "Token has been regenerated!")
VALID = (200, TEXT, "This token is valid!")
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_get_tells_the_current_token(kissa: Kissa, alice: Person) -> None:
    expected = (200, JSON, f'{{"token":"{alice.token}"}}\n')
    assert UUID4.fullmatch(alice.token)
    assert told(kissa.post("/api/token/get", alice.by_password)) == expected
    assert told(kissa.post("/api/token/get", alice.by_password)) == expected


LOGINS = [
    pytest.param({}, missing("username"), id="nothing"),
    pytest.param({"username": "admin"}, missing("password"), id="no password"),
    pytest.param({"password": PASSWORD}, missing("username"), id="no username"),
    pytest.param({"username": "admin", "password": " "}, missing("password"), id="blank password"),
    pytest.param({"username": "admin", "password": "wrong"}, WRONG_LOGIN, id="wrong password"),
    pytest.param({"username": "admin", "password": "x" * 9000}, WRONG_LOGIN, id="long password"),
    pytest.param({"username": "nobody", "password": PASSWORD}, WRONG_LOGIN, id="unknown user"),
    pytest.param({"username": "x" * 9000, "password": PASSWORD}, WRONG_LOGIN, id="long user"),
    pytest.param({"username": "%", "password": PASSWORD}, WRONG_LOGIN, id="wildcard"),
]


@pytest.mark.parametrize("path", ["/api/token/get", "/api/admin/token/get"])
@pytest.mark.parametrize(("inputs", "answer"), LOGINS)
def test_get_refuses(
    kissa: Kissa, admin: Person, path: str, inputs: dict[str, str], answer: tuple[int, str, str]
) -> None:
    assert told(kissa.post(path, inputs)) == answer


def test_token_does_not_tell_the_token(kissa: Kissa, alice: Person) -> None:
    assert told(kissa.post("/api/token/get", alice.by_token)) == missing("username")


@pytest.mark.parametrize("path", ["/api/token/valid", "/api/token/regen", "/api/admin/token/valid"])
@pytest.mark.parametrize(
    "token",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        pytest.param("nonsense", id="malformed"),
        pytest.param("00000000-0000-4000-8000-000000000000", id="unknown"),
        pytest.param("0" * 64, id="an API key's shape"),
        pytest.param("x" * 9000, id="long"),
        pytest.param("\xff\xfe", id="no text"),
    ],
)
def test_tokens_that_are_none(kissa: Kissa, path: str, token: str | None) -> None:
    headers = {} if token is None else {"token": token}
    assert told(kissa.post(path, headers)) == UNKNOWN_TOKEN


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(str.upper, id="upper case"),
        pytest.param(lambda token: token.replace("-", ""), id="no hyphens"),
        pytest.param(lambda token: f"{{{token}}}", id="braces"),
        pytest.param(lambda token: f"{token}\n", id="newline"),
        pytest.param(lambda token: token[:-1], id="one short"),
        pytest.param(lambda token: f"Bearer {token}", id="bearer"),
    ],
)
def test_only_the_exact_token_is_one(
    kissa: Kissa, alice: Person, change: Callable[[str], str]
) -> None:
    assert told(kissa.post("/api/token/valid", json={"token": alice.token})) == VALID
    answer = kissa.post("/api/token/valid", json={"token": change(alice.token)})
    assert told(answer) == UNKNOWN_TOKEN


def test_regen_kills_the_old_token_at_once(kissa: Kissa, alice: Person, bob: Person) -> None:
    assert told(kissa.post("/api/token/regen", alice.by_token)) == RENEWED
    for path in ("/api/token/valid", "/api/token/regen", "/api/files/list", "/api/user/info"):
        assert told(kissa.post(path, alice.by_token)) == UNKNOWN_TOKEN
    assert told(kissa.upload(alice)) == UNKNOWN_TOKEN
    fresh = kissa.post("/api/token/get", alice.by_password).get_json()
    assert fresh["token"] != alice.token
    assert told(kissa.post("/api/token/valid", fresh)) == VALID
    assert told(kissa.post("/api/token/valid", bob.by_token)) == VALID
    assert kissa.post("/api/v2/sharex", alice.by_key).status_code == 200


def test_admin_has_two_tokens_of_different_purpose(kissa: Kissa, admin: Person) -> None:
    answer = kissa.post("/api/admin/token/get", admin.by_password)
    assert told(answer) == (200, JSON, f'{{"token":"{admin.admin_token}"}}\n')
    assert UUID4.fullmatch(admin.admin_token)
    assert admin.admin_token != admin.token
    assert told(kissa.post("/api/admin/token/valid", admin.by_admin_token)) == VALID
    assert told(kissa.post("/api/admin/token/valid", admin.by_token)) == UNKNOWN_TOKEN
    assert told(kissa.post("/api/token/valid", admin.by_admin_token)) == UNKNOWN_TOKEN
    assert told(kissa.upload(admin, token=admin.admin_token)) == UNKNOWN_TOKEN


def test_users_have_no_admin_token(kissa: Kissa, alice: Person) -> None:
    assert told(kissa.post("/api/admin/token/get", alice.by_password)) == WRONG_LOGIN
    assert told(kissa.post("/api/admin/token/valid", alice.by_token)) == UNKNOWN_TOKEN


def test_admin_regen_renews_the_admin_token_alone(kissa: Kissa, admin: Person) -> None:
    assert told(kissa.post("/api/admin/token/regen", admin.by_admin_token)) == RENEWED
    assert told(kissa.post("/api/admin/token/valid", admin.by_admin_token)) == UNKNOWN_TOKEN
    assert told(kissa.post("/api/admin/token/regen", admin.by_admin_token)) == UNKNOWN_TOKEN
    assert told(kissa.post("/api/token/valid", admin.by_token)) == VALID
    fresh = kissa.post("/api/admin/token/get", admin.by_password).get_json()
    assert told(kissa.post("/api/admin/token/valid", fresh)) == VALID


def test_upload_regen_leaves_the_admin_token(kissa: Kissa, admin: Person) -> None:
    assert told(kissa.post("/api/token/regen", admin.by_token)) == RENEWED
    assert told(kissa.post("/api/admin/token/valid", admin.by_admin_token)) == VALID


def test_tokens_survive_a_restart(start: Callable[..., Kissa]) -> None:
    alice = start().person("alice")
    again = start()
    assert told(again.post("/api/token/valid", alice.by_token)) == VALID
    assert again.post("/api/token/get", alice.by_password).get_json() == {"token": alice.token}


def test_database_holds_no_usable_credential(kissa: Kissa, admin: Person) -> None:
    secrets = (admin.token, admin.admin_token, admin.api_key, admin.password)
    path = kissa.services.config.database.path
    kept = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    for secret in secrets:
        assert secret.encode() not in kept
        if "-" in secret:
            assert bytes.fromhex(secret.replace("-", "")) not in kept
