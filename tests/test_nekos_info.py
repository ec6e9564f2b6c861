"""GET /api/info and the shape of what the nekos API has no endpoint for."""

from collections.abc import Callable

import pytest

from tests.answers import JSON, TEXT, told
from tests.conftest import ADMIN_KEY, Kissa, Person


def test_info_has_the_five_documented_keys(kissa: Kissa) -> None:
    assert told(kissa.get("/api/info")) == (
        200,
        JSON,
        '{"inviteonly":false,"adminreg":false,"totalfiles":0,'
        '"uploadURL":"http://kissa.example/f/","maxuploadsize":"100"}\n',
    )


def test_info_follows_the_configuration(start: Callable[..., Kissa]) -> None:
    kissa = start(
        accounts_invite_only="true",
        accounts_admin_registration="true",
        accounts_admin_key=ADMIN_KEY,
        site_upload_url="https://i.kissa.example/",
        uploads_max_size_mb=7,
    )
    assert kissa.get("/api/info").get_json() == {
        "inviteonly": True,
        "adminreg": True,
        "totalfiles": 0,
        "uploadURL": "https://i.kissa.example/",
        "maxuploadsize": "7",
    }


def test_info_asks_for_no_credential(kissa: Kissa) -> None:
    assert kissa.get("/api/info", {"token": "nonsense"}).status_code == 200


def total(kissa: Kissa) -> int:
    return int(kissa.get("/api/info").get_json()["totalfiles"])


def test_totalfiles_counts_both_apis_and_forgets_the_deleted(
    kissa: Kissa, alice: Person, bob: Person
) -> None:
    name = kissa.upload_name(alice)
    kissa.item_id(alice)
    kissa.upload_name(bob)
    assert total(kissa) == 3
    kissa.post("/api/files/delete", alice.by_token | {"file": name})
    assert total(kissa) == 2
    kissa.post("/api/user/delete", alice.by_password)
    assert total(kissa) == 1


def test_totalfiles_leaves_out_what_waits_or_was_rejected(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    first, second = kissa.item_id(alice), kissa.item_id(alice)
    assert total(kissa) == 0
    kissa.post(f"/api/v2/queue/{first}/approve", admin.by_admin_token)
    assert total(kissa) == 1
    kissa.post(f"/api/v2/queue/{second}/reject", admin.by_admin_token)
    assert total(kissa) == 1


def test_totalfiles_keeps_the_files_of_the_banned(
    kissa: Kissa, alice: Person, admin: Person
) -> None:
    kissa.upload_name(alice)
    kissa.post("/api/admin/ban/user", admin.by_admin_token | {"username": "alice"})
    assert total(kissa) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/api/nothing", 404, id="unknown path"),
        pytest.param("POST", "/api/", 404, id="the bare prefix"),
        pytest.param("POST", "/api/user/info/", 404, id="a slash too many"),
        pytest.param("POST", "/api/info", 405, id="POST on info"),
        pytest.param("GET", "/api/user/info", 405, id="GET on user info"),
        pytest.param("GET", "/api/files/upload", 405, id="GET on upload"),
        pytest.param("DELETE", "/api/user/delete", 405, id="DELETE on user"),
        pytest.param("PUT", "/api/files/upload", 405, id="PUT on upload"),
    ],
)
def test_routing_errors_are_plain_text(kissa: Kissa, method: str, path: str, status: int) -> None:
    response = kissa.client.open(path, method=method)
    assert (response.status_code, response.content_type) == (status, TEXT)
    assert response.text
    assert "<" not in response.text
    assert ("POST" in response.headers.get("Allow", "")) == (status == 405 and path != "/api/info")


def test_head_is_info_without_its_body(kissa: Kissa) -> None:
    assert told(kissa.client.head("/api/info")) == (200, JSON, "")
