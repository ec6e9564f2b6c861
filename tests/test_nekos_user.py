"""/api/user/...: look at, sign up, delete, reset the password."""

from collections.abc import Callable

import pytest

import models
from tests.answers import JSON, LAST_ADMIN, TEXT, UNKNOWN_TOKEN, WRONG_LOGIN, missing, told
from tests.conftest import PASSWORD, PNG, Kissa, Person

SIGNED_UP = (200, TEXT, "Success!")
DELETED = (200, TEXT, "This user has been deleted")
RESET = (200, TEXT, "The password has been reset!")
TAKEN = (409, TEXT, "This username is taken.")


def sign_up(kissa: Kissa, username: str, password: str = PASSWORD) -> tuple[int, str | None, str]:
    return told(kissa.post("/api/user/signup", json={"username": username, "password": password}))


# info


def test_info_tells_name_and_number_of_files(kissa: Kissa, alice: Person, bob: Person) -> None:
    kissa.upload_name(bob)
    told_first = told(kissa.post("/api/user/info", alice.by_token))
    assert told_first == (200, JSON, '{"username":"alice","filecount":0}\n')
    name = kissa.upload_name(alice)
    item = kissa.item_id(alice)
    assert kissa.post("/api/user/info", alice.by_token).get_json()["filecount"] == 2
    kissa.post("/api/files/delete", alice.by_token | {"file": name})
    kissa.client.delete(f"/api/v2/items/{item}", headers=alice.by_key)
    assert kissa.post("/api/user/info", alice.by_token).get_json()["filecount"] == 0


def test_filecount_has_the_waiting_and_not_the_rejected(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    first, second = kissa.item_id(alice), kissa.item_id(alice)
    counts = [kissa.post("/api/user/info", alice.by_token).get_json()["filecount"]]
    for path in (f"/api/v2/queue/{first}/approve", f"/api/v2/queue/{second}/reject"):
        assert kissa.post(path, admin.by_admin_token).status_code == 200
        counts.append(kissa.post("/api/user/info", alice.by_token).get_json()["filecount"])
    assert counts == [2, 2, 1]


@pytest.mark.parametrize("token", ["", "nonsense", "00000000-0000-4000-8000-000000000000"])
def test_info_refuses_tokens_that_are_none(kissa: Kissa, alice: Person, token: str) -> None:
    assert told(kissa.post("/api/user/info", {"token": token})) == UNKNOWN_TOKEN


# signup


def test_signup_makes_an_account(kissa: Kissa) -> None:
    person = {"username": "carol", "password": PASSWORD}
    assert told(kissa.post("/api/user/signup", person)) == SIGNED_UP
    token = kissa.post("/api/token/get", person).get_json()["token"]
    answer = kissa.post("/api/user/info", {"token": token})
    assert answer.get_json() == {"username": "carol", "filecount": 0}
    assert told(kissa.post("/api/admin/token/get", person)) == WRONG_LOGIN


@pytest.mark.parametrize("name", ["username", "password"])
def test_signup_names_what_is_missing(kissa: Kissa, name: str) -> None:
    person = {"username": "carol", "password": PASSWORD}
    del person[name]
    assert told(kissa.post("/api/user/signup", person)) == missing(name)


@pytest.mark.parametrize("username", ["ab", "A1", "9lives", "a.b_c-d", "a" * 32, "00"])
def test_usernames_that_are(kissa: Kissa, username: str) -> None:
    assert sign_up(kissa, username) == SIGNED_UP
    person = {"username": username, "password": PASSWORD}
    token = kissa.post("/api/token/get", person).get_json()["token"]
    assert kissa.post("/api/user/info", {"token": token}).get_json()["username"] == username


@pytest.mark.parametrize(
    "username",
    [
        pytest.param("a", id="one letter"),
        pytest.param("a" * 33, id="33 letters"),
        pytest.param(".ab", id="dot first"),
        pytest.param("_ab", id="underscore first"),
        pytest.param("-ab", id="hyphen first"),
        pytest.param("a b", id="blank"),
        pytest.param("ab\n", id="newline at the end"),
        pytest.param("ab/", id="slash"),
        pytest.param("älice", id="umlaut"),
        pytest.param("ａｌｉｃｅ", id="full-width"),
        pytest.param("a٣b", id="arabic digit"),
        pytest.param("ab\0", id="nul"),
    ],
)
def test_usernames_that_are_not(kissa: Kissa, username: str) -> None:
    assert sign_up(kissa, username) == (
        400,
        TEXT,
        "A username is 2 to 32 letters, digits, dots, underscores or hyphens, "
        "and begins with a letter or digit.",
    )


@pytest.mark.parametrize("username", ["alice", "ALICE", "aLiCe"])
def test_name_is_taken_in_any_case(kissa: Kissa, alice: Person, username: str) -> None:
    assert sign_up(kissa, username) == TAKEN


def test_login_does_not_regard_case_and_the_name_is_shown_as_typed(kissa: Kissa) -> None:
    assert sign_up(kissa, "CaRol") == SIGNED_UP
    answer = kissa.post("/api/token/get", {"username": "cArOL", "password": PASSWORD})
    token = answer.get_json()["token"]
    assert kissa.post("/api/user/info", {"token": token}).get_json()["username"] == "CaRol"


def test_registration_off(start: Callable[..., Kissa]) -> None:
    kissa = start(accounts_registration="false")
    assert sign_up(kissa, "carol") == (403, TEXT, "Registration is closed on this host.")


# passwords

LENGTH = "The password must have 6 to 256 characters."
CONTROL = "The password must not hold control characters."
BLANK = "The password must not begin or end with a blank."


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("sixsix", id="6 characters"),
        pytest.param("a" * 256, id="256 characters"),
        pytest.param("ä" * 256, id="256 characters of two bytes"),
        pytest.param("a\u0308" * 256, id="256 characters once composed"),
        pytest.param("in ner blanks", id="inner blanks"),
        pytest.param("a\u200db\u200dcd", id="joiners"),
        pytest.param("äöüßéè", id="six letters of two bytes"),
    ],
)
def test_passwords_that_are(kissa: Kissa, password: str) -> None:
    assert sign_up(kissa, "carol", password) == SIGNED_UP
    person = {"username": "carol", "password": password}
    assert kissa.post("/api/token/get", json=person).status_code == 200


PASSWORDS_THAT_ARE_NOT = [
    pytest.param("fives", LENGTH, id="5 characters"),
    pytest.param("a" * 257, LENGTH, id="257 characters"),
    pytest.param("a\u0308" * 5, LENGTH, id="5 characters once composed"),
    pytest.param("abc\0def", CONTROL, id="nul"),
    pytest.param("abc\ndef", CONTROL, id="newline"),
    pytest.param("abc\tdef", CONTROL, id="tab"),
    pytest.param("abc\x7fdef", CONTROL, id="delete"),
    pytest.param("abc\x85def", CONTROL, id="C1"),
    pytest.param(" abcdef", BLANK, id="blank first"),
    pytest.param("abcdef ", BLANK, id="blank last"),
    pytest.param("abcdef\u00a0", BLANK, id="no-break space last"),
    pytest.param("\u3000abcdef", BLANK, id="ideographic space first"),
]


@pytest.mark.parametrize(("password", "sentence"), PASSWORDS_THAT_ARE_NOT)
def test_passwords_that_are_not(kissa: Kissa, password: str, sentence: str) -> None:
    assert sign_up(kissa, "carol", password) == (400, TEXT, sentence)


@pytest.mark.parametrize(
    ("chosen", "tried"),
    [
        pytest.param("a" * 80 + "1", "a" * 80 + "2", id="differ after 72 bytes"),
        pytest.param("a" * 72, "a" * 73, id="one byte more than 72"),
        pytest.param("ab ab ab", "ab ab a", id="one character less"),
        pytest.param("ab0000", "ab\0ab", id="nul, which ends a C string"),
        pytest.param("abcdef", "abcdef\0", id="nul at the end"),
        pytest.param("abcdef", "ABCDEF", id="case"),
        pytest.param("abcdef", "abcdef ", id="a blank more"),
    ],
)
def test_other_passwords_do_not_fit(kissa: Kissa, chosen: str, tried: str) -> None:
    assert sign_up(kissa, "carol", chosen) == SIGNED_UP
    for path in ("/api/token/get", "/api/user/delete"):
        answer = kissa.post(path, json={"username": "carol", "password": tried})
        assert told(answer) == WRONG_LOGIN


# passreset


def test_passreset_changes_the_password_and_keeps_the_token(kissa: Kissa, alice: Person) -> None:
    answer = kissa.post("/api/user/passreset", alice.by_password | {"newpassword": "new secret"})
    assert told(answer) == RESET
    assert told(kissa.post("/api/token/get", alice.by_password)) == WRONG_LOGIN
    answer = kissa.post("/api/token/get", {"username": "alice", "password": "new secret"})
    assert answer.get_json() == {"token": alice.token}
    assert kissa.post("/api/token/valid", alice.by_token).status_code == 200
    assert kissa.post("/api/v2/sharex", alice.by_key).status_code == 200


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        pytest.param({"username": ""}, missing("username"), id="no username"),
        pytest.param({"password": ""}, missing("password"), id="no password"),
        pytest.param({"newpassword": ""}, missing("newpassword"), id="no new password"),
        pytest.param({"password": "wrong one"}, WRONG_LOGIN, id="wrong password"),
        pytest.param({"username": "bob"}, WRONG_LOGIN, id="another's name"),
        pytest.param({"username": "nobody"}, WRONG_LOGIN, id="nobody's name"),
        pytest.param({"username": "no body"}, WRONG_LOGIN, id="no name at all"),
    ],
)
def test_passreset_refuses(
    kissa: Kissa, alice: Person, change: dict[str, str], answer: tuple[int, str, str]
) -> None:
    kissa.post("/api/user/signup", {"username": "bob", "password": "the password of bob"})
    inputs = alice.by_password | {"newpassword": "new secret"} | change
    assert told(kissa.post("/api/user/passreset", inputs)) == answer
    assert kissa.post("/api/token/get", alice.by_password).status_code == 200


@pytest.mark.parametrize(("password", "sentence"), PASSWORDS_THAT_ARE_NOT)
def test_new_passwords_that_are_not(
    kissa: Kissa, alice: Person, password: str, sentence: str
) -> None:
    answer = kissa.post("/api/user/passreset", json=alice.by_password | {"newpassword": password})
    assert told(answer) == (400, TEXT, sentence.replace("The password", "The new password"))


def test_token_does_not_reset_the_password(kissa: Kissa, alice: Person) -> None:
    inputs = alice.by_token | {"username": "alice", "newpassword": "new secret"}
    assert told(kissa.post("/api/user/passreset", inputs)) == missing("password")


# delete


def test_delete_leaves_no_trace(kissa: Kissa, alice: Person, bob: Person) -> None:
    kissa.upload_name(alice)
    kissa.item_id(alice, tags="only hers, also hers, shared", comment="mine")
    kept = kissa.item_id(bob, tags="shared, of bob, third", comment="of bob")
    alice_id = models.User.get(models.User.username == "alice").id
    models.write(
        lambda: models.Comment.insert(item=kept, user=alice_id, text="a word of alice").execute()
    )
    assert "a word of alice" in kissa.get(f"/{kept}").text

    assert told(kissa.post("/api/user/delete", alice.by_password)) == DELETED

    assert len(kissa.files()) == 1
    page = kissa.get(f"/{kept}").text
    assert "a word of alice" not in page
    assert "of bob" in page
    assert [entry["itemid"] for entry in kissa.get("/api/v2/items").get_json()["items"]] == [kept]
    tags = {name for (name,) in models.rows(models.Tag.select(models.Tag.name))}
    assert tags == {"shared", "of bob", "third"}
    for table in (models.Item, models.ApiKey, models.Comment):
        assert not table.select().where(table.user == alice_id).exists()
    assert told(kissa.post("/api/token/valid", alice.by_token)) == UNKNOWN_TOKEN
    assert told(kissa.post("/api/token/get", alice.by_password)) == WRONG_LOGIN
    assert kissa.post("/api/v2/sharex", alice.by_key).status_code == 401
    assert kissa.post("/api/token/valid", bob.by_token).status_code == 200


def test_delete_takes_waiting_files_too(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval="true")
    alice = kissa.person("alice")
    kissa.item_id(alice)
    assert len(kissa.files()) == 1
    assert told(kissa.post("/api/user/delete", alice.by_password)) == DELETED
    assert kissa.files() == set()


def test_name_is_free_again_and_the_id_is_not(kissa: Kissa, alice: Person) -> None:
    name = kissa.upload_name(alice)
    old_id = models.User.get(models.User.username == "alice").id
    kissa.post("/api/user/delete", alice.by_password)
    assert sign_up(kissa, "Alice") == SIGNED_UP
    assert models.User.get(models.User.username == "Alice").id > old_id
    token = kissa.post("/api/token/get", alice.by_password).get_json()["token"]
    assert token != alice.token
    assert told(kissa.post("/api/token/valid", alice.by_token)) == UNKNOWN_TOKEN
    assert told(kissa.post("/api/files/list", {"token": token})) == (200, JSON, "[]")
    assert kissa.get(f"/f/{name}").status_code == 404
    assert kissa.post("/api/v2/sharex", alice.by_key).status_code == 401


@pytest.mark.parametrize(
    ("inputs", "answer"),
    [
        pytest.param({}, missing("username"), id="nothing"),
        pytest.param({"username": "alice"}, missing("password"), id="no password"),
        pytest.param({"password": PASSWORD}, missing("username"), id="no username"),
        pytest.param({"username": "alice", "password": "wrong"}, WRONG_LOGIN, id="wrong password"),
        pytest.param({"username": "nobody", "password": PASSWORD}, WRONG_LOGIN, id="unknown user"),
    ],
)
def test_delete_refuses(
    kissa: Kissa, alice: Person, inputs: dict[str, str], answer: tuple[int, str, str]
) -> None:
    kissa.upload(alice, PNG)
    assert told(kissa.post("/api/user/delete", inputs)) == answer
    assert kissa.post("/api/user/info", alice.by_token).get_json()["filecount"] == 1


def test_token_deletes_no_account(kissa: Kissa, alice: Person) -> None:
    inputs = alice.by_token | {"username": "alice"}
    assert told(kissa.post("/api/user/delete", inputs)) == missing("password")


def test_last_admin_stays(kissa: Kissa, admin: Person) -> None:
    assert told(kissa.post("/api/user/delete", admin.by_password)) == LAST_ADMIN
    second = kissa.person("second", admin=True)
    ban = admin.by_admin_token | {"username": "second"}
    kissa.post("/api/admin/ban/user", ban)
    assert told(kissa.post("/api/user/delete", admin.by_password)) == LAST_ADMIN
    kissa.post("/api/admin/unban/user", ban)
    assert told(kissa.post("/api/user/delete", admin.by_password)) == DELETED
    assert kissa.post("/api/admin/token/valid", second.by_admin_token).status_code == 200
