"""nginx before files in Ceph: the app decides about each read, nginx fetches, keeps and sends."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import media
from tests.conftest import PNG, Person
from tests.live.attacks import FILES
from tests.live.browser import FILES_URL, URL, browsing
from tests.live.conftest import until
from tests.live.cutter import Cutter
from tests.live.nginx import FILES as FILES_HOST
from tests.live.nginx import SITE, Nginx, running
from tests.live.test_web_hostile import Trap, _open
from tests.live.wire import Answer
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.live
MIB = 1024 * 1024
OPEN = b"anybody may see this"
OURS = {
    *("accept-ranges", "cache-control", "connection", "content-disposition", "content-length"),
    *("content-range", "content-security-policy", "content-type", "date", "etag", "last-modified"),
    *("referrer-policy", "server", "x-content-type-options"),
}


@pytest.fixture(scope="module", params=[False, True], ids=["one-host", "two-hosts"])
def nginx(request: pytest.FixtureRequest, ceph: S3Server) -> Iterator[Nginx]:
    keys = {"gallery_manual_approval": "true", "uploads_per_minute": 0}
    with running(two_hosts=request.param, s3=ceph.bucket(), **keys) as nginx:
        yield nginx


@pytest.fixture(scope="module")
def alice(nginx: Nginx) -> Person:
    return nginx.server.person("alice")


@pytest.fixture(scope="module")
def bob(nginx: Nginx) -> Person:
    return nginx.server.person("bob")


@pytest.fixture(scope="module")
def admin(nginx: Nginx) -> Person:
    return nginx.server.person("admin", admin=True)


def under_its_headers(answer: Answer, name: str) -> None:
    """The bytes come as the app would send them, and S3 has added nothing."""
    for header, value in media.headers(name).items():
        assert answer.headers.get(header.lower()) == value, (name, header)
    assert answer.headers.keys() <= OURS, name


def from_where(nginx: Nginx, path: str) -> list[str]:
    """For each answer to `path`, whether nginx had it in its cache, once the log has come to
    rest."""
    seen = nginx.site_log.read_text().count(" /healthz ")
    nginx.ask("/healthz")
    until(lambda: nginx.site_log.read_text().count(" /healthz ") > seen, "the log")
    lines = nginx.site_log.read_text().splitlines()
    return [line.rpartition(" ")[2] for line in lines if f" {path} " in line]


def cached(nginx: Nginx) -> int:
    """How many pieces of files nginx keeps."""
    return sum(path.is_file() for path in Path(nginx.folder, "cache").rglob("*"))


@pytest.mark.parametrize(
    "name", ["a.png", "a.mp4", "a.html", "a.svg", "a.pdf", "a.js", "a.zip", "bare"]
)
def test_a_file_comes_under_the_headers_of_its_type(nginx: Nginx, alice: Person, name: str) -> None:
    stored = nginx.server.upload(alice, OPEN, name)
    whole = nginx.file(stored)
    assert (whole.status, whole.body) == (200, OPEN)
    under_its_headers(whole, stored)
    assert whole.headers["cache-control"] == "no-cache"
    assert whole.headers["accept-ranges"] == "bytes"
    head = nginx.file(stored, method="HEAD")
    assert (head.status, head.headers["content-length"]) == (200, str(len(OPEN)))
    under_its_headers(head, stored)
    download = nginx.ask(f"/d/{stored}")
    assert download.body == OPEN
    assert download.headers["content-disposition"].startswith(f'attachment; filename="{name}"')
    under_its_headers(download, "")


def test_ranges_and_conditions(nginx: Nginx, alice: Person) -> None:
    name = nginx.server.upload(alice, OPEN, "a.txt")
    tag = nginx.file(name).headers["etag"]
    cases: list[tuple[dict[str, str], int, bytes]] = [
        ({"Range": "bytes=2-5"}, 206, OPEN[2:6]),
        ({"Range": "bytes=-3"}, 206, OPEN[-3:]),
        ({"Range": "bytes=0-1,4-5"}, 200, OPEN),
        ({"Range": "lines=0-1"}, 200, OPEN),
        ({"Range": "bytes=2-5", "If-Range": tag}, 206, OPEN[2:6]),
        ({"Range": "bytes=2-5", "If-Range": '"other"'}, 200, OPEN),
        ({"If-None-Match": tag}, 304, b""),
        ({"If-None-Match": '"other"'}, 200, OPEN),
        ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304, b""),
    ]
    for headers, status, body in cases:
        answer = nginx.file(name, headers)
        assert (answer.status, answer.body) == (status, body), headers
        assert answer.headers.keys() <= OURS, headers
    assert nginx.file(name, {"Range": "bytes=2-5"}).headers["content-range"] == "bytes 2-5/20"
    for start in (9999, 99_999_999):  # within the first slice, and beyond
        answer = nginx.file(name, {"Range": f"bytes={start}-"})
        assert answer.status == 416
        assert b"The file has no such range." in answer.body
        assert answer.headers["content-security-policy"].endswith("; sandbox")
        assert answer.headers["x-content-type-options"] == "nosniff"
    for method in ("POST", "PUT", "DELETE"):
        assert nginx.file(name, method=method).status == 405


def test_a_film_is_fetched_in_slices_where_it_is_looked_at(nginx: Nginx, alice: Person) -> None:
    film = b"".join(number.to_bytes(4, "big") for number in range(9 * MIB // 4))
    name = nginx.server.upload(alice, film, "film.mp4")
    before = cached(nginx)
    end = nginx.file(name, {"Range": f"bytes={9 * MIB - 8}-"})
    assert (end.status, end.body) == (206, film[-8:])
    assert cached(nginx) == before + 1
    middle = nginx.file(name, {"Range": f"bytes={4 * MIB - 2}-{4 * MIB + 1}"})
    assert middle.body == film[4 * MIB - 2 : 4 * MIB + 2]
    assert nginx.file(name).body == film
    assert cached(nginx) == before + 3


def test_what_was_read_once_is_not_asked_of_s3_again(
    nginx: Nginx, alice: Person, ceph: S3Server
) -> None:
    name, other = (nginx.server.upload(alice, OPEN + which, "a.txt") for which in (b"1", b"2"))
    path = f"/{name}" if nginx.two_hosts else f"/f/{name}"
    for _ in range(2):
        assert nginx.file(name).status == 200
    assert from_where(nginx, path) == ["MISS", "HIT"]
    ceph.stop()
    try:
        assert nginx.file(name).body == OPEN + b"1"
        for gone in (nginx.file(other), nginx.ask(f"/d/{other}")):
            assert gone.status in (502, 503)
            assert gone.headers["content-security-policy"].endswith("; sandbox")
        refused = nginx.server.session.post(
            nginx.server.url + "/api/files/upload",
            headers=alice.by_token,
            files={"uploadFile": ("a.txt", OPEN)},
        )
        assert refused.status_code == 503
    finally:
        ceph.start()
    assert nginx.file(other).body == OPEN + b"2"
    assert nginx.server.upload(alice, OPEN)


def test_a_deleted_file_is_gone_at_once(nginx: Nginx, alice: Person) -> None:
    name = nginx.server.upload(alice, OPEN, "a.html")
    assert nginx.file(name).status == 200
    nginx.server.ask("/api/files/delete", alice.by_token | {"file": name})
    for answer in (nginx.file(name), nginx.ask(f"/d/{name}"), nginx.file(name, method="HEAD")):
        assert answer.status == 404
    assert nginx.file(name, {"Range": "bytes=0-1"}).status == 404


def test_a_waiting_file_is_for_its_owner_and_admins(
    nginx: Nginx, alice: Person, bob: Person, admin: Person
) -> None:
    fields = {"rating": "sfw", "tags": "one, two, three"}
    files = {"file": ("a.html", OPEN)}
    item = nginx.server.ask("/api/v2/upload", alice.by_key, data=fields, files=files)["itemid"]
    path = f"/api/v2/items/{item}/file"
    for who in (alice.by_key, admin.by_admin_token):
        for _ in range(2):  # from S3, then from the cache
            answer = nginx.ask(path, who)
            assert (answer.status, answer.body) == (200, OPEN)
            assert answer.headers["cache-control"] == "private, no-store"
            under_its_headers(answer, "a.html")
    assert nginx.ask(path, bob.by_key).status == 404
    assert nginx.ask(path).status == 401
    ((public, hidden),) = nginx.server.rows(
        "SELECT name, pending_name FROM item WHERE id = ?", item
    )
    assert nginx.file(public).status == 404
    assert nginx.ask(f"/d/{public}").status == 404
    assert nginx.s3 is not None
    (key,) = [one for one in nginx.s3.objects() if hidden in one]
    for host in (SITE, FILES_HOST):
        for start in ("/_s3", "/f/../_s3", "/%5fs3", "//_s3"):
            inner = f"{start}/{nginx.s3.name}/{key}"
            answer = nginx.ask(inner, {"X-Accel-Redirect": inner}, host=host)
            assert answer.status in (404, 405), (host, inner)
            assert OPEN not in answer.body
    nginx.server.ask(f"/api/v2/queue/{item}/approve", admin.by_admin_token)
    assert nginx.file(public).body == OPEN
    nginx.server.ask("/api/files/delete", alice.by_token | {"file": public})
    assert nginx.file(public).status == 404
    assert nginx.ask(path, alice.by_key).status == 404


def test_missing_names(nginx: Nginx) -> None:
    for name in ("zzzzzzz.png", "zzzzzzz", "x", ".env"):
        answer = nginx.file(name)
        assert answer.status == 404
        assert answer.headers["content-type"].startswith("text/html; charset=utf-8")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_a_thumbnail(nginx: Nginx, alice: Person) -> None:
    name = nginx.server.upload(alice, PNG)
    for _ in range(2):
        answer = nginx.ask(f"/t/{name}")
        assert answer.status == 200
        assert answer.headers["content-type"] == "image/webp"
        assert answer.body[8:12] == b"WEBP"
    nginx.server.ask("/api/files/delete", alice.by_token | {"file": name})
    assert nginx.ask(f"/t/{name}").status == 404


def test_s3_hears_nothing_of_the_reader(ceph: S3Server) -> None:
    told = {
        "Cookie": "session=hidden-cookie", "Authorization": "Bearer hidden-bearer",
        "X-Api-Key": "hidden-key", "token": "hidden-token", "User-Agent": "hidden-agent",
        "Referer": "http://hidden.example/", "If-None-Match": '"hidden-tag"',
        "X-Forwarded-For": "192.0.2.77", "X-Amz-Acl": "hidden-acl",
    }  # fmt: skip
    with Cutter(ceph.port, keeps=True) as wire:
        bucket = replace(ceph.bucket(), endpoint=wire.url)
        with running(s3=bucket) as nginx:
            name = nginx.server.upload(nginx.server.person("alice"), OPEN, "a.html")
            wire.heard.clear()
            answer = nginx.file(name, told | {"Range": "bytes=2-5"})
            assert (answer.status, answer.body) == (206, OPEN[2:6])
            heard = bytes(wire.heard).decode()
            assert heard.startswith(f"GET /{bucket.name}/files/{name}?X-Amz-Algorithm=")
            names = [line.partition(":")[0].lower() for line in heard.strip().splitlines()[1:]]
            assert sorted(names) == ["host", "range"]
            assert not any(value in heard for value in told.values())


def test_of_a_store_that_answers_ranges_with_200_the_app_sends_the_files(rclone: S3Server) -> None:
    """nginx would take the first slice for the whole file."""
    large = OPEN * (5 * MIB // len(OPEN))
    with running(s3=rclone.bucket()) as nginx:
        name = nginx.server.upload(nginx.server.person("alice"), large, "a.html")
        answer = nginx.file(name)
        assert (answer.status, answer.body) == (200, large)
        under_its_headers(answer, name)
        part = nginx.file(name, {"Range": f"bytes={5 * MIB - 60}-"})
        assert (part.status, part.body) == (206, large[5 * MIB - 60 :])
        assert cached(nginx) == 0
        assert "answers a range with 200" in nginx.server.log


def test_hostile_files_run_nothing(ceph: S3Server) -> None:
    with browsing(gallery_min_tags=0, uploads_per_minute=0, s3=ceph.bucket()) as site:
        miriam = site.person("miriam", admin=True)
        mallory = site.person("mallory")
        trap = Trap(site.visitor(miriam))
        for name, content in FILES.items():
            item = site.list_item(mallory, content.encode("latin-1"), name)
            ((stored,),) = site.server.rows("select name from item where id = ?", item)
            addresses = (f"{FILES_URL}/{stored}", f"{URL}/f/{stored}", f"{URL}/d/{stored}")
            for address in (*addresses, addresses[0]):  # the last from the cache
                _open(trap.page, address)
        ((shown,),) = site.server.rows("select name from item where original_name = 'page.html'")
        trap.page.goto(f"{FILES_URL}/{shown}")
        assert re.search("<!doctype html>", trap.page.inner_text("pre"))
        assert trap.ran == []
        site.close_visitors()
