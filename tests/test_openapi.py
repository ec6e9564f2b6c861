"""The API description: valid, complete, and true of what the app answers."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import validate
from werkzeug.test import TestResponse

import openapi
from tests.conftest import ADMIN_KEY, PASSWORD, PNG, Kissa
from tests.pieces import PIECE, TUS, by_token
from tests.routes import routes

Calls = dict[str, tuple[str, str, dict[str, Any]]]

DOCUMENT = openapi.document("http://kissa.example/")
OPERATIONS: Calls = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
NOBODY = {"username": "nobody", "password": PASSWORD}
ALICE = {"username": "alice", "password": PASSWORD}
ADMIN = {"username": "admin", "password": PASSWORD}
TOKEN = {"token": "{alice.token}"}
ADMIN_TOKEN = {"token": "{admin.admin_token}"}
KEY = {"X-Api-Key": "{alice.api_key}"}
LINK = {"name": "{name}", "secret": "{secret}"}
UPLOAD = {"upload": "{partial}"}
SENT = TUS | {"Content-Type": PIECE}
SHITPOST = {"file": b"meme", "is_shitpost": "1"}
JSON_ID = {"id": 1, "token": "{alice.token}"}

# (operation, status, headers, and what else: values of the path, query string, data, json)
CALLS: list[tuple[str, int, dict[str, str], dict[str, Any]]] = [
    ("info", 200, {}, {}),
    ("userInfo", 200, TOKEN, {}),
    ("userInfo", 401, {}, {}),
    ("signUp", 200, {"username": "carol", "password": PASSWORD, "regkey": "{regkey}"}, {}),
    ("signUp", 200, {}, {"json": NOBODY | {"regkey": "{regkey}"}}),
    ("signUp", 400, {}, {}),
    ("signUp", 403, NOBODY, {}),
    ("signUp", 409, ALICE | {"regkey": "{regkey}"}, {}),
    ("deleteAccount", 200, ALICE, {}),
    ("deleteAccount", 401, NOBODY, {}),
    ("deleteAccount", 409, ADMIN, {}),
    ("resetPassword", 200, ALICE | {"newpassword": "horse battery"}, {}),
    ("resetPassword", 400, ALICE | {"newpassword": "short"}, {}),
    ("listApiKeys", 200, TOKEN, {}),
    ("listApiKeys", 401, {"token": "no"}, {}),
    ("createApiKey", 200, TOKEN | {"name": "laptop"}, {}),
    ("createApiKey", 400, TOKEN, {}),
    ("revokeApiKey", 200, TOKEN | {"id": "1"}, {}),
    ("revokeApiKey", 200, {}, {"json": JSON_ID}),
    ("revokeApiKey", 404, TOKEN | {"id": "99"}, {}),
    ("listAlbums", 200, TOKEN, {}),
    ("listAlbums", 401, {}, {}),
    ("nekosUploader", 200, TOKEN, {}),
    ("nekosUploader", 401, {}, {}),
    ("getToken", 200, ALICE, {}),
    ("getToken", 401, NOBODY, {}),
    ("renewToken", 200, TOKEN, {}),
    ("renewToken", 401, {}, {}),
    ("checkToken", 200, TOKEN, {}),
    ("checkToken", 401, {}, {}),
    ("checkToken", 413, {}, {"data": {"token": "x" * 300_000}}),
    ("listFiles", 200, TOKEN, {}),
    ("listFiles", 400, TOKEN | {"limit": "all"}, {}),
    ("upload", 200, TOKEN, {"data": {"uploadFile": PNG}}),
    ("upload", 200, TOKEN | {"Accept": "text/plain"}, {"data": {"uploadFile": PNG}}),
    ("upload", 200, TOKEN | {"album": "Cats"}, {"data": {"uploadFile": PNG}}),
    ("upload", 200, TOKEN | {"expires": "7d"}, {"data": {"uploadFile": PNG}}),
    ("upload", 400, TOKEN, {"data": {"uploadFile": PNG, "expires": "soon"}}),
    ("uploadItem", 200, KEY, {"data": SHITPOST, "query": "expires=2w"}),
    ("upload", 400, TOKEN, {"data": {"uploadFile": b""}}),
    ("upload", 401, {}, {"data": {"uploadFile": PNG}}),
    ("upload", 413, TOKEN, {"data": {"uploadFile": PNG, "more": "x" * 300_000}}),
    ("beginResumable", 201, TOKEN | TUS | {"Upload-Length": "9"}, {}),
    ("beginResumable", 400, TOKEN | TUS, {}),
    ("beginResumable", 412, TOKEN, {}),
    ("sendPiece", 204, TOKEN | SENT | {"Upload-Offset": "0"}, {"path": UPLOAD}),
    ("sendPiece", 409, TOKEN | SENT | {"Upload-Offset": "1"}, {"path": UPLOAD}),
    ("sendPiece", 415, TOKEN | TUS, {"path": UPLOAD}),
    ("endResumable", 204, TOKEN | TUS, {"path": UPLOAD}),
    ("endResumable", 404, KEY | TUS, {"path": UPLOAD}),
    ("overrideMethod", 204, TOKEN | TUS | {"X-HTTP-Method-Override": "DELETE"}, {"path": UPLOAD}),
    ("overrideMethod", 200, TOKEN | TUS | {"X-HTTP-Method-Override": "HEAD"}, {"path": UPLOAD}),
    ("overrideMethod", 405, TOKEN | TUS, {"path": UPLOAD}),
    ("deleteFile", 200, TOKEN | {"file": "{name}"}, {}),
    ("deleteFile", 403, {"token": "{bob.token}", "file": "{name}"}, {}),
    ("signUpAdmin", 200, NOBODY | {"adminkey": ADMIN_KEY}, {}),
    ("signUpAdmin", 403, NOBODY | {"adminkey": "wrong"}, {}),
    ("createRegistrationKey", 200, ADMIN_TOKEN, {}),
    ("createRegistrationKey", 403, TOKEN, {}),
    ("checkAdminToken", 200, ADMIN_TOKEN, {}),
    ("checkAdminToken", 401, TOKEN, {}),
    ("getAdminToken", 200, ADMIN, {}),
    ("getAdminToken", 401, ALICE, {}),
    ("renewAdminToken", 200, ADMIN_TOKEN, {}),
    ("renewAdminToken", 403, TOKEN, {}),
    ("listUploads", 200, ADMIN_TOKEN | {"limit": "2", "offset": "1"}, {}),
    ("listUploads", 403, TOKEN, {}),
    ("listUsers", 200, ADMIN_TOKEN | {"query": "Alice"}, {}),
    ("listUsers", 401, {}, {}),
    ("takeDownFile", 200, ADMIN_TOKEN | {"file": "{name}"}, {}),
    ("takeDownFile", 200, ADMIN_TOKEN | {"file": "{name}", "reason": "spam", "refuse": "1"}, {}),
    ("takeDownFile", 400, ADMIN_TOKEN | {"file": "{name}", "reason": "x" * 501}, {}),
    ("deleteItem", 200, ADMIN_TOKEN | {"refuse": "1"}, {"path": {"itemid": "{item}"}}),
    ("takeDownFile", 404, ADMIN_TOKEN | {"file": "zzzzzzz.png"}, {}),
    ("deleteUser", 200, ADMIN_TOKEN | {"username": "alice"}, {}),
    ("deleteUser", 409, ADMIN_TOKEN | {"username": "admin"}, {}),
    ("ban", 200, ADMIN_TOKEN | {"username": "bob"}, {}),
    ("ban", 404, ADMIN_TOKEN | {"username": "nobody"}, {}),
    ("unban", 200, ADMIN_TOKEN | {"username": "bob"}, {}),
    ("unban", 400, ADMIN_TOKEN, {}),
    ("openapi", 200, {}, {}),
    ("uploadItem", 200, KEY, {"data": {"file": PNG, "rating": "sfw", "tags": "a, b, c"}}),
    ("uploadItem", 200, KEY, {"data": SHITPOST}),
    ("uploadItem", 400, KEY, {"data": {"rating": "sfw"}}),
    ("uploadItem", 401, TOKEN, {"data": SHITPOST}),
    ("f0ckmUploader", 200, KEY, {}),
    ("f0ckmUploader", 401, {}, {}),
    ("listItems", 200, {}, {"query": "rating=all&user=alice&tag=cat&tag=cute&limit=1"}),
    ("listItems", 400, {}, {"query": "rating=none"}),
    ("listItems", 400, {}, {"query": "before=0"}),
    ("showItem", 200, {}, {"path": {"itemid": "{item}"}}),
    ("showItem", 404, {}, {"path": {"itemid": "{waiting}"}}),
    ("deleteItem", 200, KEY, {"path": {"itemid": "{item}"}}),
    ("deleteItem", 403, {"X-Api-Key": "{bob.api_key}"}, {"path": {"itemid": "{item}"}}),
    ("showItemFile", 200, KEY, {"path": {"itemid": "{waiting}"}}),
    ("showItemFile", 206, KEY | {"Range": "bytes=0-3"}, {"path": {"itemid": "{item}"}}),
    ("showItemFile", 401, {}, {"path": {"itemid": "{item}"}}),
    ("listQueue", 200, ADMIN_TOKEN, {"query": "limit=1"}),
    ("listQueue", 403, TOKEN, {}),
    ("approve", 200, ADMIN_TOKEN, {"path": {"itemid": "{waiting}"}}),
    ("approve", 409, ADMIN_TOKEN, {"path": {"itemid": "{item}"}}),
    ("reject", 200, ADMIN_TOKEN | {"reason": "blurred"}, {"path": {"itemid": "{waiting}"}}),
    ("reject", 401, {}, {"path": {"itemid": "{waiting}"}}),
    ("healthz", 200, {}, {}),
    ("metrics", 200, ADMIN_TOKEN, {}),
    ("metrics", 401, {}, {}),
    ("metrics", 403, TOKEN, {}),
    ("thumbnail", 200, {}, {"path": {"name": "{name}"}}),
    ("thumbnail", 404, {}, {"path": {"name": "zzzzzzz.png"}}),
    ("file", 200, {}, {"path": {"name": "{name}"}}),
    ("file", 206, {"Range": "bytes=0-3"}, {"path": {"name": "{name}"}}),
    ("file", 404, {}, {"path": {"name": "zzzzzzz.png"}}),
    ("download", 200, {}, {"path": {"name": "{name}"}}),
    ("download", 404, {}, {"path": {"name": "zzzzzzz.png"}}),
    ("robots", 200, {}, {}),
    ("file", 416, {"Range": "bytes=999-"}, {"path": {"name": "{name}"}}),
    ("askDeletion", 200, {}, {"path": LINK}),
    ("askDeletion", 404, {}, {"path": LINK | {"secret": "x"}}),
    ("deleteByLink", 200, {}, {"path": LINK}),
    ("deleteByLink", 404, {}, {"path": LINK | {"secret": "x"}}),
]


@pytest.fixture
def world(start: Callable[..., Kissa]) -> tuple[Kissa, dict[str, Any]]:
    """A host with everything switched on, and what `CALLS` speaks of."""
    kissa = start(
        accounts_invite_only=True,
        accounts_admin_registration=True,
        accounts_admin_key=ADMIN_KEY,
        gallery_manual_approval=True,
    )
    alice, bob = kissa.person("alice"), kissa.person("bob")
    admin = kissa.person("admin", admin=True)
    item, waiting = kissa.item_id(alice), kissa.item_id(alice, comment="Look!")
    approved = kissa.post(f"/api/v2/queue/{item}/approve", admin.by_admin_token)
    assert approved.status_code == 200, approved.text
    sent = kissa.upload(alice)
    name, secret = sent.headers["X-Deletion-URL"].split("/")[-2:]
    regkey = kissa.post("/api/admin/regkeygen", admin.by_admin_token).get_json()["regkey"]
    people = {"alice": alice, "bob": bob, "admin": admin}
    partial = by_token(kissa, alice).begin(9).rpartition("/")[2]
    things = {
        "partial": partial,
        "item": item,
        "waiting": waiting,
        "name": name,
        "secret": secret,
        "regkey": regkey,
    }
    return kissa, people | things


def call(
    kissa: Kissa,
    operation: str,
    headers: dict[str, str],
    *,
    path: dict[str, str] | None = None,
    query: str = "",
    data: dict[str, Any] | None = None,
    json: dict[str, Any] | None = None,
) -> TestResponse:
    method, template, _ = OPERATIONS[operation]
    form = data and {
        key: (io.BytesIO(value), "a.png") if isinstance(value, bytes) else value
        for key, value in data.items()
    }
    return kissa.client.open(
        template.format(**path or {}),
        method=method,
        headers=headers,
        query_string=query,
        data=form,
        json=json,
        buffered=True,
    )


def fill(value: Any, world: dict[str, Any]) -> Any:
    """`value` with the names in braces replaced."""
    if isinstance(value, dict):
        return {key: fill(one, world) for key, one in value.items()}
    return value.format(**world) if isinstance(value, str) else value


def documented(operation: str, response: TestResponse) -> dict[str, Any]:
    """What the description says of an answer of this status."""
    responses = OPERATIONS[operation][2]["responses"]
    assert str(response.status_code) in responses, response.data
    answer: dict[str, Any] = responses[str(response.status_code)]
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return answer


def require_documented(operation: str, response: TestResponse) -> None:
    """See that status, media type, headers and body are as the description says."""
    answer = documented(operation, response)
    for name, told in answer.get("headers", {}).items():
        assert name in response.headers or not told.get("required")
    content = answer.get("content", {})
    if not content and response.status_code < 300:
        assert response.data == b""
        return
    media_type = response.mimetype if response.mimetype in content else "*/*"
    assert media_type in content, response.mimetype
    if media_type in ("*/*", "image/webp"):
        return  # bytes
    body = response.get_json() if media_type == "application/json" else response.text
    schema = content[media_type]["schema"] | {"components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(body)


def test_description_is_valid() -> None:
    validate(DOCUMENT)


def test_description_is_served(kissa: Kissa) -> None:
    answer = kissa.get("/api/openapi.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.get_json() == DOCUMENT


def test_every_route_is_described_and_nothing_more() -> None:
    def shape(path: str) -> str:
        return re.sub(r"\{[^}]*\}", "*", path)

    described = {(method, shape(path)) for method, path, _ in OPERATIONS.values()}
    assert described == routes(pages=False)


def test_every_object_in_an_answer_is_closed() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        if schema.get("type") == "object":
            assert schema["additionalProperties"] is False, name
            assert schema["required"] == list(schema["properties"]), name


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_is_called(operation: str) -> None:
    called = {status for name, status, _, _ in CALLS if name == operation}
    assert any(status < 300 for status in called), "no success"
    refusals = {
        status for status in OPERATIONS[operation][2]["responses"] if "400" <= status < "500"
    }
    assert not refusals or any(status >= 400 for status in called), "no refusal"


@pytest.mark.parametrize(
    ("operation", "status", "headers", "more"),
    CALLS,
    ids=[f"{operation}-{status}-{number}" for number, (operation, status, *_) in enumerate(CALLS)],
)
def test_answers_are_as_described(
    world: tuple[Kissa, dict[str, Any]],
    operation: str,
    status: int,
    headers: dict[str, str],
    more: dict[str, Any],
) -> None:
    kissa, things = world
    response = call(kissa, operation, fill(headers, things), **fill(more, things))
    assert response.status_code == status, response.data
    require_documented(operation, response)


def test_live_upload_is_as_described(kissa: Kissa) -> None:
    response = kissa.list_item(kissa.person("alice"))
    assert response.get_json()["manual_approval"] is False
    require_documented("uploadItem", response)


@pytest.mark.parametrize(
    ("key", "value", "operation", "status"),
    [
        ("accounts_registration", False, "signUp", 403),
        ("accounts_failures", 1, "getToken", 429),
        ("uploads_per_minute", 1, "upload", 429),
        ("uploads_per_minute", 1, "uploadItem", 429),
        ("uploads_blocked_extensions", "png", "upload", 415),
        ("uploads_blocked_extensions", "png", "uploadItem", 415),
        ("gallery_visitors", "none", "listItems", 401),
    ],
    ids=lambda value: str(value),
)
def test_refusals_that_hosts_configure_are_as_described(
    start: Callable[..., Kissa], key: str, value: object, operation: str, status: int
) -> None:
    kissa = start(**{key: value})
    alice = kissa.person("alice")
    field = {"upload": "uploadFile", "uploadItem": "file"}.get(operation)
    headers = alice.by_token | alice.by_key if field else {}
    for _ in range(2):
        response = call(
            kissa,
            operation,
            headers or NOBODY,
            path={"itemid": "1"},
            data={field: PNG, "is_shitpost": "1"} if field else None,
        )
    assert response.status_code == status, response.text
    require_documented(operation, response)
