"""Uploads of pictures by all three doors: what is stored, and what the answer says of it."""

import hashlib
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from models import Item
from tests import forms
from tests.conftest import Kissa, Person
from tests.multipart import (
    NEKOS,
    Endpoint,
    both_endpoints,
    check_nothing_left,
    check_refused,
    form,
    part,
)
from tests.multipart import send as send_body
from tests.people import OURS, Browser
from tests.tagged import SECRET, plain, tagged

Start = Callable[..., Kissa]
TAGGED = tagged()
WISH = b"strip-metadata"


def send(
    kissa: Kissa,
    person: Person,
    endpoint: Endpoint,
    content: bytes = TAGGED["jpeg"],
    fields: tuple[tuple[bytes, bytes], ...] = (),
    headers: dict[str, str] | None = None,
) -> TestResponse:
    parts = [*endpoint.parts(content, b"cat.jpg"), *(part(*one) for one in fields)]
    return send_body(kissa, endpoint, person, form(*parts), headers=headers)


def stored(kissa: Kissa) -> bytes:
    """The bytes of the one file, after a look at what its row says of them."""
    item = Item.get()
    content = (kissa.uploads / item.name).read_bytes()
    assert kissa.files() == {item.name}
    assert (item.size, bytes(item.sha256)) == (len(content), hashlib.sha256(content).digest())
    return content


@both_endpoints
def test_by_default_what_is_listed(kissa: Kissa, alice: Person, endpoint: Endpoint) -> None:
    answer = send(kissa, alice, endpoint)
    assert answer.status_code == 200
    is_listed = endpoint.field == b"file"
    assert answer.headers.get("X-Metadata") == ("removed" if is_listed else None)
    assert (SECRET in stored(kissa)) is not is_listed


@both_endpoints
@pytest.mark.parametrize(
    ("fields", "headers", "expected"),
    [
        pytest.param((), {"strip-metadata": "yes"}, "removed", id="header"),
        pytest.param((), {"strip-metadata": "no"}, None, id="header-no"),
        pytest.param(((WISH, b"1"),), {}, "removed", id="field"),
        pytest.param(((b"strip_metadata", b"off"),), {}, None, id="field-no"),
        pytest.param(((WISH, b"no"),), {"strip-metadata": "on"}, "removed", id="header-wins"),
        pytest.param(((WISH, b""),), {"strip-metadata": "true"}, "removed", id="empty-field"),
    ],
)
def test_by_wish(
    start: Start, endpoint: Endpoint, fields: Any, headers: dict[str, str], expected: str | None
) -> None:
    kissa = start(uploads_strip_metadata="all" if expected is None else "off")
    answer = send(kissa, kissa.person("alice"), endpoint, fields=fields, headers=headers)
    assert answer.status_code == 200
    assert answer.headers.get("X-Metadata") == expected
    assert (SECRET in stored(kissa)) is (expected is None)


@both_endpoints
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(TAGGED["webp"], "removed", id="removed"),
        pytest.param(plain()["jpeg"], "clean", id="clean"),
        pytest.param(TAGGED["jpeg"][:90], "unparsed", id="unparsed"),
        pytest.param(b"GIF89a" + SECRET, "untouched", id="untouched"),
    ],
)
def test_the_answer_says_what_became_of_it(
    start: Start, endpoint: Endpoint, content: bytes, expected: str
) -> None:
    kissa = start(uploads_strip_metadata="all")
    answer = send(kissa, kissa.person("alice"), endpoint, content, headers={"Accept": "text/plain"})
    assert (answer.status_code, answer.headers["X-Metadata"]) == (200, expected)
    assert (stored(kissa) == content) is (expected != "removed")


@both_endpoints
def test_a_wish_that_is_neither(kissa: Kissa, alice: Person, endpoint: Endpoint) -> None:
    for answer in (
        send(kissa, alice, endpoint, headers={"strip-metadata": "maybe"}),
        send(kissa, alice, endpoint, fields=((WISH, b"perhaps"),)),
    ):
        assert check_refused(answer, 400) == "strip-metadata must be yes or no."
    check_nothing_left(kissa)


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_the_upload_page(kissa: Kissa, alice: Person, accept: str) -> None:
    home = Browser(kissa, "alice")
    listed = {"listed": "1", "rating": "sfw", "tags": "cat, cute, feline"}
    for fields, expected in ((listed, "removed"), ({}, None), ({"strip_metadata": "1"}, "removed")):
        data = fields | {"file": (io.BytesIO(TAGGED["jpeg"]), "cat.jpg")}
        answer = home.client.post("/upload", data=data, headers=OURS | {"Accept": accept})
        assert answer.status_code == 200
        assert answer.headers.get("X-Metadata") == expected


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("listed", {"": "taken out for the gallery", "yes": "taken out", "no": "left in"}),
        ("all", {"": "taken out", "no": "left in"}),
        ("off", {"": "left in", "yes": "taken out"}),
    ],
)
def test_the_upload_page_asks(start: Start, mode: str, options: dict[str, str]) -> None:
    kissa = start(uploads_strip_metadata=mode)
    kissa.person("alice")
    text = Browser(kissa, "alice").text("/upload")
    [choice] = re.findall(r'name="strip-metadata">(.*?)</select>', text)
    assert dict(re.findall(r'<option value="(\w*)">([^<]*)<', choice)) == options


@pytest.mark.parametrize(
    ("name", "content", "wish", "is_told"),
    [
        ("cat.jpg", TAGGED["jpeg"], "yes", False),
        ("cat.jpg", TAGGED["jpeg"][:90], "yes", True),
        ("cat.jpg", TAGGED["jpeg"][:90], "", True),
        ("cat.jpg", TAGGED["jpeg"][:90], "no", False),
        ("cat.mp4", b"film", "", True),
        ("cat.heic", b"photo", "", True),
        ("notes.txt", b"notes", "yes", True),
        ("notes.txt", b"notes", "", False),
    ],
)
def test_the_plain_page_says_when_nothing_was_taken_out(
    start: Start, name: str, content: bytes, wish: str, is_told: bool
) -> None:
    kissa = start(uploads_strip_metadata="all")
    kissa.person("alice")
    body = forms.form(forms.field("strip-metadata", wish), forms.file("file", content, name))
    answer = Browser(kissa, "alice").client.post("/upload", headers=OURS, **body)
    assert answer.status_code == 200
    assert ("Place, time and camera stay in it" in answer.text) is is_told


def test_the_quota_counts_what_is_left(start: Start) -> None:
    kissa = start(uploads_quota_mb=1, uploads_strip_metadata="all")
    alice = kissa.person("alice")
    trailer = TAGGED["jpeg"] + SECRET * 100_000
    assert send(kissa, alice, NEKOS, trailer).status_code == 200
    kept = send(kissa, alice, NEKOS, trailer, headers={"strip-metadata": "no"})
    assert kept.status_code == 507
