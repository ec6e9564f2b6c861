"""Random bytes where clients send theirs: never a fault of ours, never half a file."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import Item, User
from tests.conftest import PASSWORD, Kissa, Person
from tests.multipart import BOUNDARY, F0CKM, NEKOS, Endpoint, send


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


CONTENT = bytes(range(256)) * 2
PIECES = [b"", b"\r\n", b"\n", b"--", b"--" + BOUNDARY, b"--" + BOUNDARY + b"--", b'"', b";", b"\0"]
pieces = st.sampled_from(PIECES) | st.binary(max_size=12)
# Where to cut, how many bytes to drop there, and what to put in their place.
edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), pieces), min_size=1, max_size=4)


@pytest.fixture
def kissa(start: Callable[..., Kissa]) -> Kissa:
    return start(accounts_failures=0, uploads_per_minute=0, storage_durable="false")


@bounded(700)
@given(st.sampled_from([NEKOS, F0CKM]), edits)
def test_mutated_body(
    kissa: Kissa, alice: Person, endpoint: Endpoint, edits: list[tuple[float, int, bytes]]
) -> None:
    body = endpoint.body(CONTENT)
    for share, dropped, added in edits:
        at = round(share * len(body))
        body = body[:at] + added + body[at + dropped :]
    before = kissa.files()
    response = send(kissa, endpoint, alice, body)
    assert response.status_code in (200, 400, 413), (response.status_code, body)
    new = kissa.files() - before
    if response.status_code != 200:
        assert not new
        return
    (name,) = new
    item = Item.get(Item.name == name)
    stored = (kissa.uploads / name).read_bytes()
    assert item.size == len(stored)
    assert stored in body  # what was sent, whole: nothing is cut, joined or re-coded
    assert Item.select().count() == len(before) + 1


odd = st.binary(max_size=300) | st.text(max_size=60).map(
    lambda text: text.encode("utf-8", "replace")
)
VARIABLES = ["HTTP_TOKEN", "HTTP_X_API_KEY", "HTTP_USERNAME", "HTTP_PASSWORD", "HTTP_NEWPASSWORD"]
PATHS = [
    "/api/token/valid", "/api/token/get", "/api/user/info", "/api/user/passreset",
    "/api/user/delete", "/api/files/upload", "/api/files/delete", "/api/admin/token/valid",
    "/api/admin/token/get", "/api/admin/list/users", "/api/v2/upload", "/api/v2/sharex",
]  # fmt: skip


@bounded(300)
@given(st.sampled_from(PATHS), st.lists(odd, min_size=5, max_size=5))
def test_credentials_of_any_bytes(
    kissa: Kissa, alice: Person, path: str, values: list[bytes]
) -> None:
    # A server hands header bytes over as latin-1 (PEP 3333).
    headers = dict(zip(VARIABLES, (value.decode("latin-1") for value in values), strict=True))
    response = kissa.client.post(path, environ_overrides=headers)
    assert response.status_code in (400, 401), (path, values, response.text)
    assert kissa.post("/api/token/valid", alice.by_token).status_code == 200


@bounded(150)
@given(odd, odd)
def test_signup_of_any_bytes(kissa: Kissa, username: bytes, password: bytes) -> None:
    headers = {
        "HTTP_USERNAME": username.decode("latin-1"),
        "HTTP_PASSWORD": password.decode("latin-1"),
    }
    response = kissa.client.post("/api/user/signup", environ_overrides=headers)
    assert response.status_code in (200, 400, 409), (username, password, response.text)
    if response.status_code == 200:
        answer = kissa.client.post("/api/token/get", environ_overrides=headers)
        assert answer.status_code == 200


@bounded(150)
@given(st.text(max_size=40), st.text(max_size=40))
def test_passwords_of_any_text_in_json(kissa: Kissa, alice: Person, name: str, text: str) -> None:
    for json in ({"username": name, "password": text}, {"username": "alice", "password": text}):
        response = kissa.post("/api/token/get", json=json)
        assert response.status_code in (400, 401), json
    assert User.select().count() == 1


@bounded(150)
@given(st.binary(max_size=120), st.binary(max_size=60), st.binary(max_size=60))
def test_fields_of_any_bytes(
    kissa: Kissa, alice: Person, tags: bytes, comment: bytes, reason: bytes
) -> None:
    data = {"tags": b"a,b,c," + tags, "comment": comment, "rating": b"sfw", "is_oc": reason}
    body = b"".join(
        b"--%b\r\nContent-Disposition: form-data; name=%b\r\n\r\n%b\r\n"
        % (BOUNDARY, name.encode(), value)
        for name, value in data.items()
    )
    response = send(kissa, F0CKM, alice, body + NEKOS.body().replace(b"uploadFile", b"file"))
    assert response.status_code in (200, 400), response.text
    if response.status_code == 200:
        item_id = response.get_json()["itemid"]
        shown = kissa.get(f"/api/v2/items/{item_id}")
        assert {"a", "b", "c"} <= set(shown.get_json()["tags"])
        assert kissa.get(f"/{item_id}").status_code == 200


@bounded(200)
@given(st.binary(max_size=60))
def test_paths_of_any_bytes(kissa: Kissa, path: bytes) -> None:
    for prefix in ("/", "/f/", "/api/", "/api/v2/items/", "/delete/"):
        environ = {"PATH_INFO": prefix + path.decode("latin-1")}
        response = kissa.client.get("/", environ_overrides=environ, buffered=True)
        assert response.status_code in (200, 308, 400, 401, 404, 405), (environ, response.status)
        assert PASSWORD not in response.text
