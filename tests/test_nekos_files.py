"""/api/files/...: list, upload, delete; as documented, with every refusal."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

import models
from tests.answers import JSON, TEXT, UNKNOWN_TOKEN, missing, told
from tests.conftest import PNG, Clock, Kissa, Person

MIB = 1024 * 1024
NOT_NUMBER = "The {} must be a whole number."


def fill(username: str, count: int) -> list[str]:
    """Give a user `count` rows at once, as if uploaded; their names, newest first."""
    user = models.User.get(models.User.username == username)
    names = [f"r{number:06}.png" for number in range(count)]
    rows: list[dict[str, Any]] = [
        {
            "user": user.id,
            "name": name,
            "original_name": name,
            "size": 1,
            "sha256": b"",
            "state": "unlisted",
            "deletion_hash": b"",
        }
        for name in names
    ]
    models.write(lambda: models.Item.insert_many(rows).execute())
    return names[::-1]


# list


def test_list_has_the_names_newest_first(kissa: Kissa, alice: Person, bob: Person) -> None:
    assert told(kissa.post("/api/files/list", alice.by_token)) == (200, JSON, "[]")
    kissa.upload_name(bob)
    first, second = kissa.upload_name(alice), kissa.upload_name(alice, name="b.txt")
    answer = kissa.post("/api/files/list", alice.by_token)
    assert told(answer) == (200, JSON, f'["{second}","{first}"]')


def test_list_has_both_apis_and_the_waiting(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    plain = kissa.upload_name(alice)
    waiting = kissa.item_id(alice)
    names = kissa.post("/api/files/list", alice.by_token).get_json()
    assert len(names) == 2
    assert names[1] == plain
    assert kissa.get(f"/f/{names[0]}").status_code == 404
    kissa.post(f"/api/v2/queue/{waiting}/reject", admin.by_admin_token)
    assert kissa.post("/api/files/list", alice.by_token).get_json() == [plain]


@pytest.mark.parametrize("count", [1, 199, 200, 201, 499, 500, 501, 1000, 1201])
def test_long_lists_are_whole(kissa: Kissa, alice: Person, count: int) -> None:
    names = fill("alice", count)
    answer = kissa.post("/api/files/list", alice.by_token)
    assert answer.is_streamed
    assert answer.get_json() == names


@pytest.mark.parametrize(
    ("limit", "offset"),
    [(None, None), (1, None), (0, None), (None, 3), (500, 0), (501, 1), (700, 600), (1, 1200),
     (5, 1201), (999999999, 999999999), (1000, None), (None, 500)],
)  # fmt: skip
def test_limit_and_offset_cut_a_piece(
    kissa: Kissa, alice: Person, limit: int | None, offset: int | None
) -> None:
    names = fill("alice", 1201)
    inputs = {"limit": limit, "offset": offset}
    headers = {name: str(value) for name, value in inputs.items() if value is not None}
    piece = names[offset or 0 :]
    answer = kissa.post("/api/files/list", alice.by_token | headers)
    assert answer.get_json() == (piece if limit is None else piece[:limit])


@pytest.mark.parametrize("name", ["limit", "offset"])
@pytest.mark.parametrize("value", ["-1", "x", "1.5", "0x10", "1e3", "١", "9" * 10, "1 2"])
def test_limit_and_offset_are_whole_numbers(
    kissa: Kissa, alice: Person, name: str, value: str
) -> None:
    answer = kissa.post("/api/files/list", alice.by_token, json={name: value})
    assert told(answer) == (400, TEXT, NOT_NUMBER.format(name))
    assert told(kissa.post("/api/files/list", json={name: value})) == UNKNOWN_TOKEN


# upload


def test_upload_answers_the_url(kissa: Kissa, alice: Person) -> None:
    answer = kissa.upload(alice, PNG, "Shot.PNG")
    url = answer.get_json()["url"]
    assert told(answer) == (200, JSON, f'{{"url":"{url}"}}\n')
    assert re.fullmatch(r"http://kissa\.example/f/[A-Za-z0-9]{7}\.png", url)
    assert kissa.get(url.removeprefix("http://kissa.example")).data == PNG


@pytest.mark.parametrize(
    ("accept", "is_text"),
    [
        pytest.param("text/plain", True, id="text"),
        pytest.param("TEXT/Plain; q=0.5", True, id="any case"),
        pytest.param("text/html, text/plain", True, id="among others"),
        pytest.param("text/plain, application/json", False, id="both"),
        pytest.param("*/*", False, id="anything"),
        pytest.param("application/json", False, id="json"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_accept_text_gives_the_bare_url(
    kissa: Kissa, alice: Person, accept: str, is_text: bool
) -> None:
    answer = kissa.upload(alice, Accept=accept)
    [name] = kissa.files()
    url = f"http://kissa.example/f/{name}"
    expected = (200, TEXT, f"{url}\n") if is_text else (200, JSON, f'{{"url":"{url}"}}\n')
    assert told(answer) == expected
    assert answer.headers["X-Deletion-URL"].startswith(f"http://kissa.example/delete/{name}/")
    refused = kissa.post("/api/files/upload", alice.by_token | {"Accept": accept})
    assert told(refused) == (400, TEXT, "No file provided")


def test_deletion_url_asks_and_deletes_on_post_alone(kissa: Kissa, alice: Person) -> None:
    other = kissa.upload_name(alice)
    answer = kissa.upload(alice)
    link = answer.headers["X-Deletion-URL"].removeprefix("http://kissa.example")
    name = answer.get_json()["url"].rpartition("/")[2]
    assert kissa.get(link).status_code == 200
    assert kissa.client.head(link).status_code == 200
    assert kissa.files() == {name, other}
    assert kissa.post(link.replace(name, other)).status_code == 404
    assert kissa.post(link).status_code == 200
    assert kissa.files() == {other}
    assert kissa.post(link).status_code == 404
    assert kissa.get(link).status_code == 404


HEAD = b'--b\r\nContent-Disposition: form-data; name="uploadFile"; filename="a.png"\r\n\r\n'
END = b"\r\n--b--\r\n"
FORM = "multipart/form-data; boundary=b"


def send(kissa: Kissa, person: Person, content: bytes) -> TestResponse:
    """An upload whose form is written by hand: Werkzeug's would go through a file of its own."""
    body = HEAD + content + END
    return kissa.post("/api/files/upload", person.by_token, data=body, content_type=FORM)


def part(content: bytes = PNG, name: str = "a.png") -> tuple[io.BytesIO, str]:
    return io.BytesIO(content), name


NO_FILE = (400, TEXT, "No file provided")
BROKEN = (400, TEXT, "The multipart body is broken or incomplete.")


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        pytest.param({"text": "only"}, NO_FILE, id="no file"),
        pytest.param({"uploadFile": "text"}, NO_FILE, id="a field of the file's name"),
        pytest.param(
            {"file": part()},
            (400, TEXT, "No file provided: it belongs in the field uploadFile."),
            id="another field",
        ),
        pytest.param({"uploadFile": part(name="")}, NO_FILE, id="file input left empty"),
        pytest.param(
            {"uploadFile": [part(), part()]}, (400, TEXT, "Send one file at a time."), id="two"
        ),
    ],
)
def test_upload_refuses_forms(
    kissa: Kissa, alice: Person, form: dict[str, Any], answer: tuple[int, str, str]
) -> None:
    content_type = "multipart/form-data"
    response = kissa.post("/api/files/upload", alice.by_token, data=form, content_type=content_type)
    assert told(response) == answer
    assert kissa.files() == set()


@pytest.mark.parametrize(
    ("body", "content_type", "answer"),
    [
        pytest.param(HEAD + END, FORM, (400, TEXT, "The file is empty."), id="empty file"),
        pytest.param(b"", "", NO_FILE, id="nothing"),
        pytest.param(PNG, "image/png", NO_FILE, id="the bare file"),
        pytest.param(b'{"uploadFile":"x"}', "application/json", NO_FILE, id="json"),
        pytest.param(b"uploadFile=x", "application/x-www-form-urlencoded", NO_FILE, id="url form"),
        pytest.param(HEAD + b"x\r\n--b--\r\n", "multipart/form-data", NO_FILE, id="no boundary"),
        pytest.param(HEAD + b"x", FORM, BROKEN, id="cut off"),
        pytest.param(HEAD[:-2], FORM, BROKEN, id="cut in the head"),
        pytest.param(HEAD + b"x\r\n--b\r\n", FORM, BROKEN, id="no end"),
        pytest.param(b"nonsense", FORM, BROKEN, id="no multipart"),
    ],
)
def test_upload_refuses_bodies(
    kissa: Kissa, alice: Person, body: bytes, content_type: str, answer: tuple[int, str, str]
) -> None:
    response = kissa.post("/api/files/upload", alice.by_token, data=body, content_type=content_type)
    assert told(response) == answer
    assert kissa.files() == set()
    assert kissa.post("/api/files/list", alice.by_token).get_json() == []


@pytest.mark.parametrize("token", ["", "nonsense", "00000000-0000-4000-8000-000000000000"])
def test_upload_refuses_tokens_before_anything_else(kissa: Kissa, token: str) -> None:
    assert told(kissa.post("/api/files/upload", {"token": token})) == UNKNOWN_TOKEN
    form = {"uploadFile": part()}
    assert told(kissa.post("/api/files/upload", {"token": token}, data=form)) == UNKNOWN_TOKEN
    assert kissa.files() == set()


def test_upload_413(start: Callable[..., Kissa]) -> None:
    kissa = start(uploads_max_size_mb=1)
    alice = kissa.person("alice")
    sentence = "The file is larger than the 1 MB that this host takes."
    assert send(kissa, alice, b"x" * MIB).status_code == 200
    for size in (MIB + 1, 3 * MIB):
        assert told(send(kissa, alice, b"x" * size)) == (413, TEXT, sentence)
    assert len(kissa.files()) == 1


def test_upload_415(start: Callable[..., Kissa]) -> None:
    kissa = start(uploads_blocked_extensions="exe")
    answer = kissa.upload(kissa.person("alice"), name="tool.EXE")
    assert told(answer) == (415, TEXT, "Files of the kind .exe are not taken here.")
    assert kissa.files() == set()


def test_upload_429(start: Callable[..., Kissa], clock: Clock) -> None:
    kissa = start(uploads_per_minute=1)
    alice = kissa.person("alice")
    assert kissa.upload(alice).status_code == 200
    answer = kissa.upload(alice)
    assert told(answer) == (429, TEXT, "Too many uploads in a minute; try again soon.")
    clock.advance(seconds=int(answer.headers["Retry-After"]))
    assert kissa.upload(alice).status_code == 200


def test_upload_507_over_quota(start: Callable[..., Kissa]) -> None:
    kissa = start(uploads_quota_mb=1)
    alice = kissa.person("alice")
    first = send(kissa, alice, b"x" * MIB).get_json()["url"].rpartition("/")[2]
    sentence = "This upload would pass your quota of 1 MB."
    assert told(kissa.upload(alice, b"x")) == (507, TEXT, sentence)
    kissa.post("/api/files/delete", alice.by_token | {"file": first})
    assert kissa.upload(alice, b"x").status_code == 200


# delete


def test_delete_says_which(kissa: Kissa, alice: Person) -> None:
    name = kissa.upload_name(alice)
    answer = kissa.post("/api/files/delete", alice.by_token | {"file": name})
    assert told(answer) == (200, TEXT, f"{name} has been deleted!")
    assert kissa.files() == set()
    answer = kissa.post("/api/files/delete", alice.by_token | {"file": name})
    assert told(answer) == (404, TEXT, "There is no such file.")


def test_delete_takes_items_and_waiting_ones(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval="true")
    alice = kissa.person("alice")
    kissa.item_id(alice)
    [name] = kissa.post("/api/files/list", alice.by_token).get_json()
    answer = kissa.post("/api/files/delete", alice.by_token, json={"file": name})
    assert told(answer) == (200, TEXT, f"{name} has been deleted!")
    assert kissa.files() == set()


def test_delete_works_when_the_bytes_are_gone_already(kissa: Kissa, alice: Person) -> None:
    name = kissa.upload_name(alice)
    (kissa.uploads / name).unlink()
    answer = kissa.post("/api/files/delete", alice.by_token | {"file": name})
    assert told(answer) == (200, TEXT, f"{name} has been deleted!")


def test_delete_refuses_another_s(kissa: Kissa, alice: Person, bob: Person) -> None:
    name = kissa.upload_name(bob)
    answer = kissa.post("/api/files/delete", alice.by_token | {"file": name})
    assert told(answer) == (403, TEXT, "This file belongs to someone else.")
    assert kissa.files() == {name}


@pytest.mark.parametrize(
    ("file", "answer"),
    [
        pytest.param("", missing("file"), id="missing"),
        pytest.param("aaaaaaa.png", (404, TEXT, "There is no such file."), id="unknown"),
        pytest.param("../kissa.db", (404, TEXT, "There is no such file."), id="outside"),
        pytest.param(".incoming", (404, TEXT, "There is no such file."), id="hidden"),
        pytest.param("%", (404, TEXT, "There is no such file."), id="wildcard"),
        pytest.param("a\0b", (404, TEXT, "There is no such file."), id="nul"),
        pytest.param("ä" * 9000, (404, TEXT, "There is no such file."), id="long"),
    ],
)
def test_delete_refuses(
    kissa: Kissa, alice: Person, file: str, answer: tuple[int, str, str]
) -> None:
    assert told(kissa.post("/api/files/delete", alice.by_token, json={"file": file})) == answer
    assert told(kissa.post("/api/files/delete", json={"file": file})) == UNKNOWN_TOKEN
