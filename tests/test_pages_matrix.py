"""Who may open which page and act on it: every page against everybody, in one table; and no act
for pages of other sites."""

import io
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from werkzeug.test import TestResponse

import albums
import models
from models import Comment, Notice, RefusedContent, RegistrationKey, Report, Session, User
from tests.conftest import PASSWORD, PNG, Kissa, Person
from tests.people import OURS, Browser, approve
from tests.pieces import TUS
from tests.routes import routes

COLUMNS = ("visitor", "user", "owner", "admin")

# {words} are what `Scene` makes; what follows the path is the form. The owner has everything that
# the row speaks of, but what belongs to admins.
TABLE = """
200 200 200 200 GET  /
200 200 200 200 GET  /{listed}
404 404 200 200 GET  /{waiting}
404 404 200 200 GET  /{plain}
404 404 200 200 GET  /{rejected}
200 200 200 200 GET  /v/{plain_name}
200 200 200 200 GET  /v/{listed_name}
404 404 302 302 GET  /v/{waiting_name}
404 404 302 302 GET  /v/{rejected_name}
401 303 303 303 POST /{listed}/comments text=hello
401 404 404 404 POST /{waiting}/comments text=hello
401 303 303 303 POST /{listed}/report text=bad
401 404 404 404 POST /{waiting}/report text=bad
401 403 303 303 POST /{listed}/edit rating=nsfw&tags=a,b,c
401 404 409 409 POST /{waiting}/edit rating=nsfw&tags=a,b,c
401 403 303 303 POST /{listed}/delete
401 404 303 303 POST /{waiting}/delete
401 404 303 303 POST /{plain}/delete
401 403 303 303 POST /comments/{comment}/delete
303 404 200 200 GET  /waiting/{waiting}
303 404 200 200 GET  /waiting/{waiting}/thumbnail
303 303 303 303 POST /veil veil=lifted
303 303 303 303 POST /theme theme=dark
200 200 200 200 GET  /rules
200 200 200 200 GET  /static/kissa.css
200 200 200 200 GET  /signin
303 303 303 303 POST /signin username={bystander}&password={password}
200 200 200 200 GET  /signup
303 303 303 303 POST /signup username={fresh}&password={password}&again={password}&key={regkey}
303 303 303 303 POST /signout
303 200 200 200 GET  /upload
401 200 200 200 POST /upload
303 200 200 200 GET  /paste
401 200 200 200 POST /paste text=hello&title=a&language=py
401 201 201 201 POST /upload/tus/ Tus-Resumable=1.0.0&Upload-Length=9
401 404 204 404 PATCH /upload/tus/{partial} Tus-Resumable=1.0.0&Upload-Offset=0&Content-Type=application/offset%2Boctet-stream
401 404 204 404 DELETE /upload/tus/{partial} Tus-Resumable=1.0.0
401 404 204 404 POST /upload/tus/{partial} Tus-Resumable=1.0.0&X-HTTP-Method-Override=DELETE
303 200 200 200 GET  /tags
303 200 200 200 GET  /files
303 404 200 404 GET  /files/links?id={plain}
401 404 200 404 POST /files/delete id={plain}
401 404 303 404 POST /files/delete id={plain}&sure=1
303 303 303 303 GET  /files/delete
401 404 303 404 POST /files/album id={plain}&album=Holiday
303 200 200 200 GET  /albums
401 303 303 303 POST /albums title=Holiday
200 200 200 200 GET  /a/{album}
200 200 200 200 GET  /a/{album}.zip
401 403 303 403 POST /a/{album}/title title=Other
401 403 303 403 POST /a/{album}/move later={plain}
401 403 303 403 POST /a/{album}/remove item={plain}
303 403 200 200 GET  /a/{album}/delete
401 403 303 303 POST /a/{album}/delete
401 403 303 403 POST /a/{album}/delete files=1
401 404 303 404 POST /files/expiry id={plain}&expires=1d
401 404 303 404 POST /files/pin id={plain}&pin=1
303 200 200 200 GET  /settings
401 200 200 200 POST /settings/token
303 303 303 303 GET  /settings/token
401 303 303 303 POST /settings/token/renew
401 403 403 200 POST /settings/admin-token
303 303 303 303 GET  /settings/admin-token
401 403 403 303 POST /settings/admin-token/renew
401 200 200 200 POST /settings/keys name=laptop
303 303 303 303 GET  /settings/keys
401 404 303 404 POST /settings/keys/{key}/revoke
401 200 200 200 POST /settings/sharex/nekos
401 200 200 200 POST /settings/sharex/f0ckm
401 303 303 303 POST /settings/password old={password}&new=another one&again=another one
303 303 303 303 GET  /settings/password
401 404 303 404 POST /settings/sessions/{session}/end
401 303 303 303 POST /settings/sessions/end-others
303 200 200 200 GET  /settings/delete
401 303 303 303 POST /settings/delete password={password}
200 200 200 200 GET  /goodbye
303 403 403 200 GET  /admin
303 403 403 200 GET  /admin/queue
401 403 403 303 POST /admin/queue act=approve&item={waiting}
401 403 403 303 POST /admin/queue act=reject&item={waiting}
303 403 403 200 GET  /admin/reports
401 403 403 303 POST /admin/reports/{report}/close
303 403 403 200 GET  /admin/uploads
401 403 403 303 POST /admin/uploads/delete item={listed}
401 403 403 303 POST /admin/uploads/delete item={listed}&reason=spam&refuse=1
303 403 403 200 GET  /admin/refused
401 403 403 303 POST /admin/refused/{refusal}/lift
401 404 303 404 POST /files/notices/{notice}/dismiss
303 403 403 200 GET  /admin/users
401 403 403 303 POST /admin/users/{bystander_id}/ban
401 403 403 303 POST /admin/users/{bystander_id}/unban
401 403 403 303 POST /admin/users/{bystander_id}/promote
401 403 403 303 POST /admin/users/{bystander_id}/demote
401 403 403 303 POST /admin/users/{bystander_id}/quota quota=5
401 403 403 303 POST /admin/users/{bystander_id}/delete confirm={bystander}
303 403 403 200 GET  /admin/keys
401 403 403 200 POST /admin/keys
401 403 403 303 POST /admin/keys/{regkey_id}/revoke
303 403 403 200 GET  /admin/audit
"""  # noqa: E501


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table."""

    method: str
    path: str
    form: str
    expected: dict[str, int]


def parse(line: str) -> Row:
    *statuses, method, rest = line.split(maxsplit=len(COLUMNS) + 1)
    path, _, form = rest.partition(" ")
    expected = dict(zip(COLUMNS, map(int, statuses), strict=True))
    return Row(method=method, path=path, form=form, expected=expected)


ROWS = [parse(line) for line in TABLE.strip().splitlines()]


def name_of(row: Row) -> str:
    return f"{row.method} {row.path} {row.form}".strip()


@pytest.fixture
def kissa(start: Callable[..., Kissa], tmp_path: Path) -> Kissa:
    """An app with every page, so that only the viewer decides."""
    (tmp_path / "rules.txt").write_text("Be kind.")
    return start(
        storage_durable="false",
        gallery_manual_approval="true",
        accounts_invite_only="true",
        site_rules=tmp_path / "rules.txt",
    )


class Scene:
    """What one cell of the table needs, made when the row speaks of it."""

    numbers = itertools.count()
    password = PASSWORD

    def __init__(self, kissa: Kissa, staff: Person) -> None:
        self.kissa, self.staff = kissa, staff
        self.number = next(self.numbers)
        self.person = kissa.person(f"owner{self.number}")
        self.fresh = f"fresh{self.number}"

    def fill(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: str(getattr(self, match[1])), text)

    @cached_property
    def plain(self) -> int:
        return int(models.Item.get(models.Item.name == self.kissa.upload_name(self.person)).id)

    @cached_property
    def partial(self) -> str:
        """By the owner's browser."""
        cookie = Browser(self.kissa, self.person.username).client
        answer = cookie.post("/upload/tus/", headers=OURS | TUS | {"Upload-Length": "9"})
        return answer.headers["Location"].rpartition("/")[2]

    @cached_property
    def album(self) -> str:
        """With the plain file in it."""
        user = User.get(User.username == self.person.username)
        return str(albums.add_files(user, "Cats", [self.plain]).name)

    @cached_property
    def waiting(self) -> int:
        return self.kissa.item_id(self.person)

    @cached_property
    def listed(self) -> int:
        return approve(self.kissa, self.staff, self.kissa.item_id(self.person))

    @cached_property
    def rejected(self) -> int:
        item_id = self.kissa.item_id(self.person)
        self.kissa.post(f"/api/v2/queue/{item_id}/reject", self.staff.by_admin_token)
        return item_id

    def _name(self, item_id: int) -> str:
        return str(models.Item.get_by_id(item_id).name)

    @property
    def plain_name(self) -> str:
        return self._name(self.plain)

    @property
    def listed_name(self) -> str:
        return self._name(self.listed)

    @property
    def waiting_name(self) -> str:
        return self._name(self.waiting)

    @property
    def rejected_name(self) -> str:
        return self._name(self.rejected)

    @cached_property
    def comment(self) -> int:
        """By somebody else, under the owner's item."""
        Browser(self.kissa, self.bystander).does(f"/{self.listed}/comments", text="first")
        return int(Comment.select().order_by(Comment.id.desc()).get().id)

    @cached_property
    def report(self) -> int:
        Browser(self.kissa, self.bystander).does(f"/{self.listed}/report", text="look")
        return int(Report.select().order_by(Report.id.desc()).get().id)

    def take_down(self) -> None:
        """The owner loses a file, whose content is refused from then on."""
        content = f"taken down {self.number}".encode()
        name = self.kissa.upload_name(self.person, content)
        inputs = self.staff.by_admin_token | {"file": name, "refuse": "1"}
        assert self.kissa.post("/api/admin/delete/file", inputs).status_code == 200

    @cached_property
    def refusal(self) -> int:
        self.take_down()
        return int(RefusedContent.select().order_by(RefusedContent.id.desc()).get().id)

    @cached_property
    def notice(self) -> int:
        self.take_down()
        return int(Notice.select().order_by(Notice.id.desc()).get().id)

    @cached_property
    def key(self) -> int:
        keys = self.kissa.post("/api/user/keys/list", self.person.by_token).get_json()
        return int(keys[0]["id"])

    @cached_property
    def session(self) -> int:
        Browser(self.kissa, self.person.username)
        return int(Session.select().order_by(Session.id.desc()).get().id)

    @cached_property
    def regkey(self) -> str:
        answer = self.kissa.post("/api/admin/regkeygen", self.staff.by_admin_token)
        return str(answer.get_json()["regkey"])

    @property
    def regkey_id(self) -> int:
        assert self.regkey
        return int(RegistrationKey.select().order_by(RegistrationKey.id.desc()).get().id)

    @cached_property
    def bystander(self) -> str:
        return self.kissa.person(f"bystander{self.number}").username

    @property
    def bystander_id(self) -> int:
        return int(User.get(User.username == self.bystander).id)

    def browser(self, column: str) -> Browser:
        if column == "visitor":
            return Browser(self.kissa)
        if column == "owner":
            return Browser(self.kissa, self.person.username)
        name = f"{column}{self.number}"
        return Browser(self.kissa, self.kissa.person(name, admin=column == "admin").username)


def ask(browser: Browser, row: Row, scene: Scene, headers: dict[str, str]) -> TestResponse:
    data: dict[str, Any] = dict(parse_qsl(scene.fill(row.form)))
    if row.path == "/upload" and row.method == "POST":
        data["file"] = (io.BytesIO(PNG), "cat.png")
    return send(browser, row, scene.fill(row.path), data, headers)


def send(
    browser: Browser, row: Row, path: str, data: dict[str, Any], headers: dict[str, str]
) -> TestResponse:
    """A form, but headers where files come in pieces."""
    if row.path.startswith("/upload/tus/"):
        headers, data = headers | data, {}
    form = data if row.method == "POST" else None
    return browser.client.open(path, method=row.method, data=form, headers=headers, buffered=True)


def test_every_page_is_in_the_table() -> None:
    acts = {"ban", "unban", "promote", "demote", "quota", "delete"}
    rule = f"(?<=_id}}/)({'|'.join(acts)})$"
    named = {
        (row.method, re.sub(r"{[^}]*}", "*", re.sub(rule, "{act}", row.path).partition("?")[0]))
        for row in ROWS
    }
    assert {
        (method, path.replace("kissa.css", "*")) for method, path in named
    } == routes(pages=True)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_who_may(kissa: Kissa, admin: Person, row: Row) -> None:
    found = {}
    for column in COLUMNS:
        scene = Scene(kissa, admin)
        scene.fill(row.path + row.form)
        browser = scene.browser(column)
        if row.method != "GET":
            require_refusal_of_other_sites(kissa, browser, row, scene)
        answer = ask(browser, row, scene, OURS)
        found[column] = answer.status_code
        if row.method == "GET":
            again = browser.client.head(scene.fill(row.path), buffered=True)
            assert (again.status_code, again.data) == (answer.status_code, b"")
        if answer.status_code == 303 and row.expected["user"] != 303 and column == "visitor":
            assert answer.headers["Location"].startswith("/signin?next=/")
    assert found == row.expected


def everything() -> dict[str, list[Any]]:
    return {table.__name__: list(table.select().tuples()) for table in models.TABLES}


def require_refusal_of_other_sites(kissa: Kissa, browser: Browser, row: Row, scene: Scene) -> None:
    """See that the act does nothing, whoever is lured into it."""
    rows, files = everything(), kissa.files()
    for headers in (
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:81"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = ask(browser, row, scene, headers)
        assert answer.status_code == 403, headers
        assert "Set-Cookie" not in answer.headers
    assert (everything(), kissa.files()) == (rows, files)


def test_ids_that_are_none(kissa: Kissa, admin: Person) -> None:
    browser = Browser(kissa, "admin")
    for row in ROWS:
        for value in (
            ("9" * 30, "9" * 18, "0", "x", "%C2%B2", "-1", "1.0") if "{" in row.path else ()
        ):
            path = re.sub(r"\{\w+\}", value, row.path)
            form = dict(parse_qsl(re.sub(r"\{\w+\}", "x", row.form)))
            answer = send(browser, row, path, form, OURS)
            assert answer.status_code == 404, (row.method, path)
