"""Stored files as they are served: types, policies, ranges, and what is never served."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from werkzeug.http import dump_options_header

from tests.conftest import PNG, Kissa, Person
from tests.multipart import NEKOS, send

TEXT = "text/plain; charset=utf-8"
OCTETS = "application/octet-stream"
COMMON = {
    "default-src 'none'",
    "style-src 'unsafe-inline'",
    "frame-ancestors 'none'",
    "form-action 'none'",
    "base-uri 'none'",
}
STRICT = COMMON | {"sandbox"}
PLAYABLE = COMMON | {"img-src 'self'", "media-src 'self'"}
TEXT_SUFFIXES = "html htm xhtml xht shtml xml xsl js mjs css json md txt csv py sh c rst log"
OTHER_SUFFIXES = "zip gz exe swf jar apk iso bin mht mhtml hta svgz wasm heic tiff bmp mkv"
TYPES = {
    "png": ("image/png", PLAYABLE),
    "jpg": ("image/jpeg", PLAYABLE),
    "jpeg": ("image/jpeg", PLAYABLE),
    "gif": ("image/gif", PLAYABLE),
    "webp": ("image/webp", PLAYABLE),
    "avif": ("image/avif", PLAYABLE),
    "mp4": ("video/mp4", PLAYABLE),
    "webm": ("video/webm", PLAYABLE),
    "mp3": ("audio/mpeg", PLAYABLE),
    "ogg": ("audio/ogg", PLAYABLE),
    "opus": ("audio/ogg", PLAYABLE),
    "flac": ("audio/flac", PLAYABLE),
    "wav": ("audio/wav", PLAYABLE),
    "pdf": ("application/pdf", STRICT),
    "svg": ("image/svg+xml", STRICT),
    **dict.fromkeys(TEXT_SUFFIXES.split(), (TEXT, STRICT)),
    **dict.fromkeys(OTHER_SUFFIXES.split(), (OCTETS, STRICT)),
}
NAMES = [pytest.param(f"a.{suffix}", *wanted, id=suffix) for suffix, wanted in TYPES.items()] + [
    pytest.param("a.PNG", *TYPES["png"], id="upper-case-image"),
    pytest.param("a.HtML", *TYPES["html"], id="mixed-case-html"),
    pytest.param("a.SVG", *TYPES["svg"], id="upper-case-svg"),
    pytest.param("a.tar.gz", OCTETS, STRICT, id="two-suffixes"),
    pytest.param("a.TAR.XZ", OCTETS, STRICT, id="two-upper-case-suffixes"),
    pytest.param("a.tar.html", *TYPES["html"], id="two-suffixes-the-last-html"),
    pytest.param("a.tar.png", *TYPES["png"], id="two-suffixes-the-last-image"),
    pytest.param("a.html.png", *TYPES["png"], id="html-before-image"),
    pytest.param("a.png.html", *TYPES["html"], id="image-before-html"),
    pytest.param("noext", OCTETS, STRICT, id="no-suffix"),
    pytest.param(".html", OCTETS, STRICT, id="dotfile"),
    pytest.param("html", OCTETS, STRICT, id="a-name-like-a-suffix"),
]
# Bytes that a browser which sniffs would take for a page.
HOSTILE = b"<!doctype html><script>alert(document.domain)</script>" + bytes(range(256))


@pytest.fixture
def kissa(start: Callable[..., Kissa]) -> Kissa:
    """An app that waits for no disk: nothing here is about that."""
    return start(storage_durable="false")


@pytest.fixture
def name(kissa: Kissa, alice: Person) -> str:
    """A stored file of 1,000 bytes."""
    return kissa.upload_name(alice, BYTES, "a.bin")


BYTES = bytes(i * 7 % 256 for i in range(1000))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("client_name", "media_type", "policy"), NAMES)
def test_headers_of_every_type(
    kissa: Kissa,
    alice: Person,
    client_name: str,
    media_type: str,
    policy: set[str],
    method: str,
) -> None:
    stored = kissa.upload_name(alice, HOSTILE, client_name)
    response = kissa.client.open(f"/f/{stored}", method=method, buffered=True)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == media_type
    assert set(response.headers["Content-Security-Policy"].split("; ")) == policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Content-Length"] == str(len(HOSTILE))
    assert "Set-Cookie" not in response.headers
    assert not any(header.startswith("Access-Control") for header, _ in response.headers)
    assert response.data == (b"" if method == "HEAD" else HOSTILE)


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        pytest.param("bytes=0-0", 206, 0, 0, id="first-byte"),
        pytest.param("bytes=0-99", 206, 0, 99, id="first-part"),
        pytest.param("bytes=400-499", 206, 400, 499, id="middle"),
        pytest.param("bytes=900-", 206, 900, 999, id="open-end"),
        pytest.param("bytes=-1", 206, 999, 999, id="last-byte"),
        pytest.param("bytes=-100", 206, 900, 999, id="suffix"),
        pytest.param("bytes=990-5000", 206, 990, 999, id="end-beyond"),
        pytest.param("bytes=0-9,20-29", 200, 0, 999, id="several"),
        pytest.param("bytes=0-,0-,0-,0-,0-,0-", 200, 0, 999, id="several-overlapping"),
        pytest.param("bytes=" + ",".join(["0-"] * 2000), 200, 0, 999, id="apache-killer"),
        pytest.param("items=0-9", 200, 0, 999, id="other-unit"),
    ],
)
def test_range(kissa: Kissa, name: str, asked: str, status: int, first: int, last: int) -> None:
    response = kissa.get(f"/f/{name}", {"Range": asked})
    assert (response.status_code, response.data) == (status, BYTES[first : last + 1])
    assert response.headers["Content-Length"] == str(last + 1 - first)
    if status == 206:
        assert response.headers["Content-Range"] == f"bytes {first}-{last}/1000"
    assert set(response.headers["Content-Security-Policy"].split("; ")) == STRICT
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param("bytes=1000-", id="behind-the-end"),
        pytest.param("bytes=5000-6000", id="far-behind"),
        pytest.param("bytes=" + "9" * 30 + "-", id="thirty-digits"),
    ],
)
def test_range_that_cannot_be(kissa: Kissa, name: str, asked: str) -> None:
    response = kissa.get(f"/f/{name}", {"Range": asked})
    assert response.status_code == 416
    assert response.headers["Content-Range"] == "bytes */1000"


@pytest.mark.parametrize(
    "asked", ["bytes=9-1", "bytes=x-y", "bytes=--5", "bytes", "bytes=", "=0-1", "bytes=1-2-3"]
)
def test_range_that_is_none(kissa: Kissa, name: str, asked: str) -> None:
    response = kissa.get(f"/f/{name}", {"Range": asked})
    assert response.status_code in (200, 416)
    if response.status_code == 200:
        assert response.data == BYTES


def test_unchanged_is_304(kissa: Kissa, name: str) -> None:
    first = kissa.get(f"/f/{name}")
    for headers in (
        {"If-None-Match": first.headers["ETag"]},
        {"If-None-Match": f'"other", {first.headers["ETag"]}'},
        {"If-None-Match": f"W/{first.headers['ETag']}"},
        {"If-None-Match": "*"},
        {"If-Modified-Since": first.headers["Last-Modified"]},
    ):
        response = kissa.get(f"/f/{name}", headers)
        assert (response.status_code, response.data) == (304, b""), headers
    for headers in ({"If-None-Match": '"other"'}, {"If-Modified-Since": "Mon, 01 Jan 2001 0:00"}):
        assert kissa.get(f"/f/{name}", headers).data == BYTES


def test_range_of_a_changed_file_is_the_whole(kissa: Kissa, name: str) -> None:
    etag = kissa.get(f"/f/{name}").headers["ETag"]
    part = kissa.get(f"/f/{name}", {"Range": "bytes=0-9", "If-Range": etag})
    assert (part.status_code, part.data) == (206, BYTES[:10])
    whole = kissa.get(f"/f/{name}", {"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (whole.status_code, whole.data) == (200, BYTES)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods(kissa: Kissa, name: str, method: str) -> None:
    response = kissa.client.open(f"/f/{name}", method=method)
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) - {"OPTIONS"} == {"GET", "HEAD"}
    assert kissa.files() == {name}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/f/", id="folder"),
        pytest.param("/f/abcdefg", id="unknown"),
        pytest.param("/f/.incoming", id="dot-folder"),
        pytest.param("/f/.incoming/", id="dot-folder-slash"),
        pytest.param("/f/.gitkeep", id="dotfile"),
        pytest.param("/f/.pending/HELD", id="pending"),
        pytest.param("/f/.pending%2fHELD", id="pending-encoded"),
        pytest.param("/f/%2epending/HELD", id="pending-dot-encoded"),
        pytest.param("/f/%2e%70ending%2fHELD", id="pending-more-encoded"),
        pytest.param("/f/x/../.pending/HELD", id="pending-through-parent"),
        pytest.param("/f/../kissa.db", id="parent"),
        pytest.param("/f/%2e%2e/kissa.db", id="parent-encoded"),
        pytest.param("/f/..%2fkissa.db", id="slash-encoded"),
        pytest.param("/f/%2e%2e%2fkissa.db", id="both-encoded"),
        pytest.param("/f/%252e%252e%252fkissa.db", id="encoded-twice"),
        pytest.param("/f/..%5ckissa.db", id="backslash"),
        pytest.param("/f/..%c0%afkissa.db", id="overlong-slash"),
        pytest.param("/f/%c0%ae%c0%ae%c0%afkissa.db", id="overlong-all"),
        pytest.param("/f/..%ef%bc%8fkissa.db", id="fullwidth-slash"),
        pytest.param("/f/..;/kissa.db", id="parameter"),
        pytest.param("/f/NAME%00.png", id="nul"),
        pytest.param("/f/NAME%0a", id="line-end"),
        pytest.param("/f/NAME%20", id="blank"),
        pytest.param("/f/NAME.", id="dot-after"),
        pytest.param("/f/NAME/", id="slash-after"),
        pytest.param("/f/NAME/.", id="slash-and-dot-after"),
        pytest.param("/f/NAME::$DATA", id="stream"),
        pytest.param("/f/./NAME", id="dot-before"),
        pytest.param("/f/foreign file.txt", id="foreign-name"),
        pytest.param("/f/a.b", id="short-foreign-name"),
        pytest.param("/f/album", id="foreign-folder"),
        pytest.param("/f/fifofifo", id="foreign-fifo"),
        pytest.param("/f/linktodb", id="symbolic-link"),
        pytest.param("/f/linktodb.txt", id="symbolic-link-with-suffix"),
        pytest.param("/f/linkabs/kissa.db", id="through-a-linked-folder"),
        pytest.param("/f/dangling", id="dangling-link"),
        pytest.param("/F/NAME", id="other-case"),
    ],
)
def test_never_served(start: Callable[..., Kissa], tmp_path: Path, path: str) -> None:
    kissa = start(gallery_manual_approval="true")
    alice = kissa.person("alice")
    name = kissa.upload_name(alice)
    kissa.item_id(alice, content=b"secret: held for approval")
    (held,) = (path.name for path in (kissa.uploads / ".pending").iterdir())
    uploads = kissa.uploads
    (uploads / ".gitkeep").write_text("secret")
    (uploads / "foreign file.txt").write_text("secret")
    (uploads / "a.b").write_text("secret")
    (uploads / "album").mkdir()
    os.mkfifo(uploads / "fifofifo")
    for link in ("linktodb", "linktodb.txt"):
        (uploads / link).symlink_to(tmp_path / "kissa.db")
    (uploads / "linkabs").symlink_to(tmp_path)
    (uploads / "dangling").symlink_to(tmp_path / "nowhere")
    for method in ("GET", "HEAD"):
        asked = path.replace("HELD", held).replace("NAME", name)
        response = kissa.client.open(asked, method=method, buffered=True)
        if response.status_code == 308:  # doubled slashes are joined
            asked = response.headers["Location"]
            response = kissa.client.open(asked, method=method, buffered=True)
        assert response.status_code == 404
        assert b"secret" not in response.data
        assert b"SQLite format" not in response.data


def test_joined_slashes_lead_nowhere_else(kissa: Kissa, name: str) -> None:
    for asked in ("//f/" + name, "/f//" + name, "/f//etc/passwd", "//evil.example/f/x"):
        response = kissa.get(asked)
        assert response.status_code in (200, 308, 404)
        if response.status_code == 308:
            assert response.headers["Location"].startswith(("/", "http://localhost/"))
            assert not response.headers["Location"].startswith("//")


def test_waiting_file_is_for_owner_and_admin_alone(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval="true")
    alice, bob = kissa.person("alice"), kissa.person("bob")
    admin = kissa.person("admin", admin=True)
    item_id = kissa.item_id(alice)
    (reserved,) = kissa.post("/api/files/list", alice.by_token).get_json()
    assert kissa.get(f"/f/{reserved}").status_code == 404
    path = f"/api/v2/items/{item_id}/file"
    for headers, status in (
        ({}, 401), (bob.by_key, 404), (alice.by_token, 401), (admin.by_token, 401),
        (alice.by_key, 200), (admin.by_admin_token, 200),
    ):  # fmt: skip
        response = kissa.get(path, headers)
        assert response.status_code == status, headers
        assert (response.data == PNG) == (status == 200)
        if status == 200:
            assert response.headers["Cache-Control"] == "private, no-store"
            assert set(response.headers["Content-Security-Policy"].split("; ")) == PLAYABLE
    assert kissa.post(f"/api/v2/queue/{item_id}/approve", admin.by_admin_token).status_code == 200
    assert kissa.get(f"/f/{reserved}").data == PNG


def test_deleted_file_is_gone_even_for_who_has_it(kissa: Kissa, alice: Person, name: str) -> None:
    etag = kissa.get(f"/f/{name}").headers["ETag"]
    kissa.post("/api/files/delete", alice.by_token | {"file": name})
    assert kissa.get(f"/f/{name}", {"If-None-Match": etag}).status_code == 404


def test_content_type_of_the_client_counts_nothing(kissa: Kissa, alice: Person) -> None:
    line = dump_options_header("Content-Type: text/html", {"charset": "utf-7"})
    body = NEKOS.body(HOSTILE, b"a.png").replace(
        b"\r\n\r\n", b"\r\n" + line.encode() + b"\r\n\r\n", 1
    )
    response = send(kissa, NEKOS, alice, body)
    stored = response.get_json()["url"].rpartition("/")[2]
    assert kissa.get(f"/f/{stored}").headers["Content-Type"] == "image/png"
