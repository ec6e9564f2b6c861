"""Thumbnails through nginx: from it or made by the app; of waiting items never."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.conftest import Person
from tests.live.conftest import until
from tests.live.nginx import FILES, SITE, Nginx, running
from tests.live.test_nginx_files import ALWAYS, OF_BYTES, allowed, same
from tests.live.wire import Answer

pytestmark = pytest.mark.live


def picture() -> bytes:
    with io.BytesIO() as file:
        Image.new("RGB", (800, 600), "teal").save(file, "PNG")
        return file.getvalue()


@pytest.fixture(scope="module", params=[False, True], ids=["one-host", "two-hosts"])
def nginx(request: pytest.FixtureRequest) -> Iterator[Nginx]:
    with running(two_hosts=request.param, gallery_manual_approval="true") as nginx:
        yield nginx


@pytest.fixture(scope="module")
def alice(nginx: Nginx) -> Person:
    return nginx.server.person("alice")


def asked_of_the_app(nginx: Nginx, path: str) -> int:
    """How often the app has answered for a path, once what is logged has come to rest."""
    nginx.ask("/healthz")
    until(lambda: any(" /healthz " in line for line in nginx.server.requests_logged()), "log")
    return sum(f" {path} " in line for line in nginx.server.requests_logged())


def test_made_by_the_app_then_served_by_nginx(nginx: Nginx, alice: Person) -> None:
    name = nginx.server.upload(alice, picture())
    path = f"/t/{name}"
    made = nginx.ask(path)
    assert made.status == 200
    with Image.open(io.BytesIO(made.body)) as image:
        assert (image.format, image.size) == ("WEBP", (400, 300))
    assert until(lambda: asked_of_the_app(nginx, path), "log") == 1
    cases: list[tuple[str, dict[str, str], int]] = [
        ("GET", {}, 200),
        ("HEAD", {}, 200),
        ("GET", {"Range": "bytes=2-5"}, 206),
        ("GET", {"If-None-Match": made.headers["etag"]}, 304),
        ("GET", {"Range": "bytes=999999-"}, 416),
    ]
    for method, headers, status in cases:
        outside = nginx.ask(path, headers, method=method)
        inside = nginx.ask(path, headers, method=method, past=True)
        assert (outside.status, inside.status) == (status, status), (method, headers)
        same(outside, inside, *(OF_BYTES if status < 400 else ()))
        if status < 400:
            assert outside.body == inside.body
    assert made.headers["content-type"] == "image/webp"
    assert {header: made.headers[header] for header in (*ALWAYS, *OF_BYTES)} == {
        header: nginx.ask(path).headers[header] for header in (*ALWAYS, *OF_BYTES)
    }
    # only what was asked past nginx has come to the app since
    until(lambda: asked_of_the_app(nginx, path) >= 1 + len(cases), "log")
    assert asked_of_the_app(nginx, path) == 1 + len(cases)
    # with the file its thumbnail is gone at once
    nginx.server.ask("/api/files/delete", alice.by_token | {"file": name})
    assert nginx.ask(path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_methods(nginx: Nginx, alice: Person, method: str) -> None:
    name = nginx.server.upload(alice, picture())
    for _ in range(2):  # before there is a thumbnail, and then
        outside = nginx.ask(f"/t/{name}", method=method)
        inside = nginx.ask(f"/t/{name}", method=method, past=True)
        assert (outside.status, inside.status) == (405, 405)
        assert allowed(outside) == allowed(inside)
        assert nginx.ask(f"/t/{name}").status == 200


def refused(answer: Answer) -> None:
    assert answer.status == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_where_there_is_none(nginx: Nginx, alice: Person) -> None:
    broken = nginx.server.upload(alice, b"no picture")
    for _ in range(2):
        refused(nginx.ask(f"/t/{broken}"))
    for name in ("zzzzzzz.png", "x", f"{broken}.none", f"{broken}.webp"):
        refused(nginx.ask(f"/t/{name}"))


def test_waiting_ones_are_out_of_reach(nginx: Nginx, alice: Person) -> None:
    data, files = {"rating": "sfw", "tags": "a,b,c"}, {"file": ("cat.png", picture())}
    sent = nginx.server.ask("/api/v2/upload", alice.by_key, data=data, files=files)
    row = "SELECT name, pending_name FROM item WHERE id = ?"
    ((name, hidden),) = nginx.server.rows(row, sent["itemid"])
    thumbnails = nginx.server.uploads / ".thumbnails"
    (thumbnails / f"_{hidden}.webp").write_bytes(b"RIFF----WEBPof a waiting item")
    (thumbnails / f"_{hidden}.webp").chmod(0o644)
    found = [f"_{hidden}", f"%5f{hidden}", f"_{hidden}.webp", hidden, name]
    for host in (SITE, FILES):
        for start in ("/t/", "/.thumbnails/", "/f/.thumbnails/", "/t/../.thumbnails/", "/_files/"):
            for one in found:
                answer = nginx.ask(start + one, host=host)
                assert answer.status in (400, 404, 307), (host, start, one)
                assert b"waiting item" not in answer.body
    assert nginx.ask(f"/waiting/{sent['itemid']}/thumbnail").status == 303
