"""nginx serves the files under the contract's headers, as gunicorn does, and nothing else."""

import itertools
import os
import random
import re
from collections.abc import Callable, Iterator

import pytest

import config as configuration
import media
import storage
from tests.conftest import PNG, Person
from tests.live.conftest import ROOT, until
from tests.live.nginx import FILES, SITE, Nginx, running
from tests.live.wire import Answer

pytestmark = pytest.mark.live
CONF = (ROOT / "deploy/nginx.conf").read_text()
OTHERS = {"zip", "exe", "gz", "tar.gz", "htaccess"}
# A name has no longer extension than ten characters.
SUFFIXES = sorted(one for one in {*media._TYPES, *media.TEXT_EXTENSIONS} | OTHERS if len(one) <= 10)
ALWAYS = ("content-type", "content-security-policy", "x-content-type-options", "referrer-policy")
OF_BYTES = ("accept-ranges", "etag", "last-modified", "cache-control", "content-length")
CANARY = b"nobody outside may see this"
OPEN = b"anybody may see this"


@pytest.fixture(scope="module", params=[False, True], ids=["one-host", "two-hosts"])
def nginx(request: pytest.FixtureRequest) -> Iterator[Nginx]:
    with running(two_hosts=request.param, gallery_manual_approval="true") as nginx:
        yield nginx


@pytest.fixture(scope="module")
def alice(nginx: Nginx) -> Person:
    return nginx.server.person("alice")


@pytest.fixture(scope="module")
def admin(nginx: Nginx) -> Person:
    return nginx.server.person("admin", admin=True)


@pytest.fixture(scope="module")
def names(nginx: Nginx) -> list[str]:
    """A stored file of each extension, and one without."""
    made = [f"aB3dE6g.{suffix}" for suffix in SUFFIXES] + ["aB3dE6g"]
    for name in made:
        (nginx.server.uploads / name).write_bytes(PNG)
        (nginx.server.uploads / name).chmod(0o644)
    return made


def allowed(answer: Answer) -> list[str]:
    return sorted(answer.headers.get("allow", "").split(", "))


def same(one: Answer, other: Answer, *more: str) -> None:
    assert one.status == other.status
    names = [*ALWAYS, *more]
    if one.status in (404, 405):
        # pages: gunicorn's has styles and scripts of ours, nginx's neither, and a sandbox
        names.remove("content-security-policy")
        for answer in (one, other):
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "frame-ancestors 'none'" in policy
            assert re.search("script-src '(?!nonce-)", policy) is None
    for name in names:
        if (one.status, name) == (304, "last-modified"):
            continue  # Werkzeug leaves it out there, and with a tag nobody needs it
        assert one.headers.get(name) == other.headers.get(name), name


# The file deploy/nginx.conf against the code


def test_types_are_those_of_media() -> None:
    blocks = re.findall(r"        types \{(.*?)\}", CONF, re.DOTALL)
    blocks = [block for block in blocks if block != " image/webp webp; "]  # of thumbnails
    assert len(blocks) == 2
    assert blocks[0] == blocks[1]
    told: dict[str, str] = {}
    for kind, suffixes in re.findall(r'("[^"]+"|\S+)\s([^;]+);', blocks[0]):
        told |= dict.fromkeys(suffixes.split(), kind.strip('"'))
    assert told == {one: media.media_type(f"x.{one}") for one in told}
    assert set(told) == media._TYPES.keys() | media.TEXT_EXTENSIONS


def test_names_and_limit_are_those_of_the_code() -> None:
    pattern = storage.NAME_PATTERN.pattern
    assert re.findall(r"\(\?<kissa_name>(.*)\)\$", CONF) == [pattern, pattern]
    limit = configuration.load(environ={"KISSA_CONFIG": os.devnull}).uploads.max_body_bytes
    assert re.findall(r"client_max_body_size (\d+)m;", CONF) == [str(limit // 2**20)]


# Headers


def test_every_type_and_status_as_gunicorn(nginx: Nginx, names: list[str]) -> None:
    tag = nginx.ask(f"/f/{names[0]}", past=True).headers["etag"]
    cases: list[tuple[str, dict[str, str], int]] = [
        ("GET", {}, 200),
        ("HEAD", {}, 200),
        ("GET", {"Range": "bytes=2-5"}, 206),
        ("GET", {"Range": "bytes=0-1,4-5"}, 200),
        ("GET", {"Range": "lines=0-1"}, 200),
        ("GET", {"Range": "bytes=9999-"}, 416),
        ("GET", {"If-None-Match": tag}, 304),
        ("GET", {"If-None-Match": f'"other", W/{tag}'}, 304),
        ("HEAD", {"If-None-Match": "*"}, 304),
        ("GET", {"If-None-Match": '"other"'}, 200),
        ("GET", {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304),
        ("POST", {}, 405),
        ("OPTIONS", {}, 405),
    ]
    stamp = os.stat(nginx.server.uploads / names[0]).st_mtime_ns
    for name in names:
        os.utime(nginx.server.uploads / name, ns=(stamp, stamp))
    for name in names:
        # the statuses without bytes once for each way a type is told
        few = name.endswith((".png", ".mp4", ".html", ".svg", ".zip", "g"))
        for method, headers, status in cases if few else cases[:3]:
            outside = nginx.file(name, headers, method=method)
            inside = nginx.ask(f"/f/{name}", headers, method=method, past=True)
            assert inside.status == status, (name, method, headers)
            same(outside, inside, *(OF_BYTES if status < 400 else ()))
            if status < 400:
                assert outside.body == inside.body
            assert outside.headers.get("content-range") == inside.headers.get("content-range")
            assert allowed(outside) == allowed(inside)
    print(f"types={len(names)}")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("name", ["zzzzzzz.png", "zzzzzzz", "x", "no-name.png", ".env", "a.b.c.d"])
def test_missing_as_gunicorn(nginx: Nginx, name: str, method: str) -> None:
    outside = nginx.file(name, method=method)
    same(outside, nginx.ask(f"/f/{name}", method=method, past=True))
    assert outside.status == (404 if method in ("GET", "HEAD") else 405)
    assert outside.headers["content-type"] == "text/html; charset=utf-8"
    # the app's own page, where that can be shown
    by_app = storage.NAME_PATTERN.fullmatch(name) and method in ("GET", "HEAD")
    is_ours = not by_app or nginx.two_hosts
    assert outside.headers["content-security-policy"].endswith("; sandbox") is is_ours


def test_files_stay_off_the_origin_of_the_pages(nginx: Nginx, names: list[str]) -> None:
    answer = nginx.ask(f"/f/{names[0]}")
    if not nginx.two_hosts:
        assert answer.status == 200
        return
    assert answer.status == 307
    assert answer.headers["location"] == f"http://{FILES}/{names[0]}"
    assert answer.headers["x-content-type-options"] == "nosniff"


# Through the app: previews and downloads


@pytest.mark.parametrize("name", ["a.png", "a.html", "a.svg", "a.mp4", "a"])
def test_previews_of_pending_files(nginx: Nginx, alice: Person, admin: Person, name: str) -> None:
    content = OPEN + name.encode()
    fields = {"rating": "sfw", "tags": "one, two, three"}
    files = {"file": (name, content)}
    item = nginx.server.ask("/api/v2/upload", alice.by_key, data=fields, files=files)["itemid"]
    path = f"/api/v2/items/{item}/file"
    for headers in ({}, {"X-Api-Key": "0" * 64}):
        assert nginx.ask(path, headers).status == 401
    for who in (alice.by_key, admin.by_admin_token):
        for more in ({}, {"Range": "bytes=1-3"}, {"Range": "bytes=999-"}):
            outside, inside = nginx.ask(path, who | more), nginx.ask(path, who | more, past=True)
            if outside.status == 416:
                # nginx keeps the charset of a text
                kind = outside.headers["content-type"] = outside.headers["content-type"].split(";")[
                    0
                ]
                assert kind == "application/json"
                same(outside, inside, "content-range")
                continue
            same(outside, inside, *OF_BYTES, "content-range")
            assert outside.body == inside.body != b""
            assert outside.headers["cache-control"] == "private, no-store"
    tag = nginx.ask(path, alice.by_key).headers["etag"]
    asked = alice.by_key | {"If-None-Match": tag}
    same(nginx.ask(path, asked), nginx.ask(path, asked, past=True), *OF_BYTES)
    # out of reach by any address
    ((public, hidden),) = nginx.server.rows(
        "SELECT name, pending_name FROM item WHERE id = ?", item
    )
    assert nginx.file(public).status == 404
    assert nginx.ask(f"/d/{public}").status == 404
    for host, start in itertools.product(
        (SITE, FILES), ("/_pending/", "/f/.pending/", "/.pending/")
    ):
        answer = nginx.ask(start + hidden, {"X-Accel-Redirect": f"/_pending/{hidden}"}, host=host)
        assert answer.status in (404, 405)
    # approved, it is public, and still there for its owner
    nginx.server.ask(f"/api/v2/queue/{item}/approve", admin.by_admin_token)
    assert nginx.file(public).body == content
    assert nginx.ask(path, alice.by_key).body == content


def test_inner_addresses_are_not_for_clients(nginx: Nginx, names: list[str]) -> None:
    for path in (f"/_files/{names[0]}", "/_files/", "/_pending/", f"/_pending/../{names[0]}"):
        assert nginx.ask(path).status == 404


@pytest.mark.parametrize("given", ["", "0", "1", "1, 1"])
def test_a_client_cannot_ask_for_redirects(nginx: Nginx, alice: Person, given: str) -> None:
    name = nginx.server.upload(alice, PNG)
    answer = nginx.ask(f"/d/{name}", {"X-Kissa-Accel": given})
    assert (answer.status, answer.body) == (200, PNG)
    assert "x-accel-redirect" not in answer.headers
    # nginx read the file, gunicorn sent none of it
    asked = until(lambda: [x for x in nginx.server.requests_logged() if f" /d/{name} " in x], "log")
    assert f"GET /d/{name} 200 0 " in asked[-1]
    inside = nginx.ask(f"/d/{name}", {"X-Kissa-Accel": given}, past=True)
    sent = (b"", f"/_files/{name}") if given == "1" else (PNG, None)
    assert (inside.body, inside.headers.get("x-accel-redirect")) == sent


@pytest.mark.parametrize(
    ("original", "fallback", "exact"),
    [
        ("cat.png", "cat.png", "cat.png"),
        ("my cat.png", "my cat.png", "my%20cat.png"),
        ("Käse ✓.html", "Kase .html", "K%C3%A4se%20%E2%9C%93.html"),
        ("猫.png", None, "%E7%8C%AB.png"),
        ("a\"b%41;c'd.txt", "a_b_41;c'd.txt", "a%22b%2541%3Bc%27d.txt"),
        ("README", "README", "README"),
    ],
)
def test_downloads_keep_the_name(
    nginx: Nginx, alice: Person, original: str, fallback: str | None, exact: str
) -> None:
    # requests writes no name that is not ASCII as clients do
    quoted = original.replace('"', "%22").encode()
    body = b'--b\r\nContent-Disposition: form-data; name="uploadFile"; filename="%b"\r\n\r\n%b'
    headers = alice.by_token | {"Content-Type": "multipart/form-data; boundary=b"}
    if '"' in original:
        quoted = original.replace('"', '\\"').encode()
    whole = body % (quoted, OPEN) + b"\r\n--b--\r\n"
    name = nginx.server.ask("/api/files/upload", headers, data=whole)["url"].rpartition("/")[2]
    told = f"attachment; filename=\"{fallback or name}\"; filename*=UTF-8''{exact}"
    for headers in ({}, {"Range": "bytes=0-4"}):
        outside, inside = (
            nginx.ask(f"/d/{name}", headers),
            nginx.ask(f"/d/{name}", headers, past=True),
        )
        same(outside, inside, *OF_BYTES, "content-disposition", "content-range")
        assert outside.headers["content-disposition"] == told
        assert outside.headers["content-type"] == "application/octet-stream"
        assert outside.headers["content-security-policy"].endswith("; sandbox")
    assert nginx.ask(f"/d/{name}", method="HEAD").headers["content-length"] == str(len(OPEN))
    assert nginx.ask(f"/d/{name}").body == OPEN
    for path, method in ((f"/d/{name}", "POST"), ("/d/zzzzzzz.png", "GET")):
        outside, inside = (nginx.ask(path, method=method, past=past) for past in (False, True))
        same(outside, inside)
        assert allowed(outside) == allowed(inside)


def test_robots(nginx: Nginx) -> None:
    site, files = nginx.ask("/robots.txt"), nginx.ask("/robots.txt", host=FILES)
    assert site.headers["content-type"] == "text/plain; charset=utf-8"
    for path in ("/f/", "/d/", "/delete/", "/api/"):
        assert f"Disallow: {path}\n".encode() in site.body
    assert b"Disallow: /\n" not in site.body
    assert site.body == nginx.ask("/robots.txt", past=True).body
    assert files.body == b"User-agent: *\nDisallow: /\n"


# Out of reach


@pytest.fixture(scope="module")
def traps(nginx: Nginx) -> dict[str, bytes]:
    """Files that nobody may get, by a name relative to the uploads; with what they hold."""
    uploads = nginx.server.uploads
    hiding = (".hidden", "Bad-Name.txt", "eeeeeee.txt")
    for name in hiding[:2]:
        (uploads / name).write_bytes(CANARY)
    (uploads / ".pending" / ("a" * 32)).write_bytes(CANARY)
    (uploads / ".incoming" / ("b" * 32)).write_bytes(CANARY)
    (uploads / ".thumbnails").mkdir(exist_ok=True)
    (uploads / ".thumbnails/ccccccc.webp").write_bytes(CANARY)
    (uploads / "folder1").mkdir(exist_ok=True)
    (uploads / "folder1/ddddddd.txt").write_bytes(CANARY)
    (nginx.server.folder / "eeeeeee.txt").write_bytes(CANARY)
    (uploads / "eeeeeee.txt").symlink_to(nginx.server.folder / "eeeeeee.txt")
    (uploads / "fffffff.txt").symlink_to("aB3dE6g.txt")
    os.link(uploads / ".pending" / ("a" * 32), uploads / ".pending/ggggggg.txt")
    os.mkfifo(uploads / "hhhhhhh.txt")
    inside = [path for path in uploads.rglob("*") if path.is_file() and path.read_bytes() == CANARY]
    hidden = [path for path in inside if path.parent != uploads or path.name in hiding]
    beside = [nginx.server.folder / name for name in ("kissa.db", "kissa.secret", "config.ini")]
    paths = [os.path.relpath(path, uploads) for path in (*hidden, *beside)]
    return {path: (uploads / path).read_bytes() for path in paths}


@pytest.mark.parametrize("name", ["eeeeeee.txt", "fffffff.txt", "folder1", "hhhhhhh.txt"])
def test_what_is_no_plain_file_is_missing(nginx: Nginx, traps: object, name: str) -> None:
    same(nginx.file(name), nginx.ask(f"/f/{name}", past=True))
    assert nginx.file(name).status == 404


def attempts(targets: list[str], some: Callable[[list[str]], str]) -> Iterator[str]:
    steps = ["../", "..%2f", "%2e%2e/", "%2e%2e%2f", ".%2e/", "..%5c", "..\\", "%252e%252e%252f"]
    steps += ["./", "%2e/", "//", "%2f", ".;/", "..;/", "%c0%ae%c0%ae/", "%00", "aB3dE6g.png/", "."]
    starts = ["/", "/f/", "/f", "/d/", "/_files/", "/_pending/", "/f/aB3dE6g.png/", "//", "/F/"]
    while True:
        middle = "".join(some(steps) for _ in range(random.Random(some(steps)).randrange(1, 6)))
        yield some(starts) + middle + some(targets)


def test_traversal_gives_no_foreign_byte(
    nginx: Nginx, names: list[str], traps: dict[str, bytes]
) -> None:
    chance = random.Random(3)
    targets = [*traps, "aB3dE6g.png", "", *(name.replace(".", "%2e") for name in traps)]
    made = itertools.islice(attempts(targets, chance.choice), 1500)
    short = map("".join, itertools.product(("%2e", "%2f", "%5c", ".", "/", "%"), repeat=4))
    paths = [*made, *("/f/" + one + "kissa.db" for one in short)]
    secrets = {CANARY, *(content for content in traps.values() if len(content) > 16)}
    secrets |= {b"SQLite format 3"}
    statuses: dict[int, int] = {}
    wire = nginx.wire()
    for number, path in enumerate(paths):
        host = FILES if nginx.two_hosts and number % 2 else SITE
        wire.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = wire.answer()
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        assert not any(secret in answer.body for secret in secrets), path
        assert answer.status < 500, path
        if answer.status == 200:
            assert answer.body == PNG or b"<!doctype html>" in answer.body, path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        if answer.headers.get("connection") == "close":
            wire.close()
            wire = nginx.wire()
    wire.close()
    print(f"attempts={len(paths)} statuses={statuses}")
