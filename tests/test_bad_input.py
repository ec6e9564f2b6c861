"""Bodies, names and numbers as clients send them by mistake or malice: refused, without a trace."""

from collections.abc import Callable
from typing import Any

import pytest

import intake
from models import ApiKey, Item, User
from tests.conftest import PASSWORD, PNG, Kissa, Person
from tests.multipart import (
    BOUNDARY,
    F0CKM,
    MULTIPART,
    NEKOS,
    UNANNOUNCED,
    Endpoint,
    both_endpoints,
    check_nothing_left,
    check_refused,
    form,
    part,
    send,
)

MIB = 1024 * 1024
Body = Callable[[Endpoint], bytes]


@pytest.fixture
def kissa(start: Callable[..., Kissa]) -> Kissa:
    """An app that waits for no disk: nothing here is about that."""
    return start(storage_durable="false")


def with_extra(*extra: bytes) -> Body:
    return lambda endpoint: form(*extra, *endpoint.parts())


def instead(*parts: bytes) -> Body:
    """The fields of a good upload, and these parts in place of its file."""
    return lambda endpoint: form(*endpoint.parts()[:-1], *parts)


def changed(old: bytes, new: bytes) -> Body:
    return lambda endpoint: endpoint.body().replace(old, new)


BAD_BODIES: dict[str, tuple[Body, int]] = {
    "no-body": (lambda endpoint: b"", 400),
    "no-parts": (lambda endpoint: form(), 400),
    "no-file": (instead(), 400),
    "empty-file": (lambda endpoint: endpoint.body(b""), 400),
    "input-left-empty": (lambda endpoint: endpoint.body(b"", b""), 400),
    "file-without-a-name": (lambda endpoint: endpoint.body(PNG, b""), 400),
    "two-files": (lambda endpoint: form(*endpoint.parts(), endpoint.parts()[-1]), 400),
    "two-files-one-empty": (lambda endpoint: form(*endpoint.parts(), endpoint.parts(b"")[-1]), 400),
    "wrong-field": (instead(part(b"upload", PNG, b"a.png")), 400),
    "field-in-other-case": (instead(part(b"FILE", PNG, b"a.png")), 400),
    "field-without-a-name": (instead(part(b"", PNG, b"a.png")), 400),
    "text-in-the-file-field": (lambda endpoint: form(part(endpoint.field, b"text")), 400),
    "last-boundary-missing": (lambda e: e.body().removesuffix(b"--" + BOUNDARY + b"--\r\n"), 400),
    "last-boundary-open": (changed(BOUNDARY + b"--\r\n", BOUNDARY + b"\r\n"), 400),
    "last-boundary-of-another": (changed(BOUNDARY + b"--", b"----other--"), 400),
    "boundary-then-garbage": (changed(BOUNDARY + b"--", BOUNDARY + b"xx"), 400),
    "garbage-before": (lambda endpoint: b"garbage" + endpoint.body(), 400),
    "line-feeds-only": (lambda endpoint: endpoint.body().replace(b"\r\n", b"\n"), 400),
    "part-header-not-utf8": (lambda endpoint: endpoint.body(PNG, b"caf\xe9.png"), 400),
    "part-header-half-utf8": (lambda endpoint: endpoint.body(PNG, b"caf\xc3.png"), 400),
    "part-header-cut-in-two": (lambda endpoint: endpoint.body(PNG, b'a\r\nX-Evil: b".png'), 400),
    "part-header-without-colon": (with_extra(part(b"x", b"y", headers=b"nonsense\r\n")), 400),
    "part-header-name-odd": (with_extra(part(b"x", b"y", headers=b"a b: c\r\n")), 400),
    "part-without-disposition": (with_extra(b"\r\ntext"), 400),
    "part-as-attachment": (changed(b"form-data; name", b"attachment; name"), 400),
    "part-length-wrong": (with_extra(part(b"x", b"y", headers=b"Content-Length: 9\r\n")), 400),
    "part-length-enormous": (
        with_extra(part(b"x", b"y", headers=b"Content-Length: " + b"9" * 40 + b"\r\n")),
        400,
    ),
    "part-length-twice": (
        with_extra(part(b"x", b"y", headers=b"Content-Length: 1\r\n" * 2)),
        400,
    ),
    "many-parts": (with_extra(*[part(b"x%d" % i, b"y") for i in range(50)]), 413),
    "many-parts-of-one-name": (with_extra(*[part(b"x", b"")] * 5000), 413),
    "huge-part-header": (with_extra(part(b"x", b"y", headers=b"A: " + b"b" * 5000 + b"\r\n")), 413),
    "many-part-headers": (with_extra(part(b"x", b"y", headers=b"A: b\r\n" * 9)), 413),
    "huge-field-name": (with_extra(part(b"x" * 5000, b"y")), 413),
    "huge-file-name": (lambda endpoint: endpoint.body(PNG, b"x" * 5000 + b".png"), 413),
    "huge-field": (with_extra(part(b"comment", b"y" * (256 * 1024 + 1))), 413),
    "huge-fields-together": (with_extra(*[part(b"x%d" % i, b"y" * 9000) for i in range(30)]), 413),
}


@both_endpoints
@pytest.mark.parametrize(
    ("body", "status"), [pytest.param(*case, id=id) for id, case in BAD_BODIES.items()]
)
def test_bad_body(kissa: Kissa, alice: Person, endpoint: Endpoint, body: Body, status: int) -> None:
    check_refused(send(kissa, endpoint, alice, body(endpoint)), status)
    check_nothing_left(kissa)
    assert send(kissa, endpoint, alice, endpoint.body()).status_code == 200


@both_endpoints
@pytest.mark.parametrize(
    "content_type",
    [
        pytest.param("", id="none"),
        pytest.param("multipart/form-data", id="no-boundary"),
        pytest.param("multipart/form-data; boundary=", id="empty-boundary"),
        pytest.param('multipart/form-data; boundary=""', id="quoted-empty-boundary"),
        pytest.param("multipart/form-data; boundary=other", id="another-boundary"),
        pytest.param("multipart/form-data; boundary=" + "x" * 201, id="long-boundary"),
        pytest.param("multipart/form-data; boundary=\xe9", id="boundary-not-ascii"),
        pytest.param('multipart/form-data; boundary="', id="boundary-of-one-quote"),
        pytest.param(MULTIPART.replace("form-data", "mixed"), id="mixed"),
        pytest.param(MULTIPART.replace("multipart", "text"), id="text"),
        pytest.param("application/octet-stream", id="octets"),
        pytest.param("application/x-www-form-urlencoded", id="urlencoded"),
        pytest.param("application/json", id="json"),
        pytest.param(";;;=;", id="nonsense"),
    ],
)
def test_not_a_form(kissa: Kissa, alice: Person, endpoint: Endpoint, content_type: str) -> None:
    response = send(kissa, endpoint, alice, endpoint.body(), content_type)
    assert check_refused(response, 400)[:16] in ("No file provided", "The multipart bo")
    check_nothing_left(kissa)


@both_endpoints
def test_documented_sentence_when_there_is_no_file(
    kissa: Kissa, alice: Person, endpoint: Endpoint
) -> None:
    response = send(kissa, endpoint, alice, form())
    assert check_refused(response, 400) == "No file provided"


@both_endpoints
def test_cut_off_anywhere(kissa: Kissa, alice: Person, endpoint: Endpoint) -> None:
    body = endpoint.body()
    for end in range(1, len(body) - 2):  # the last line end may be missing
        said = check_refused(send(kissa, endpoint, alice, body[:end]), 400)
        response = send(kissa, endpoint, alice, body[:end], CONTENT_LENGTH=str(len(body)))
        assert said == check_refused(response, 400), end
    check_nothing_left(kissa)


@both_endpoints
@pytest.mark.parametrize(
    ("length", "status"),
    [
        pytest.param("1", 400, id="shorter"),
        pytest.param("0", 400, id="zero"),
        pytest.param("999", 400, id="longer"),
        pytest.param("-5", 400, id="negative"),
        pytest.param("abc", 400, id="no-number"),
        pytest.param("0x10", 400, id="hexadecimal"),
        pytest.param(str(102 * MIB), 413, id="over-the-limit"),
        pytest.param("9" * 30, 413, id="thirty-digits"),
    ],
)
def test_content_length_that_lies(
    kissa: Kissa, alice: Person, endpoint: Endpoint, length: str, status: int
) -> None:
    response = send(kissa, endpoint, alice, endpoint.body(), CONTENT_LENGTH=length)
    check_refused(response, status)
    check_nothing_left(kissa)


@both_endpoints
@pytest.mark.parametrize(
    "environ", [pytest.param({}, id="announced"), pytest.param(UNANNOUNCED, id="unannounced")]
)
@pytest.mark.parametrize(
    ("content", "epilogue", "status"),
    [
        pytest.param(MIB, 0, 200, id="exactly-the-limit"),
        pytest.param(MIB + 1, 0, 413, id="file-one-byte-over"),
        pytest.param(3 * MIB, 0, 413, id="file-three-times-over"),
        pytest.param(10, 2 * MIB, 413, id="epilogue-over"),
    ],
)
def test_limit(
    start: Callable[..., Kissa],
    endpoint: Endpoint,
    environ: dict[str, Any],
    content: int,
    epilogue: int,
    status: int,
) -> None:
    kissa = start(uploads_max_size_mb=1)
    alice = kissa.person("alice")
    body = endpoint.body(b"x" * content) + b"y" * epilogue
    response = send(kissa, endpoint, alice, body, **environ)
    if status == 200:
        assert response.status_code == 200
    else:
        assert "1 MB" in check_refused(response, status)
        check_nothing_left(kissa)


@both_endpoints
def test_blocked_extension(start: Callable[..., Kissa], endpoint: Endpoint) -> None:
    kissa = start(uploads_blocked_extensions="exe, gz")
    alice = kissa.person("alice")
    for name in (b"a.exe", b"a.EXE", b"x/a.exe", b"x\\\\a.exe", b"a.gz", b"a.tar.gz", b".tar.gz"):
        check_refused(send(kissa, endpoint, alice, endpoint.body(PNG, name)), 415)
    check_nothing_left(kissa)
    assert send(kissa, endpoint, alice, endpoint.body(PNG, b"exe")).status_code == 200


@both_endpoints
def test_over_quota(start: Callable[..., Kissa], endpoint: Endpoint) -> None:
    kissa = start(uploads_quota_mb=1)
    alice = kissa.person("alice")
    check_refused(send(kissa, endpoint, alice, endpoint.body(b"x" * (MIB + 1))), 507)
    check_nothing_left(kissa)
    assert send(kissa, endpoint, alice, endpoint.body(b"x" * MIB)).status_code == 200
    check_refused(send(kissa, endpoint, alice, endpoint.body(b"x")), 507)
    assert len(kissa.files()) == Item.select().count() == 1


@both_endpoints
def test_huge_headers(kissa: Kissa, alice: Person, endpoint: Endpoint) -> None:
    headers = dict.fromkeys(("token", "X-Api-Key", "file", "Accept", "Range"), "x" * 1_000_000)
    check_refused(send(kissa, endpoint, alice, endpoint.body(), headers=headers), 401)
    check_nothing_left(kissa)


def test_early_refusal_reads_the_body_no_further_than_the_limit(
    start: Callable[..., Kissa],
) -> None:
    start(uploads_max_size_mb=1)
    taken = []

    class Endless:
        def read(self, size: int = -1) -> bytes:
            taken.append(size)
            return b"x" * size

    intake.drain(Endless(), 2 * MIB)
    assert sum(taken) <= 2 * MIB + 64 * 1024


# Inputs of the other endpoints


def people() -> set[str]:
    return {user.username for user in User.select()}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="malformed"),
        pytest.param(b'{"username": "eve"', id="cut-off"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="array"),
        pytest.param(b'["username", "password"]', id="array-of-names"),
        pytest.param(b'"username"', id="string"),
        pytest.param(b"7", id="number"),
        pytest.param(b"NaN", id="nan"),
        pytest.param(b"1" * 5000, id="number-of-5000-digits"),
        pytest.param(b"[" * 100_000, id="nested"),
        pytest.param(b'{"a":' * 30_000, id="nested-objects"),
        pytest.param(b"\xff\xfe{}", id="not-utf8"),
        pytest.param(b'{"username": 7, "password": 1e999}', id="numbers"),
        pytest.param(b'{"username": ["eve"], "password": {"a": 1}}', id="containers"),
        pytest.param(b'{"username": null, "password": true}', id="null-and-true"),
        pytest.param(b'{"username": "", "password": ""}', id="empty-strings"),
        pytest.param(b'{"username": "eve\\ud800", "password": "correct horse"}', id="surrogate"),
        pytest.param(b'{"username": "eve", "password": "correct\\udfff"}', id="surrogate-password"),
        pytest.param(b'{"username": "eve\\u0000", "password": "correct horse"}', id="nul"),
        pytest.param(b'{"username": "eve", "password": "cor\\u0000rect"}', id="nul-in-password"),
        pytest.param(b'{"username": "eve\\n", "password": "correct horse"}', id="line-end"),
        pytest.param(b'{"username": "\xef\xbd\x85ve", "password": "a horse"}', id="fullwidth"),
        pytest.param(b'{"Username": "eve", "password": "correct horse"}', id="other-case"),
    ],
)  # fmt: skip
def test_bad_json(kissa: Kissa, body: bytes) -> None:
    for path in ("/api/user/signup", "/api/admin/signup", "/api/user/passreset"):
        response = kissa.post(path, data=body, content_type="application/json")
        check_refused(response, 400)
    for path in ("/api/token/valid", "/api/files/list", "/api/admin/list/users"):
        tokens = body.replace(b"username", b"token")
        check_refused(kissa.post(path, data=tokens, content_type="application/json"), 401)
    assert people() == set()


@pytest.mark.parametrize(
    "kind", ["application/json", "application/x-www-form-urlencoded", MULTIPART]
)
def test_body_that_is_no_upload_has_its_own_limit(kissa: Kissa, kind: str) -> None:
    body = b'{"username": "' + b"x" * 300_000 + b'"}'
    check_refused(kissa.post("/api/user/signup", data=body, content_type=kind), 413)


LONG = "9" * 30


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        pytest.param("GET", f"/api/v2/items/{LONG}", {}, 404, id="item"),
        pytest.param("GET", f"/api/v2/items/{'9' * 18}", {}, 404, id="item-of-18-digits"),
        pytest.param("GET", "/api/v2/items/-1", {}, 404, id="item-below-zero"),
        pytest.param("GET", "/api/v2/items/١", {}, 404, id="item-arabic-digit"),
        pytest.param("GET", "/api/v2/items/1%0a", {}, 404, id="item-line-end"),
        pytest.param("DELETE", f"/api/v2/items/{LONG}", {}, 404, id="delete-item"),
        pytest.param("GET", f"/api/v2/items/{LONG}/file", {}, 404, id="item-file"),
        pytest.param("GET", f"/api/v2/items?before={LONG}", {}, 400, id="before"),
        pytest.param("GET", f"/api/v2/items?limit={LONG}", {}, 400, id="gallery-limit"),
        pytest.param("GET", "/api/v2/items?limit=0", {}, 400, id="gallery-limit-zero"),
        pytest.param("GET", "/api/v2/items?before=1e3", {}, 400, id="before-float"),
        pytest.param("GET", "/api/v2/items?rating=SFW", {}, 400, id="rating"),
        pytest.param("GET", f"/api/v2/items?tag={'x' * 65}", {}, 400, id="long-tag"),
        pytest.param("POST", "/api/user/keys/revoke", {"id": LONG}, 404, id="key"),
        pytest.param("POST", "/api/user/keys/revoke", {"id": "-1"}, 404, id="key-below-zero"),
        pytest.param("POST", "/api/user/keys/create", {"name": "x" * 65}, 400, id="key-name"),
        pytest.param("POST", "/api/files/list", {"limit": LONG}, 400, id="limit"),
        pytest.param("POST", "/api/files/list", {"limit": "-1"}, 400, id="limit-below-zero"),
        pytest.param("POST", "/api/files/list", {"offset": "1.5"}, 400, id="offset-float"),
        pytest.param("POST", "/api/files/list", {"offset": LONG}, 400, id="offset"),
        pytest.param("POST", "/api/files/delete", {"file": "../kissa.db"}, 404, id="traversal"),
        pytest.param("POST", "/api/files/delete", {"file": ".incoming"}, 404, id="dot-folder"),
        pytest.param("POST", "/api/files/delete", {"file": "x" * 9999}, 404, id="long-name"),
    ],
)
def test_numbers_and_names_out_of_range(
    kissa: Kissa, alice: Person, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    who = alice.by_key if path.startswith("/api/v2") else alice.by_token
    check_refused(kissa.client.open(path, method=method, headers=who | headers), status)
    assert ApiKey.select().count() == 1


@pytest.mark.parametrize("path", [f"/{LONG}", "/1%0a", "/١", "/-1", "/1.0", "/%00"])
def test_page_of_no_item(kissa: Kissa, path: str) -> None:
    assert kissa.get(path).status_code == 404


@pytest.mark.parametrize(
    ("fields", "query"),
    [
        pytest.param({"rating": b"SFW"}, "", id="rating-in-upper-case"),
        pytest.param({"rating": b"\xff"}, "", id="rating-not-utf8"),
        pytest.param({"tags": b"a,,b, ,b"}, "", id="two-tags"),
        pytest.param({"tags": b"sfw,nsfw,nsfl,a,b"}, "", id="ratings-as-tags"),
        pytest.param({"tags": ",".join(map(str, range(51))).encode()}, "", id="51-tags"),
        pytest.param({"tags": b"a,b," + b"c" * 65}, "", id="long-tag"),
        pytest.param({"comment": b"x" * 2001}, "", id="long-comment"),
        pytest.param({"rating": b""}, "?rating=sfw", id="empty-field-before-the-query"),
    ],
)
def test_bad_listing(kissa: Kissa, alice: Person, fields: dict[str, bytes], query: str) -> None:
    good = dict(F0CKM.fields) | {name.encode(): value for name, value in fields.items()}
    parts = [part(name, value) for name, value in good.items()]
    body = form(*parts, F0CKM.parts()[-1])
    response = kissa.post(F0CKM.path + query, alice.by_key, data=body, content_type=MULTIPART)
    check_refused(response, 400)
    check_nothing_left(kissa)


def test_a_name_that_was_refused_is_not_taken(kissa: Kissa, alice: Person) -> None:
    send(kissa, NEKOS, alice, NEKOS.body()[:-30])
    assert kissa.post("/api/user/info", alice.by_token).json == {
        "username": "alice",
        "filecount": 0,
    }
    login = {"username": "alice", "password": PASSWORD}
    assert kissa.post("/api/token/get", login).json == {"token": alice.token}
