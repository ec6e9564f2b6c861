"""Processes that want the same thing at the same moment, at one worker and at two."""

import base64
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ADMIN_KEY, PASSWORD, PNG, Person
from tests.live.conftest import ROOT, Server
from tests.live.wire import FORM, form, head

pytestmark = pytest.mark.live
PROCESSES = 6
ROUNDS = 20
PER_MINUTE = 12
QUOTA_MB = 1
Request = tuple[bytes, bytes]  # what is sent before the signal, and after it
Answer = tuple[int, str]


def call(path: str, headers: dict[str, str]) -> Request:
    """A request without a body, held back at its last byte."""
    whole = head("POST", path, headers | {"Content-Length": "0", "Connection": "close"})
    return whole[:-1], whole[-1:]


def upload(person: Person, content: bytes, held: int = 1) -> Request:
    """An upload, held back at the last `held` bytes."""
    body = form(content)
    fields = {"token": person.token, "Content-Type": FORM, "Content-Length": str(len(body))}
    whole = head("POST", "/api/files/upload", fields | {"Connection": "close"}) + body
    return whole[:-held], whole[-held:]


class Racers:
    """Six processes at a barrier."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-P", str(Path(__file__).with_name("racer.py"))],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(PROCESSES)
        ]

    def race(self, *requests: Request) -> list[Answer]:
        """The answers to all requests, sent at once, in the same order."""
        port = self.server.port
        jobs: list[list[Any]] = [[] for _ in self.processes]
        for number, (first, rest) in enumerate(requests):
            texts = {"first": base64.b64encode(first), "rest": base64.b64encode(rest)}
            job = {key: value.decode() for key, value in texts.items()}
            jobs[number % PROCESSES].append(job)
        for process, own in zip(self.processes, jobs, strict=True):
            self.tell(process, json.dumps({"port": port, "requests": own}))
        for process in self.processes:
            assert self.hear(process) == "ready"
        moment = time.monotonic() + 0.003
        for process in self.processes:
            self.tell(process, str(moment))
        heard = [json.loads(self.hear(process)) for process in self.processes]
        answers = [
            heard[number % PROCESSES][number // PROCESSES] for number in range(len(requests))
        ]
        statuses = {status for status, _ in answers}
        assert statuses <= {200, 400, 401, 403, 404, 409, 429, 507}, answers
        return [(status, text) for status, text in answers]

    def tell(self, process: "subprocess.Popen[str]", line: str) -> None:
        assert process.stdin is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()

    def hear(self, process: "subprocess.Popen[str]") -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


def tally(answers: list[Answer]) -> dict[int, int]:
    return dict(Counter(status for status, _ in answers))


class Host:
    """A server whose rules make every race possible, and who lives on it."""

    def __init__(self, server: Server, rounds: int) -> None:
        self.server, self.rounds = server, rounds
        self.keeper = server.person("keeper", admin=True)
        self.numbers = count(1)
        self.racers = Racers(server)
        self.race = self.racers.race

    def regkey(self) -> str:
        return str(self.server.ask("/api/admin/regkeygen", self.keeper.by_admin_token)["regkey"])

    def someone(self, *, admin: bool = False) -> Person:
        name = f"person{next(self.numbers)}"
        return self.server.person(name, admin=admin, regkey="" if admin else self.regkey())

    def end(self, person: Person) -> None:
        login = {"username": person.username}
        self.server.ask("/api/admin/delete/user", self.keeper.by_admin_token | login)


def hosting(make_server: Callable[..., Server], workers: int, rounds: int) -> Iterator[Host]:
    """A host on which every race is run so many times; in the end it tells what was answered."""
    server = make_server(
        server_workers=workers,
        accounts_invite_only="true",
        accounts_admin_registration="true",
        accounts_admin_key=ADMIN_KEY,
        accounts_failures=0,
        gallery_manual_approval="true",
        uploads_per_minute=PER_MINUTE,
        uploads_quota_mb=QUOTA_MB,
    )
    host = Host(server, rounds)
    yield host
    host.racers.close()
    assert server.stop() == 0
    statuses = Counter(line.split()[3] for line in server.requests_logged())
    print(f"races workers={workers} rounds={rounds} {dict(sorted(statuses.items()))}")
    assert not any(status.startswith("5") for status in statuses.keys() - {"503", "507"})
    server.require_quiet()


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def host(request: pytest.FixtureRequest, make_server: Callable[..., Server]) -> Iterator[Host]:
    yield from hosting(make_server, request.param, ROUNDS)


def test_one_username(host: Host) -> None:
    for number in range(host.rounds):
        keys = [host.regkey() for _ in range(PROCESSES)]
        name = f"Name{number}"
        spelt = (name, name.lower(), name.upper())
        answers = host.race(
            *(
                call(
                    "/api/user/signup",
                    {"username": spelt[index % 3], "password": PASSWORD, "regkey": key},
                )
                for index, key in enumerate(keys)
            )
        )
        assert tally(answers) == {200: 1, 409: PROCESSES - 1}, answers
        assert [text for status, text in answers if status == 200] == ["Success!"]
        rows = host.server.rows("SELECT id FROM user WHERE username_key = ?", name.lower())
        assert len(rows) == 1
        used = host.server.rows("SELECT COUNT(*) FROM registration_key WHERE used IS NULL")
        assert used[0][0] == (PROCESSES - 1) * (number + 1), "the losers keep their keys"


def test_one_registration_key(host: Host) -> None:
    for number in range(host.rounds):
        regkey = host.regkey()
        names = [f"key{number}-{index}" for index in range(PROCESSES)]
        answers = host.race(
            *(
                call("/api/user/signup", {"username": name, "password": PASSWORD, "regkey": regkey})
                for name in names
            )
        )
        assert tally(answers) == {200: 1, 403: PROCESSES - 1}, answers
        rows = host.server.rows("SELECT username FROM user WHERE username LIKE ?", f"key{number}-%")
        assert len(rows) == 1


def test_token_renewal_against_uploads(host: Host) -> None:
    for _ in range(host.rounds):
        person = host.someone()
        renewal = call("/api/token/regen", person.by_token)
        whole = upload(person, b"x" * 50_000)
        late = whole[0] + whole[1]
        answers = host.race(
            whole, whole, renewal, renewal, (late[:10], late[10:]), (late[:10], late[10:])
        )
        assert sorted(status for status, _ in answers[2:4]) == [200, 401], answers
        sent = [status for status, _ in answers[:2] + answers[4:]]
        assert set(sent) <= {200, 401}, answers
        assert host.server.post("/api/token/valid", person.by_token).status_code == 401
        token = host.server.ask("/api/token/get", person.by_password)["token"]
        names = host.server.ask("/api/files/list", {"token": token})
        assert len(names) == sent.count(200)
        assert set(names) <= host.server.files()
        host.end(person)


def test_deleting_a_user_against_uploads(host: Host) -> None:
    before = host.server.files()
    refused = 0
    for number in range(host.rounds):
        person = host.someone()
        login = {"username": person.username}
        end = (
            call("/api/admin/delete/user", host.keeper.by_admin_token | login)
            if number % 2
            else call("/api/user/delete", person.by_password)
        )
        # all but the last byte is there already: each passed the check of its token
        uploads = [upload(person, b"x" * 50_000) for _ in range(PROCESSES - 2)]
        uploads.append(upload(person, b"x" * 50_000, held=25_000))
        answers = host.race(end, *uploads)
        assert answers[0][0] == 200, answers
        assert {status for status, _ in answers[1:]} <= {200, 401}, answers
        refused += tally(answers).get(401, 0)
        rows = host.server.rows("SELECT id FROM user WHERE username = ?", person.username)
        assert rows == []
        orphans = "SELECT id FROM item WHERE user_id NOT IN (SELECT id FROM user)"
        assert host.server.rows(orphans) == []
        assert host.server.files() == before
    print(f"rounds={host.rounds} uploads refused at their end={refused}")
    assert refused, "no upload met the deletion: this race tests nothing"


def test_approve_against_reject(host: Host) -> None:
    person = host.someone()
    won: Counter[str] = Counter()
    for number in range(host.rounds):
        if number and number % (PER_MINUTE - 1) == 0:
            host.end(person)
            person = host.someone()
        content = b"%d" % number * 1000
        item = host.server.ask(
            "/api/v2/upload",
            person.by_key,
            files={"file": ("a.png", content)},
            data={"rating": "sfw", "tags": "a, b, c"},
        )["itemid"]
        paths = [f"/api/v2/queue/{item}/{verb}" for verb in ("approve", "reject")] * 3
        answers = host.race(*(call(path, host.keeper.by_admin_token) for path in paths))
        assert tally(answers) == {200: 1, 409: PROCESSES - 1}, answers
        verb = paths[[status for status, _ in answers].index(200)].rpartition("/")[2]
        won[verb] += 1
        ((name, state, pending),) = host.server.rows(
            "SELECT name, state, pending_name FROM item WHERE id = ?", item
        )
        assert (state, pending) == ("listed" if verb == "approve" else "rejected", None)
        is_there = (host.server.uploads / name).exists()
        assert is_there == (verb == "approve")
        if is_there:
            assert host.server.get(f"/f/{name}").content == content
        assert not list((host.server.uploads / ".pending").iterdir())
    print(f"rounds={host.rounds} won by {dict(won)}")
    host.end(person)


def test_double_delete(host: Host) -> None:
    person = host.someone()
    for number in range(host.rounds):
        if number and number % (PER_MINUTE - 1) == 0:
            host.end(person)
            person = host.someone()
        sent = host.server.post(
            "/api/files/upload", person.by_token, files={"uploadFile": ("a.png", PNG)}
        )
        name = sent.json()["url"].rpartition("/")[2]
        link = sent.headers["X-Deletion-URL"].removeprefix(host.server.url)
        own = call("/api/files/delete", person.by_token | {"file": name})
        theirs = call("/api/admin/delete/file", host.keeper.by_admin_token | {"file": name})
        answers = host.race(own, own, theirs, theirs, call(link, {}), call(link, {}))
        assert tally(answers) == {200: 1, 404: PROCESSES - 1}, answers
        assert name not in host.server.files()
        assert host.server.rows("SELECT id FROM item WHERE name = ?", name) == []
        info = host.server.ask("/api/user/info", person.by_token)
        assert info["filecount"] == 0
    host.end(person)


@pytest.mark.parametrize("verb", ["ban", "delete", "leave"])
def test_the_last_admin_stays(host: Host, verb: str) -> None:
    for _ in range(host.rounds if verb == "ban" else host.rounds // 2):
        rival = host.someone(admin=True)
        pair = [host.keeper, rival]

        def blow(mine: Person, other: Person) -> Request:
            if verb == "leave":
                return call("/api/user/delete", mine.by_password)
            path = "/api/admin/ban/user" if verb == "ban" else "/api/admin/delete/user"
            return call(path, mine.by_admin_token | {"username": other.username})

        answers = host.race(*(blow(*pair[::step]) for step in (1, -1) * 3))
        assert 200 in tally(answers), answers
        active = host.server.rows(
            "SELECT username FROM user WHERE role = 'admin' AND NOT is_banned AND NOT is_deleting"
        )
        assert len(active) == 1, answers
        host.keeper = next(one for one in pair if one.username == active[0][0])
        loser = next(one for one in pair if one is not host.keeper)
        assert host.server.post("/api/admin/token/valid", loser.by_admin_token).status_code == 401
        if verb == "ban":
            host.end(loser)


def test_the_quota_is_never_passed(host: Host) -> None:
    size = 100_000
    room = QUOTA_MB * 1024 * 1024 // size
    for _ in range(host.rounds):
        person = host.someone()
        answers = host.race(*[upload(person, b"q" * size)] * 20)
        assert tally(answers) == {200: room, 507: 20 - room}, answers
        ((stored, counted),) = host.server.rows(
            "SELECT SUM(item.size), user.bytes FROM item JOIN user ON user.id = item.user_id"
            " WHERE username = ?",
            person.username,
        )
        assert stored == counted == room * size
        host.end(person)


def test_uploads_in_a_minute_are_never_more(host: Host) -> None:
    for _ in range(host.rounds):
        person = host.someone()
        answers = host.race(*[upload(person, b"m")] * 20)
        assert tally(answers) == {200: PER_MINUTE, 429: 20 - PER_MINUTE}, answers
        names = host.server.ask("/api/files/list", person.by_token)
        assert len(names) == PER_MINUTE
        host.end(person)
