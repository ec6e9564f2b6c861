"""What both upload endpoints have in common: the order of refusals, the limits, bare URLs."""

import io
import os
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.conftest import PNG, Clock, Kissa, Person
from tests.forms import CONTENT_TYPE, END, field, file, form

MIB = 1024 * 1024
TIB = MIB * MIB
PATHS = {"nekos": "/api/files/upload", "f0ckm": "/api/v2/upload"}
FILE_FIELD = {"nekos": "uploadFile", "f0ckm": "file"}
LISTING = [field("rating", "sfw"), field("tags", "a,b,c")]
BROKEN = "The multipart body is broken or incomplete."
Start = Callable[..., Kissa]
both = pytest.mark.parametrize("api", ["nekos", "f0ckm"])


def post(
    kissa: Kissa, api: str, person: Person | None, data: bytes, **more: Any
) -> tuple[int, str, TestResponse]:
    """Status, sentence and answer of an upload with this body."""
    headers = {} if person is None else person.by_token if api == "nekos" else person.by_key
    arguments = {"content_type": CONTENT_TYPE} | more
    answer = kissa.post(PATHS[api], headers, data=data, **arguments)
    if api == "nekos":
        if answer.status_code != 200:
            assert answer.content_type == "text/plain; charset=utf-8"
        return answer.status_code, answer.text, answer
    body = answer.get_json()
    assert body["success"] is (answer.status_code == 200)
    return answer.status_code, body["msg"], answer


def one_file(api: str, content: bytes = PNG, name: str = "cat.png") -> bytes:
    """A complete body."""
    body: bytes = form(*LISTING, file(FILE_FIELD[api], content, name))["data"]
    return body


# The order


@both
def test_before_the_body(start: Start, clock: Clock, api: str) -> None:
    """One request with every fault at once, healed one by one."""
    kissa = start(uploads_max_size_mb=MIB, uploads_per_minute=1)
    alice, stranger = kissa.person("alice"), None
    kissa.upload_name(alice)
    before = kissa.files()
    broken: dict[str, Any] = {"data": b"no multipart", "content_type": "text/plain"}
    too_long: dict[str, Any] = {"environ_overrides": {"CONTENT_LENGTH": str(TIB + MIB + 1)}}
    just_fits: dict[str, Any] = {"environ_overrides": {"CONTENT_LENGTH": str(TIB + MIB)}}
    assert post(kissa, api, stranger, **broken, **too_long)[0] == 401
    status, _, answer = post(kissa, api, alice, **broken, **too_long)
    assert status == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 61
    clock.advance(minutes=1)
    assert post(kissa, api, alice, **broken, **too_long)[0] == 413
    room = os.statvfs(kissa.uploads)
    if room.f_bavail * room.f_frsize < TIB:  # no disk of ours holds a TiB, so this is "full"
        assert post(kissa, api, alice, **broken, **just_fits)[0] == 507
    assert post(kissa, api, alice, **broken)[:2] == (400, "No file provided")
    assert kissa.files() == before


@both
@pytest.mark.parametrize("fault", ["unknown", "too long", "too often"])
def test_an_early_refusal_reads_the_body(start: Start, api: str, fault: str) -> None:
    kissa = start(uploads_max_size_mb=1, uploads_per_minute=1)
    alice = kissa.person("alice")
    stream = io.BytesIO(one_file(api, b"x" * (900_000 if fault != "too long" else 2 * MIB)))
    if fault == "too often":
        kissa.upload_name(alice)
    headers = {} if fault == "unknown" else alice.by_token | alice.by_key
    answer = kissa.post(PATHS[api], headers, input_stream=stream, content_type=CONTENT_TYPE)
    assert answer.status_code == {"unknown": 401, "too long": 413, "too often": 429}[fault]
    assert stream.tell() == len(stream.getvalue())


@both
def test_the_body_before_its_content(start: Start, api: str) -> None:
    """Each of these also lacks rating and tags, and is of a blocked kind and over quota."""
    kissa = start(
        uploads_max_size_mb=2, uploads_quota_mb=1, uploads_blocked_extensions="exe", site_name="K"
    )
    alice = kissa.person("alice")
    bad = file(FILE_FIELD[api], b"x" * (MIB + 1), "bad.exe")
    assert post(kissa, api, alice, bad[:-100])[:2] == (
        400,
        "No file provided" if api == "f0ckm" else BROKEN,
    )
    begun = field("x", "y")[:-5]
    assert post(kissa, api, alice, bad + begun)[:2] == (400, BROKEN)
    too_large = file(FILE_FIELD[api], b"x" * (2 * MIB + 1), "bad.exe")
    assert post(kissa, api, alice, too_large + END)[0] == 413
    assert post(kissa, api, alice, too_large)[0] == 413
    fields = b"".join(field(f"f{i}", "x" * 60_000) for i in range(5))
    assert post(kissa, api, alice, fields + bad + END)[0] == 413
    parts = b"".join(field(f"f{i}", "x") for i in range(60))
    assert post(kissa, api, alice, parts + bad + END)[0] == 413
    assert kissa.files() == set()


def test_after_the_body(start: Start) -> None:
    """The faults of a complete body, healed one by one."""
    kissa = start(uploads_max_size_mb=2, uploads_quota_mb=1, uploads_blocked_extensions="exe")
    alice = kissa.person("alice")
    large = b"x" * (MIB + 1)
    bad = file("file", large, "bad.exe")

    def refusal(*parts: bytes) -> tuple[int, str]:
        return post(kissa, "f0ckm", alice, form(*parts)["data"])[:2]

    assert refusal() == (400, "No file provided")
    assert refusal(file("file", b"", "bad.exe")) == (400, "The file is empty.")
    assert refusal(bad, bad[:200] + b"\r\n") == (400, "Send one file at a time.")
    assert refusal(bad) == (400, "Rating (sfw/nsfw/nsfl) is required")
    assert refusal(bad, LISTING[0]) == (400, "At least 3 tags are required")
    assert refusal(bad, LISTING[0], field("comment", "x" * 2001))[1].startswith("At least 3 tags")
    status, msg = refusal(bad, *LISTING)
    assert status == 415
    assert ".exe" in msg
    status, msg = refusal(file("file", large), *LISTING)
    assert status == 507
    assert "1 MB" in msg
    assert kissa.files() == set()
    assert refusal(file("file", large[:-1]), *LISTING)[0] == 200


def test_after_the_body_of_nekos(start: Start) -> None:
    kissa = start(uploads_max_size_mb=2, uploads_quota_mb=1, uploads_blocked_extensions="exe")
    alice = kissa.person("alice")
    large = b"x" * (MIB + 1)
    bad = file("uploadFile", large, "bad.exe")

    def refusal(*parts: bytes) -> int:
        return post(kissa, "nekos", alice, form(*parts)["data"])[0]

    assert refusal() == 400
    assert refusal(file("uploadFile", b"", "bad.exe")) == 400
    assert refusal(bad, bad[:200] + b"\r\n") == 400
    assert refusal(bad) == 415
    assert refusal(file("uploadFile", large)) == 507
    assert kissa.files() == set()
    assert refusal(file("uploadFile", large[:-1])) == 200


@both
def test_a_body_of_unknown_length(start: Start, api: str) -> None:
    kissa = start(uploads_max_size_mb=1)
    alice = kissa.person("alice")

    def chunked(body: bytes) -> int:
        return kissa.post(
            PATHS[api],
            alice.by_token | alice.by_key | {"Transfer-Encoding": "chunked"},
            input_stream=io.BytesIO(body),
            content_type=CONTENT_TYPE,
            environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
        ).status_code

    assert chunked(one_file(api)) == 200
    stored = kissa.files()
    assert chunked(one_file(api) + b"\r\n" * MIB) == 413
    assert chunked(one_file(api, b"x" * (MIB + 1))) == 413
    assert chunked(one_file(api)[:-5]) == 400
    assert kissa.files() == stored


# Limits


@both
def test_largest_file(start: Start, api: str) -> None:
    kissa = start(uploads_max_size_mb=1)
    alice = kissa.person("alice")
    status, message, _ = post(kissa, api, alice, one_file(api, b"x" * (MIB + 1)))
    assert status == 413
    assert "1 MB" in message
    assert kissa.files() == set()
    assert post(kissa, api, alice, one_file(api, b"x" * MIB))[0] == 200


@both
def test_per_minute_counts_both_apis_together(start: Start, clock: Clock, api: str) -> None:
    kissa = start(uploads_per_minute=3)
    alice, bob = kissa.person("alice"), kissa.person("bob")
    kissa.upload_name(alice)
    clock.advance(seconds=20)
    kissa.item_id(alice)
    clock.advance(seconds=20)
    kissa.upload_name(alice)
    status, _, answer = post(kissa, api, alice, one_file(api))
    assert status == 429
    assert 20 <= int(answer.headers["Retry-After"]) <= 21
    assert post(kissa, api, bob, one_file(api))[0] == 200
    clock.advance(seconds=19)
    assert post(kissa, api, alice, one_file(api))[0] == 429
    clock.advance(seconds=1)
    assert post(kissa, api, alice, one_file(api))[0] == 200
    assert post(kissa, api, alice, one_file(api))[0] == 429
    clock.advance(minutes=1)
    assert [post(kissa, api, alice, one_file(api))[0] for _ in range(4)] == [200, 200, 200, 429]


@both
def test_per_minute_0_is_no_limit(start: Start, clock: Clock, api: str) -> None:
    kissa = start(uploads_per_minute=0, storage_durable="false")
    alice = kissa.person("alice")
    assert {post(kissa, api, alice, one_file(api))[0] for _ in range(130)} == {200}


@both
def test_quota_at_its_edge(start: Start, api: str) -> None:
    kissa = start(uploads_quota_mb=1)
    alice, bob = kissa.person("alice"), kissa.person("bob")
    assert post(kissa, "nekos", alice, one_file("nekos", b"x" * (MIB - 10)))[0] == 200
    first = kissa.post("/api/files/list", alice.by_token).get_json()[0]
    status, message, _ = post(kissa, api, alice, one_file(api, b"x" * 11))
    assert status == 507
    assert "quota" in message
    assert post(kissa, api, alice, one_file(api, b"x" * 10))[0] == 200
    assert post(kissa, api, alice, one_file(api, b"x"))[0] == 507
    assert post(kissa, api, bob, one_file(api))[0] == 200
    assert kissa.post("/api/files/delete", alice.by_token | {"file": first}).status_code == 200
    assert post(kissa, api, alice, one_file(api))[0] == 200


def test_waiting_items_count_for_the_quota_and_rejected_ones_do_not(start: Start) -> None:
    kissa = start(uploads_quota_mb=1, gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    answer = post(kissa, "f0ckm", alice, one_file("f0ckm", b"x" * MIB))[2]
    number = answer.get_json()["itemid"]
    assert kissa.upload(alice).status_code == 507
    reject = f"/api/v2/queue/{number}/reject"
    assert kissa.post(reject, admin.by_admin_token).status_code == 200
    assert kissa.upload(alice).status_code == 200


@both
@pytest.mark.parametrize(
    ("name", "is_blocked"),
    [
        ("a.exe", True),
        ("a.EXE", True),
        ("a.png.exe", True),
        (r"C:\temp\a.exe", True),
        ("a.exe.png", False),
        ("exe", False),
        ("a.tar.gz", True),
        ("a.gz", False),
        ("a.tar.xz", True),
        ("a.xz", True),
        (".exe", False),
    ],
)
def test_blocked_extensions(start: Start, api: str, name: str, is_blocked: bool) -> None:
    kissa = start(uploads_blocked_extensions="exe, .tar.gz xz")
    answer = post(kissa, api, kissa.person("alice"), one_file(api, PNG, name))
    assert answer[0] == (415 if is_blocked else 200)
    assert bool(kissa.files()) is not is_blocked


# Bare URLs


@both
@pytest.mark.parametrize(
    ("accept", "is_text"),
    [
        ("text/plain", True),
        ("text/plain;q=0.9, */*;q=0.1", True),
        ("Text/Plain", True),
        ("text/plain, application/json", False),
        ("application/json", False),
        ("*/*", False),
        ("text/html", False),
    ],
)
def test_bare_url_for_scripts(
    kissa: Kissa, alice: Person, api: str, accept: str, is_text: bool
) -> None:
    headers = alice.by_token | alice.by_key | {"Accept": accept}
    answer = kissa.post(PATHS[api], headers, data=one_file(api), content_type=CONTENT_TYPE)
    assert answer.status_code == 200
    name = answer.headers["X-Deletion-URL"].split("/")[4]
    url = "http://kissa.example/" + ("1" if api == "f0ckm" else f"f/{name}")
    if is_text:
        assert answer.content_type == "text/plain; charset=utf-8"
        assert answer.text == f"{url}\n"
    else:
        assert answer.content_type == "application/json"
        assert answer.get_json()["url"] == url
    refusal = kissa.post(PATHS[api], headers)
    assert refusal.status_code == 400
    assert refusal.is_json is (api == "f0ckm")


def test_bare_url_of_a_pending_upload_is_the_site(start: Start) -> None:
    kissa = start(gallery_manual_approval="true")
    headers = kissa.person("alice").by_key | {"Accept": "text/plain"}
    answer = kissa.post(PATHS["f0ckm"], headers, data=one_file("f0ckm"), content_type=CONTENT_TYPE)
    assert answer.data == b"http://kissa.example/\n"
