"""Guessing passwords and keys: what is counted, for whom, how long; and what bcrypt is spared."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import bcrypt
import pytest
from werkzeug.test import TestResponse

import models
from tests.answers import TEXT, WRONG_LOGIN, told
from tests.conftest import ADMIN_KEY, PASSWORD, Clock, Kissa, Person

TOO_MANY = (429, TEXT, "Too many failed attempts; try again later.")
HERE = "192.0.2.1"
THERE = "198.51.100.7"


@pytest.fixture(autouse=True)
def _standing_clock(clock: Clock) -> None:
    """No test of this file depends on how long it takes."""


def log_in(
    kissa: Kissa, username: str = "alice", password: str = PASSWORD, address: str = HERE
) -> TestResponse:
    return kissa.app.test_client().post(
        "/api/token/get",
        json={"username": username, "password": password},
        environ_base={"REMOTE_ADDR": address},
    )


def fail(kissa: Kissa, times: int, username: str = "alice", address: str = HERE) -> None:
    for _ in range(times):
        assert told(log_in(kissa, username, "wrong one", address)) == WRONG_LOGIN


def fail_for_many(kissa: Kissa, times: int, address: str = HERE) -> None:
    for number in range(times):
        fail(kissa, 1, f"user{number}", address)


def is_locked(response: TestResponse) -> bool:
    if response.status_code == 429:
        assert told(response) == TOO_MANY
        assert int(response.headers["Retry-After"]) > 0
    return response.status_code == 429


@contextmanager
def no_place_for_bcrypt(kissa: Kissa) -> Iterator[None]:
    """Whoever needs bcrypt meanwhile waits two seconds and gets 503."""
    places = kissa.services.places
    with ExitStack() as held:
        for _ in range(places.count):
            held.enter_context(places.take("203.0.113.1"))
        yield


def test_ten_failures_for_a_name_from_an_address(kissa: Kissa, alice: Person) -> None:
    fail(kissa, 10)
    for password in ("wrong one", PASSWORD):
        response = log_in(kissa, password=password)
        assert told(response) == TOO_MANY
        assert response.headers["Retry-After"] == "900"


def test_nine_failures_are_forgiven(kissa: Kissa, alice: Person) -> None:
    for _ in range(3):
        fail(kissa, 9)
        assert log_in(kissa).status_code == 200


def test_locked_guess_runs_no_bcrypt(kissa: Kissa, alice: Person) -> None:
    fail(kissa, 10)
    with no_place_for_bcrypt(kissa):
        assert is_locked(log_in(kissa))


def test_whoever_needs_bcrypt_waits_for_a_place(kissa: Kissa, alice: Person) -> None:
    """Unknown, known and new users go the same way, so that none is told by the time it takes."""
    new = {"username": "carol", "password": PASSWORD}
    with no_place_for_bcrypt(kissa), ThreadPoolExecutor(3) as pool:
        waiting = [
            pool.submit(log_in, kissa, "alice", PASSWORD, "192.0.2.1"),
            pool.submit(log_in, kissa, "nobody", PASSWORD, "192.0.2.2"),
            pool.submit(kissa.app.test_client().post, "/api/user/signup", json=new),
        ]
        answers = [future.result() for future in waiting]
    for response in answers:
        assert (response.status_code, response.content_type) == (503, TEXT)
        assert response.headers["Retry-After"] == "1"
    assert log_in(kissa).status_code == 200


@pytest.mark.parametrize(
    ("username", "address"),
    [
        pytest.param("alice", THERE, id="same name from elsewhere"),
        pytest.param("bob", HERE, id="another name from here"),
    ],
)
def test_nobody_else_is_locked(
    kissa: Kissa, alice: Person, bob: Person, username: str, address: str
) -> None:
    fail(kissa, 10)
    assert is_locked(log_in(kissa))
    assert log_in(kissa, username, address=address).status_code == 200


def test_the_name_is_the_same_in_any_case(kissa: Kissa, alice: Person) -> None:
    fail(kissa, 5, "alice")
    fail(kissa, 5, "ALICE")
    assert is_locked(log_in(kissa, "Alice"))


@pytest.mark.parametrize("username", ["nobody", "no name at all", "x" * 300, "älice"])
def test_unknown_names_are_locked_too(kissa: Kissa, username: str) -> None:
    fail(kissa, 10, username)
    assert is_locked(log_in(kissa, username))


@pytest.mark.parametrize("path", ["user/delete", "user/passreset", "admin/token/get"])
def test_all_doors_count_together(kissa: Kissa, admin: Person, path: str) -> None:
    inputs = {"username": "admin", "password": "wrong one", "newpassword": "new secret"}
    here = {"REMOTE_ADDR": HERE}
    for _ in range(10):
        answer = kissa.post(f"/api/{path}", json=inputs, environ_base=here)
        assert told(answer) == WRONG_LOGIN
    assert is_locked(log_in(kissa, "admin"))
    right = inputs | {"password": PASSWORD}
    assert is_locked(kissa.post(f"/api/{path}", json=right, environ_base=here))


def test_window_slides(kissa: Kissa, alice: Person, clock: Clock) -> None:
    fail(kissa, 5)
    clock.advance(minutes=10)
    fail(kissa, 5)
    assert log_in(kissa).headers["Retry-After"] == "300"
    clock.advance(minutes=5, seconds=-1)
    assert log_in(kissa).headers["Retry-After"] == "1"
    clock.advance(seconds=1)
    fail(kissa, 5)
    assert log_in(kissa).headers["Retry-After"] == "600"
    clock.advance(minutes=10)
    assert log_in(kissa).status_code == 200


def test_asking_while_locked_does_not_prolong_it(kissa: Kissa, alice: Person, clock: Clock) -> None:
    fail(kissa, 10)
    for _ in range(20):
        assert is_locked(log_in(kissa))
    clock.advance(minutes=15)
    assert log_in(kissa).status_code == 200


def test_fifty_failures_of_an_address_over_all_names(
    kissa: Kissa, alice: Person, clock: Clock
) -> None:
    fail_for_many(kissa, 49)
    assert log_in(kissa).status_code == 200
    fail(kissa, 1, "one more")
    assert told(log_in(kissa)) == TOO_MANY
    assert log_in(kissa, address=THERE).status_code == 200
    clock.advance(minutes=15)
    assert log_in(kissa).status_code == 200


def test_own_success_does_not_clear_what_an_address_did_to_others(
    kissa: Kissa, alice: Person
) -> None:
    for _ in range(5):
        fail_for_many(kissa, 10)
        log_in(kissa)
    assert is_locked(log_in(kissa))


def test_admin_keys_are_counted_for_the_address(start: Callable[..., Kissa]) -> None:
    kissa = start(accounts_admin_registration="true", accounts_admin_key=ADMIN_KEY)

    def sign_up(key: str, address: str = HERE) -> TestResponse:
        inputs = {"username": "root", "password": PASSWORD, "adminkey": key}
        return kissa.post("/api/admin/signup", json=inputs, environ_base={"REMOTE_ADDR": address})

    for _ in range(50):
        assert told(sign_up("wrong key")) == (403, TEXT, "The admin key is wrong.")
    for key in ("wrong key", ADMIN_KEY):
        assert told(sign_up(key)) == TOO_MANY
    assert is_locked(log_in(kissa))
    assert sign_up(ADMIN_KEY, THERE).status_code == 200


def test_registration_keys_are_counted_for_the_address(start: Callable[..., Kissa]) -> None:
    kissa = start(accounts_invite_only="true")
    admin = kissa.person("admin", admin=True)
    good = kissa.post("/api/admin/regkeygen", admin.by_admin_token).get_json()["regkey"]

    def sign_up(key: str, address: str = HERE) -> TestResponse:
        inputs = {"username": "carol", "password": PASSWORD, "regkey": key}
        return kissa.post("/api/user/signup", json=inputs, environ_base={"REMOTE_ADDR": address})

    for _ in range(50):
        assert sign_up("00000000-0000-4000-8000-000000000000").status_code == 403
    assert told(sign_up(good)) == TOO_MANY
    assert sign_up(good, THERE).status_code == 200


def test_state_survives_a_restart(start: Callable[..., Kissa]) -> None:
    kissa = start()
    kissa.person("alice")
    fail(kissa, 10)
    again = start()
    assert is_locked(log_in(again))
    assert log_in(again, address=THERE).status_code == 200


def test_guesses_at_the_same_moment_do_not_slip_through(kissa: Kissa, alice: Person) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: log_in(kissa, password="wrong one"), range(40)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {401, 429, 503}
    assert statuses.count(401) <= 10


@pytest.mark.parametrize(
    ("guesser", "other", "same"),
    [
        pytest.param("2001:db8::1", "2001:db8::ffff:1", True, id="one /64"),
        pytest.param("2001:db8::1", "2001:db8:0:1::1", False, id="another /64"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1", True, id="ipv4 in ipv6"),
        pytest.param("::ffff:192.0.2.1", "::ffff:192.0.2.2", False, id="two ipv4 in ipv6"),
        pytest.param("192.0.2.1", "192.0.2.2", False, id="two ipv4"),
    ],
)
def test_addresses_of_one_client(
    kissa: Kissa, alice: Person, guesser: str, other: str, same: bool
) -> None:
    fail(kissa, 10, address=guesser)
    assert is_locked(log_in(kissa, address=other)) == same


@pytest.mark.parametrize(
    ("hops", "guesses", "later", "same"),
    [
        pytest.param(0, "203.0.113.{}", "203.0.113.99", True, id="0 hops: not read"),
        pytest.param(1, "203.0.113.1", "203.0.113.1", True, id="1 hop: the client's"),
        pytest.param(1, "203.0.113.1", "203.0.113.2", False, id="1 hop: another client's"),
        pytest.param(1, "10.0.0.{}, 203.0.113.1", "203.0.113.1", True, id="1 hop: made-up first"),
        pytest.param(
            2, "10.0.0.{}, 203.0.113.1, 10.1.1.1", "203.0.113.1, 10.1.1.2", True, id="2 hops"
        ),
        pytest.param(
            2, "203.0.113.1, 10.1.1.1", "203.0.113.2, 10.1.1.1", False, id="2 hops: another"
        ),
        pytest.param(2, "203.0.113.{}", "203.0.113.99", True, id="too few: the peer's"),
        pytest.param(1, "2001:db8::{}", "2001:db8::ff", True, id="1 hop: one /64"),
        pytest.param(1, " 203.0.113.1 ", "203.0.113.1", True, id="1 hop: blanks"),
    ],
)
def test_address_behind_proxies(
    start: Callable[..., Kissa], hops: int, guesses: str, later: str, same: bool
) -> None:
    kissa = start(server_proxy_hops=hops)
    kissa.person("alice")

    def guess(password: str, forwarded: str) -> TestResponse:
        inputs = {"username": "alice", "password": password}
        return kissa.post("/api/token/get", {"X-Forwarded-For": forwarded}, json=inputs)

    for number in range(10):
        assert told(guess("wrong one", guesses.format(number))) == WRONG_LOGIN
    assert is_locked(guess(PASSWORD, later)) == same


def test_failures_0_counts_nothing(start: Callable[..., Kissa]) -> None:
    kissa = start(accounts_failures=0)
    kissa.person("alice")
    fail(kissa, 60)
    assert log_in(kissa).status_code == 200
    assert not models.Failure.select().exists()


def test_failures_is_configured(start: Callable[..., Kissa]) -> None:
    kissa = start(accounts_failures=2)
    kissa.person("alice")
    fail(kissa, 2)
    assert is_locked(log_in(kissa))
    fail_for_many(kissa, 8)
    assert is_locked(log_in(kissa, "anybody"))


def test_tokens_are_not_counted(kissa: Kissa, alice: Person) -> None:
    for _ in range(60):
        assert kissa.post("/api/token/valid", {"token": "nonsense"}).status_code == 401
    assert kissa.post("/api/token/valid", alice.by_token).status_code == 200


# Stored hashes


def stored_hash() -> str:
    return str(models.User.get(models.User.username == "alice").password_hash)


def store_hash(text: str) -> None:
    models.write(lambda: models.User.update(password_hash=text).execute())


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param("", id="empty"),
        pytest.param("x", id="a letter"),
        pytest.param(PASSWORD, id="the password itself"),
        pytest.param("$2b$04$", id="no salt"),
        pytest.param("$2b$04$" + "." * 22, id="no digest"),
        pytest.param("$2b$99$" + "." * 53, id="cost out of range"),
        pytest.param("$2b$xx$" + "." * 53, id="cost no number"),
        pytest.param("$9z$04$" + "." * 53, id="unknown kind"),
        pytest.param("$2b$04$" + "ü" * 53, id="not ascii"),
        pytest.param("$2b$04$" + "\0" * 53, id="nul"),
    ],
)
def test_broken_stored_hash_is_401(kissa: Kissa, alice: Person, broken: str) -> None:
    store_hash(broken)
    assert told(log_in(kissa)) == WRONG_LOGIN
    assert kissa.post("/api/token/valid", alice.by_token).status_code == 200


def test_hash_of_another_cost_is_renewed_at_login(start: Callable[..., Kissa]) -> None:
    kissa = start(accounts_bcrypt_cost=5)
    kissa.person("alice")
    assert stored_hash().startswith("$2b$05$")
    kissa = start(accounts_bcrypt_cost=4)
    fail(kissa, 1)
    assert stored_hash().startswith("$2b$05$")
    assert log_in(kissa).status_code == 200
    renewed = stored_hash()
    assert renewed.startswith("$2b$04$")
    assert log_in(kissa).status_code == 200
    assert stored_hash() == renewed


def test_hash_is_not_of_the_bare_password(kissa: Kissa, alice: Person) -> None:
    assert not bcrypt.checkpw(PASSWORD.encode(), stored_hash().encode())
    store_hash(bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode())
    assert told(log_in(kissa)) == WRONG_LOGIN
