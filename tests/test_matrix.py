"""Who may do what: every route against every kind of credential, in one table."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
from werkzeug.test import TestResponse

import models
from tests.answers import told
from tests.conftest import ADMIN_KEY, PNG, Kissa, Person
from tests.pieces import by_token, metadata
from tests.routes import routes

COLUMNS = ("none", "bad", "user", "key", "other", "banned", "gone", "admin_upload", "admin")

# The inputs of a row are headers; {words} are what `Scene` makes for it. "login" adds the username
# and password of whoever asks. Columns: nobody; credentials that are none; the owner of what is
# asked for by upload token, and by API key; somebody else by both; a banned and a deleted owner by
# both; an admin by upload token, and by admin token.
TABLE = """
none  bad user  key othr ban. gone admU admT
200  200  200  200  200  200  200  200  200  GET    /api/info
200  200  200  200  200  200  200  200  200  GET    /api/openapi.json
200  200  200  200  200  200  200  200  200  POST   /api/user/signup  username={fresh} password=longer regkey={regkey}
401  401  200  401  200  401  401  200  401  POST   /api/user/info
400  401  200  400  200  401  401  200  200  POST   /api/user/delete  login
400  401  200  400  200  401  401  200  200  POST   /api/user/passreset  login newpassword=another
401  401  200  401  200  401  401  200  401  POST   /api/user/keys/list
401  401  200  401  200  401  401  200  401  POST   /api/user/keys/create  name=laptop
401  401  200  401  404  401  401  404  401  POST   /api/user/keys/revoke  id={key_id}
401  401  200  401  200  401  401  200  401  POST   /api/user/albums/list
401  401  200  401  200  401  401  200  401  POST   /api/user/sharex
400  401  200  400  200  401  401  200  200  POST   /api/token/get  login
401  401  200  401  200  401  401  200  401  POST   /api/token/regen
401  401  200  401  200  401  401  200  401  POST   /api/token/valid
401  401  200  401  200  401  401  200  401  POST   /api/files/list
401  401  200  401  200  401  401  200  401  POST   /api/files/upload
401  401  201  201  201  401  401  201  401  POST   /api/files/tus/  Tus-Resumable=1.0.0 Upload-Length=9 Upload-Metadata={described}
401  401  204  404  404  401  401  404  401  PATCH  /api/files/tus/{partial}  Tus-Resumable=1.0.0 Upload-Offset=0 Content-Type=application/offset+octet-stream
401  401  204  404  404  401  401  404  401  DELETE /api/files/tus/{partial}  Tus-Resumable=1.0.0
401  401  204  404  404  401  401  404  401  POST   /api/files/tus/{partial}  Tus-Resumable=1.0.0 X-HTTP-Method-Override=DELETE
401  401  200  401  403  401  401  403  401  POST   /api/files/delete  file={plain}
401  401  200  401  403  401  401  403  401  POST   /api/files/delete  file={waiting_name}
200  200  200  200  200  200  200  200  200  POST   /api/admin/signup  username={fresh} password=longer adminkey={adminkey}
401  401  403  401  403  401  401  403  200  POST   /api/admin/regkeygen
401  401  401  401  401  401  401  401  200  POST   /api/admin/token/valid
400  401  401  400  401  401  401  200  200  POST   /api/admin/token/get  login
401  401  403  401  403  401  401  403  200  POST   /api/admin/token/regen
401  401  403  401  403  401  401  403  200  POST   /api/admin/list/uploads
401  401  403  401  403  401  401  403  200  POST   /api/admin/list/users
401  401  403  401  403  401  401  403  200  POST   /api/admin/delete/file  file={plain}
401  401  403  401  403  401  401  403  200  POST   /api/admin/delete/user  username={bystander}
401  401  403  401  403  401  401  403  200  POST   /api/admin/ban/user  username={bystander}
401  401  403  401  403  401  401  403  200  POST   /api/admin/unban/user  username={bystander}
401  401  401  200  200  401  401  401  401  POST   /api/v2/upload
401  401  401  200  200  401  401  401  401  POST   /api/v2/sharex
200  200  200  200  200  200  200  200  200  GET    /api/v2/items
200  200  200  200  200  200  200  200  200  GET    /api/v2/items/{listed}
404  404  404  200  404  404  404  404  200  GET    /api/v2/items/{waiting}
404  404  404  200  404  404  404  404  200  GET    /api/v2/items/{plain_id}
401  401  401  200  403  401  401  401  200  GET    /api/v2/items/{listed}/file
401  401  401  200  404  401  401  401  200  GET    /api/v2/items/{waiting}/file
401  401  401  200  403  401  401  401  200  DELETE /api/v2/items/{listed}
401  401  401  200  404  401  401  401  200  DELETE /api/v2/items/{waiting}
401  401  403  401  403  401  401  403  200  GET    /api/v2/queue
401  401  403  401  403  401  401  403  200  POST   /api/v2/queue/{waiting}/approve
401  401  403  401  403  401  401  403  200  POST   /api/v2/queue/{waiting}/reject
200  200  200  200  200  200  200  200  200  GET    /
200  200  200  200  200  200  200  200  200  GET    /{listed}
404  404  404  404  404  404  404  404  404  GET    /{waiting}
404  404  404  404  404  404  404  404  404  GET    /{plain_id}
200  200  200  200  200  200  200  200  200  GET    /f/{plain}
404  404  404  404  404  404  404  404  404  GET    /f/{waiting_name}
200  200  200  200  200  200  200  200  200  GET    /d/{plain}
404  404  404  404  404  404  404  404  404  GET    /d/{waiting_name}
200  200  200  200  200  200  200  200  200  GET    /t/{plain}
404  404  404  404  404  404  404  404  404  GET    /t/{waiting_name}
200  200  200  200  200  200  200  200  200  GET    /robots.txt
200  200  200  200  200  200  200  200  200  GET    /delete/{plain}/{secret}
200  200  200  200  200  200  200  200  200  POST   /delete/{plain}/{secret}
200  200  200  200  200  200  200  200  200  GET    /healthz
401  401  403  401  403  401  401  403  200  GET    /metrics
"""  # noqa: E501


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table."""

    method: str
    path: str
    expected: dict[str, int]
    login: bool
    inputs: dict[str, str]


def parse(line: str) -> Row:
    words = line.split()
    statuses, (method, path, *extra) = words[: len(COLUMNS)], words[len(COLUMNS) :]
    return Row(
        method=method,
        path=path,
        expected=dict(zip(COLUMNS, map(int, statuses), strict=True)),
        login="login" in extra,
        inputs=dict(word.split("=") for word in extra if word != "login"),
    )


ROWS = [parse(line) for line in TABLE.strip().splitlines()[1:]]
GUARDED = [row for row in ROWS if row.expected["none"] == 401]


def name_of(row: Row) -> str:
    return " ".join([row.method, row.path, *row.inputs.values()])


@pytest.fixture
def kissa(start: Callable[..., Kissa]) -> Kissa:
    """An app with every door open, so that only the credential decides."""
    return start(
        storage_durable="false",
        gallery_manual_approval="true",
        accounts_invite_only="true",
        accounts_admin_registration="true",
        accounts_admin_key=ADMIN_KEY,
    )


class Scene:
    """What one cell of the table needs, made when the row speaks of it: an owner and their things.
    `staff` is an admin, and not the one who asks."""

    numbers = itertools.count()

    def __init__(self, kissa: Kissa, staff: Person) -> None:
        self.kissa = kissa
        self.staff = staff
        self.number = next(self.numbers)
        self.person = kissa.person(f"owner{self.number}")
        self.fresh = f"fresh{self.number}"
        self.adminkey = ADMIN_KEY

    def fill(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: str(getattr(self, match[1])), text)

    @cached_property
    def uploaded(self) -> TestResponse:
        return self.kissa.upload(self.person)

    @cached_property
    def plain(self) -> str:
        return str(self.uploaded.get_json()["url"]).rpartition("/")[2]

    @property
    def plain_id(self) -> int:
        return int(models.Item.get(models.Item.name == self.plain).id)

    @property
    def secret(self) -> str:
        return self.uploaded.headers["X-Deletion-URL"].rpartition("/")[2]

    described = metadata(rating="sfw", tags="a,b,c")["Upload-Metadata"]

    @cached_property
    def partial(self) -> str:
        return by_token(self.kissa, self.person).begin(9).rpartition("/")[2]

    @cached_property
    def waiting(self) -> int:
        return self.kissa.item_id(self.person)

    @cached_property
    def waiting_name(self) -> str:
        assert self.waiting
        names = self.kissa.post("/api/files/list", self.person.by_token).get_json()
        return str(names[0])

    @cached_property
    def listed(self) -> int:
        item = self.kissa.item_id(self.person)
        path = f"/api/v2/queue/{item}/approve"
        assert self.kissa.post(path, self.staff.by_admin_token).status_code == 200
        return item

    @cached_property
    def key_id(self) -> int:
        keys = self.kissa.post("/api/user/keys/list", self.person.by_token).get_json()
        return int(keys[0]["id"])

    @cached_property
    def regkey(self) -> str:
        answer = self.kissa.post("/api/admin/regkeygen", self.staff.by_admin_token)
        return str(answer.get_json()["regkey"])

    @cached_property
    def bystander(self) -> str:
        return self.kissa.person(f"bystander{self.number}").username

    def make_banned(self) -> Person:
        ban = self.staff.by_admin_token | {"username": self.person.username}
        assert self.kissa.post("/api/admin/ban/user", ban).status_code == 200
        return self.person

    def make_gone(self) -> Person:
        gone = self.kissa.person(f"gone{self.number}")
        assert self.kissa.post("/api/user/delete", gone.by_password).status_code == 200
        return gone

    def credentials(self, column: str, *, login: bool) -> dict[str, str]:
        """The headers of whoever asks in `column`; bans come last, when all else is made."""
        if column == "none":
            return {}
        if column == "bad":
            wrong = {"username": self.person.username, "password": "wrong one"}
            unknown = {"token": "00000000-0000-4000-8000-000000000000", "X-Api-Key": "0" * 64}
            return unknown | (wrong if login else {})
        if column == "key":
            return self.person.by_key
        if column in ("admin", "admin_upload"):
            person = self.kissa.person(f"admin{self.number}", admin=True)
        elif column == "user":
            person = self.person
        elif column == "other":
            person = self.kissa.person(f"other{self.number}")
        else:
            person = self.make_banned() if column == "banned" else self.make_gone()
        by_password = person.by_password if login else {}
        if column == "admin":
            return person.by_admin_token | by_password
        by_both = {} if column in ("user", "admin_upload") else person.by_key
        return person.by_token | by_both | by_password


UPLOADS = {"/api/files/upload": "uploadFile", "/api/v2/upload": "file"}


def body(path: str) -> dict[str, Any]:
    """What an upload sends; nothing elsewhere."""
    field = UPLOADS.get(path)
    if field is None:
        return {}
    head = "--b\r\nContent-Disposition: form-data; name="
    fields = {"rating": "sfw", "tags": "a, b, c"}
    parts = [f'{head}"{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    parts.append(f'{head}"{field}"; filename="a.png"\r\n\r\n')
    data = "".join(parts).encode() + PNG + b"\r\n--b--\r\n"
    return {"data": data, "content_type": "multipart/form-data; boundary=b"}


def ask(kissa: Kissa, staff: Person, row: Row, column: str) -> TestResponse:
    scene = Scene(kissa, staff)
    path = scene.fill(row.path)
    inputs = {name: scene.fill(value) for name, value in row.inputs.items()}
    headers = inputs | scene.credentials(column, login=row.login)
    return kissa.client.open(path, method=row.method, headers=headers, buffered=True, **body(path))


def test_every_route_is_in_the_table() -> None:
    """Pages have a table of their own; two are in this one too, since no credential opens them."""
    named = {(row.method, re.sub(r"{[^}]*}", "*", row.path)) for row in ROWS}
    assert named == routes(pages=False) | {("GET", "/"), ("GET", "/*")}


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_who_may(kissa: Kissa, admin: Person, row: Row) -> None:
    answers = {column: ask(kissa, admin, row, column) for column in COLUMNS}
    assert {column: answer.status_code for column, answer in answers.items()} == row.expected
    unknown = [answer for answer in answers.values() if answer.status_code == 401]
    assert len({(*told(answer), str(answer.headers)) for answer in unknown}) <= 1


@pytest.mark.parametrize("row", GUARDED, ids=name_of)
def test_401_is_the_same_for_all_and_comes_first(kissa: Kissa, admin: Person, row: Row) -> None:
    """Without any of the other inputs, for something that does not exist, with a body that no
    endpoint takes: whoever is not known learns nothing but that."""
    scene = Scene(kissa, admin)
    revoked = kissa.person("revoked")
    kissa.post("/api/user/keys/revoke", revoked.by_token, json={"id": revoked_key(kissa, revoked)})
    kissa.post("/api/token/regen", revoked.by_token)
    people = [revoked, scene.make_gone(), scene.make_banned()]
    texts = ["", " ", "nonsense", "\xff\xfe", "0" * 64, "00000000-0000-4000-8000-000000000000"]
    attempts: list[dict[str, str]] = [{}]
    attempts += [{"token": text, "X-Api-Key": text} for text in texts]
    attempts += [person.by_token | person.by_key for person in people]
    path = re.sub(r"\{\w+\}", "x", row.path)
    answers = set()
    for headers, data in itertools.product(attempts, (b"", b"{", b"--b\r\n")):
        kind = {b"": "", b"{": "application/json"}.get(data, "multipart/form-data; boundary=b")
        response = kissa.client.open(
            path, method=row.method, headers=headers, data=data, content_type=kind
        )
        assert response.status_code == 401, (headers, data)
        answers.add((*told(response), str(response.headers)))
    assert len(answers) == 1


def revoked_key(kissa: Kissa, person: Person) -> int:
    return int(kissa.post("/api/user/keys/list", person.by_token).get_json()[0]["id"])
