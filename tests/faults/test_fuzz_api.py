"""Made-up requests against a running server: what our OpenAPI allows and forbids, and traversal."""

import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from tests.conftest import ADMIN_KEY, PNG, Person
from tests.faults.support import LONG, choose, serving
from tests.live.conftest import BIN, ROOT, Server
from tests.live.wire import Wire, head

pytestmark = pytest.mark.live
EXAMPLES = choose(4, 100)  # of each operation and role, beside those of the coverage phase
CASES = choose(2_000, 50_000)
PATIENCE = choose(300, 3600)
# Checks that our documented API cannot pass, by design:
LEFT_OUT = {
    "negative_data_rejection": "an input that is wrong in the body is ignored when a header has"
    " it, and the reverse; unknown fields and headers are ignored, as HTTP has it",
    "missing_required_header": "what the headers lack is read from the body, so a missing header"
    " alone is not refused",
}
# They take the credentials of all later requests away, so they come last, on their own.
ENDINGS = ("renewToken", "renewAdminToken", "revokeApiKey")
# Asked apart: what a schema cannot say of pieces is how long they may be, and what they hash to.
IN_PIECES = ("beginResumable", "sendPiece", "overrideMethod")
HELD = b"held for approval: nobody may see this"
FOREIGN = b"a foreign file among the uploads"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(
        accounts_failures=0,
        accounts_admin_registration="true",
        accounts_admin_key=ADMIN_KEY,
        gallery_manual_approval="true",
        gallery_shitpost_mode="always",  # or valid forms would be refused for want of tags
        storage_durable="false",
        uploads_per_minute=0,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def people(server: Server) -> dict[str, Person]:
    """A user and an admin, and items that are listed, waiting, rejected."""
    admin, alice = server.person("root", admin=True), server.person("alice")
    fields = {"rating": "sfw", "tags": "a, b, c", "comment": "hello"}
    for verb in ("approve", "approve", "reject", ""):
        sent = server.ask(
            "/api/v2/upload", alice.by_key, files={"file": ("a.png", HELD)}, data=fields
        )
        if verb:
            server.ask(f"/api/v2/queue/{sent['itemid']}/{verb}", admin.by_admin_token)
    return {"user": alice, "admin": admin}


def fuzz(
    server: Server, role: str, person: Person, *options: str, left_out: Iterable[str] = LEFT_OUT
) -> "subprocess.Popen[str]":
    token = person.admin_token if role == "admin" else person.token
    command = [str(BIN / "schemathesis"), "run", f"{server.url}/api/openapi.json"]
    command += ["-H", f"token: {token}", "-H", f"X-Api-Key: {person.api_key}"]
    command += ["--checks", "all", "--exclude-checks", ",".join(left_out)]
    command += ["--max-response-time", "1", "--generation-deterministic"]
    command += ["--continue-on-failure", "--no-color", "--warnings", "off", *options]
    environ = server.environ | {
        "SCHEMATHESIS_HOOKS": "tests.faults.fuzz_hooks",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        command,
        cwd=server.folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit code and words."""
    try:
        words, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    return process.returncode, words


def test_everything_that_the_description_tells(server: Server, people: dict[str, Person]) -> None:
    spared = [word for one in ENDINGS + IN_PIECES for word in ("--exclude-operation-id", one)]
    many = ["--max-examples", str(EXAMPLES)]
    # what the coverage phase tells, it tells of the user already
    less = [] if LONG else ["--phases", "examples,fuzzing,stateful"]
    # One after the other: of two logins of one address at the same moment one may be told 503.
    done = [
        finish(fuzz(server, "user", people["user"], *many, *spared)),
        finish(fuzz(server, "admin", people["admin"], *many, *less, *spared)),
    ]
    only = [word for one in IN_PIECES for word in ("--include-operation-id", one)]
    apart = (*LEFT_OUT, "positive_data_acceptance")
    done.append(finish(fuzz(server, "user", people["user"], *many, *only, left_out=apart)))
    for ending in ENDINGS if LONG else ENDINGS[:2]:
        role = "admin" if ending == "renewAdminToken" else "user"
        only = ["--include-operation-id", ending, "--max-examples", "5", "--phases", "fuzzing"]
        done.append(finish(fuzz(server, role, people[role], *only)))
    for code, words in done:
        assert code == 0, words[-10_000:]
    generated = sum(int(n) for _, words in done for n in re.findall(r"(\d+) generated", words))
    print(f"schemathesis runs={len(done)} cases={generated} failures=0 left out={list(LEFT_OUT)}")
    assert generated > 1000


# Traversal

PIECES = ["%", "2e", "2f", "5c", ".", "/", "%2e", "%2f", "%5c", "..", "../", "%25", "\\", "//"]
GOALS = ["", "kissa.db", "kissa.secret", "config.ini", "etc/passwd", ".pending", ".pending/{held}"]
GOALS += ["foreign.txt.", "{name}", "{held}", "proc/self/environ", "server.log", "%00"]


def make_paths(count: int, name: str, held: str) -> Iterator[str]:
    made = random.Random(5)
    for _ in range(count):
        middle = "".join(made.choices(PIECES, k=made.randrange(1, 9)))
        goal = made.choice(GOALS).format(name=name, held=held)
        end = made.choice(["", "", "/", ".", "%2e", "%2f"])
        yield made.choice(["/f/", "/d/", "/t/"]) + middle + goal + end


def test_traversal_gives_no_foreign_byte(server: Server) -> None:
    alice = server.person("traveller")  # the other one's credentials are gone
    name = server.upload(alice, PNG)
    sent = server.ask(
        "/api/v2/upload",
        alice.by_key,
        files={"file": ("a.txt", HELD)},
        data={"rating": "sfw", "tags": "a, b, c"},
    )
    (held,) = server.rows("SELECT pending_name FROM item WHERE id = ?", sent["itemid"])[0]
    (server.uploads / "foreign.txt.").write_bytes(FOREIGN)
    secret = (server.folder / "kissa.secret").read_bytes()
    foreign = [HELD, FOREIGN, secret, b"SQLite format", b"[accounts]", b"root:x:0", b"KISSA_CONFIG"]
    seen: Counter[int] = Counter()
    slowest = 0.0
    wire: Wire | None = None
    for path in make_paths(CASES, name, held):
        wire = wire or server.wire()
        begun = time.monotonic()
        wire.send(head("GET", path))
        answer = wire.answer()
        slowest = max(slowest, time.monotonic() - begun)
        seen[answer.status] += 1
        assert answer.status in (200, 308, 400, 404), (path, answer)
        assert not any(one in answer.body for one in foreign), path
        if answer.status == 200:
            assert answer.body == PNG, path
        elif answer.status == 308:
            assert re.match(r"https?://[^/]+/(?!/)|/(?!/)", answer.headers["location"]), answer
        if answer.headers.get("connection", "").lower() == "close":
            wire.close()
            wire = None
    if wire is not None:
        wire.close()
    print(f"traversal cases={CASES} answers={dict(seen)} slowest={slowest * 1000:.0f} ms leaks=0")
    assert slowest < 1.0
