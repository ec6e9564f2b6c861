"""Signing up, in and out in a browser; what a session is worth, and until when."""

import pytest
from werkzeug.test import TestResponse

import models
from tests.conftest import PASSWORD, Clock, Kissa, Person

OURS = {"Sec-Fetch-Site": "same-origin"}


def sign_in(kissa: Kissa, username: str, password: str = PASSWORD, **form: str) -> TestResponse:
    data = {"username": username, "password": password} | form
    return kissa.client.post("/signin", data=data, headers=OURS)


def is_signed_in(kissa: Kissa) -> bool:
    return "Sign out" in kissa.get("/").text


def test_sign_in_and_out(kissa: Kissa, alice: Person) -> None:
    assert not is_signed_in(kissa)
    answer = sign_in(kissa, "ALICE")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert is_signed_in(kissa)
    cookie = kissa.client.get_cookie("kissa")
    assert cookie is not None
    kissa.client.post("/signout", headers=OURS)
    assert not is_signed_in(kissa)
    kissa.client.set_cookie("kissa", cookie.value)  # kept by a thief
    assert not is_signed_in(kissa)


def test_cookie_is_bound_to_https(start, alice: Person) -> None:
    kissa = start(site_url="https://kissa.example/")
    header = sign_in(kissa, "alice").headers["Set-Cookie"]
    assert header.startswith("__Host-kissa=")
    for part in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert part in header


def test_sign_up_signs_in(kissa: Kissa) -> None:
    data = {"username": "carol", "password": PASSWORD, "again": PASSWORD, "next": "/upload"}
    answer = kissa.client.post("/signup", data=data, headers=OURS)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/upload")
    assert is_signed_in(kissa)


@pytest.mark.parametrize(
    ("form", "status", "sentence"),
    [
        pytest.param({"again": "another one"}, 400, "not the same", id="passwords differ"),
        pytest.param({"username": "alice"}, 409, "taken", id="name taken"),
        pytest.param({"username": "-"}, 400, "A username is", id="bad name"),
        pytest.param({"password": "short", "again": "short"}, 400, "6 to 256", id="short"),
    ],
)
def test_refused_sign_up_shows_the_form_again(
    kissa: Kissa, alice: Person, form: dict[str, str], status: int, sentence: str
) -> None:
    data = {"username": "carol", "password": PASSWORD, "again": PASSWORD} | form
    answer = kissa.client.post("/signup", data=data, headers=OURS)
    assert answer.status_code == status
    assert sentence in answer.text
    assert "<form" in answer.text
    assert PASSWORD not in answer.text


def test_wrong_password_shows_the_form_again(kissa: Kissa, alice: Person) -> None:
    answer = sign_in(kissa, "alice", "wrong password")
    assert answer.status_code == 401
    assert "The username or the password is wrong." in answer.text
    assert not is_signed_in(kissa)


def test_a_new_session_at_each_sign_in(kissa: Kissa, alice: Person) -> None:
    sign_in(kissa, "alice")
    first = kissa.client.get_cookie("kissa")
    sign_in(kissa, "alice")
    assert kissa.client.get_cookie("kissa") != first
    assert models.Session.select().count() == 1


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="cross-site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="another host of the site"),
        pytest.param({"Origin": "https://evil.example"}, id="another origin"),
        pytest.param({"Origin": "null"}, id="opaque origin"),
        pytest.param({}, id="no origin at all"),
    ],
)
@pytest.mark.parametrize("path", ["/signin", "/signup", "/signout", "/theme"])
def test_posts_of_other_sites_are_refused(kissa: Kissa, path: str, headers: dict[str, str]) -> None:
    assert kissa.client.post(path, data={}, headers=headers).status_code == 403


def test_origin_of_ours_is_enough(kissa: Kissa, alice: Person) -> None:
    data = {"username": "alice", "password": PASSWORD}
    answer = kissa.client.post("/signin", data=data, headers={"Origin": "http://localhost"})
    assert answer.status_code == 303


@pytest.mark.parametrize(
    "target",
    ["//evil", "/\\evil", "/\t/evil", "https://evil", "evil", "", "/ /evil", "/\n", "/é", "\\evil"],
)
def test_next_never_leaves_the_site(kissa: Kissa, alice: Person, target: str) -> None:
    assert sign_in(kissa, "alice", next=target).headers["Location"] == "/"


def test_next_is_followed(kissa: Kissa, alice: Person) -> None:
    assert sign_in(kissa, "alice", next="/13?rating=all").headers["Location"] == "/13?rating=all"


def test_sessions_end_by_time(clock: Clock, kissa: Kissa, alice: Person) -> None:
    sign_in(kissa, "alice")
    for _ in range(6):  # used, it lives on, but 90 days at most
        clock.advance(days=13)
        assert is_signed_in(kissa)
    clock.advance(days=13)
    assert not is_signed_in(kissa)
    sign_in(kissa, "alice")
    clock.advance(days=15)
    assert not is_signed_in(kissa)


def test_password_reset_ends_all_sessions(kissa: Kissa, alice: Person) -> None:
    sign_in(kissa, "alice")
    kissa.post("/api/user/passreset", alice.by_password | {"newpassword": "another one"})
    assert not is_signed_in(kissa)


def test_ban_ends_all_sessions_for_good(kissa: Kissa, alice: Person, admin: Person) -> None:
    sign_in(kissa, "alice")
    kissa.post("/api/admin/ban/user", admin.by_admin_token | {"username": "alice"})
    assert not is_signed_in(kissa)
    kissa.post("/api/admin/unban/user", admin.by_admin_token | {"username": "alice"})
    assert not is_signed_in(kissa)


def test_api_ignores_the_cookie(kissa: Kissa, alice: Person) -> None:
    sign_in(kissa, "alice")
    assert kissa.post("/api/files/list").status_code == 401


def test_pages_with_a_session_are_not_stored(kissa: Kissa, alice: Person) -> None:
    assert kissa.get("/").headers["Cache-Control"] == "no-cache"
    sign_in(kissa, "alice")
    assert kissa.get("/").headers["Cache-Control"] == "no-store"


def test_theme_is_kept(kissa: Kissa) -> None:
    assert "data-theme" not in kissa.get("/").text
    kissa.client.post("/theme", data={"theme": "dark"}, headers=OURS)
    assert 'data-theme="dark"' in kissa.get("/").text
    kissa.client.post("/theme", data={"theme": ""}, headers=OURS)
    assert "data-theme" not in kissa.get("/").text


def test_registration_key_by_link(start) -> None:
    kissa = start(accounts_invite_only="true")
    assert 'value="a-key"' in kissa.get("/signup?key=a-key").text
