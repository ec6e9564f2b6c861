"""A Kissa whose files are in a bucket, by every door, on either S3 server; and without one."""

import hashlib
import io
import os
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from PIL import Image
from werkzeug.test import TestResponse

import accounts
import context
import expiry
import items
import models
import start as starting
import storage_s3
import storage_s3_files
import upkeep
from errors import ServiceError
from models import Item, User
from tests.bucket import Place, place_on
from tests.conftest import PNG, Clock, Kissa, Person
from tests.forms import field, file, form
from tests.installation import Installation
from tests.people import Browser, approve
from tests.tagged import exif_segment, plain, with_segments

Start = Callable[..., Kissa]
MIB = 1024 * 1024
LARGE = os.urandom(MIB) * 9 + b"the end"  # two parts


@pytest.fixture(params=["rclone", "ceph"])
def place(request: pytest.FixtureRequest) -> Place:
    return place_on(request.getfixturevalue(request.param))


@pytest.fixture
def lesser(rclone: Any) -> Place:
    """For what is the same on every server."""
    return place_on(rclone)


@pytest.fixture
def begin(start: Start, tmp_path: Path) -> Start:
    """Start a Kissa on a bucket; its folder is empty from beginning to end."""

    def on(place: Place, **keys: object) -> Kissa:
        (tmp_path / "uploads").mkdir(exist_ok=True)
        return start(**(place.keys | {"uploads_per_minute": 0} | keys))

    return on


def send(kissa: Kissa, person: Person, content: bytes, name: str, **fields: str) -> TestResponse:
    """An upload by the nekos API, its body as bytes."""
    parts = [field(key, value) for key, value in fields.items()]
    body = form(*parts, file("uploadFile", content, name))
    return kissa.post("/api/files/upload", person.by_token, **body)


def name_of(response: TestResponse) -> str:
    assert response.status_code == 200, response.text
    return str(response.get_json()["url"]).rpartition("/")[2]


# Receiving


@pytest.mark.parametrize("content", [PNG, LARGE], ids=["small", "large"])
def test_each_door(begin: Start, place: Place, content: bytes) -> None:
    kissa = begin(place)
    alice = kissa.person("alice")
    home = Browser(kissa, "alice")
    stored = {name_of(send(kissa, alice, content, "a.png")): content}
    listing = field("rating", "sfw"), field("tags", "a,b,c")
    body = form(*listing, file("file", content, "b.tar.gz"))
    assert kissa.post("/api/v2/upload", alice.by_key, **body).status_code == 200
    stored[Item.select().order_by(Item.id.desc()).get().name] = content
    assert home.send("c.png").status_code == 200
    stored[Item.select().order_by(Item.id.desc()).get().name] = PNG
    assert home.post("/paste", text="<b>text</b>", title="x.html").status_code == 200
    stored[Item.select().order_by(Item.id.desc()).get().name] = b"<b>text</b>"
    assert place.objects() == {f"files/{name}" for name in stored}
    assert place.uploads() == []
    assert sorted(name.partition(".")[2] for name in stored) == ["html", "png", "png", "tar.gz"]
    for name, expected in stored.items():
        item = Item.get(Item.name == name)
        assert (item.size, item.sha256) == (len(expected), hashlib.sha256(expected).digest())
        kept = place.get(f"files/{name}")
        assert kept["content"] == expected
        served = kissa.get(f"/f/{name}")
        assert served.data == expected
        assert served.content_type == kept["ContentType"]
    assert os.listdir(kissa.uploads) == []


def test_headers_ranges_and_conditions_are_those_of_a_folder(
    begin: Start, start: Start, place: Place
) -> None:
    kissa = begin(place)
    name = kissa.upload_name(kissa.person("alice"), b"0123456789", "page.html")
    asked: list[dict[str, str]] = [
        {}, {"Range": "bytes=2-4"}, {"Range": "bytes=-3"}, {"Range": "bytes=7-"},
        {"Range": "bytes=90-"}, {"Range": "bytes=0-1,4-5"}, {"Range": "lines=1-2"},
    ]  # fmt: skip
    told = [
        (answer.status_code, answer.data if answer.status_code < 400 else b"", dict(answer.headers))
        for answer in (kissa.get(f"/f/{name}", headers) for headers in asked)
    ]
    tag, modified = told[0][2]["ETag"], told[0][2]["Last-Modified"]
    for path in (f"/f/{name}", f"/d/{name}"):
        assert kissa.get(path, {"If-None-Match": tag}).status_code == 304
        assert kissa.get(path, {"If-Modified-Since": modified}).status_code == 304
        head = kissa.client.head(path)
        assert (head.status_code, head.data, head.content_length) == (200, b"", 10)
    local = start(storage_backend="local")
    name = local.upload_name(local.person("bob"), b"0123456789", "page.html")
    varying = ("ETag", "Last-Modified", "Date")
    for headers, (status, data, found) in zip(asked, told, strict=True):
        answer = local.get(f"/f/{name}", headers)
        assert answer.status_code == status
        assert data in (answer.data, b"")
        expected = {key: value for key, value in answer.headers if key not in varying}
        assert {key: value for key, value in found.items() if key not in varying} == expected


def test_what_is_refused_leaves_nothing(begin: Start, place: Place) -> None:
    kissa = begin(place, uploads_quota_mb=10, uploads_max_size_mb=20)
    alice = kissa.person("alice")
    assert send(kissa, alice, LARGE + LARGE, "a.bin").status_code == 507
    cut = form(file("uploadFile", LARGE, "a.bin"), end=b"")
    assert kissa.post("/api/files/upload", alice.by_token, **cut).status_code == 400
    two = form(file("uploadFile", LARGE, "a.bin"), file("uploadFile", PNG, "b.png"))
    assert kissa.post("/api/files/upload", alice.by_token, **two).status_code == 400
    assert send(kissa, alice, PNG, "a.png", expires="never ever").status_code == 400
    assert send(kissa, alice, bytes(21 * MIB), "a.bin").status_code == 413
    assert place.objects() == set()
    assert place.uploads() == []
    assert Item.select().count() == 0
    assert send(kissa, alice, LARGE, "a.bin").status_code == 200


def test_a_name_that_is_taken_is_drawn_anew(
    begin: Start, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    kissa = begin(place, gallery_manual_approval="true")
    alice = kissa.person("alice")
    kissa.list_item(alice)  # waits: its name is reserved, and there is no object under it
    public = kissa.upload_name(alice, b"first", "a.png")
    reserved = Item.get(Item.pending_name.is_null(False)).name
    drawn = [public, reserved, "fresh77.png"]
    monkeypatch.setattr(items, "_names", lambda *_: iter(drawn))
    assert kissa.upload_name(alice, b"second", "b.png") == "fresh77.png"
    assert place.get(f"files/{public}")["content"] == b"first"
    keys = {key for key in place.objects() if key.startswith("files/")}
    assert keys == {f"files/{public}", "files/fresh77.png"}


@pytest.mark.parametrize("padding", [0, 12 * MIB], ids=["small", "large"])
def test_pictures_lose_their_metadata(begin: Start, place: Place, padding: int) -> None:
    kissa = begin(place, uploads_strip_metadata="all")
    alice = kissa.person("alice")
    picture = plain()["jpeg"]
    whole = with_segments(picture, exif_segment()) + b"\0" * padding
    response = send(kissa, alice, whole, "a.jpg")
    assert response.headers["X-Metadata"] == "removed"
    name = name_of(response)
    assert place.objects() == {f"files/{name}"}
    kept = place.get(f"files/{name}")["content"]
    assert b"Exif" not in kept or len(kept) < len(whole)
    assert Item.get().size == len(kept)
    assert Image.open(io.BytesIO(kept)).tobytes() == Image.open(io.BytesIO(picture)).tobytes()


# Waiting


@pytest.mark.parametrize("content", [PNG, LARGE], ids=["small", "large"])
def test_waiting_and_approved(begin: Start, place: Place, content: bytes) -> None:
    kissa = begin(place, gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    listing = field("rating", "sfw"), field("tags", "a,b,c")
    body = form(*listing, file("file", content, "b.png"))
    number = int(kissa.post("/api/v2/upload", alice.by_key, **body).get_json()["itemid"])
    item = Item.get_by_id(number)
    assert place.objects() == {f"pending/{item.pending_name}"}
    assert kissa.get(f"/f/{item.name}").status_code == 404
    seen = kissa.get(f"/api/v2/items/{number}/file", alice.by_key)
    assert (seen.status_code, seen.data) == (200, content)
    assert seen.headers["Cache-Control"] == "private, no-store"
    assert Browser(kissa, "alice").get(f"/waiting/{number}").data == content
    assert Browser(kissa).get(f"/waiting/{number}").status_code == 303
    approve(kissa, admin, number)
    assert place.objects() == {f"files/{item.name}"}
    assert place.get(f"files/{item.name}")["ContentType"] == "image/png"
    assert kissa.get(f"/f/{item.name}").data == content


def test_nobody_waits_by_the_other_api(begin: Start, place: Place) -> None:
    """Where uploads may wait, a long one is received among those that do, and copied from there."""
    kissa = begin(place, gallery_manual_approval="true")
    name = name_of(send(kissa, kissa.person("alice"), LARGE, "film.mp4"))
    assert place.objects() == {f"files/{name}"}
    kept = place.get(f"files/{name}")
    assert (kept["content"], kept["ContentType"]) == (LARGE, "video/mp4")


def test_rejected(begin: Start, place: Place) -> None:
    kissa = begin(place, gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    number = kissa.item_id(alice)
    answer = kissa.post(f"/api/v2/queue/{number}/reject", admin.by_admin_token)
    assert answer.status_code == 200
    assert place.objects() == set()


def test_decisions_race(begin: Start, lesser: Place) -> None:
    """Whatever admins decide at once: the bytes of what was approved are public, others gone."""
    kissa = begin(lesser, gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    user, store = User.get(User.username == admin.username), kissa.services.storage
    acts = [lambda n: items.approve(store, user, n)] * 2 + [
        lambda n: items.reject(store, user, n, "")
    ]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(6):
            number = kissa.item_id(alice)
            barrier = threading.Barrier(3)

            def decide(
                act: Callable[[int], None],
                number: int = number,
                barrier: threading.Barrier = barrier,
            ) -> bool:
                barrier.wait()
                try:
                    act(number)
                except ServiceError:
                    return False
                finally:
                    models.disconnect()
                return True

            assert list(pool.map(decide, acts)).count(True) == 1
    public = {f"files/{item.name}" for item in Item.select() if item.state == "listed"}
    assert lesser.objects() == public


def test_a_failed_approval_leaves_the_item_waiting(
    begin: Start, lesser: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    kissa = begin(lesser, gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    number = kissa.item_id(alice)
    item = Item.get_by_id(number)
    with monkeypatch.context() as patch:
        patch.setattr(items.audit, "record", lambda *_: 1 / 0)
        answer = kissa.post(f"/api/v2/queue/{number}/approve", admin.by_admin_token)
    assert answer.status_code == 500
    assert kissa.get(f"/api/v2/items/{number}").status_code == 404
    store = kissa.services.storage
    assert items.undo_releases(store) == 0  # it may be under way on another host
    monkeypatch.setattr(items, "_STALE", -60)
    assert items.undo_releases(store) == 1
    assert lesser.objects() == {f"pending/{item.pending_name}"}
    approve(kissa, admin, number)
    assert lesser.objects() == {f"files/{item.name}"}


def test_a_delete_right_after_an_approval_is_one(
    begin: Start, lesser: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    kissa = begin(lesser, gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    number, end = kissa.item_id(alice), items._end_waiting
    item = Item.get_by_id(number)

    def delete_then_end(*args: Any) -> None:
        answer = kissa.post("/api/files/delete", alice.by_token | {"file": item.name})
        assert answer.status_code == 200
        end(*args)

    monkeypatch.setattr(items, "_end_waiting", delete_then_end)
    approve(kissa, admin, number)
    assert lesser.objects() == set()


@pytest.mark.parametrize("backend", ["local", "s3"])
def test_an_approval_while_the_account_ends(
    begin: Start, start: Start, monkeypatch: pytest.MonkeyPatch, request: Any, backend: str
) -> None:
    """It would make public what the end of the account has seen waiting."""
    keys = {"gallery_manual_approval": "true"}
    is_s3 = backend == "s3"
    kissa = begin(request.getfixturevalue("lesser"), **keys) if is_s3 else start(**keys)
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    number, unlink, answers = kissa.item_id(alice), items.unlink, []

    def approve_then_unlink(*args: Any) -> None:
        path = f"/api/v2/queue/{number}/approve"
        answers.append(kissa.post(path, admin.by_admin_token).status_code)
        unlink(*args)

    monkeypatch.setattr(items, "unlink", approve_then_unlink)
    store = kissa.services.storage
    accounts.delete(store, User.get(User.username == "alice"))
    assert answers == [404]
    assert [*store.list_public(), *store.list_pending()] == []


def test_an_approval_whose_bytes_another_host_takes_back(
    begin: Start, lesser: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have looked at what an approval cut short an hour ago had left there."""
    kissa = begin(lesser, gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    number, write = kissa.item_id(alice), models.write
    item, store = Item.get_by_id(number), kissa.services.storage

    def take_back_then_write(*args: Any, **named: Any) -> Any:
        if store.withdraw(item.name, str(item.pending_name)):
            monkeypatch.setattr(models, "write", write)
        return write(*args, **named)

    monkeypatch.setattr(models, "write", take_back_then_write)
    approve(kissa, admin, number)
    assert models.write is write
    assert lesser.objects() == {f"files/{item.name}"}


# Reading


def opened(response: TestResponse) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.data))


def test_thumbnails(begin: Start, place: Place) -> None:
    kissa = begin(place)
    alice = kissa.person("alice")
    name = kissa.upload_name(alice, plain()["png"], "a.png")
    none = kissa.upload_name(alice, b"no picture", "b.png")
    first = kissa.get(f"/t/{name}")
    assert opened(first).format == "WEBP"
    assert kissa.get(f"/t/{none}").status_code == 404
    assert kissa.get(f"/t/{none}").status_code == 404
    files = {f"files/{name}", f"files/{none}"}
    assert place.objects() - files == {f"thumbnails/{name}.webp", f"thumbnails/{none}.none"}
    assert Item.get(Item.name == name).width
    again = kissa.get(f"/t/{name}", {"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    for one in (name, none):
        kissa.post("/api/files/delete", alice.by_token | {"file": one})
    assert place.objects() == set()
    assert os.listdir(kissa.uploads) == []


def test_a_thumbnail_of_what_is_deleted_meanwhile(
    begin: Start, lesser: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    import thumbnails

    kissa = begin(lesser)
    alice = kissa.person("alice")
    name = kissa.upload_name(alice, plain()["png"], "a.png")
    run = thumbnails._run

    def delete_then_run(*args: Any) -> Any:
        kissa.post("/api/files/delete", alice.by_token | {"file": name})
        return run(*args)

    monkeypatch.setattr(thumbnails, "_run", delete_then_run)
    assert kissa.get(f"/t/{name}").status_code == 404
    assert lesser.objects() == set()


@pytest.mark.parametrize("state", ["public", "waiting"])
def test_a_thumbnail_of_what_is_just_being_deleted(
    begin: Start, lesser: Place, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """Its bytes go before its row, and the thumbnail comes in between."""
    import thumbnails

    kissa = begin(lesser, gallery_manual_approval="true")
    alice, browser = kissa.person("alice"), Browser(kissa, "alice")
    if state == "public":
        path = f"/t/{kissa.upload_name(alice)}"
    else:
        path = f"/waiting/{kissa.item_id(alice)}/thumbnail"
    item, run = Item.get(), thumbnails._run

    def run_then_unlink(*args: Any) -> Any:
        done = run(*args)
        items.unlink(kissa.services.storage, [item])
        return done

    monkeypatch.setattr(thumbnails, "_run", run_then_unlink)
    assert browser.get(path).status_code == 404
    assert lesser.objects() == set()


def test_albums_texts_and_downloads(begin: Start, place: Place) -> None:
    kissa = begin(place)
    alice = kissa.person("alice")
    answer = kissa.upload(alice, b"print(1)\n", "ä.py", album="Both")
    name = name_of(answer)
    send(kissa, alice, LARGE, "film.mp4", album="Both")
    album = urlsplit(answer.headers["X-Album-URL"]).path
    with zipfile.ZipFile(io.BytesIO(kissa.get(f"{album}.zip").data)) as archive:
        assert archive.testzip() is None
        assert {archive.read(entry) for entry in archive.namelist()} == {b"print(1)\n", LARGE}
    assert "print" in kissa.get(f"/v/{name}").text
    saved = kissa.get(f"/d/{name}")
    assert saved.content_type == "application/octet-stream"
    assert saved.headers["Content-Disposition"].startswith("attachment")


def test_through_nginx_by_a_signed_path(begin: Start, ceph: Any) -> None:
    place = place_on(ceph)
    kissa = begin(place, server_proxy_hops=1, gallery_manual_approval="true")
    alice = kissa.person("alice")
    name = kissa.upload_name(alice, b"<b>", "a.html")
    number = kissa.item_id(alice)
    ours = {"X-Kissa-Accel": "1"}
    for path, headers, content, kind in (
        (f"/f/{name}", ours, b"<b>", "text/plain; charset=utf-8"),
        (f"/d/{name}", ours, b"<b>", "application/octet-stream"),
        (f"/api/v2/items/{number}/file", ours | alice.by_key, PNG, "image/png"),
    ):
        answer = kissa.get(path, headers)
        assert (answer.status_code, answer.data) == (200, b"")
        assert answer.content_type == kind
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        inner = answer.headers["X-Accel-Redirect"]
        assert inner.startswith(f"/_s3/{place.bucket.name}/{place.prefix}")
        found = requests.get(place.bucket.endpoint + inner.removeprefix("/_s3"), timeout=10)
        assert (found.status_code, found.content) == (200, content)
    assert "X-Accel-Redirect" not in kissa.get(f"/f/{name}").headers


@pytest.mark.parametrize("server", ["ceph", "rclone"])
def test_without_signed_paths_everything_comes_from_here(
    begin: Start, request: pytest.FixtureRequest, server: str
) -> None:
    """Because the operator wants it so, or since the server answers a range with 200."""
    place = place_on(request.getfixturevalue(server))
    presigned = "false" if server == "ceph" else "true"
    kissa = begin(place, server_proxy_hops=1, storage_presigned=presigned)
    name = kissa.upload_name(kissa.person("alice"))
    answer = kissa.get(f"/f/{name}", {"X-Kissa-Accel": "1"})
    assert answer.data == PNG


def test_redirects_to_the_public_address(begin: Start, place: Place) -> None:
    public = f"{place.bucket.endpoint}/{place.bucket.name}/"
    kissa = begin(place, storage_public_url=public, gallery_manual_approval="true")
    alice = kissa.person("alice")
    name = kissa.upload_name(alice, b"<svg/>", "a.svg")
    number = kissa.item_id(alice)
    answer = kissa.get(f"/f/{name}")
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"{public}{place.prefix}files/{name}"
    assert answer.headers["Cache-Control"] == "no-cache"
    kept = place.get(f"files/{name}")
    # Without our headers a drawing must not run: there it is something to save.
    assert kept["ContentDisposition"] == "attachment"
    for path, headers, content in (
        (f"/d/{name}", {}, b"<svg/>"),
        (f"/api/v2/items/{number}/file", alice.by_key, PNG),
    ):
        answer = kissa.get(path, headers)
        assert answer.status_code == 302
        found = requests.get(answer.headers["Location"], timeout=10)
        assert (found.status_code, found.content) == (200, content)
        assert kissa.client.head(path, headers=headers).status_code == 200
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert "X-Amz-Expires=60&" in answer.headers["Location"]
    waiting = Item.get_by_id(number)
    for unknown in ("nothing.svg", "..", "%2e%2e", waiting.name, waiting.pending_name):
        assert kissa.get(f"/f/{unknown}").status_code == 404, unknown


def test_what_waits_is_not_read_by_its_public_name(begin: Start, lesser: Place) -> None:
    """Not even where an approval that a crash cut short has left its bytes under it."""
    kissa = begin(lesser, gallery_manual_approval="true", server_proxy_hops=1)
    kissa.item_id(kissa.person("alice"))
    item = Item.get()
    kissa.services.storage.release(str(item.pending_name), item.name)
    for headers in ({}, {"X-Kissa-Accel": "1"}):
        for path in ("f", "d", "t"):
            assert kissa.get(f"/{path}/{item.name}", headers).status_code == 404


# Removing


def test_deleted_ended_purged(begin: Start, place: Place, clock: Clock) -> None:
    kissa = begin(place, uploads_quota_mb=20, uploads_when_full="evict_oldest")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    mine = kissa.upload_name(alice)
    kissa.post("/api/files/delete", alice.by_token | {"file": mine})
    assert place.objects() == set()
    taken = kissa.upload_name(alice)
    answer = kissa.post("/api/admin/delete/file", admin.by_admin_token | {"file": taken})
    assert answer.status_code == 200, answer.text
    assert place.objects() == set()
    assert kissa.upload(alice, expires="1h").status_code == 200
    clock.advance(hours=2)
    assert expiry.end_due(kissa.services.storage) == 1
    assert place.objects() == set()
    for _ in range(3):  # the third makes the first go
        last = name_of(send(kissa, alice, LARGE, "a.bin"))
    assert len(place.objects()) == 2
    assert f"files/{last}" in place.objects()
    accounts.delete(kissa.services.storage, User.get(User.username == "alice"))
    assert place.objects() == set()


def test_the_sweep(begin: Start, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    kissa = begin(place)
    name = kissa.upload_name(kissa.person("alice"))
    store = kissa.services.storage
    orphans = {"files/abcdefg.png", f"pending/{'x' * 32}", "thumbnails/abcdefg.png.webp"}
    foreign = {"files/UPPER.PNG", "elsewhere/abcdefg.png"}
    for key in orphans | foreign:
        place.put(key, b"x")
    found = upkeep.look(store, young=True)
    assert (found.orphans, found.thumbnails, found.lost) == ([], [], [])  # another host's, perhaps
    monkeypatch.setattr(upkeep, "AGE", -60)
    found = upkeep.look(store)
    assert len(found.orphans) == 2
    assert upkeep.remove(store, found) == 3
    assert place.objects() == foreign | {f"files/{name}"}
    place.client().delete_object(Bucket=place.bucket.name, Key=f"{place.prefix}files/{name}")
    assert upkeep.look(store).lost == [name]


def test_uploads_by_parts_of_others_go_on(
    begin: Start, lesser: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    kissa = begin(lesser)
    keys = {"files/abcdefg.png", f"pending/{'x' * 32}", "backup/abcdefg.png", "files/UPPER.PNG"}
    for key in keys:
        where = {"Bucket": lesser.bucket.name, "Key": lesser.prefix + key}
        lesser.client().create_multipart_upload(**where)
    monkeypatch.setattr(storage_s3, "ABANDONED", -60)
    monkeypatch.setattr(upkeep, "AGE", -60)
    kissa.upload(kissa.person("alice"))
    assert upkeep.remove(kissa.services.storage, upkeep.look(kissa.services.storage)) == 2
    assert set(lesser.uploads()) == {"backup/abcdefg.png", "files/UPPER.PNG"}


def test_an_undo_looks_in_its_write_only_at_what_it_found(
    begin: Start, lesser: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else can write meanwhile, and each look is a request."""
    kissa = begin(lesser, gallery_manual_approval="true")
    alice = kissa.person("alice")
    numbers = [kissa.item_id(alice) for _ in range(3)]
    lesser.put(f"files/{Item.get_by_id(numbers[1]).name}", b"x")
    monkeypatch.setattr(items, "_STALE", -60)
    write, looks = models.write, []
    store = kissa.services.storage
    changed = store.changed

    def counted(*args: Any, **named: Any) -> Any:
        looks.append(args)
        return changed(*args, **named)

    def counting_write(*args: Any, **named: Any) -> Any:
        monkeypatch.setattr(store, "changed", counted)
        return write(*args, **named)

    monkeypatch.setattr(models, "write", counting_write)
    assert items.undo_releases(store) == 1
    assert len(looks) == 1


def test_a_sweep_just_before_the_row_of_an_upload_that_took_long(
    begin: Start, lesser: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Amazon dates an upload by parts by its beginning, so that it is no hour young at its end."""
    kissa = begin(lesser)
    alice, write = kissa.person("alice"), models.write
    monkeypatch.setattr(storage_s3_files, "_OLD", -1)
    monkeypatch.setattr(upkeep, "AGE", -60)
    assert send(kissa, alice, LARGE, "kept.bin").status_code == 200

    def sweep_then_write(*args: Any, **named: Any) -> Any:
        monkeypatch.setattr(models, "write", write)
        store = kissa.services.storage
        assert upkeep.remove(store, upkeep.look(store)) == 1
        return write(*args, **named)

    monkeypatch.setattr(models, "write", sweep_then_write)
    assert send(kissa, alice, LARGE, "swept.bin").status_code == 503
    assert Item.select().count() == len(lesser.objects()) == 1


def test_a_start_leaves_what_is_young(begin: Start, lesser: Place) -> None:
    kissa = begin(lesser)
    kissa.upload_name(kissa.person("alice"))
    lesser.put("files/another.png", b"x")
    config = kissa.services.config
    context.close_services(kissa.services)
    started = starting.prepare(config)
    os.close(started.lock)
    assert "files/another.png" in lesser.objects()
    assert any("If-None-Match" in note for note in started.notes)
    context.open_services(config)


# Without the server


@pytest.fixture
def gone(lesser: Place) -> Iterator[Callable[[], None]]:
    """Stops the server; it is there again after the test."""
    yield lesser.server.stop
    if lesser.server.process is None:
        lesser.server.start()


def test_a_server_that_is_gone_is_a_503_and_nothing_is_lost(
    begin: Start, lesser: Place, gone: Callable[[], None]
) -> None:
    kissa = begin(lesser, gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    home = Browser(kissa, "alice")
    name, number = kissa.upload_name(alice), kissa.item_id(alice)
    before = lesser.objects()
    gone()

    def answers() -> dict[str, TestResponse]:
        delete = kissa.post("/api/files/delete", alice.by_token | {"file": name})
        return {
            "nekos": send(kissa, alice, PNG, "a.png"),
            "nekos, large": send(kissa, alice, LARGE, "a.png"),
            "f0ckm": kissa.list_item(alice),
            "web": home.send("c.png", as_json=True),
            "paste": home.post("/paste", text="text"),
            "read": kissa.get(f"/f/{name}"),
            "thumbnail": kissa.get(f"/t/{name}"),
            "delete": delete,
            "approve": kissa.post(f"/api/v2/queue/{number}/approve", admin.by_admin_token),
            "health": kissa.get("/healthz"),
        }

    for what, answer in answers().items():
        assert answer.status_code == 503, what
        if what != "health":
            assert answer.headers["Retry-After"] == "5", what
            assert "does not answer just now" in answer.text, what
    assert Item.select().count() == 2
    lesser.server.start()
    assert lesser.objects() == before
    assert kissa.get(f"/f/{name}").data == PNG
    assert kissa.get("/healthz").status_code == 200
    assert send(kissa, alice, LARGE, "a.png").status_code == 200
    approve(kissa, admin, number)
    answer = kissa.post("/api/files/delete", alice.by_token | {"file": name})
    assert answer.status_code == 200


def test_a_server_that_goes_in_the_middle(
    begin: Start, lesser: Place, gone: Callable[[], None]
) -> None:
    kissa = begin(lesser)
    store = kissa.services.storage
    incoming = store.open("a.mp4")
    incoming.write(LARGE)
    gone()
    with pytest.raises(ServiceError):
        incoming.write(LARGE)
    incoming.close()
    lesser.server.start()
    assert lesser.objects() == set()


def test_an_answer_that_is_lost_loses_no_upload(
    begin: Start, lesser: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of an upload by parts is done, and done again since its answer did not come."""
    kissa = begin(lesser)
    alice = kissa.person("alice")
    store = kissa.services.storage
    assert isinstance(store, storage_s3.S3Storage)
    client = store._bucket._client
    complete = client.complete_multipart_upload

    def twice(**named: Any) -> Any:
        complete(**named)
        return complete(**named)

    monkeypatch.setattr(client, "complete_multipart_upload", twice)
    name = name_of(send(kissa, alice, LARGE, "a.bin"))
    assert lesser.objects() == {f"files/{name}"}
    assert kissa.get(f"/f/{name}").data == LARGE


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"storage_endpoint": "http://127.0.0.1:9"}, "Could not connect"),
        ({"storage_bucket": "not-there"}, "there is no such bucket"),
        ({"storage_secret_key": "wrong"}, "the keys do not open it"),
    ],
)
def test_a_start_says_what_is_wrong(
    begin: Start, lesser: Place, keys: dict[str, str], told: str
) -> None:
    kissa = begin(lesser, **keys)
    config = kissa.services.config
    context.close_services(kissa.services)
    with pytest.raises(starting.StartError) as caught:
        starting.prepare(config)
    (line,) = caught.value.faults
    assert line.startswith("[storage] backend = s3: bucket ")
    assert told in line
    assert lesser.bucket.secret_key not in line
    context.open_services(config)


def test_a_start_without_boto3_says_what_to_run(
    begin: Start, lesser: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    kissa = begin(lesser)
    config = kissa.services.config
    context.close_services(kissa.services)
    with monkeypatch.context() as patch:
        for name in ("bucket", "storage_s3", "storage_s3_files"):
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "boto3", None)
        with pytest.raises(starting.StartError) as caught:
            starting.prepare(config)
    told = "[storage] backend = s3: there is no Python package boto3; run: make setup WITH=s3"
    assert caught.value.faults == [told]
    context.open_services(config)


# What there is not


def test_pages_and_metrics_know_no_disk(begin: Start, lesser: Place) -> None:
    kissa = begin(lesser)
    admin = kissa.person("admin", admin=True)
    page = Browser(kissa, "admin").text("/admin")
    assert "<dt>Storage</dt><dd>S3</dd>" in page
    assert "<dt>Disk</dt>" not in page
    measured = kissa.get("/metrics", admin.by_admin_token).text
    is_file = kissa.services.config.database.is_file
    assert ('kissa_disk_free_bytes{what="database"}' in measured) is is_file
    assert 'what="storage"' not in measured


def test_commands(lesser: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installation = Installation(tmp_path, monkeypatch).make()
    for name, value in lesser.environ.items():
        monkeypatch.setenv(name, value)
    assert "S3" in installation.does("stats")
    installation.does("sweep")
    installation.does("check")
    assert "bucket" in installation.refuses("backup", str(tmp_path / "backup"))
    assert "bucket" in installation.refuses("restore", str(tmp_path / "backup"))
    assert not (tmp_path / "backup").exists()
    assert storage_s3.ABANDONED == 24 * 3600
