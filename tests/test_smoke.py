"""The main job, start to end: sign up, send, get back the same bytes, delete."""

from tests.conftest import PNG, Kissa, Person


def test_upload_comes_back_byte_for_byte_and_goes(kissa: Kissa, alice: Person) -> None:
    name = kissa.upload_name(alice)
    assert kissa.files() == {name}
    assert kissa.get(f"/f/{name}").data == PNG
    assert kissa.post("/api/files/list", alice.by_token).json == [name]
    answer = kissa.post("/api/files/delete", alice.by_token | {"file": name})
    assert (answer.status_code, answer.text) == (200, f"{name} has been deleted!")
    assert kissa.files() == set()
    assert kissa.get(f"/f/{name}").status_code == 404


def test_item_is_public_at_once(kissa: Kissa, alice: Person) -> None:
    answer = kissa.list_item(alice)
    assert answer.json == {
        "success": True,
        "msg": "Upload successful! Your upload is now live.",
        "itemid": 1,
        "manual_approval": False,
        "redirect": "/1",
        "url": "http://kissa.example/1",
    }
    assert "cat.png" in kissa.get("/1").text
