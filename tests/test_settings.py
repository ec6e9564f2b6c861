"""Settings in a browser: tokens, keys, uploaders, password, sessions, the end of an account."""

import json
import re
from typing import Any

import pytest
from werkzeug.test import TestResponse

import accounts
import comments
import models
import sessions
from models import ApiKey, Item, Session, User
from tests.conftest import PASSWORD, Kissa, Person
from tests.test_sessions import OURS, is_signed_in, sign_in

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"
ANOTHER = "another password"


def act(kissa: Kissa, path: str, **form: str) -> TestResponse:
    return kissa.client.post(f"/settings/{path}", data=form, headers=OURS)


def other_browser(kissa: Kissa, username: str = "alice", device: str = FIREFOX) -> Kissa:
    """A second browser, signed in."""
    browser = Kissa(kissa.app, kissa.services)
    data = {"username": username, "password": PASSWORD}
    answer = browser.client.post("/signin", data=data, headers=OURS | {"User-Agent": device})
    assert answer.status_code == 303
    return browser


@pytest.fixture
def home(kissa: Kissa, alice: Person) -> Kissa:
    """Alice is signed in."""
    sign_in(kissa, "alice")
    return kissa


ACTS = [
    "token",
    "token/renew",
    "admin-token",
    "admin-token/renew",
    "keys",
    "keys/1/revoke",
    "sharex/nekos",
    "sharex/f0ckm",
    "password",
    "sessions/1/end",
    "sessions/end-others",
    "delete",
]


@pytest.mark.parametrize("path", ACTS)
def test_acts_need_a_session_and_a_page_of_ours(kissa: Kissa, alice: Person, path: str) -> None:
    assert act(kissa, path).status_code == 401
    sign_in(kissa, "alice")
    before = User.get().token_hash
    for headers in ({}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"}):
        data = {"name": "x", "password": PASSWORD}
        answer = kissa.client.post(f"/settings/{path}", data=data, headers=headers)
        assert answer.status_code == 403
        assert alice.token not in answer.text
    assert User.get().token_hash == before
    assert (ApiKey.select().count(), Session.select().count()) == (1, 1)


@pytest.mark.parametrize("path", ["/settings", "/settings/delete"])
def test_visitors_sign_in_first(kissa: Kissa, path: str) -> None:
    answer = kissa.get(path)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/signin?next={path}")


@pytest.mark.parametrize("path", ["token", "admin-token", "keys", "password"])
def test_addresses_of_acts_lead_back(home: Kissa, path: str) -> None:
    assert home.get(f"/settings/{path}").headers["Location"] == "/settings"


def test_account(start) -> None:
    kissa = start(uploads_quota_mb=1)
    kissa.upload_name(kissa.person("alice"), b"x" * 104_858)
    sign_in(kissa, "alice")
    answer = kissa.get("/settings")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "102.4 KiB of 1.0 MiB" in answer.text
    assert "10 % of the space is used" in answer.text
    User.update(quota_mb=0).execute()
    assert "of the space is used" not in kissa.get("/settings").text


def test_no_secret_unless_asked_for(kissa: Kissa, admin: Person) -> None:
    kissa.upload_name(admin)
    sign_in(kissa, "admin")
    for path in ("/settings", "/settings/delete", "/files", "/upload", "/", "/1"):
        text = kissa.get(path).text
        for secret in (admin.token, admin.admin_token, admin.api_key):
            assert secret not in text
    shown = act(kissa, "token").text
    assert admin.token in shown
    assert admin.admin_token not in shown
    assert admin.api_key not in shown
    shown = act(kissa, "admin-token").text
    assert admin.admin_token in shown
    assert admin.token not in shown


# Tokens


def test_token_is_shown_with_its_lines(home: Kissa, alice: Person) -> None:
    assert "YOUR-UPLOAD-TOKEN" in home.get("/settings").text
    text = act(home, "token").text
    assert "YOUR-UPLOAD-TOKEN" not in text
    assert text.count(f"token: {alice.token}") == 6  # three lines, each shown and on its button
    assert "http://kissa.example/api/files/upload" in text


def test_token_is_renewed(home: Kissa, alice: Person) -> None:
    answer = act(home, "token/renew")
    assert answer.headers["Location"] == "/settings?done=token#token"
    assert "You have a new upload token" in home.get("/settings?done=token").text
    assert home.upload(alice).status_code == 401
    token = re.search(r'data-copy="([0-9a-f-]{36})"', act(home, "token").text)
    assert token is not None
    assert home.post("/api/token/valid", {"token": token[1]}).status_code == 200


def test_admin_token(kissa: Kissa, admin: Person, alice: Person) -> None:
    sign_in(kissa, "admin")
    assert "Show the admin token" in kissa.get("/settings").text
    act(kissa, "admin-token/renew")
    assert kissa.post("/api/admin/token/valid", admin.by_admin_token).status_code == 401
    sign_in(kissa, "alice")
    assert "admin token" not in kissa.get("/settings").text
    for path in ("admin-token", "admin-token/renew"):
        assert act(kissa, path).status_code == 403
    assert User.get(User.username == "alice").role == "user"


# Keys and uploaders


def test_key_is_made_shown_once_and_revoked(home: Kissa) -> None:
    text = act(home, "keys", name="  lap<b>top ").text
    found = re.search(r'data-copy="([0-9a-f]{64})"', text)
    assert found is not None
    assert "“lap&lt;b&gt;top”" in text
    key = {"X-Api-Key": found[1]}
    assert home.client.post("/api/v2/sharex", headers=key).status_code == 200
    text = home.get("/settings").text
    assert found[1] not in text
    assert f"<code>{found[1][-4:]}</code>" in text
    row = ApiKey.get(ApiKey.name == "lap<b>top")
    answer = act(home, f"keys/{row.id}/revoke")
    assert answer.headers["Location"] == "/settings?done=keys#keys"
    assert home.client.post("/api/v2/sharex", headers=key).status_code == 401


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\x00b", "a\u202eb"])
def test_key_needs_a_name(home: Kissa, name: str) -> None:
    answer = act(home, "keys", name=name)
    assert answer.status_code == 400
    assert "The name of a key has 1 to 64 characters." in answer.text
    assert "<h1>Settings</h1>" in answer.text
    assert ApiKey.select().count() == 1


def test_keys_have_an_end(home: Kissa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keys.MAX_API_KEYS", 1)
    for path in ("keys", "sharex/f0ckm"):
        answer = act(home, path, name="x")
        assert answer.status_code == 409
        assert "revoke one first" in answer.text
    assert 'name="name"' not in home.get("/settings").text


@pytest.mark.parametrize("key_id", ["", "99", "9" * 30, "x", "٣"])
def test_no_such_key(home: Kissa, key_id: str) -> None:
    assert act(home, f"keys/{key_id}/revoke").status_code == 404


def test_key_of_another(home: Kissa, bob: Person) -> None:
    row = ApiKey.select().join(User).where(User.username == "bob").get()
    assert act(home, f"keys/{row.id}/revoke").status_code == 404
    assert home.client.post("/api/v2/sharex", headers=bob.by_key).status_code == 200


def test_sharex_for_plain_files(home: Kissa, alice: Person) -> None:
    answer = act(home, "sharex/nekos")
    assert answer.headers["Content-Disposition"] == (
        'attachment; filename="kissa.example-nekos.sxcu"'
    )
    assert answer.headers["Cache-Control"] == "no-store"
    assert json.loads(answer.text)["Headers"] == {"token": alice.token}


def test_sharex_for_the_gallery_gets_a_key_of_its_own(home: Kissa) -> None:
    answer = act(home, "sharex/f0ckm")
    key = json.loads(answer.text)["Headers"]
    assert home.client.post("/api/v2/sharex", headers=key).status_code == 200
    assert [row.name for row in ApiKey.select().order_by(ApiKey.id)] == ["tests", "ShareX"]
    assert "“ShareX” is made" in home.get("/settings").text


def test_sharex_in_both_kinds(home: Kissa) -> None:
    page = home.get("/settings").text
    for path, link, url in (
        ("sharex/nekos", "page", "{header:X-View-URL}"),
        ("sharex/nekos", "file", "{json:url}"),
        ("sharex/f0ckm", "page", "{json:url}"),
        ("sharex/f0ckm", "file", "{header:X-File-URL}"),
    ):
        assert json.loads(act(home, path, link=link).text)["URL"] == url
        assert f'action="/settings/{path}' in page
    made = ApiKey.select().count()
    for path in ("sharex/nekos", "sharex/f0ckm"):
        assert act(home, path, link="elsewhere").status_code == 400
    assert ApiKey.select().count() == made


# Password


def test_password_is_changed(home: Kissa, alice: Person) -> None:
    other, before = other_browser(home), home.client.get_cookie("kissa")
    answer = act(home, "password", old=PASSWORD, new=ANOTHER, again=ANOTHER)
    assert answer.headers["Location"] == "/settings?done=password#password"
    assert is_signed_in(home)
    assert not is_signed_in(other)
    after = home.client.get_cookie("kissa")
    assert before is not None
    assert after is not None
    assert after.value != before.value
    assert home.post("/api/token/valid", alice.by_token).status_code == 200
    assert sign_in(other, "alice").status_code == 401
    assert sign_in(other, "alice", ANOTHER).status_code == 303


@pytest.mark.parametrize(
    ("form", "status", "sentence"),
    [
        pytest.param({"old": "wrong one"}, 401, "The password is wrong.", id="wrong"),
        pytest.param({"old": ""}, 401, "The password is wrong.", id="none"),
        pytest.param({"again": "x"}, 400, "passwords are not the same", id="differ"),
        pytest.param({"new": "x", "again": "x"}, 400, "6 to 256 characters", id="short"),
        pytest.param({"new": " " * 8, "again": " " * 8}, 400, "with a blank", id="blank"),
    ],
)
def test_refused_password_shows_the_page_again(
    home: Kissa, form: dict[str, str], status: int, sentence: str
) -> None:
    answer = act(home, "password", **{"old": PASSWORD, "new": ANOTHER, "again": ANOTHER} | form)
    assert answer.status_code == status
    assert sentence in answer.text
    assert PASSWORD not in answer.text
    assert ANOTHER not in answer.text
    assert is_signed_in(home)


@pytest.mark.parametrize("path", ["password", "delete"])
def test_guesses_are_counted(start, path: str) -> None:
    kissa = start(accounts_failures=3)
    kissa.person("alice")
    sign_in(kissa, "alice")
    answers = [
        act(kissa, path, old="guess", new=ANOTHER, again=ANOTHER, password="guess")
        for _ in range(4)
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert int(answers[3].headers["Retry-After"]) > 0
    assert is_signed_in(kissa)


# Sessions


def test_sessions_are_told_and_ended(home: Kissa) -> None:
    other, third = other_browser(home), other_browser(home, device="<script>x</script>\x01")
    text = home.get("/settings").text
    assert "Firefox on Windows" in text
    assert "A browser" in text
    assert "<script>x" not in text
    assert text.count("this one") == 1
    row = Session.get(Session.device == FIREFOX)
    answer = act(home, f"sessions/{row.id}/end")
    assert answer.headers["Location"] == "/settings?done=sessions#sessions"
    assert [is_signed_in(one) for one in (home, other, third)] == [True, False, True]
    act(home, "sessions/end-others")
    assert [is_signed_in(one) for one in (home, other, third)] == [True, False, False]


def test_ending_this_session_signs_out(home: Kissa) -> None:
    answer = act(home, f"sessions/{Session.get().id}/end")
    assert answer.headers["Location"] == "/"
    assert home.client.get_cookie("kissa") is None
    assert not is_signed_in(home)


def test_session_of_another(home: Kissa, bob: Person) -> None:
    other = other_browser(home, "bob")
    row = Session.get(Session.user == User.get(User.username == "bob"))
    for session_id in (row.id, 99, "x"):
        assert act(home, f"sessions/{session_id}/end").status_code == 404
    act(home, "sessions/end-others")
    assert is_signed_in(other)


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (FIREFOX, "Firefox on Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
         "Chrome/126.0.0.0 Safari/537.36", "Chrome on Linux"),
        ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
         "Chrome/126.0.0.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
         "Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like "
         "Gecko) Version/17.5 Safari/605.1.15", "Safari on a Mac"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, "
         "like Gecko) Version/17.5 Mobile/15E148 Safari/604.1", "Safari on an iPhone"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, "
         "like Gecko) CriOS/126.0 Mobile/15E148 Safari/604.1", "Chrome on an iPhone"),
        ("curl/8.5.0", "A browser"),
        ("", "A browser"),
    ],
)  # fmt: skip
def test_devices_in_words(device: str, words: str) -> None:
    assert sessions.describe(device) == words


# The end of an account


def test_account_ends(home: Kissa, alice: Person, bob: Person) -> None:
    home.upload_name(alice)
    bobs = home.item_id(bob)
    comments.add(User.get(User.username == "alice"), Item.get_by_id(bobs), "nice")
    asked = home.get("/settings/delete").text
    facts = re.findall(r"<dd>([^<]*)</dd>", asked)
    assert facts == ["1", "70 Bytes", "1"]
    answer = act(home, "delete", password=PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/goodbye")
    assert home.client.get_cookie("kissa") is None
    assert "The account is gone" in home.get("/goodbye").text
    assert User.get_or_none(User.username == "alice") is None
    assert len(home.files()) == 1
    assert home.upload(alice).status_code == 401


def test_account_stays_without_the_password(home: Kissa) -> None:
    for password in ("", "wrong one"):
        answer = act(home, "delete", password=password)
        assert answer.status_code == 401
        assert "The password is wrong." in answer.text
    assert is_signed_in(home)


def test_last_admin_stays(kissa: Kissa, admin: Person) -> None:
    sign_in(kissa, "admin")
    answer = act(kissa, "delete", password=PASSWORD)
    assert answer.status_code == 409
    assert "This is the last admin" in answer.text
    assert accounts.has_admin()


# How the database answers


@pytest.mark.sqlite  # on PostgreSQL: test_postgres_plans.py
def test_nothing_is_scanned(home: Kissa, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "peewee"):
        assert home.get("/settings").status_code == 200
        assert home.get("/settings/delete").status_code == 200
        assert act(home, "sessions/end-others").status_code == 303
        assert act(home, "keys/1/revoke").status_code == 303
    found: list[Any] = [record.msg for record in caplog.records if record.name == "peewee"]
    statements = [one for one in found if one[0].startswith(("SELECT", "DELETE"))]
    assert len(statements) >= 9
    connection = models.database.obj.connection()
    for sql, values in statements:
        steps = [row[3] for row in connection.execute(f"explain query plan {sql}", values)]
        # What is counted is a list of ones, found by an index.
        assert [step for step in steps if step.startswith("SCAN") and "_wrapped" not in step] == []
