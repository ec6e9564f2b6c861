"""Every curl line of README and docs, run in bash as it stands but for host, names and ids."""

import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

import openapi
from tests.conftest import ADMIN_KEY, PASSWORD, PNG, Person
from tests.live.conftest import Server

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not shutil.which("curl") or not shutil.which("jq"), reason="needs curl, jq"),
]

ROOT = Path(__file__).parents[2]
HOST = "https://kissa.example"
NAME = "Ab3xK9q.png"
UPLOAD = "Nw3kTq8ZbD5sXy1Vh7Rc2Lm9Pf4Ga6Je"  # one in pieces
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WRITTEN = r"%{stderr}%{method}\n%{url_effective}\n%{http_code}\n%{content_type}"
DESCRIPTION = openapi.document(HOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A curl command of a page, and the answer that the page shows behind it, if any."""

    page: str
    number: int
    command: str
    shown: str | None


def lines_of(page: Path) -> Iterator[Line]:
    text = page.read_text()
    blocks = list(FENCE.finditer(text))
    for block, after in itertools.zip_longest(blocks, blocks[1:]):
        if block[1] != "sh":
            continue
        first = text[: block.start()].count("\n") + 2
        commands = [
            (first + block[2][: found.start()].count("\n"), found[0])
            for found in re.finditer(r"^(?:.*\\\n)*.*\n", block[2], re.MULTILINE)
            if re.search(r"\bcurl\b", found[0])
        ]
        is_shown = after and after[1] != "sh" and not text[block.end() : after.start()].strip()
        for number, command in commands:
            shown = after[2] if is_shown and len(commands) == 1 else None
            name = str(page.relative_to(ROOT))
            yield Line(page=name, number=number, command=command.strip(), shown=shown)


LINES = [
    line
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for line in lines_of(page)
]


class Host:
    """A server, and on it, before each line, the people and files that the pages speak of."""

    def __init__(self, server: Server, *, is_strict: bool) -> None:
        self.server = server
        self.is_strict = is_strict
        made = server.flask("create-admin", "admin", stdin=f"{PASSWORD}\n")
        assert made.returncode == 0, made.stderr

    def renew(self, command: str) -> tuple[dict[str, str], dict[str, str]]:
        """Begin anew. Returns what to replace in the command, and the shell's variables."""
        server = self.server
        login = {"username": "admin", "password": PASSWORD}
        admin = {"token": server.ask("/api/admin/token/get", login)["token"]}
        for name in ("alice", "olga"):
            server.post("/api/admin/delete/user", admin | {"username": name})
        replaced = {HOST: server.url}
        variables = {
            "PASSWORD": PASSWORD,
            "NEW_PASSWORD": "horse battery",
            "ADMIN_KEY": ADMIN_KEY,
            "ADMIN_TOKEN": admin["token"],
        }
        if "/signup" in command:
            return replaced, variables
        regkey = server.ask("/api/admin/regkeygen", admin)["regkey"] if self.is_strict else ""
        alice = server.person("alice", regkey=regkey)
        variables |= {"TOKEN": alice.token, "KEY": alice.api_key}
        keys = server.ask("/api/user/keys/list", alice.by_token)
        replaced |= {"id: 7": f"id: {keys[0]['id']}"}
        if UPLOAD in command:
            given = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(PNG))}
            begun = server.post("/api/files/tus/", alice.by_token | given)
            replaced |= {UPLOAD: begun.headers["Location"].rpartition("/")[2]}
        # Pages list one file: an item for the lines that speak of one, an unlisted file for others.
        if re.search(r"/items|/queue|/12\b", command):
            item = self.item(alice)
            replaced |= {"/12": f"/{item}", "/13": f"/{item}"}
        else:
            headers = alice.by_token | {"album": "Summer 2026"}
            files = {"uploadFile": ("shot.png", PNG)}
            sent = self.server.post("/api/files/upload", headers, files=files)
            replaced |= {NAME: sent.json()["url"].rpartition("/")[2]}
            variables |= {"DELETION_URL": sent.headers["X-Deletion-URL"]}
        return replaced, variables

    def item(self, alice: Person) -> int:
        fields = {"rating": "sfw", "tags": "cat, cute, feline", "comment": "Look!", "is_oc": "1"}
        files = {"file": ("cat.png", PNG)}
        answer = self.server.ask("/api/v2/upload", alice.by_key, data=fields, files=files)
        return int(answer["itemid"])


@pytest.fixture(scope="module")
def hosts(make_server: Callable[..., Server]) -> Callable[[str], Host]:
    """Gives the host that a command needs: an open one, or an invite-only one with approval."""
    keys = {"accounts_admin_registration": True, "accounts_admin_key": ADMIN_KEY}
    strict = {"accounts_invite_only": True, "gallery_manual_approval": True}
    made: dict[bool, Host] = {}

    def host(command: str) -> Host:
        is_strict = any(word in command for word in ("regkeygen", "/queue", "/13"))
        if is_strict not in made:
            server = make_server(**keys, **(strict if is_strict else {}))
            made[is_strict] = Host(server, is_strict=is_strict)
        return made[is_strict]

    return host


def shape(value: Any) -> Any:
    """Keys and types of a JSON value; an array is as its first entry."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value)


def require_described(method: str, url: str, status: str, content_type: str, body: bytes) -> None:
    """See that the API description knows this answer."""
    path = "/" + url.partition("?")[0].split("/", 3)[3]
    templates = sorted(DESCRIPTION["paths"], key=lambda one: one.count("{"))
    described = next(
        DESCRIPTION["paths"][one]
        for one in templates
        if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", one), path)
    )["patch" if method == "HEAD" else method.lower()]
    content = described["responses"]["204" if method == "HEAD" else status].get("content")
    if content is None:  # the line shows the headers
        assert all(name.encode() in body for name in ("Tus-Resumable: 1.0.0", status))
        return
    media_type = content_type.partition(";")[0]
    if media_type not in content:
        assert "*/*" in content, content_type
        assert body == PNG
        return
    if media_type == "image/webp":
        assert body[8:12] == b"WEBP"
        return
    is_json = media_type == "application/json"
    schema = content[media_type]["schema"] | {"components": DESCRIPTION["components"]}
    Draft202012Validator(schema).validate(json.loads(body) if is_json else body.decode())


def test_there_are_lines() -> None:
    assert len(LINES) > 45


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.page}:{line.number}")
def test_curl_line_runs(line: Line, hosts: Callable[[str], Host], tmp_path: Path) -> None:
    replaced, variables = hosts(line.command).renew(line.command)
    for name in ("cat.jpg", "meme.png", "shot.png"):
        (tmp_path / name).write_bytes(PNG)
    # curl itself tells where it went and what came back; the line stays as it is.
    (tmp_path / ".curlrc").write_text(f'silent\nshow-error\nwrite-out = "{WRITTEN}"\n')
    command = line.command
    for old, new in reversed(replaced.items()):  # the host last: it may hold an id
        command = command.replace(old, new)
    assignment = re.match(r"([A-Z]+)=", command)
    if assignment:
        command += f'\nprintf %s "${assignment[1]}"'
    environ = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    ran = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=environ | variables | {"HOME": str(tmp_path), "CURL_HOME": str(tmp_path)},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    method, url, status, content_type = ran.stderr.decode().splitlines()
    assert status in ("200", "201", "204"), ran.stdout
    body = ran.stdout
    if assignment:  # what jq took out of the answer
        assert re.fullmatch(rb"[0-9a-f-]{36}|[0-9a-f]{64}", body.strip())
        return
    saved = re.search(r"> (\S+)$", line.command)
    if saved:
        assert not body.strip()
        body = (tmp_path / saved[1]).read_bytes()
    require_described(method, url, status, content_type, body)
    if line.shown is not None:
        shown = line.shown.strip()
        if content_type.startswith("application/json"):
            answer, expected = json.loads(body), json.loads(shown)
            assert shape(answer) == shape(expected)
            if "success" in expected:
                assert answer["msg"] == expected["msg"]
        else:
            assert body.decode().strip() == shown.replace(NAME, replaced.get(NAME, NAME))
