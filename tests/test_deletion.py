"""The deletion link of an upload: it asks on GET, deletes on POST, once, that file alone."""

from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from tests.conftest import Kissa, Person

SITE = "http://kissa.example"
Start = Callable[..., Kissa]


def link(answer: TestResponse) -> str:
    """The path of the deletion link of an upload."""
    assert answer.status_code == 200, answer.text
    url = answer.headers["X-Deletion-URL"]
    assert url.startswith(f"{SITE}/delete/")
    return url.removeprefix(SITE)


def is_private(answer: TestResponse) -> None:
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Robots-Tag"] == "noindex"


@pytest.fixture(params=["nekos", "f0ckm"])
def path(request: pytest.FixtureRequest, kissa: Kissa, alice: Person) -> str:
    """The link of an upload by either API."""
    send = kissa.upload if request.param == "nekos" else kissa.list_item
    return link(send(alice))


def test_get_asks_and_deletes_nothing(kissa: Kissa, path: str) -> None:
    before = kissa.files()
    for _ in range(2):
        answer = kissa.get(path)
        assert answer.status_code == 200
        assert '<form method="post">' in answer.text
        assert before.pop() in answer.text
        is_private(answer)
        before = kissa.files()
        assert len(before) == 1


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"])
def test_no_other_method_deletes(kissa: Kissa, path: str, method: str) -> None:
    answer = kissa.client.open(path, method=method)
    assert answer.status_code == (200 if method in ("HEAD", "OPTIONS") else 405)
    assert len(kissa.files()) == 1


def test_post_deletes_once(kissa: Kissa, alice: Person, path: str) -> None:
    (name,) = kissa.files()
    answer = kissa.post(path)
    assert answer.status_code == 200
    assert f"{name} is gone." in answer.text
    is_private(answer)
    assert kissa.files() == set()
    assert kissa.get(f"/f/{name}").status_code == 404
    assert kissa.post("/api/files/list", alice.by_token).get_json() == []
    assert kissa.post(path).status_code == 404
    assert kissa.get(path).status_code == 404


def test_it_is_good_for_that_file_alone(kissa: Kissa, alice: Person, path: str) -> None:
    other = link(kissa.upload(alice))
    _, _, name, secret = path.split("/")
    _, _, other_name, other_secret = other.split("/")
    assert secret != other_secret
    wrong = [
        f"/delete/{other_name}/{secret}",
        f"/delete/{name}/{other_secret}",
        f"/delete/{name}/{secret[:-1]}",
        f"/delete/{name}/{secret}x",
        f"/delete/{name}/{secret.swapcase()}",
        f"/delete/{name}/{'0' * len(secret)}",
        f"/delete/{name.swapcase()}/{secret}",
        f"/delete/{name}/{alice.token}",
        f"/delete/{name}/{alice.api_key}",
        f"/delete/{name}",
        f"/delete/{name}/",
        f"/delete/{name}/%00",
        f"/delete/..%2F{name}/{secret}",
    ]
    for address in wrong:
        assert kissa.get(address).status_code == 404, address
        assert kissa.post(address).status_code in (404, 405), address
    assert len(kissa.files()) == 2
    assert kissa.post(path).status_code == 200
    assert kissa.files() == {other_name}


def test_it_works_while_the_item_waits(start: Start) -> None:
    kissa = start(gallery_manual_approval="true")
    alice = kissa.person("alice")
    path = link(kissa.list_item(alice))
    assert kissa.get(path).status_code == 200
    assert len(kissa.files()) == 1
    assert kissa.post(path).status_code == 200
    assert kissa.files() == set()
    assert kissa.post("/api/files/list", alice.by_token).get_json() == []


def test_it_works_after_approval_and_not_after_rejection(start: Start) -> None:
    kissa = start(gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    approved, rejected = (link(kissa.list_item(alice)) for _ in range(2))
    for number, verdict in ((1, "approve"), (2, "reject")):
        answer = kissa.post(f"/api/v2/queue/{number}/{verdict}", admin.by_admin_token)
        assert answer.status_code == 200
    assert kissa.get(rejected).status_code == kissa.post(rejected).status_code == 404
    assert kissa.get("/api/v2/items/2", alice.by_key).status_code == 200  # its row still tells why
    assert kissa.post(approved).status_code == 200
    assert kissa.files() == set()


def test_it_outlives_a_new_token_and_needs_no_login(start: Start) -> None:
    kissa = start(gallery_visitors="none")
    alice = kissa.person("alice")
    path = link(kissa.upload(alice))
    assert kissa.post("/api/token/regen", alice.by_token).status_code == 200
    assert kissa.get(path).status_code == 200
    assert kissa.post(path).status_code == 200


def test_the_secret_is_stored_nowhere(kissa: Kissa, path: str) -> None:
    secret = path.rpartition("/")[2].encode()
    for file in kissa.uploads.parent.glob("kissa.db*"):
        assert secret not in file.read_bytes()


def test_refused_uploads_have_no_link(kissa: Kissa, alice: Person) -> None:
    for answer in (kissa.upload(alice, b""), kissa.list_item(alice, tags="")):
        assert answer.status_code == 400
        assert "X-Deletion-URL" not in answer.headers
