"""The upload page: a plain form, what the script gets, refusals in both, completed tags."""

import re
from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from models import Item, User
from tests.conftest import PNG, Kissa, Person
from tests.forms import CONTENT_TYPE, field, file
from tests.forms import form as multipart
from tests.people import OURS, Browser, approve, error_of

Start = Callable[..., Kissa]
EVIL = "<img src=x onerror=alert(1)>'.png"
JSON = "application/json"


@pytest.fixture
def home(kissa: Kissa, alice: Person) -> Browser:
    return Browser(kissa, "alice")


def send(home: Browser, form: dict[str, str], as_json: bool = False) -> TestResponse:
    return home.send("cat.png", as_json=as_json, **form)


def test_the_form_tells_its_limits(start: Start) -> None:
    kissa = start(uploads_max_size_mb=7, gallery_min_tags=2, gallery_manual_approval="true")
    kissa.person("alice")
    page = Browser(kissa, "alice").text("/upload")
    assert "Up to 7 MB each" in page
    assert f'data-max="{7 * 1024 * 1024}"' in page
    assert "at least 2" in page
    assert "once an admin agrees" in page
    assert re.search(
        r'<form [^>]*method="post" action="/upload" enctype="multipart/form-data"', page
    )


def test_plain_form(kissa: Kissa, home: Browser) -> None:
    answer = home.send(EVIL)
    assert answer.status_code == 200
    item = Item.get()
    assert (item.state, item.original_name) == ("unlisted", EVIL)
    assert f'<a href="http://kissa.example/f/{item.name}">' in answer.text
    assert "<img" not in answer.text
    assert kissa.files() == {item.name}
    found = re.search(r'href="http://kissa\.example(/delete/[^"]+)"', answer.text)
    assert found
    assert Browser(kissa).post(found[1]).status_code == 200
    assert kissa.files() == set()


def test_for_the_script(kissa: Kissa, home: Browser) -> None:
    answer = home.send(as_json=True)
    item = Item.get()
    assert answer.get_json() == {
        "url": f"http://kissa.example/f/{item.name}", "waiting": False, "itemid": item.id,
    }  # fmt: skip


def test_into_the_gallery(kissa: Kissa, home: Browser) -> None:
    form = {"listed": "1", "rating": "nsfw", "tags": "A,b,c ", "comment": "hi", "is_oc": "1"}
    answer = send(home, form, as_json=True)
    item = Item.get()
    assert answer.get_json()["url"] == f"http://kissa.example/{item.id}"
    assert (item.state, item.rating, item.is_oc) == ("listed", "nsfw", True)
    assert f'<a href="http://kissa.example/{item.id + 1}">' in send(home, form).text
    shown = kissa.get(f"/api/v2/items/{item.id}").get_json()
    assert (shown["tags"], shown["username"]) == (["a", "b", "c"], "alice")
    assert ">hi<" in home.text(f"/{item.id}")


def test_waiting(start: Start) -> None:
    kissa = start(gallery_manual_approval="true")
    kissa.person("alice")
    home, form = Browser(kissa, "alice"), {"listed": "1", "rating": "sfw", "tags": "a,b,c"}
    assert send(home, form, as_json=True).get_json()["waiting"] is True
    assert "Waiting for an admin" in send(home, form).text
    assert home.send(as_json=True).get_json()["waiting"] is False  # no gallery, no approval
    assert sorted(item.state for item in Item.select()) == ["pending", "pending", "unlisted"]


LISTED = {"listed": "1", "rating": "sfw", "tags": "a,b,c"}


@pytest.mark.parametrize("accept", ["text/html", JSON])
@pytest.mark.parametrize(
    ("content", "name", "form", "status", "sentence"),
    [
        pytest.param(b"", "a.png", {}, 400, "empty", id="empty file"),
        pytest.param(PNG, "a.png", LISTED | {"rating": ""}, 400, "Rating", id="no rating"),
        pytest.param(PNG, "a.png", LISTED | {"tags": "a"}, 400, "At least 3 tags", id="few tags"),
        pytest.param(PNG, "a.png", LISTED | {"comment": "x" * 2001}, 400, "2000", id="comment"),
        pytest.param(PNG, "a.exe", {}, 415, ".exe", id="blocked"),
        pytest.param(b"x" * (1024 * 1024 + 1), "a.png", {}, 413, "1 MB", id="too large"),
    ],
)
def test_refusals(
    start: Start, accept: str, content: bytes, name: str, form: dict[str, str], status: int,
    sentence: str,
) -> None:  # fmt: skip
    kissa = start(uploads_blocked_extensions="exe", uploads_max_size_mb=1)
    kissa.person("alice")
    parts = [*(field(key, value) for key, value in form.items()), file("file", content, name)]
    headers = OURS | {"Accept": accept}
    browser = Browser(kissa, "alice")
    answer = browser.client.post("/upload", headers=headers, **multipart(*parts))
    if accept == JSON:
        assert answer.status_code == status
        assert list(answer.get_json()) == ["error"]
        assert sentence in answer.get_json()["error"]
    else:
        told = error_of(answer)
        assert told[0] == status
        assert sentence in told[1]
    assert kissa.files() == set()
    assert Item.select().count() == 0


def test_no_file(home: Browser) -> None:
    answer = home.client.post("/upload", headers=OURS, **multipart(field("listed", "0")))
    assert error_of(answer)[0] == 400


def test_limits_of_a_user(start: Start) -> None:
    kissa = start(uploads_per_minute=1)
    kissa.person("alice")
    User.update(quota_mb=1).execute()
    home = Browser(kissa, "alice")
    big = multipart(file("file", b"x" * (1024 * 1024 + 1)))
    answer = home.client.post("/upload", headers=OURS, **big)
    assert error_of(answer) == (507, "This upload would pass your quota of 1 MB.")
    assert home.send().status_code == 200
    answer = home.send()
    assert error_of(answer)[0] == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


class Unread:
    """A body that tells whether a file was begun while somebody read it."""

    def __init__(self, kissa: Kissa) -> None:
        self.kissa, self.found, self.left = kissa, 0, 20

    def read(self, size: int = -1) -> bytes:
        self.found += len(self.kissa.files())
        self.left -= 1
        return b"x" * 1000 if self.left > 0 else b""


@pytest.mark.parametrize(
    ("who", "headers", "status"),
    [
        pytest.param("alice", {"Origin": "https://evil.example"}, 403, id="other site"),
        pytest.param("alice", {"Sec-Fetch-Site": "same-site"}, 403, id="other host"),
        pytest.param(None, OURS, 401, id="visitor"),
    ],
)
def test_refused_before_the_body_is_parsed(
    kissa: Kissa, alice: Person, who: str | None, headers: dict[str, str], status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The body is read and dropped, so that the client sees the answer; no file is begun."""
    monkeypatch.setattr(
        type(kissa.services.storage), "open", lambda _: pytest.fail("a file was begun")
    )
    body = Unread(kissa)
    answer = Browser(kissa, who).client.post(
        "/upload",
        headers=headers,
        content_type=CONTENT_TYPE,
        environ_overrides={"wsgi.input": body, "wsgi.input_terminated": True},
    )
    assert answer.status_code == status
    assert (body.found, body.left) == (0, 0)


# Tags


def test_tags_that_others_used(start: Start) -> None:
    kissa = start(gallery_manual_approval="true", gallery_min_tags=1)
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    for number in range(10):
        approve(kissa, admin, kissa.item_id(alice, tags=f"cat {number},CATS,dog,<b>cat"))
    kissa.item_id(alice, tags="cat of a waiting item")
    gone = kissa.item_id(alice, tags="cat of a rejected item")
    kissa.post(f"/api/v2/queue/{gone}/reject", admin.by_admin_token)
    home = Browser(kissa, "alice")

    def suggested(prefix: str) -> list[str]:
        answer = home.get(f"/tags?q={prefix}", Accept=JSON)
        assert answer.content_type == JSON
        found: list[str] = answer.get_json()
        return found

    assert suggested("CAT") == [f"cat {number}" for number in range(8)]
    assert suggested("cats") == ["cats"]
    assert suggested("cat%20of") == suggested("%25") == suggested("_") == suggested("") == []
    assert suggested("%3Cb") == ["<b>cat"]
    assert suggested("x" * 5000) == suggested("%00") == suggested("%FF") == []


def test_tags_are_for_the_signed_in(kissa: Kissa) -> None:
    assert Browser(kissa).get("/tags?q=c", Accept=JSON).status_code == 401
    assert Browser(kissa).get("/tags?q=c").headers["Location"] == "/signin?next=/tags?q%3Dc"
