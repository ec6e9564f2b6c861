"""Uploads in pieces: the whole protocol, both credentials, every refusal, the end of each; what
concerns the store, in a folder and in a bucket."""

import base64
import fcntl
import hashlib
import io
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.http import parse_date
from werkzeug.test import TestResponse

import models
import resumable
import storage_local_partial
import turns
import upkeep
from blueprints import tus
from models import Album, AlbumItem, Comment, Item, Resumable, User
from resumable import Desk, Sender
from tests.answers import TEXT, UNKNOWN_TOKEN, told
from tests.bucket import BucketKissa, place_on
from tests.conftest import PNG, Clock, Kissa, Person
from tests.pieces import PATH, PIECE, Pieces, by_key, by_token, metadata
from tests.tagged import SECRET, tagged

Start = Callable[..., Kissa]
MEGABYTE = 1024 * 1024
CONTENT = os.urandom(300_000)
FIELDS = {"rating": "sfw", "tags": "cat, cute, feline"}


TAGGED = tagged()["png"]


def checksum(body: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, body).digest()).decode()}"


BOTH = pytest.mark.parametrize("start", ["folder", "bucket"], indirect=True)


@pytest.fixture
def start(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Start:
    """As everywhere, or with the files in a bucket."""
    if getattr(request, "param", "folder") == "folder":
        return start
    place = place_on(request.getfixturevalue("rclone"))
    (tmp_path / "uploads").mkdir()

    def begin(**keys: object) -> Kissa:
        kissa = start(**(place.keys | keys))
        return BucketKissa(kissa.app, kissa.services, place)

    return begin


@pytest.fixture
def pieces(kissa: Kissa, alice: Person) -> Pieces:
    return by_token(kissa, alice)


# What the protocol asks for


def test_options_tell_what_is_spoken(start: Start) -> None:
    kissa = start(uploads_max_size_mb=7)
    for path in (PATH, PATH + "x" * 32, "/upload/tus/"):
        answer = kissa.client.options(path)
        assert answer.status_code == 204
        assert {key: answer.headers[key] for key, _ in answer.headers if key[:3] == "Tus"} == {
            "Tus-Resumable": "1.0.0",
            "Tus-Version": "1.0.0",
            "Tus-Extension": "creation,creation-with-upload,termination,expiration,checksum",
            "Tus-Max-Size": str(7 * MEGABYTE),
            "Tus-Checksum-Algorithm": "sha256,sha1",
        }


@BOTH
def test_in_pieces(kissa: Kissa, pieces: Pieces, clock: Clock) -> None:
    described = metadata(filename="film.MP4")
    answer = pieces.ask("POST", PATH, Upload_Length=str(len(CONTENT)), **described)
    assert (answer.status_code, answer.data) == (201, b"")
    path = answer.headers["Location"]
    assert path.startswith(PATH)
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert answer.headers["Upload-Offset"] == "0"
    ends = parse_date(answer.headers["Upload-Expires"])
    assert ends is not None
    assert (ends - clock()).total_seconds() == 24 * 3600
    for offset, end in ((0, 100_000), (100_000, 100_001), (100_001, 100_001), (100_001, 299_999)):
        answer = pieces.send(path, offset, CONTENT[offset:end])
        assert (answer.status_code, answer.data) == (204, b"")
        assert answer.headers["Upload-Offset"] == str(end)
        assert "X-File-URL" not in answer.headers
        looked = pieces.ask("HEAD", path)
        assert looked.status_code == 200
        assert looked.headers["Upload-Offset"] == str(end)
        assert looked.headers["Upload-Length"] == str(len(CONTENT))
        assert looked.headers["Upload-Metadata"] == described["Upload-Metadata"]
        assert looked.headers["Cache-Control"] == "no-store"
        assert looked.headers["Tus-Resumable"] == "1.0.0"
    assert Item.select().count() == 0
    answer = pieces.send(path, 299_999, CONTENT[299_999:])
    item = Item.get()
    assert answer.status_code == 204
    assert answer.headers["Upload-Offset"] == str(len(CONTENT))
    assert answer.headers["X-File-URL"] == f"http://kissa.example/f/{item.name}"
    assert item.name.endswith(".mp4")
    assert (item.original_name, item.state, item.size) == ("film.MP4", "unlisted", len(CONTENT))
    assert item.sha256 == hashlib.sha256(CONTENT).digest()
    assert kissa.content(item.name) == CONTENT
    assert kissa.files() == {item.name}
    assert kissa.post(answer.headers["X-Deletion-URL"][20:]).status_code == 200
    assert kissa.files() == set()
    assert pieces.ask("HEAD", path).status_code == 404


@BOTH
def test_who_missed_the_last_answer_is_told_again(
    kissa: Kissa, pieces: Pieces, clock: Clock
) -> None:
    path = pieces.begin(len(CONTENT))
    first = pieces.send(path, 0, CONTENT)
    urls = {name: first.headers[name] for name in ("X-File-URL", "X-Deletion-URL")}
    for again in (pieces.ask("HEAD", path), pieces.send(path, len(CONTENT), b"")):
        assert {name: again.headers[name] for name in urls} == urls
        assert again.headers["Upload-Offset"] == str(len(CONTENT))
        assert "Upload-Expires" not in again.headers
    assert told(pieces.send(path, 0, CONTENT))[0] == 409
    assert Item.select().count() == 1
    clock.advance(hours=25)
    assert pieces.ask("HEAD", path).status_code == 404
    assert resumable.forget_expired(kissa.services.storage) == 1
    assert len(kissa.files()) == 1


def test_without_the_slash(pieces: Pieces) -> None:
    answer = pieces.ask("POST", PATH.rstrip("/"), Upload_Length="10")
    assert answer.status_code == 201
    assert pieces.offset(answer.headers["Location"]) == 0


@BOTH
def test_everything_at_once(kissa: Kissa, pieces: Pieces) -> None:
    described = metadata(filename="a.png") | {"Content-Type": PIECE}
    answer = pieces.ask("POST", PATH, PNG, Upload_Length=str(len(PNG)), **described)
    assert answer.status_code == 201
    assert answer.headers["Upload-Offset"] == str(len(PNG))
    name = answer.headers["X-File-URL"].rpartition("/")[2]
    assert kissa.content(name) == PNG
    assert pieces.ask("HEAD", answer.headers["Location"]).headers["X-File-URL"].endswith(name)


def test_the_first_piece_at_once(pieces: Pieces) -> None:
    headers = {"Upload_Length": "10", "Content_Type": PIECE}
    answer = pieces.ask("POST", PATH, b"12345", **headers)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "5")
    assert pieces.offset(answer.headers["Location"]) == 5


@BOTH
@pytest.mark.parametrize(
    ("body", "more", "status"),
    [
        pytest.param(b"x" * 11, {}, 413, id="too long"),
        pytest.param(b"12345", {"Upload_Checksum": checksum(b"54321")}, 460, id="checksum"),
        pytest.param(b"12345", {"Upload_Checksum": "md5 x"}, 400, id="algorithm"),
        pytest.param(b"12345", {"Content_Length": "9"}, 400, id="cut off"),
    ],
)
def test_nothing_is_begun_with_a_bad_first_piece(
    kissa: Kissa, pieces: Pieces, body: bytes, more: dict[str, Any], status: int
) -> None:
    headers = {"Upload_Length": "10", "Content_Type": PIECE} | more
    assert pieces.ask("POST", PATH, body, **headers).status_code == status
    assert Resumable.select().count() == 0
    assert kissa.files() == set()


@BOTH
def test_ended_by_the_client(kissa: Kissa, pieces: Pieces) -> None:
    path = pieces.begin(10)
    pieces.send(path, 0, b"12345")
    assert len(kissa.files()) == 1
    answer = pieces.ask("DELETE", path)
    assert (answer.status_code, answer.headers["Tus-Resumable"]) == (204, "1.0.0")
    assert kissa.files() == set()
    for method in ("HEAD", "DELETE"):
        assert pieces.ask(method, path).status_code == 404
    assert pieces.send(path, 5, b"67890").status_code == 404


@BOTH
def test_ending_a_finished_one_keeps_the_item(kissa: Kissa, pieces: Pieces) -> None:
    path = pieces.begin(len(PNG))
    pieces.send(path, 0, PNG)
    assert pieces.ask("DELETE", path).status_code == 204
    assert pieces.ask("HEAD", path).status_code == 404
    assert len(kissa.files()) == Item.select().count() == 1


def test_method_override(kissa: Kissa, pieces: Pieces) -> None:
    path = pieces.begin(10)

    def ask(method: str, body: bytes = b"", **headers: str) -> TestResponse:
        return pieces.ask("POST", path, body, X_HTTP_Method_Override=method, **headers)

    sent = ask("PATCH", b"12345", Upload_Offset="0", Content_Type=PIECE)
    assert (sent.status_code, sent.headers["Upload-Offset"]) == (204, "5")
    assert ask("HEAD").headers["Upload-Offset"] == "5"
    assert ask("").status_code == ask("PUT").status_code == 405
    assert ask("DELETE").status_code == 204
    assert kissa.files() == set()


@BOTH
def test_checksums(kissa: Kissa, pieces: Pieces) -> None:
    path = pieces.begin(10)
    assert pieces.send(path, 0, b"123", Upload_Checksum=checksum(b"123")).status_code == 204
    wrong = pieces.send(path, 3, b"45", Upload_Checksum=checksum(b"54"))
    assert told(wrong) == (460, TEXT, "The piece does not have its checksum; send it again.")
    assert pieces.offset(path) == 3
    sha1 = checksum(b"45", "sha1")
    assert pieces.send(path, 3, b"45", Upload_Checksum=sha1).headers["Upload-Offset"] == "5"
    wrong = pieces.send(path, 5, b"67890", Upload_Checksum=checksum(b"6789X"))
    assert wrong.status_code == 460
    assert Item.select().count() == 0
    assert pieces.send(path, 5, b"67890", Upload_Checksum=checksum(b"67890")).status_code == 204
    assert kissa.content(Item.get().name) == b"1234567890"
    assert Item.get().sha256 == hashlib.sha256(b"1234567890").digest()


@pytest.mark.parametrize(
    "value",
    ["md5 " + "A" * 24, "sha256", "sha256 !!!!", "sha256 AAAA", "sha1 " + "A" * 44, "SHA256 AAAA"],
)
def test_malformed_checksums(pieces: Pieces, value: str) -> None:
    path = pieces.begin(10)
    assert pieces.send(path, 0, b"123", Upload_Checksum=value).status_code == 400
    assert pieces.offset(path) == 0


@BOTH
def test_a_checksum_of_a_piece_that_was_cut_off(pieces: Pieces) -> None:
    path = pieces.begin(10)
    good = checksum(b"123")
    answer = pieces.send(path, 0, b"123", Upload_Checksum=good, Content_Length="5")
    assert answer.status_code == 460
    assert pieces.offset(path) == 0


@BOTH
def test_what_came_before_a_cut_is_kept(kissa: Kissa, pieces: Pieces) -> None:
    path = pieces.begin(len(CONTENT))
    pieces.send(path, 0, CONTENT[:200_000], Content_Length=str(len(CONTENT)))
    assert pieces.offset(path) == 200_000
    assert pieces.send(path, 200_000, CONTENT[200_000:]).status_code == 204
    assert kissa.content(Item.get().name) == CONTENT


class Broken(io.BytesIO):
    """A body whose connection is reset after some bytes."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise ConnectionResetError
        return data


@BOTH
def test_chunked_bodies(kissa: Kissa, pieces: Pieces) -> None:
    """Of no announced length; one that breaks off, one that ends, one that is too long."""
    path = pieces.begin(10)

    def send(offset: int, body: io.BytesIO) -> TestResponse:
        headers = pieces.headers | {
            "Upload-Offset": str(offset), "Content-Type": PIECE, "Transfer-Encoding": "chunked",
        }  # fmt: skip
        environ = {"wsgi.input": body, "wsgi.input_terminated": True}
        return kissa.client.patch(path, headers=headers, environ_overrides=environ)

    send(0, Broken(b"123"))
    assert pieces.offset(path) == 3
    assert send(3, io.BytesIO(b"45")).headers["Upload-Offset"] == "5"
    assert send(5, io.BytesIO(b"678901")).status_code == 413
    assert pieces.offset(path) == 5
    assert send(5, io.BytesIO(b"67890")).status_code == 204
    assert kissa.content(Item.get().name) == b"1234567890"


def test_another_process_goes_on_with_it(kissa: Kissa, pieces: Pieces) -> None:
    """Which does not know the hash of what it has not received."""
    path = pieces.begin(len(CONTENT))
    pieces.send(path, 0, CONTENT[:100])
    storage_local_partial._hashes.clear()
    pieces.send(path, 100, CONTENT[100:200])
    assert pieces.send(path, 200, CONTENT[200:]).status_code == 204
    assert Item.get().sha256 == hashlib.sha256(CONTENT).digest()


def test_what_was_not_acknowledged_is_written_over(kissa: Kissa, pieces: Pieces) -> None:
    path = pieces.begin(10)
    pieces.send(path, 0, b"123")
    (file,) = kissa.files()
    with (kissa.uploads / file).open("ab") as stream:
        stream.write(b"written, and then the server was killed")
    assert pieces.offset(path) == 3
    pieces.send(path, 3, b"4567890")
    assert kissa.content(Item.get().name) == b"1234567890"


# One request at a time


class Waiting:
    """A body of which the rest does not come, until the reading is ended."""

    def __init__(self, beginning: bytes) -> None:
        self.beginning = beginning
        self.reached, self.ended = threading.Event(), threading.Event()

    def read(self, size: int, /) -> bytes:
        if self.beginning:
            data, self.beginning = self.beginning, b""
            return data
        self.reached.set()
        assert self.ended.wait(10)
        return b""


@BOTH
@pytest.mark.parametrize("asked", ["HEAD", "PATCH"])
def test_who_comes_back_ends_the_request_that_still_waits(
    kissa: Kissa, pieces: Pieces, asked: str
) -> None:
    path = pieces.begin(10)
    upload, body = Resumable.get(), Waiting(b"123")
    services = kissa.services
    desk = Desk(config=services.config, store=services.storage, secret=services.secret)
    sender = Sender(user_id=upload.user_id, api="nekos")

    def receive() -> None:
        resumable.receive(
            desk, sender, upload.name, body, offset=0, size=10, interrupt=body.ended.set
        )
        models.database.close()

    first = threading.Thread(target=receive)
    first.start()
    assert body.reached.wait(10)
    if asked == "HEAD":
        assert pieces.offset(path) == 3
    else:
        assert told(pieces.send(path, 0, b"12345"))[0] == 409  # it stands at 3 by now
    first.join(10)
    assert pieces.send(path, 3, b"4567890").status_code == 204


def test_a_request_of_another_process_is_not_ended(kissa: Kissa, pieces: Pieces) -> None:
    path = pieces.begin(10)
    pieces.send(path, 0, b"123")
    (file,) = kissa.files()
    with (kissa.uploads / file).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert told(pieces.send(path, 3, b"4567890")) == (
            423, TEXT, "Another process receives this upload; try again soon."
        )  # fmt: skip
        assert pieces.offset(path) == 3
    assert pieces.send(path, 3, b"4567890").status_code == 204


@BOTH
def test_one_that_does_not_give_way(
    kissa: Kissa, pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.01)
    path = pieces.begin(10)
    with kissa.services.storage.resume(Resumable.get().name):
        assert pieces.send(path, 0, b"123").status_code == 423
        assert pieces.offset(path) == 0
    assert pieces.send(path, 0, b"123").status_code == 204


def test_half_of_the_threads_are_left(start: Start) -> None:
    kissa = start(server_threads=2)
    pieces = by_token(kissa, kissa.person("alice"))
    path = pieces.begin(10)
    with tus._place(2):
        answer = pieces.send(path, 0, b"123")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert pieces.offset(path) == 0
    assert pieces.send(path, 0, b"123").status_code == 204


# By an API key: into the gallery


@BOTH
def test_into_the_gallery(kissa: Kissa, alice: Person) -> None:
    described = FIELDS | {"comment": "schön", "is_oc": "1"}
    answer = by_key(kissa, alice).whole(CONTENT, name="é.mp4", **described)
    item = Item.get()
    assert answer.headers["X-File-URL"] == f"http://kissa.example/{item.id}"
    assert answer.headers["X-Item-ID"] == str(item.id)
    assert answer.headers["X-Manual-Approval"] == "false"
    assert (item.state, item.rating, item.is_oc) == ("listed", "sfw", True)
    assert item.original_name == "é.mp4"
    assert Comment.get().text == "schön"
    shown = kissa.get(f"/api/v2/items/{item.id}").get_json()
    assert shown["tags"] == ["cat", "cute", "feline"]
    assert kissa.post(answer.headers["X-Deletion-URL"][20:]).status_code == 200
    assert kissa.files() == set()


@BOTH
def test_waits_for_an_admin(start: Start) -> None:
    kissa = start(gallery_manual_approval="true")
    pieces = by_key(kissa, kissa.person("alice"))
    path = pieces.begin(10, **FIELDS)
    answer = pieces.send(path, 0, b"1234567890")
    item = Item.get()
    assert item.state == "pending"
    for told_of in (answer, pieces.ask("HEAD", path)):
        assert told_of.headers["X-File-URL"] == "http://kissa.example/"
        assert told_of.headers["X-Item-ID"] == str(item.id)
        assert told_of.headers["X-Manual-Approval"] == "true"
    assert kissa.files() == {f".pending/{item.pending_name}"}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        pytest.param({}, "Rating (sfw/nsfw/nsfl) is required", id="rating"),
        pytest.param({"rating": "sfw", "tags": "a"}, "At least 3 tags are required", id="tags"),
        pytest.param(FIELDS | {"comment": "x" * 2001},
                     "A comment has at most 2000 characters.", id="comment"),
    ],
)  # fmt: skip
def test_rules_of_the_gallery_are_asked_at_the_beginning(
    kissa: Kissa, alice: Person, fields: dict[str, Any], sentence: str
) -> None:
    described = metadata(filename="a.png", **fields)
    pieces = by_key(kissa, alice)
    assert told(pieces.ask("POST", PATH, Upload_Length="10", **described)) == (400, TEXT, sentence)
    assert kissa.files() == set()
    assert by_token(kissa, alice).begin(10)  # unlisted ones have no such rules


# Refusals


def test_credentials(kissa: Kissa, alice: Person, bob: Person) -> None:
    mine = by_token(kissa, alice)
    path = mine.begin(10)
    for method, where in (("POST", PATH), ("HEAD", path), ("PATCH", path), ("DELETE", path)):
        for who in ({}, {"token": "x"}, {"X-Api-Key": "0" * 64}, {"token": alice.api_key}):
            answer = Pieces(kissa, who).ask(method, where, Tus_Resumable="")
            assert answer.status_code == 401
            assert method == "HEAD" or told(answer) == UNKNOWN_TOKEN
            assert answer.headers["Tus-Resumable"] == "1.0.0"
    for other in (by_token(kissa, bob), by_key(kissa, alice), by_key(kissa, bob)):
        for method in ("HEAD", "DELETE"):
            assert other.ask(method, path).status_code == 404
        assert other.send(path, 0, b"12345").status_code == 404
    assert mine.offset(path) == 0


@pytest.mark.parametrize("version", ["", "0.2.2", "1.0"])
def test_other_versions(pieces: Pieces, version: str) -> None:
    path = pieces.begin(10)
    for method, where in (("POST", PATH), ("HEAD", path), ("PATCH", path), ("DELETE", path)):
        answer = pieces.ask(method, where, Tus_Resumable=version)
        assert answer.status_code == 412
        assert answer.headers["Tus-Version"] == answer.headers["Tus-Resumable"] == "1.0.0"
    assert pieces.offset(path) == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Upload_Length": ""}, 400, id="no length"),
        pytest.param({"Upload_Length": "-1"}, 400, id="negative"),
        pytest.param({"Upload_Length": "1e3"}, 400, id="no number"),
        pytest.param({"Upload_Length": "٣"}, 400, id="other digits"),
        pytest.param({"Upload_Length": "1" * 19}, 400, id="long number"),
        pytest.param({"Upload_Length": "0"}, 400, id="empty file"),
        pytest.param({"Upload_Defer_Length": "1", "Upload_Length": ""}, 400, id="deferred"),
        pytest.param({"Upload_Length": str(MEGABYTE + 1)}, 413, id="too large"),
        pytest.param(metadata(filename="a.exe"), 415, id="blocked"),
        pytest.param({"Upload_Metadata": "filename !"}, 400, id="no base64"),
        pytest.param({"Upload_Metadata": "filename YQ"}, 400, id="no padding"),
        pytest.param({"Upload_Metadata": "a YQ==,a YQ=="}, 400, id="twice"),
        pytest.param({"Upload_Metadata": "a YQ==,,b YQ=="}, 400, id="empty pair"),
        pytest.param({"Upload_Metadata": "a YQ== YQ=="}, 400, id="three words"),
        pytest.param({"Upload_Metadata": "é YQ=="}, 400, id="key"),
    ],
)
def test_refused_at_the_beginning(start: Start, headers: dict[str, Any], status: int) -> None:
    kissa = start(uploads_max_size_mb=1, uploads_blocked_extensions="exe")
    pieces = by_token(kissa, kissa.person("alice"))
    given = {"Upload_Length": "10"} | headers
    given = {key: value.encode().decode("latin-1") for key, value in given.items()}
    answer = pieces.ask("POST", PATH, **given)
    assert (answer.status_code, answer.content_type) == (status, TEXT)
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert kissa.files() == set()
    assert Resumable.select().count() == 0


def test_metadata_without_values(pieces: Pieces) -> None:
    answer = pieces.ask("POST", PATH, Upload_Length="10", Upload_Metadata="is_confidential, x YQ==")
    assert answer.status_code == 201
    assert pieces.ask("POST", PATH, Upload_Length="10", Upload_Metadata="").status_code == 201


def test_a_name_in_latin_1(kissa: Kissa, pieces: Pieces) -> None:
    described = metadata(filename="é.txt".encode("latin-1"))
    answer = pieces.ask("POST", PATH, Upload_Length="1", **described)
    pieces.send(answer.headers["Location"], 0, b"x")
    assert Item.get().original_name == "é.txt"


@pytest.mark.parametrize(
    ("offset", "body", "more", "status"),
    [
        pytest.param("4", b"67890", {}, 409, id="before"),
        pytest.param("6", b"7890", {}, 409, id="behind"),
        pytest.param("", b"67890", {}, 400, id="no offset"),
        pytest.param("x", b"67890", {}, 400, id="no number"),
        pytest.param("5", b"678901", {}, 413, id="beyond the length"),
        pytest.param("5", b"67890", {"Content_Type": "application/json"}, 415, id="type"),
        pytest.param("5", b"67890", {"Content_Type": ""}, 415, id="no type"),
    ],
)
def test_refused_pieces(
    kissa: Kissa, pieces: Pieces, offset: str, body: bytes, more: dict[str, Any], status: int
) -> None:
    path = pieces.begin(10)
    pieces.send(path, 0, b"12345")
    headers = {"Upload_Offset": offset, "Content_Type": PIECE} | more
    answer = pieces.ask("PATCH", path, body, **headers)
    assert (answer.status_code, answer.content_type) == (status, TEXT)
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert pieces.offset(path) == 5


@pytest.mark.parametrize("name", ["x" * 32, "x", "x" * 33, "é" * 32, "%00", "..", "1" * 30])
def test_nothing_under_this_name(kissa: Kissa, pieces: Pieces, name: str) -> None:
    for method in ("HEAD", "PATCH", "DELETE"):
        answer = pieces.ask(method, PATH + name, Upload_Offset="0", Content_Type=PIECE)
        assert answer.status_code == 404


def test_quota_counts_what_was_announced(start: Start) -> None:
    kissa = start(uploads_quota_mb=1, uploads_per_minute=0)
    alice = kissa.person("alice")
    pieces = by_token(kissa, alice)
    path = pieces.begin(MEGABYTE - len(PNG))
    refused = pieces.ask("POST", PATH, Upload_Length=str(len(PNG) + 1))
    assert told(refused) == (507, TEXT, "This upload would pass your quota of 1 MB.")
    assert kissa.upload(alice, b"x" * (len(PNG) + 1)).status_code == 507
    assert kissa.upload(alice).status_code == 200
    assert kissa.upload(alice, b"x").status_code == 507
    content = os.urandom(MEGABYTE - len(PNG))
    assert pieces.send(path, 0, content).status_code == 204
    assert User.get().bytes == MEGABYTE
    assert kissa.upload(alice, b"x").status_code == 507
    kissa.post(pieces.ask("HEAD", path).headers["X-Deletion-URL"][20:])
    path = pieces.begin(MEGABYTE - len(PNG))
    pieces.ask("DELETE", path)
    assert kissa.upload(alice, b"x").status_code == 200


@BOTH
def test_quota_that_shrinks_meanwhile(kissa: Kissa, alice: Person, pieces: Pieces) -> None:
    """The last piece is not acknowledged: it can be sent again, once there is room."""
    content = os.urandom(2 * MEGABYTE)
    path = pieces.begin(len(content))
    pieces.send(path, 0, content[:MEGABYTE])
    User.update(quota_mb=1).execute()
    assert pieces.send(path, MEGABYTE, content[MEGABYTE:]).status_code == 507
    assert pieces.offset(path) == MEGABYTE
    assert Item.select().count() == 0
    User.update(quota_mb=2).execute()
    assert pieces.send(path, MEGABYTE, content[MEGABYTE:]).status_code == 204
    assert kissa.content(Item.get().name) == content


def test_rate(start: Start) -> None:
    """It counts what is stored, and asks at the beginning: an upload that was begun can end."""
    kissa = start(uploads_per_minute=1)
    alice = kissa.person("alice")
    pieces = by_token(kissa, alice)
    path = pieces.begin(10)
    assert kissa.upload(alice).status_code == 200
    assert pieces.send(path, 0, b"1234567890").status_code == 204
    answer = pieces.ask("POST", PATH, Upload_Length="10")
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


def test_at_most_so_many_at_once(kissa: Kissa, alice: Person, bob: Person) -> None:
    pieces = by_token(kissa, alice)
    paths = [pieces.begin(10) for _ in range(resumable.MOST)]
    answer = pieces.ask("POST", PATH, Upload_Length="10")
    assert answer.status_code == 429
    assert "20 unfinished uploads" in answer.text
    assert by_token(kissa, bob).begin(10)
    pieces.send(paths[0], 0, b"1234567890")
    pieces.ask("DELETE", paths[1])
    assert pieces.begin(10)
    assert pieces.begin(10)
    assert pieces.ask("POST", PATH, Upload_Length="10").status_code == 429


def test_no_space(kissa: Kissa, pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pieces.begin(10)
    monkeypatch.setattr(kissa.folder._space, "_ample_until", 0.0)
    monkeypatch.setattr("space.reserve", lambda status: status.f_blocks * status.f_frsize)
    assert pieces.ask("POST", PATH, Upload_Length="10").status_code == 507
    assert pieces.send(path, 0, b"1234567890").status_code == 507
    monkeypatch.undo()
    assert pieces.offset(path) == 0
    assert pieces.send(path, 0, b"1234567890").status_code == 204


def test_a_disk_that_fails_at_the_end(
    kissa: Kissa, pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pieces.begin(10)
    pieces.send(path, 0, b"12345")
    before = kissa.files()

    def fail(_: Any) -> None:
        raise OSError(5, "Input/output error")

    for part in ("sync", "publish"):
        monkeypatch.setattr(kissa.services.storage, part, lambda *_: fail(None), raising=False)
        if part == "sync":
            monkeypatch.setattr(models._engine, "before_commit", lambda: fail(None))
        assert pieces.send(path, 5, b"67890").status_code == 500
        monkeypatch.undo()
        assert kissa.files() == before
        assert Item.select().count() == 0
        assert pieces.offset(path) == 5
    assert pieces.send(path, 5, b"67890").status_code == 204
    assert kissa.content(Item.get().name) == b"1234567890"


# What becomes of unfinished ones


@BOTH
def test_expired(kissa: Kissa, alice: Person, pieces: Pieces, clock: Clock) -> None:
    """A day after the last piece."""
    path = pieces.begin(10)
    clock.advance(hours=23)
    answer = pieces.send(path, 0, b"123")
    ends = parse_date(answer.headers["Upload-Expires"])
    assert ends is not None
    assert (ends - clock()).total_seconds() == 24 * 3600
    clock.advance(hours=23, minutes=59)
    assert pieces.offset(path) == 3
    clock.advance(minutes=2)
    assert pieces.ask("HEAD", path).status_code == 404
    assert pieces.send(path, 3, b"4567890").status_code == 404
    assert len(kissa.files()) == 1
    fresh = pieces.begin(10)  # whoever comes next clears up
    pieces.send(fresh, 0, b"123")
    (kept,) = kissa.files()
    assert kept == f".resumable/{fresh.rpartition('/')[2]}"
    clock.advance(hours=25)
    upkeep.tidy(kissa.services.storage)
    assert kissa.files() == set()
    assert Resumable.select().count() == 0


def test_an_expired_one_takes_no_quota(start: Start, clock: Clock) -> None:
    kissa = start(uploads_quota_mb=1)
    alice = kissa.person("alice")
    by_token(kissa, alice).begin(MEGABYTE)
    assert kissa.upload(alice).status_code == 507
    clock.advance(hours=25)
    assert kissa.upload(alice).status_code == 200


def test_sweep(kissa: Kissa, alice: Person, pieces: Pieces) -> None:
    """Files without an unfinished upload go, those of one stay."""
    store = kissa.services.storage
    kissa.upload(alice)
    kept = pieces.begin(10).rpartition("/")[2]
    done = pieces.begin(10)
    pieces.send(done, 0, b"1234567890")
    for left in (done.rpartition("/")[2], "x" * 32):  # a crash after the commit, one before it
        (kissa.uploads / ".resumable" / left).write_bytes(b"x")
    found = upkeep.look(store, young=True)
    assert {where for where, _ in found.orphans} == {"resumable"}
    assert upkeep.remove(store, found) == 2
    assert os.listdir(kissa.uploads / ".resumable") == [kept]
    assert upkeep.look(store, young=False).orphans == []


def test_a_young_file_is_not_swept_beside_the_server(kissa: Kissa, alice: Person) -> None:
    kissa.upload(alice)
    (kissa.uploads / ".resumable" / ("x" * 32)).write_bytes(b"x")
    assert upkeep.look(kissa.services.storage).orphans == []


def test_bytes_that_are_gone(kissa: Kissa, pieces: Pieces) -> None:
    """As after the restore of a backup, which holds no unfinished upload."""
    paths = [pieces.begin(10) for _ in range(2)]
    for path in paths:
        pieces.send(path, 0, b"12345")
    (kissa.uploads / ".resumable" / paths[0].rpartition("/")[2]).unlink()
    os.truncate(kissa.uploads / ".resumable" / paths[1].rpartition("/")[2], 4)
    for path in paths:
        assert pieces.ask("HEAD", path).status_code == 404
        assert pieces.send(path, 5, b"67890").status_code == 404
        assert pieces.ask("DELETE", path).status_code == 204
    assert kissa.files() == set()


@BOTH
def test_with_the_account_go_its_unfinished_uploads(
    kissa: Kissa, alice: Person, bob: Person, pieces: Pieces
) -> None:
    path, other = pieces.begin(10), by_token(kissa, bob).begin(10)
    pieces.send(path, 0, b"12345")
    by_token(kissa, bob).send(other, 0, b"12345")
    assert kissa.post("/api/user/delete", alice.by_password).status_code == 200
    assert kissa.files() == {f".resumable/{other.rpartition('/')[2]}"}
    assert Resumable.select().count() == 1
    assert pieces.ask("HEAD", path).status_code == 401


def test_a_ban_shuts_out_and_keeps_the_bytes(
    kissa: Kissa, alice: Person, admin: Person, pieces: Pieces
) -> None:
    path = pieces.begin(10)
    headers = admin.by_admin_token | {"username": "alice"}
    kissa.post("/api/admin/ban/user", headers)
    assert pieces.send(path, 0, b"12345").status_code == 401
    assert pieces.ask("HEAD", path).status_code == 401
    kissa.post("/api/admin/unban/user", headers)
    assert pieces.offset(path) == 0


@BOTH
def test_banned_while_the_last_piece_comes(kissa: Kissa, pieces: Pieces) -> None:
    path = pieces.begin(10)

    class Banning(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            User.update(is_banned=True).execute()
            return super().read(size)

    headers = pieces.headers | {"Upload-Offset": "0", "Content-Type": PIECE}
    environ = {
        "wsgi.input": Banning(b"1234567890"), "wsgi.input_terminated": True,
        "CONTENT_LENGTH": "10",
    }  # fmt: skip
    answer = kissa.client.patch(path, headers=headers, environ_overrides=environ)
    assert told(answer) == UNKNOWN_TOKEN
    assert Item.select().count() == 0


def test_hashes_are_forgotten_in_the_end(
    kissa: Kissa, pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_local_partial, "_REMEMBERED", 2)
    storage_local_partial._hashes.clear()
    paths = [pieces.begin(10) for _ in range(3)]
    for path in paths:
        pieces.send(path, 0, b"12345")
    assert len(storage_local_partial._hashes) == 2
    for path in paths:
        assert pieces.send(path, 5, b"67890").status_code == 204
    digests = {item.sha256 for item in Item.select()}
    assert digests == {hashlib.sha256(b"1234567890").digest()}


@BOTH
def test_metrics_count_it_once(kissa: Kissa, admin: Person, pieces: Pieces) -> None:
    path = pieces.begin(10)
    pieces.send(path, 0, b"12345")
    pieces.send(path, 5, b"67890")
    pieces.send(path, 10, b"")
    text = kissa.get("/metrics", admin.by_admin_token).text
    assert 'kissa_uploads_total{api="nekos"} 1.0' in text
    assert 'kissa_upload_bytes_total{api="nekos"} 10.0' in text


# What any other upload may be told


@BOTH
def test_pictures_for_the_gallery_lose_their_metadata(kissa: Kissa, alice: Person) -> None:
    answer = by_key(kissa, alice).whole(TAGGED, name="a.png", **FIELDS)
    assert (answer.status_code, answer.headers["X-Metadata"]) == (204, "removed")
    listed = Item.get()
    assert SECRET not in kissa.content(listed.name)
    assert listed.size < len(TAGGED)
    answer = by_token(kissa, alice).whole(TAGGED, name="a.png")
    assert (answer.status_code, answer.headers.get("X-Metadata")) == (204, None)
    assert SECRET in kissa.content(Item.get(Item.state == "unlisted").name)
    assert User.get(User.username == "alice").bytes == listed.size + len(TAGGED)


@pytest.mark.parametrize(
    ("content", "outcome"), [(b"film", "untouched"), (TAGGED[:40], "unparsed"), (TAGGED, "removed")]
)
def test_the_last_answer_says_what_became_of_the_metadata(
    pieces: Pieces, content: bytes, outcome: str
) -> None:
    path = pieces.begin(len(content), **{"strip-metadata": "yes"})
    first = pieces.send(path, 0, content[:3])
    assert "X-Metadata" not in first.headers
    assert pieces.send(path, 3, content[3:]).headers["X-Metadata"] == outcome
    later = pieces.ask("HEAD", path)
    assert later.headers["X-File-URL"]
    assert "X-Metadata" not in later.headers  # it is not kept


def test_expiry(kissa: Kissa, pieces: Pieces, clock: Clock) -> None:
    assert pieces.whole(CONTENT, expires="2h").status_code == 204
    item = Item.get()
    assert item.expires == clock().replace(microsecond=0) + timedelta(hours=2)


def test_everybody_may_read_it(
    kissa: Kissa, pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As gunicorn runs it, which has no umask."""
    monkeypatch.setattr(kissa.services.storage, "has_umask", False)
    old = os.umask(0)
    try:
        assert pieces.whole(CONTENT).status_code == 204
    finally:
        os.umask(old)
    assert (kissa.uploads / Item.get().name).stat().st_mode & 0o777 == 0o644


def test_into_an_album(kissa: Kissa, pieces: Pieces) -> None:
    assert pieces.whole(CONTENT, album="Holiday").status_code == 204
    assert AlbumItem.get().item == Item.get()
    assert Album.get().title == "Holiday"


@pytest.mark.parametrize(
    "fields", [{"expires": "soon"}, {"strip-metadata": "perhaps"}, {"album": "x" * 101}]
)
def test_wishes_that_are_none(kissa: Kissa, pieces: Pieces, fields: dict[str, str]) -> None:
    described = metadata(filename="a.mp4", **fields)
    answer = pieces.ask("POST", PATH, Upload_Length="9", **described)
    assert answer.status_code == 400
    assert not Resumable.select().exists()
