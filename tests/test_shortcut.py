"""Uploads before Flask's dispatch answer as Flask's own way does, in success and in refusal."""

import re
from typing import Any

import pytest

from blueprints.receive import Shortcut
from metrics import State
from tests.conftest import PNG, Kissa, Person
from tests.forms import field, file, form

LISTING = [field("rating", "sfw"), field("tags", "a,b,c")]
PATHS = {"nekos": "/api/files/upload", "f0ckm": "/api/v2/upload"}
FIELDS = {"nekos": "uploadFile", "f0ckm": "file"}
WAYS = ("good", "bare", "no one", "no file", "too large", "wrong rating")


def ask(kissa: Kissa, api: str, way: str, person: Person) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of one upload, without what differs at each."""
    headers = person.by_token if api == "nekos" else person.by_key
    listing = LISTING[1:] if way == "wrong rating" else LISTING
    content = bytes(2 * 1024 * 1024) if way == "too large" else PNG
    wanted = "other" if way == "no file" else FIELDS[api]
    more: dict[str, Any] = form(*listing, file(wanted, content, "cat.png"))
    if way == "no one":
        headers = {}
    if way == "bare":
        headers = headers | {"Accept": "text/plain"}
    answer = kissa.post(PATHS[api], headers, **more)
    kept = {name: masked(value) for name, value in answer.headers}
    assert ("X-Deletion-URL" in answer.headers) is (answer.status_code == 200)
    return answer.status_code, kept, masked(answer.text)


def masked(text: str) -> str:
    """Without names, deletion secrets and ids, which differ at each upload."""
    return re.sub(r"[A-Za-z0-9]{7}\.png(/\S+)?|(?<=/)[0-9]+|(?<=:)[0-9]+", "-", text)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("api", PATHS)
def test_both_ways_answer_the_same(
    start: Any, api: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kissa: Kissa = start(uploads_max_size_mb=1)
    alice = kissa.person("alice")
    shortcut = kissa.app.wsgi_app
    assert isinstance(shortcut, Shortcut)
    direct = ask(kissa, api, way, alice)
    monkeypatch.setattr(kissa.app, "wsgi_app", shortcut.inner)
    assert ask(kissa, api, way, alice) == direct
    uploads = 2 if direct[0] == 200 else 0
    assert len(kissa.files()) == uploads
    counted = kissa.services.metrics.render(State(files=0, users=0, disk_free={}))
    assert f'kissa_uploads_total{{api="{api}"}} {uploads}.0'.encode() in counted
