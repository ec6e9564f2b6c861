"""The page of one item: what it shows, to whom, and what is done on it."""

import re
from collections.abc import Callable

import pytest

import comments
import gallery
from models import Comment, Item, Report
from tests.conftest import Clock, Kissa, Person
from tests.forms import field, file, form
from tests.people import Browser, approve, audit, error_of

Start = Callable[..., Kissa]
EVIL = "<script>alert(1)</script>\"'>{{7*191}}</textarea>"


@pytest.fixture
def strict(start: Start) -> tuple[Kissa, Person, Person]:
    """A host where items wait for an admin; alice and admin."""
    kissa = start(gallery_manual_approval="true")
    people = kissa.person("alice"), kissa.person("admin", admin=True)
    kissa.person("bob")
    return kissa, *people


# Looking


def test_text_with_line_numbers(kissa: Kissa, alice: Person) -> None:
    text = "first\n\n  <script>alert(1)</script> &amp;\r\nlast ü".encode() + b"\xff"
    page = Browser(kissa).text(f"/{kissa.item_id(alice, content=text, name='a.html')}")
    lines = re.findall(r"<li id=.*?></a>(.*)\n", page)
    plain = [re.sub("</?span[^>]*>", "", line) for line in lines]
    escaped = "  &lt;script&gt;alert(1)&lt;/script&gt; &amp;amp;"
    assert plain == ["first", "", escaped, "last Ã¼ÿ"]  # no UTF-8, so latin-1


@pytest.mark.parametrize(
    ("content", "is_shown"),
    [
        pytest.param(b"x" * 1024 * 1024, True, id="1 MB"),
        pytest.param(b"x" * (1024 * 1024 + 1), False, id="more"),
        pytest.param(b"\n" * 50_000, True, id="many lines"),
        pytest.param(b"\n" * 50_001, False, id="too many lines"),
    ],
)
def test_limit_of_text(kissa: Kissa, alice: Person, content: bytes, is_shown: bool) -> None:
    sent = form(field("is_shitpost", "1"), file("file", content, "a.txt"))
    item_id = kissa.post("/api/v2/upload", alice.by_key, **sent).get_json()["itemid"]
    page = Browser(kissa).text(f"/{item_id}")
    assert ('<ol class="lines"' in page) is is_shown
    assert ">Download</a>" in page


def meta(page: str) -> dict[str, str]:
    return dict(
        re.findall(r'<meta (?:property|name)="((?:og|twitter):[^"]+)" content="([^"]*)">', page)
    )


@pytest.mark.parametrize("name", ["a.png", "a.webm", "a.mp3", "a.zip"])
def test_previews_elsewhere(start: Start, name: str) -> None:
    kissa = start(
        site_url="https://kissa.example/", site_upload_url="https://f.example/", site_name="K"
    )
    item_id = kissa.item_id(kissa.person("alice"), name=name, tags="b,a,c")
    Item.update(width=640, height=480).where(Item.id == item_id).execute()
    told = meta(Browser(kissa).text(f"/{item_id}"))
    file_url = f"https://f.example/{Item.get().name}"
    assert told.pop("og:title") == name
    assert told.pop("og:url") == f"https://kissa.example/{item_id}"
    assert (told.pop("og:site_name"), told.pop("og:description")) == ("K", "a, b, c")
    expected = {"og:type": "website", "twitter:card": "summary"}
    size = {"width": "640", "height": "480"}
    if name == "a.png":
        expected = {
            "og:type": "website",
            "og:image": file_url,
            "twitter:card": "summary_large_image",
        }
        expected |= {f"og:image:{side}": value for side, value in size.items()}
    elif name == "a.webm":
        expected |= {"og:type": "video.other", "og:video": file_url, "og:video:type": "video/webm"}
        expected |= {f"og:video:{side}": value for side, value in size.items()}
    assert told == expected


def test_only_owner_and_admins_see_what_is_not_public(strict: tuple[Kissa, Person, Person]) -> None:
    kissa, alice, admin = strict
    waiting, rejected = kissa.item_id(alice), kissa.item_id(alice)
    answer = kissa.post(
        f"/api/v2/queue/{rejected}/reject", admin.by_admin_token, data={"reason": EVIL}
    )
    assert answer.status_code == 200
    kissa.upload_name(alice)
    unlisted = Item.get(Item.state == "unlisted").id
    sentences = {
        waiting: "This waits for an admin.",
        rejected: "An admin has turned this down: &lt;script&gt;",
        unlisted: "This is not in the gallery",
    }
    for item_id, sentence in sentences.items():
        for browser in (Browser(kissa), Browser(kissa, "bob")):
            assert error_of(browser.get(f"/{item_id}")) == (404, "There is no such item.")
        for browser in (Browser(kissa, "alice"), Browser(kissa, "admin")):
            answer = browser.get(f"/{item_id}")
            assert answer.status_code == 200
            assert sentence in answer.text
            assert answer.headers["X-Robots-Tag"] == "noindex"
            assert answer.headers["Cache-Control"] == "no-store"
            assert meta(answer.text) == {}
            assert "Your comment" not in answer.text
    page = Browser(kissa, "alice").text(f"/{waiting}")
    assert f'<img src="/waiting/{waiting}"' in page
    assert str(Item.get_by_id(waiting).pending_name) not in page
    assert "The file is gone." in Browser(kissa, "alice").text(f"/{rejected}")


def test_newer_and_older_stay_in_the_view(kissa: Kissa, alice: Person, bob: Person) -> None:
    first, nsfw, by_bob, last = (
        kissa.item_id(alice, tags="a,b,c"),
        kissa.item_id(alice, rating="nsfw"),
        kissa.item_id(bob, tags="a,b,d"),
        kissa.item_id(alice, tags="a,x,c"),
    )

    def steps(item_id: int, query: str = "") -> tuple[str | None, str | None]:
        page = Browser(kissa).text(f"/{item_id}{query}").replace("&amp;", "&")
        newer = re.search(r'href="([^"]+)" rel="prev"', page)
        older = re.search(r'href="([^"]+)" rel="next"', page)
        return newer and newer[1], older and older[1]

    assert steps(first) == (f"/{by_bob}", None)
    assert steps(by_bob) == (f"/{last}", f"/{first}")
    assert steps(last) == (None, f"/{by_bob}")
    assert steps(first, "?rating=all") == (f"/{nsfw}?rating=all", None)
    assert steps(first, "?user=alice") == (f"/{last}?user=alice", None)
    assert steps(first, "?tag=b") == (f"/{by_bob}?tag=b", None)
    assert steps(first, "?tag=a&tag=c") == (f"/{last}?tag=a&tag=c", None)
    assert steps(first, "?user=nobody") == (None, None)
    assert error_of(Browser(kissa).get(f"/{first}?rating=best"))[0] == 400


# Comments and reports


def test_comments(kissa: Kissa, alice: Person, bob: Person) -> None:
    item_id = kissa.item_id(alice, comment="first")
    target = Browser(kissa, "bob").does(f"/{item_id}/comments", text=f"  {EVIL}\r\nsecond ")
    comment = Comment.select().order_by(Comment.id.desc()).get()
    assert target == f"/{item_id}#c{comment.id}"
    page = Browser(kissa).text(f"/{item_id}")
    assert "<h2>2 comments</h2>" in page
    assert (
        "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&gt;{{7*191}}&lt;/textarea&gt;\nsecond<"
        in page
    )
    assert "Delete comment" not in page
    assert "Your comment" not in page
    assert f'href="/signin?next=/{item_id}"' in page


@pytest.mark.parametrize("text", ["", "  \n ", "x" * 2001])
def test_comments_that_are_none(kissa: Kissa, alice: Person, text: str) -> None:
    item_id = kissa.item_id(alice)
    assert error_of(Browser(kissa, "alice").post(f"/{item_id}/comments", text=text))[0] == 400
    assert Comment.select().count() == 0


def test_ten_comments_a_minute(kissa: Kissa, alice: Person, bob: Person, clock: Clock) -> None:
    one, other = kissa.item_id(alice), kissa.item_id(alice)
    browser = Browser(kissa, "bob")
    for number in range(10):
        browser.does(f"/{one if number % 2 else other}/comments", text="x")
    answer = browser.post(f"/{one}/comments", text="x")
    assert error_of(answer)[0] == 429
    assert answer.headers["Retry-After"] == "60"
    Browser(kissa, "alice").does(f"/{one}/comments", text="x")
    clock.advance(seconds=61)
    browser.does(f"/{one}/comments", text="x")


@pytest.mark.parametrize(
    ("who", "status"), [("alice", 303), ("bob", 303), ("admin", 303), ("carol", 403)]
)
def test_who_deletes_a_comment(kissa: Kissa, admin: Person, who: str, status: int) -> None:
    """alice wrote it, under an item of bob's."""
    for name in ("alice", "bob", "carol"):
        kissa.person(name)
    item_id = Browser(kissa, "bob").send(
        as_json=True, listed="1", rating="sfw", tags="a,b,c"
    ).get_json()["itemid"]  # fmt: skip
    Browser(kissa, "alice").does(f"/{item_id}/comments", text="hello")
    comment = Comment.get()
    answer = Browser(kissa, who).post(f"/comments/{comment.id}/delete")
    assert answer.status_code == status
    assert Comment.select().count() == (status == 403)
    by_admin = [("delete comment", f"comment {comment.id} of #{comment.user_id}")]
    assert (audit() == by_admin) is (who == "admin")
    assert Browser(kissa, "alice").post(f"/comments/{comment.id}/delete").status_code == (
        303 if status == 403 else 404
    )


def test_report(kissa: Kissa, alice: Person, bob: Person) -> None:
    item_id = kissa.item_id(alice)
    browser = Browser(kissa, "bob")
    assert browser.does(f"/{item_id}/report", text="first") == f"/{item_id}?reported=1"
    assert "The admins will look at this" in browser.text(f"/{item_id}?reported=1")
    browser.does(f"/{item_id}/report", text="second")
    assert [report.text for report in Report.select()] == ["second"]
    for text in ("", " ", "x" * 501):
        assert error_of(browser.post(f"/{item_id}/report", text=text))[0] == 400
    comments.close_report(Report.get().user, Report.get().id)
    browser.does(f"/{item_id}/report", text="third")
    assert Report.select().count() == 2
    assert 'action="/{item_id}/report"' not in Browser(kissa, "alice").text(f"/{item_id}")


# Changing


@pytest.mark.parametrize("who", ["alice", "admin"])
def test_edit(kissa: Kissa, alice: Person, admin: Person, who: str) -> None:
    item_id = kissa.item_id(alice, is_oc="1")
    browser = Browser(kissa, who)
    target = browser.does(f"/{item_id}/edit", rating="nsfw", tags=f"new, {EVIL[:40]}, a b, A  B")
    assert target == f"/{item_id}"
    item = Item.get_by_id(item_id)
    assert (item.rating, item.is_oc) == ("nsfw", False)
    assert gallery.tags_of([item])[item_id] == sorted(["new", EVIL[:40].lower(), "a b"])
    assert "<script>" not in browser.text(f"/{item_id}")
    assert (audit() == [("edit", f"item {item_id} of #{item.user_id}")]) is (who == "admin")


@pytest.mark.parametrize(
    "form", [{"rating": "", "tags": "a,b,c"}, {"rating": "sfw", "tags": "a,b"}, {}]
)
def test_edit_under_the_rules(kissa: Kissa, alice: Person, form: dict[str, str]) -> None:
    item_id = kissa.item_id(alice)
    before = gallery.tags_of([Item.get_by_id(item_id)])
    assert error_of(Browser(kissa, "alice").post(f"/{item_id}/edit", **form))[0] == 400
    assert gallery.tags_of([Item.get_by_id(item_id)]) == before


def test_nothing_changes_between_review_and_approval(strict: tuple[Kissa, Person, Person]) -> None:
    kissa, alice, admin = strict
    item_id = kissa.item_id(alice)
    for who in ("alice", "admin"):
        answer = Browser(kissa, who).post(f"/{item_id}/edit", rating="nsfl", tags="x,y,z")
        assert error_of(answer)[0] == 409
    assert Item.get_by_id(item_id).rating == "sfw"
    approve(kissa, admin, item_id)
    Browser(kissa, "alice").does(f"/{item_id}/edit", rating="nsfl", tags="x,y,z")
    assert Item.get_by_id(item_id).rating == "nsfl"


def test_delete(kissa: Kissa, alice: Person, bob: Person, admin: Person) -> None:
    item_id = kissa.item_id(alice)
    assert Browser(kissa).post(f"/{item_id}/delete").status_code == 401
    refused = error_of(Browser(kissa, "bob").post(f"/{item_id}/delete"))
    assert refused == (403, "This item belongs to someone else.")
    assert Browser(kissa, "alice").does(f"/{item_id}/delete") == "/files"
    assert kissa.files() == set()
    other = kissa.item_id(alice)
    assert Browser(kissa, "admin").does(f"/{other}/delete") == "/"
    assert kissa.files() == set()
    assert [act for act, _ in audit()] == ["delete file"]
    assert Browser(kissa, "alice").get(f"/{other}").status_code == 404


@pytest.mark.parametrize("state", ["unlisted", "pending"])
def test_only_listed_items_are_reported(strict: tuple[Kissa, Person, Person], state: str) -> None:
    kissa, alice, _ = strict
    (kissa.item_id if state == "pending" else kissa.upload_name)(alice)
    answer = Browser(kissa, "alice").post(f"/{Item.get().id}/report", text="x")
    assert error_of(answer)[0] == 404
    assert Report.select().count() == 0
