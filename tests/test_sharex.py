"""The .sxcu files of both APIs: exactly the keys of ShareX's current syntax."""

import io
import json
from collections.abc import Callable

import pytest

from models import Item
from tests.conftest import Kissa, Person

Start = Callable[..., Kissa]
NEKOS, F0CKM = "/api/user/sharex", "/api/v2/sharex"


def test_nekos(kissa: Kissa, alice: Person) -> None:
    answer = kissa.post(NEKOS, alice.by_token)
    assert answer.status_code == 200
    assert answer.get_json() == {
        "Version": "17.0.0",
        "Name": "kissa.example (nekos)",
        "DestinationType": "ImageUploader, TextUploader, FileUploader",
        "RequestMethod": "POST",
        "RequestURL": "http://kissa.example/api/files/upload",
        "Headers": {"token": alice.token},
        "Body": "MultipartFormData",
        "FileFormName": "uploadFile",
        "URL": "{json:url}",
        "DeletionURL": "{header:X-Deletion-URL}",
        "ErrorMessage": "{response}",
    }


def test_f0ckm(kissa: Kissa, alice: Person) -> None:
    answer = kissa.post(F0CKM, alice.by_key)
    assert answer.status_code == 200
    assert answer.get_json() == {
        "Version": "17.0.0",
        "Name": "kissa.example (f0ckm)",
        "DestinationType": "ImageUploader, FileUploader",
        "RequestMethod": "POST",
        "RequestURL": "http://kissa.example/api/v2/upload",
        "Headers": {"X-Api-Key": alice.api_key},
        "Body": "MultipartFormData",
        "Arguments": {"rating": "{select:sfw|nsfw|nsfl}", "tags": "{inputbox:Tags|}"},
        "FileFormName": "file",
        "URL": "{json:url}",
        "DeletionURL": "{header:X-Deletion-URL}",
        "ErrorMessage": "{json:msg}",
    }


@pytest.mark.parametrize(
    ("url", "host", "name"),
    [
        ("http://kissa.example/", "kissa.example", "kissa.example"),
        ("https://Kissa.Example:8443/up/", "Kissa.Example:8443", "kissa.example"),
        ("http://[2001:db8::1]:8080/", "[2001:db8::1]:8080", "2001db81"),
    ],
)
def test_it_is_an_attachment_for_this_host(start: Start, url: str, host: str, name: str) -> None:
    kissa = start(site_url=url)
    alice = kissa.person("alice")
    for path, headers, api, endpoint in (
        (NEKOS, alice.by_token, "nekos", "api/files/upload"),
        (F0CKM, alice.by_key, "f0ckm", "api/v2/upload"),
    ):
        answer = kissa.post(path, headers)
        assert answer.content_type == "application/json"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}-{api}.sxcu"'
        assert answer.headers["Cache-Control"] == "no-store"
        assert "$" not in answer.text
        uploader = json.loads(answer.text)
        assert uploader["RequestURL"] == f"{url}{endpoint}"
        assert uploader["Name"] == f"{host} ({api})"


@pytest.mark.parametrize(
    ("path", "link", "url", "kind"),
    [
        (NEKOS, "file", "{json:url}", "nekos"),
        (NEKOS, "page", "{header:X-View-URL}", "nekos, page"),
        (F0CKM, "page", "{json:url}", "f0ckm"),
        (F0CKM, "file", "{header:X-File-URL}", "f0ckm, file"),
    ],
)
def test_the_link_that_is_copied(
    kissa: Kissa, alice: Person, path: str, link: str, url: str, kind: str
) -> None:
    credential = alice.by_token | alice.by_key
    usual = kissa.post(path, credential).get_json()
    answer = kissa.post(path, credential | {"link": link})
    assert answer.get_json() == usual | {"URL": url, "Name": f"kissa.example ({kind})"}
    name = f"kissa.example-{kind.replace(', ', '-')}.sxcu"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert kissa.post(path, credential, json={"link": link}).get_json() == answer.get_json()
    refused = kissa.post(path, credential | {"link": "elsewhere"})
    assert (refused.status_code, "link must be file or page." in refused.text) == (400, True)
    assert kissa.post(path, {"link": "elsewhere"}).status_code == 401  # which comes first


def test_the_links_of_an_upload(start: Start) -> None:
    kissa = start(site_upload_url="http://f.example/")
    alice = kissa.person("alice")
    for upload in (kissa.upload, kissa.list_item):
        answer = upload(alice)
        name = Item.select().order_by(Item.id.desc()).get().name
        assert answer.headers["X-View-URL"] == f"http://kissa.example/v/{name}"
        assert answer.headers["X-File-URL"] == f"http://f.example/{name}"
        assert kissa.get(f"/v/{name}").status_code == 200
    bare = kissa.upload(alice, Accept="text/plain")
    assert bare.text.startswith("http://f.example/")
    assert "/v/" in bare.headers["X-View-URL"]
    assert "X-View-URL" not in kissa.upload(alice, b"").headers


def test_a_waiting_upload_has_no_such_links(start: Start) -> None:
    kissa = start(gallery_manual_approval="true")
    answer = kissa.list_item(kissa.person("alice"))
    assert answer.headers["X-Deletion-URL"]
    assert not {"X-View-URL", "X-File-URL"} & set(answer.headers.keys())


def test_what_it_names_exists(kissa: Kissa, alice: Person) -> None:
    """The uploader's own words, sent as ShareX sends them."""
    for path, headers in ((NEKOS, alice.by_token), (F0CKM, alice.by_key)):
        uploader = kissa.post(path, headers).get_json()
        data: dict[str, object] = {uploader["FileFormName"]: (io.BytesIO(b"x"), "a.txt")}
        if "Arguments" in uploader:
            assert set(uploader["Arguments"]) == {"rating", "tags"}
            data |= {"rating": "sfw", "tags": "a,b,c"}
        address = uploader["RequestURL"].removeprefix("http://kissa.example")
        answer = kissa.post(address, uploader["Headers"], data=data)
        assert answer.status_code == 200
        assert answer.get_json()["url"].startswith("http://kissa.example/")
        assert answer.headers["X-Deletion-URL"]


def test_a_renewed_token_is_in_it(kissa: Kissa, alice: Person) -> None:
    assert kissa.post("/api/token/regen", alice.by_token).status_code == 200
    assert kissa.post(NEKOS, alice.by_token).status_code == 401
    token = kissa.post("/api/token/get", alice.by_password).get_json()["token"]
    assert kissa.post(NEKOS, {"token": token}).get_json()["Headers"] == {"token": token}


def test_an_admin_gets_the_upload_token(kissa: Kissa, admin: Person) -> None:
    assert kissa.post(NEKOS, admin.by_token).get_json()["Headers"] == {"token": admin.token}
    assert kissa.post(NEKOS, admin.by_admin_token).status_code == 401


@pytest.mark.parametrize("who", ["nobody", "malformed", "token for key", "in the URL"])
def test_refusals(kissa: Kissa, alice: Person, who: str) -> None:
    headers, query = {
        "nobody": ({}, ""),
        "malformed": ({"token": "x", "X-Api-Key": "x"}, ""),
        "token for key": ({"token": alice.api_key, "X-Api-Key": alice.token}, ""),
        "in the URL": ({}, f"?token={alice.token}&X-Api-Key={alice.api_key}"),
    }[who]
    nekos = kissa.post(NEKOS + query, headers)
    assert (nekos.status_code, nekos.text) == (401, "The token is missing or not valid.")
    f0ckm = kissa.post(F0CKM + query, headers)
    assert f0ckm.status_code == 401
    assert f0ckm.get_json() == {"success": False, "msg": "Invalid or inactive API key"}
    for answer in (nekos, f0ckm):
        assert "Content-Disposition" not in answer.headers
    assert kissa.get(NEKOS).status_code == kissa.get(F0CKM).status_code == 405
