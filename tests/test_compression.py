"""What is sent compressed, to whom, and what never is."""

import gzip
import re

import pytest
from werkzeug.test import TestResponse

from blueprints.web import static_files
from tests.conftest import Kissa, Person
from tests.people import OURS, Browser

GZIP = {"Accept-Encoding": "gzip, deflate, br"}
STYLE = "/static/kissa.css"
# What a client says, and whether it gets gzip.
TAKEN = [
    ("gzip", True),
    ("GZIP", True),
    ("gzip, deflate, br, zstd", True),
    ("gzip;q=0.1", True),
    ("*", True),
    ("identity;q=0, *", True),
    ("gzip;q=0.5, identity;q=0.5", True),
    ("", False),
    ("br", False),
    ("identity", False),
    ("gzip;q=0", False),
    ("gzip;q=0.000, *", False),
    ("*;q=0", False),
    ("identity;q=1, gzip;q=0.5", False),
]


def plain(answer: TestResponse) -> str:
    """The text of an answer, unpacked once where it is packed."""
    is_packed = answer.headers.get("Content-Encoding") == "gzip"
    return (gzip.decompress(answer.data) if is_packed else answer.data).decode()


def without_nonce(text: str) -> str:
    return re.sub(r'nonce="[^"]+"', "", text)


@pytest.mark.parametrize(("accepted", "is_packed"), TAKEN)
@pytest.mark.parametrize("path", ["/", STYLE])
def test_gzip_for_who_takes_it(kissa: Kissa, path: str, accepted: str, is_packed: bool) -> None:
    answer = kissa.get(path, {"Accept-Encoding": accepted})
    assert answer.headers.get("Content-Encoding") == ("gzip" if is_packed else None)
    assert "Accept-Encoding" in answer.vary
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    assert without_nonce(plain(answer)) == without_nonce(kissa.get(path).text)


@pytest.mark.parametrize("path", ["/", "/goodbye", "/api/openapi.json", "/api/v2/items"])
def test_pages_and_json_of_visitors(kissa: Kissa, alice: Person, path: str) -> None:
    for _ in range(5):
        kissa.item_id(alice)
    whole, packed = kissa.get(path), kissa.get(path, GZIP)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.data) < len(whole.data) * 0.7
    assert without_nonce(plain(packed)) == without_nonce(whole.text)
    # one tag for both: it is weak
    assert packed.headers["ETag"] == whole.headers["ETag"]
    again = kissa.get(path, GZIP | {"If-None-Match": packed.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert "Content-Encoding" not in again.headers
    assert kissa.client.head(path, headers=GZIP).headers["Content-Encoding"] == "gzip"


def test_small_answers_stay_as_they_are(kissa: Kissa) -> None:
    answer = kissa.get("/api/info", GZIP)
    assert "Content-Encoding" not in answer.headers


def test_nothing_that_may_hold_a_secret(kissa: Kissa, alice: Person, admin: Person) -> None:
    """Its size would tell whether what an address says stands in it (BREACH)."""
    for _ in range(5):
        kissa.item_id(alice)
    deletion = kissa.upload(alice).headers["X-Deletion-URL"].removeprefix("http://kissa.example")
    answers = [kissa.get(path, GZIP) for path in (deletion, "/signin", "/signup?key=x")]
    answers.append(kissa.get("/api/v2/items", GZIP | alice.by_key))
    for name in ("alice", "admin"):
        browser = Browser(kissa, name)
        paths = ["/", "/1", "/files?q=cat", "/settings", *(["/admin"] if name == "admin" else [])]
        answers += [browser.get(path, **GZIP) for path in paths]
        answers.append(browser.client.post("/settings/token", headers=GZIP | OURS))
    for answer in answers:
        assert answer.status_code == 200
        assert "Content-Encoding" not in answer.headers
    name = kissa.upload_name(alice, b"a" * 5000, "a.txt")
    for path in (f"/f/{name}", f"/d/{name}"):
        assert "Content-Encoding" not in kissa.get(path, GZIP).headers


# Static files


@pytest.mark.parametrize("name", sorted(static_files.all_files()))
def test_static_files(kissa: Kissa, name: str) -> None:
    content = (static_files.FOLDER / name).read_bytes()
    whole, packed = kissa.get(f"/static/{name}"), kissa.get(f"/static/{name}", GZIP)
    assert whole.data == content
    assert plain(packed) == content.decode()
    assert whole.mimetype in ("text/css", "text/javascript", "image/svg+xml")
    assert whole.content_type == packed.content_type
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert len(packed.data) < len(content)
    tags = {answer.headers["ETag"] for answer in (whole, packed)}
    assert len(tags) == 2
    assert not any(tag.startswith("W/") for tag in tags)  # the same bytes each time
    for headers, answer in (({}, whole), (GZIP, packed)):
        again = kissa.get(f"/static/{name}", headers | {"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["Cache-Control"] == answer.headers["Cache-Control"]


def test_static_files_of_a_page_are_kept_for_a_year(kissa: Kissa) -> None:
    addresses = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', kissa.get("/").text))
    assert len(addresses) == 4
    for address in addresses:
        answer = kissa.get(address)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("query", ["", "?v=", "?v=000000000000", "?v", "?w=1"])
def test_static_files_of_another_version_are_not_kept(kissa: Kissa, query: str) -> None:
    """While a new Kissa takes over, its page may get its style from the old one."""
    answer = kissa.get(STYLE + query)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["nothing.css", "", "js", "js/", "../app.py", "%2e%2e/app.py", "js/../kissa.css", "%00"]
)
def test_no_other_file(kissa: Kissa, path: str) -> None:
    assert kissa.get(f"/static/{path}").status_code == 404
