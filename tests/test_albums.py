"""Albums: made by uploads and on pages, looked at, put into order, downloaded."""

import io
import re
import threading
import zipfile
from collections.abc import Callable
from html import escape
from typing import Any

import pytest

import albums
import models
from albums import MAX_TITLE
from models import Album, AlbumItem, Item, User
from tests import database
from tests.conftest import PNG, Clock, Kissa, Person
from tests.multipart import BOUNDARY
from tests.people import OURS, Browser, approve, audit, error_of

HOSTILE = "\"><script>alert(1)</script>'&amp;{{7*7}}"
Order = list[int]


def order(title: str = "Cats") -> Order:
    """The items of an album as they lie in it."""
    album = Album.get(Album.title == title)
    return [item.id for item in albums.list_items(album)]


def positions() -> list[int]:
    return [link.position for link in AlbumItem.select()]


@pytest.fixture
def cats(kissa: Kissa, alice: Person) -> str:
    """The path of alice's album of five files, with the ids 1 to 5."""
    for number in range(1, 6):
        answer = kissa.upload(alice, PNG, f"cat-{number}.png", album="Cats")
    return path_of(answer.headers["X-Album-URL"])


def path_of(url: str) -> str:
    assert url.startswith("http://kissa.example/a/")
    return url.removeprefix("http://kissa.example")


# Uploads


@pytest.mark.parametrize("where", ["header", "field", "query"])
@pytest.mark.parametrize("api", ["/api/files/upload", "/api/v2/upload"])
def test_an_upload_names_its_album(kissa: Kissa, alice: Person, api: str, where: str) -> None:
    plain = api == "/api/files/upload"
    data: dict[str, Any] = {} if plain else {"rating": "sfw", "tags": "a, b, c"}
    headers = alice.by_token if plain else alice.by_key
    title, query = "Süße Katzen", ""
    if where == "header":
        headers |= {"album": title.encode().decode("latin-1")}
    elif where == "field":
        data["album"] = f" {title}  "
    else:
        query = "?album=S%C3%BC%C3%9Fe+Katzen"
    for _ in range(2):
        data["uploadFile" if plain else "file"] = (io.BytesIO(PNG), "cat.png")
        answer = kissa.post(api + query, headers, data=data.copy())
        assert answer.status_code == 200, answer.text
    keys = {"url"} if plain else {
        "success", "msg", "itemid", "manual_approval", "redirect", "url",
    }  # fmt: skip
    assert set(answer.get_json()) == keys
    assert path_of(answer.headers["X-Album-URL"]) == f"/a/{Album.get().name}"
    assert re.fullmatch(r"[A-Za-z0-9]{12}", Album.get().name)
    assert Album.get().title == title
    assert order(title) == [1, 2]


def test_without_an_album_nothing_is_said_of_one(kissa: Kissa, alice: Person) -> None:
    for answer in (kissa.upload(alice), kissa.upload(alice, album="  "), kissa.list_item(alice)):
        assert answer.status_code == 200
        assert "X-Album-URL" not in answer.headers
    assert Album.select().count() == AlbumItem.select().count() == 0


def test_a_title_is_the_users_own_in_any_case(kissa: Kissa, alice: Person, bob: Person) -> None:
    for person, title in (
        (alice, "Straße"),
        (alice, "STRASSE"),
        (alice, "straße"),
        (bob, "Straße"),
    ):
        header = title.encode().decode("latin-1")
        assert kissa.upload(person, album=header).status_code == 200
    assert [(album.user.username, album.title) for album in Album.select()] == [
        ("alice", "Straße"), ("bob", "Straße"),
    ]  # fmt: skip
    assert order("Straße") == [1, 2, 3]


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        pytest.param("x" * MAX_TITLE, "x" * MAX_TITLE, id="longest"),
        pytest.param("x" * (MAX_TITLE + 1), None, id="too-long"),
        pytest.param("a\tb\nc", "a b c", id="controls"),
        pytest.param("e\u0301te\u0301", "été", id="composed"),
        pytest.param("gpj.\u202eexe", "gpj.exe", id="bidi"),
        pytest.param("\u202e", None, id="nothing-left"),
    ],
)
def test_titles(kissa: Kissa, alice: Person, title: str, kept: str | None) -> None:
    data = {"uploadFile": (io.BytesIO(PNG), "cat.png"), "album": title}
    answer = kissa.post("/api/files/upload", alice.by_token, data=data)
    assert answer.status_code == (200 if kept else 400)
    assert [album.title for album in Album.select()] == ([kept] if kept else [])
    assert len(kissa.files()) == (1 if kept else 0)


def test_what_is_too_much_leaves_nothing(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(albums, "MAX_FILES", 2)
    monkeypatch.setattr(albums, "MAX_ALBUMS", 2)
    answers = [kissa.upload(alice, album=title) for title in ("A", "A", "B", "A", "C", "b")]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 409, 409, 200]
    assert len(kissa.files()) == Item.select().count() == 4
    assert [album.title for album in Album.select()] == ["A", "B"]
    page = Browser(kissa, "alice")
    assert page.post("/files/album", id=["3", "4"], album="A").status_code == 409
    assert page.post("/albums", title="D").status_code == 409
    assert page.post("/files/album", id=["1", "2"], album="A").status_code == 303  # are in it


def test_a_refused_upload_makes_no_album(start: Callable[..., Kissa]) -> None:
    kissa = start(uploads_quota_mb=1, uploads_max_size_mb=2)
    alice = kissa.person("alice")
    answers = [kissa.upload(alice, b"x" * 450_000).status_code for _ in range(2)]
    assert [*answers, kissa.upload(alice, b"x" * 450_000, album="Cats").status_code] == [
        200, 200, 507,
    ]  # fmt: skip
    assert Album.select().count() == 0


@pytest.mark.sqlite  # by its trace
def test_an_upload_without_album_asks_nothing_more(kissa: Kissa, alice: Person) -> None:
    asked: list[str] = []
    kissa.upload(alice)
    database.trace(asked.append)
    kissa.upload(alice)
    database.trace(None)
    assert len(asked) > 3
    assert not [sql for sql in asked if "album" in sql.lower()]


def test_titles_race_for_one_album(kissa: Kissa, alice: Person) -> None:
    mark = BOUNDARY.decode()
    body = (
        f'--{mark}\r\nContent-Disposition: form-data; name="uploadFile"; filename="a.png"'
        f"\r\n\r\nx\r\n--{mark}--\r\n"
    )
    form = f"multipart/form-data; boundary={mark}"
    found: list[int] = []

    def send() -> None:
        client = kissa.app.test_client()
        headers = alice.by_token | {"album": "Cats"}
        answer = client.post("/api/files/upload", headers=headers, data=body, content_type=form)
        found.append(answer.status_code)
        models.database.close()

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 8
    assert len(order()) == 8
    assert sorted(positions()) == list(range(1, 9))


def test_list_of_albums(kissa: Kissa, alice: Person, bob: Person, cats: str) -> None:
    kissa.upload(alice, album="Dogs")
    kissa.upload(bob, album="Birds")
    found = kissa.post("/api/user/albums/list", alice.by_token).get_json()
    assert [(row["title"], row["files"]) for row in found] == [("Dogs", 1), ("Cats", 5)]
    assert path_of(found[1]["url"]) == cats
    assert path_of(found[1]["zip"]) == f"{cats}.zip"


# Looking


def test_who_has_the_link_sees_it(kissa: Kissa, cats: str) -> None:
    page = Browser(kissa)
    answer = page.get(cats)
    assert answer.headers["X-Robots-Tag"] == "noindex"
    assert re.findall(r'href="/v/(\w+)\.png"', answer.text) == [
        item.name.partition(".")[0] for item in Item.select().order_by(Item.id)
    ]
    first = Item.get_by_id(1).name
    for property, content in {
        "og:title": "Cats",
        "og:url": f"http://kissa.example{cats}",
        "og:description": "5 files by alice",
        "og:image": f"http://kissa.example/f/{first}",
    }.items():
        assert f'<meta property="{property}" content="{content}">' in answer.text
    for tool in ("Arrange", "Save the title", "Delete", "Add files"):
        assert tool not in answer.text
        assert tool in Browser(kissa, "alice").text(cats)
    assert cats not in page.text("/")


@pytest.mark.parametrize("path", ["/a/x", "/a/abcdefghijkl", "/a/abcdefghijkl.zip", "/a/..%2fx"])
def test_no_such_album(kissa: Kissa, path: str) -> None:
    assert Browser(kissa).get(path).status_code == 404


def test_waiting_and_rejected_files_are_their_owners(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval="true")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    answer = kissa.list_item(alice, PNG, "waits-1.png", album="Cats")
    path = path_of(answer.headers["X-Album-URL"])
    for name in ("refused-2.png", "agreed-3.png"):
        kissa.list_item(alice, PNG, name, album="Cats")
    kissa.post("/api/v2/queue/2/reject", admin.by_admin_token)
    approve(kissa, admin, 3)
    kissa.upload(alice, PNG, "plain-4.txt", album="Cats")
    names = r"(waits-1|refused-2|agreed-3|plain-4)\.\w+</span>"
    everything = ["waits-1", "refused-2", "agreed-3", "plain-4"]
    kissa.person("bob")
    for viewer, seen in {None: everything[2:], "bob": everything[2:], "alice": everything,
                         "admin": everything}.items():  # fmt: skip
        page = Browser(kissa, viewer)
        assert re.findall(names, page.text(path)) == seen
        with zipfile.ZipFile(io.BytesIO(page.get(f"{path}.zip").data)) as archive:
            assert archive.namelist() == ["agreed-3.png", "plain-4.txt"]
    item = Item.get_by_id(1)
    assert item.name not in Browser(kissa).text(path)
    kissa.post("/api/files/delete", alice.by_token | {"file": Item.get_by_id(3).name})
    kissa.post("/api/files/delete", alice.by_token | {"file": Item.get_by_id(4).name})
    assert "nothing into it that you can see" in Browser(kissa).text(path)
    assert Browser(kissa).get(f"{path}.zip").status_code == 404


@pytest.mark.parametrize(
    ("visitors", "seen"), [("all", ["a", "b", "c"]), ("sfw", ["a", "c"]), ("none", ["c"])]
)
def test_ratings_that_the_host_hides(
    start: Callable[..., Kissa], visitors: str, seen: list[str]
) -> None:
    kissa = start(gallery_visitors=visitors)
    alice = kissa.person("alice")
    kissa.list_item(alice, PNG, "a.png", album="Mixed")
    kissa.list_item(alice, PNG, "b.png", rating="nsfw", album="Mixed")
    path = path_of(kissa.upload(alice, PNG, "c.png", album="Mixed").headers["X-Album-URL"])
    visitor = Browser(kissa)
    assert re.findall(r"\b([abc])\.png</span>", visitor.text(path)) == seen
    with zipfile.ZipFile(io.BytesIO(visitor.get(f"{path}.zip").data)) as archive:
        assert archive.namelist() == [f"{name}.png" for name in seen]
    if "b" in seen:
        text = visitor.text(path)
        assert text.count("tile veiled") == 1
        assert f"/f/{Item.get_by_id(2).name}" not in text  # not behind the veil by a script either
    kissa.person("bob")
    assert "b.png</span>" in Browser(kissa, "bob").text(path)


def test_hostile_titles_and_names_are_text(kissa: Kissa, alice: Person) -> None:
    for _ in range(2):
        answer = kissa.upload(alice, PNG, "<script>alert(2)</script>{{7*7}}.png", album=HOSTILE)
    path = path_of(answer.headers["X-Album-URL"])
    page = Browser(kissa, "alice")
    for where in (path, f"{path}?arrange=1", f"{path}/delete", "/albums", "/upload", "/files",
                  "/upload?album=%22%3E%3Cscript%3Ealert(1)"):  # fmt: skip
        text = page.text(where)
        assert "<script>alert" not in text
        assert "49" not in re.findall(r"<h1>(.*?)</h1>", text)
        if where.startswith(path):
            assert escape(HOSTILE).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in text
    shown = page.get(f"{path}.zip").headers["Content-Disposition"]
    assert "\n" not in shown
    assert '"' not in shown.removeprefix('attachment; filename="').partition('"')[0]


# Putting into order


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"earlier": "3"}, [1, 3, 2, 4, 5]),
        ({"earlier": "1"}, [1, 2, 3, 4, 5]),
        ({"later": "3"}, [1, 2, 4, 3, 5]),
        ({"later": "4"}, [1, 2, 3, 5, 4]),
        ({"later": "5"}, [1, 2, 3, 4, 5]),
        ({"item": "1", "before": "5"}, [2, 3, 4, 1, 5]),
        ({"item": "5", "before": "1"}, [5, 1, 2, 3, 4]),
        ({"item": "4", "before": "2"}, [1, 4, 2, 3, 5]),
        ({"item": "2", "before": ""}, [1, 3, 4, 5, 2]),
        ({"item": "5", "before": ""}, [1, 2, 3, 4, 5]),
        ({"item": "2", "before": "2"}, [1, 2, 3, 4, 5]),
        ({"item": "2", "before": "3"}, [1, 2, 3, 4, 5]),
    ],
    ids=str,
)
def test_moves(kissa: Kissa, cats: str, form: dict[str, str], expected: Order) -> None:
    page = Browser(kissa, "alice")
    moved = int(form.get("item") or form.get("earlier") or form["later"])
    assert page.does(f"{cats}/move", **form) == f"{cats}?arrange=1#i{moved}"
    assert order() == expected
    assert len(set(positions())) == 5
    again = page.client.post(f"{cats}/move", data={"item": moved, "before": ""},
                             headers=OURS | {"Accept": "application/json"})  # fmt: skip
    assert again.get_json() == {"place": 5}


@pytest.mark.parametrize(
    "form",
    [{"earlier": "6"}, {"item": "6", "before": "1"}, {"item": "1", "before": "6"}, {"item": "x"},
     {"item": "1", "before": "x"}, {}],
    ids=str,
)  # fmt: skip
def test_moves_of_what_is_not_in_it(
    kissa: Kissa, alice: Person, cats: str, form: dict[str, str]
) -> None:
    kissa.upload(alice)
    assert Browser(kissa, "alice").post(f"{cats}/move", **form).status_code == 404
    assert order() == [1, 2, 3, 4, 5]


def test_gaps_do_not_matter(kissa: Kissa, alice: Person, cats: str) -> None:
    page = Browser(kissa, "alice")
    page.does(f"{cats}/remove", item="2")
    kissa.post("/api/files/delete", alice.by_token | {"file": Item.get_by_id(4).name})
    page.does(f"{cats}/move", earlier="5")
    kissa.upload(alice, album="cats")
    page.does(f"{cats}/move", item="1", before="3")
    assert order() == [5, 1, 3, 6]
    assert Item.get_or_none(Item.id == 2) is not None


def test_moves_at_once_lose_nothing(kissa: Kissa, cats: str) -> None:
    user, name = User.get(), cats.rpartition("/")[2]

    def shuffle(seed: int) -> None:
        for turn in range(15):
            albums.move(user, name, 1 + (seed + turn) % 5, 1 + (seed * turn) % 5)
            albums.step(user, name, 1 + turn % 5, -1 if seed % 2 else 1)
        models.database.close()

    threads = [threading.Thread(target=shuffle, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(order()) == [1, 2, 3, 4, 5]
    assert len(set(positions())) == 5


def test_without_scripts_buttons_do_it(kissa: Kissa, cats: str) -> None:
    text = Browser(kissa, "alice").text(f"{cats}?arrange=1")
    assert re.findall(r'<button name="earlier" value="(\d)"', text) == list("12345")
    assert re.findall(r'formaction="(\S+)" name="item" value="(\d)"', text)[2] == (
        f"{cats}/remove", "3",
    )  # fmt: skip
    assert "data-arrange" not in Browser(kissa).text(f"{cats}?arrange=1")


# Titles, files, ends


def test_another_title(kissa: Kissa, alice: Person, cats: str) -> None:
    kissa.upload(alice, album="Dogs")
    page = Browser(kissa, "alice")
    assert page.does(f"{cats}/title", title=" CATS  and more ") == cats
    assert "<h1>CATS and more</h1>" in page.text(cats)
    answer = page.post(f"{cats}/title", title="dogs")
    assert error_of(answer) == (409, "You have another album of this title.")
    assert page.post(f"{cats}/title", title=" ").status_code == 400
    assert page.does(f"{cats}/title", title="Cats AND more") == cats  # its own, in another case


def test_chosen_files_into_an_album(kissa: Kissa, alice: Person, bob: Person) -> None:
    for _ in range(3):
        kissa.upload(alice)
    kissa.upload(bob)
    page = Browser(kissa, "alice")
    path = page.does("/files/album", id=["3", "1", "4"], album="Cats")
    assert order() == [3, 1]
    assert page.does("/files/album", id=["2", "3"], album="cats") == path
    assert order() == [3, 1, 2]
    assert page.post("/files/album", id=["1"], album=" ").status_code == 400
    assert page.post("/files/album", album="Cats").status_code == 400
    assert page.post("/files/album", id=["4"], album="New").status_code == 404
    assert [album.title for album in Album.select()] == ["Cats"]


def test_my_albums(kissa: Kissa, alice: Person, bob: Person, monkeypatch: Any) -> None:
    page = Browser(kissa, "alice")
    assert "No album yet" in page.text("/albums")
    monkeypatch.setattr(albums, "PER_PAGE", 3)
    for number in range(4):
        kissa.upload(alice, album=f"Number {number}")
    kissa.upload(alice, album="Number 3")
    kissa.upload(bob, album="Bob's")
    page.does("/albums", title="Empty")
    text = page.text("/albums")
    assert re.findall(r'album-title">(.*?)<.*?small">(.*?)<', text) == [
        ("Empty", "0 files"), ("Number 3", "2 files"), ("Number 2", "1 file"),
    ]  # fmt: skip
    (older,) = re.findall(r'href="(/albums\?before=\d+)"', text)
    assert re.findall(r'album-title">(.*?)<', page.text(older)) == ["Number 1", "Number 0"]


def test_the_upload_page_knows_albums(kissa: Kissa, cats: str) -> None:
    page = Browser(kissa, "alice")
    assert '<option value="Cats">' in page.text("/upload")
    assert '<option value="Cats">' in page.text("/files")
    assert 'name="album" list="albums" value="Cats"' in page.text("/upload?album=Cats")
    assert page.send(as_json=True, album="cats").get_json()["album"].endswith(cats)
    assert f'<a href="http://kissa.example{cats}">' in page.send(album="cats").text
    assert order() == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("files", ["", "1"], ids=["files-stay", "files-go"])
def test_an_album_ends(kissa: Kissa, cats: str, files: str) -> None:
    page = Browser(kissa, "alice")
    assert "Delete the album and 5 files" in page.text(f"{cats}/delete")
    assert page.does(f"{cats}/delete", files=files) == "/albums"
    assert page.get(cats).status_code == 404
    assert Album.select().count() == AlbumItem.select().count() == 0
    assert Item.select().count() == len(kissa.files()) == (0 if files else 5)


def test_an_admin_ends_an_album_but_not_its_files(kissa: Kissa, admin: Person, cats: str) -> None:
    page = Browser(kissa, "admin")
    text = page.text(f"{cats}/delete")
    assert "files=" not in text
    assert 'name="files"' not in text
    assert page.post(f"{cats}/delete", files="1").status_code == 403
    page.does(f"{cats}/delete")
    assert Album.select().count() == 0
    assert len(kissa.files()) == 5
    assert audit()[-1] == ("delete album", f"album 1 of #{User.get(User.username == 'alice').id}")


def test_albums_end_with_their_account(kissa: Kissa, alice: Person, bob: Person, cats: str) -> None:
    kissa.upload(bob, album="Cats")
    assert kissa.post("/api/user/delete", alice.by_password).status_code == 200
    assert [album.user.username for album in Album.select()] == ["bob"]
    assert AlbumItem.select().count() == 1
    assert Browser(kissa).get(cats).status_code == 404


def test_files_that_have_ended_are_not_in_it(kissa: Kissa, alice: Person, clock: Clock) -> None:
    kissa.upload(alice, PNG, "stays.png", album="Cats")
    answer = kissa.upload(alice, PNG, "ends.png", album="Cats", expires="1h")
    path, page = path_of(answer.headers["X-Album-URL"]), Browser(kissa)
    assert "ends.png" in page.text(path)
    clock.advance(hours=2)
    assert "ends.png" not in page.text(path)
    assert "stays.png" in page.text(path)
    with zipfile.ZipFile(io.BytesIO(page.get(f"{path}.zip").data)) as archive:
        assert archive.namelist() == ["stays.png"]
