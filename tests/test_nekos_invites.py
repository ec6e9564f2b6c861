"""Invite-only hosts: registration keys, each good for one account, also when signups race."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.answers import TEXT, missing, told
from tests.conftest import PASSWORD, Kissa, Person

SIGNED_UP = (200, TEXT, "Success!")
NEEDED = (403, TEXT, "A valid registration key is needed to sign up here.")
TAKEN = (409, TEXT, "This username is taken.")


@pytest.fixture
def kissa(start: Callable[..., Kissa]) -> Kissa:
    """An invite-only app behind a proxy, so that a test may come from many addresses."""
    return start(accounts_invite_only="true", server_proxy_hops=1)


def invite(kissa: Kissa, admin: Person) -> str:
    response = kissa.post("/api/admin/regkeygen", admin.by_admin_token)
    key = str(response.get_json()["regkey"])
    assert told(response) == (200, "application/json", f'{{"regkey":"{key}"}}\n')
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", key)
    return key


def sign_up(
    kissa: Kissa, username: str, key: str, address: str = "192.0.2.1", **more: str
) -> tuple[int, str | None, str]:
    inputs = {"username": username, "password": PASSWORD, "regkey": key} | more
    headers = {"X-Forwarded-For": address}
    return told(kissa.app.test_client().post("/api/user/signup", json=inputs, headers=headers))


def test_key_admits_exactly_one(kissa: Kissa, admin: Person) -> None:
    key = invite(kissa, admin)
    assert sign_up(kissa, "carol", key) == SIGNED_UP
    assert sign_up(kissa, "dave", key) == NEEDED
    assert sign_up(kissa, "dave", invite(kissa, admin)) == SIGNED_UP


def test_key_may_come_by_header(kissa: Kissa, admin: Person) -> None:
    headers = {"username": "carol", "password": PASSWORD, "regkey": invite(kissa, admin)}
    assert told(kissa.post("/api/user/signup", headers)) == SIGNED_UP


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="missing"),
        pytest.param("nonsense", id="malformed"),
        pytest.param("00000000-0000-4000-8000-000000000000", id="unknown"),
        pytest.param("ключ", id="not ascii"),
    ],
)
def test_no_good_key_no_account(kissa: Kissa, admin: Person, key: str) -> None:
    assert sign_up(kissa, "carol", key) == NEEDED
    assert sign_up(kissa, "admin", key) == NEEDED  # and nothing is told about names


def test_tokens_are_no_registration_keys(kissa: Kissa, admin: Person) -> None:
    assert sign_up(kissa, "carol", admin.admin_token) == NEEDED
    assert sign_up(kissa, "carol", admin.token) == NEEDED


@pytest.mark.parametrize(
    ("username", "password", "answer"),
    [
        pytest.param("ADMIN", PASSWORD, TAKEN, id="name taken"),
        pytest.param("", PASSWORD, missing("username"), id="no name"),
        pytest.param("carol", "", missing("password"), id="no password"),
        pytest.param(
            "carol", "short", (400, TEXT, "The password must have 6 to 256 characters."), id="short"
        ),
    ],
)
def test_key_survives_a_refused_signup(
    kissa: Kissa, admin: Person, username: str, password: str, answer: tuple[int, str, str]
) -> None:
    key = invite(kissa, admin)
    assert sign_up(kissa, username, key, password=password) == answer
    assert sign_up(kissa, "carol", key) == SIGNED_UP


def test_key_outlives_its_maker(kissa: Kissa, admin: Person) -> None:
    key = invite(kissa, admin)
    kissa.person("second", admin=True)
    assert kissa.post("/api/user/delete", admin.by_password).status_code == 200
    assert sign_up(kissa, "carol", key) == SIGNED_UP


def test_admins_need_no_invitation_key_and_open_hosts_give_none(
    start: Callable[..., Kissa],
) -> None:
    kissa = start()
    admin = kissa.person("admin", admin=True)
    answer = kissa.post("/api/admin/regkeygen", admin.by_admin_token)
    sentence = "This host is not invite-only; nobody needs a registration key."
    assert told(answer) == (409, TEXT, sentence)
    assert sign_up(kissa, "carol", "any key") == SIGNED_UP


def test_one_key_raced_for_admits_one(kissa: Kissa, admin: Person) -> None:
    key = invite(kissa, admin)
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda n: sign_up(kissa, f"racer{n}", key, f"192.0.2.{n}"), range(4))
        )
    assert sorted(answers) == [SIGNED_UP, NEEDED, NEEDED, NEEDED]
    users = kissa.post("/api/admin/list/users", admin.by_admin_token).get_json()
    assert len(users) == 2


def test_one_name_raced_for_goes_to_one_and_the_losers_keep_their_keys(
    kissa: Kissa, admin: Person
) -> None:
    keys = [invite(kissa, admin) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda n: sign_up(kissa, "carol", keys[n], f"192.0.2.{n}"), range(4))
        )
    assert sorted(answers) == [SIGNED_UP, TAKEN, TAKEN, TAKEN]
    again = [sign_up(kissa, f"later{number}", key) for number, key in enumerate(keys)]
    assert sorted(again) == [SIGNED_UP, SIGNED_UP, SIGNED_UP, NEEDED]


def test_signing_up_without_a_key_is_no_guess(
    start: Callable[..., Kissa],
) -> None:
    kissa = start(accounts_invite_only="true", server_proxy_hops=1, accounts_failures=1)
    admin = kissa.person("admin", admin=True)
    for _ in range(6):  # more than the address may fail
        assert sign_up(kissa, "carol", "") == NEEDED
    assert sign_up(kissa, "carol", invite(kissa, admin)) == SIGNED_UP
