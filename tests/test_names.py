"""Clients' names: what a stored name takes over from them, and what is shown of them."""

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import listing
from errors import Invalid
from models import Item
from storage import NAME_PATTERN, display_name, extension_of, random_name
from tests.conftest import PNG, Kissa, Person
from tests.multipart import Endpoint, both_endpoints, send

BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
bounded = settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# Any text at all, and texts in which what matters comes more often than by chance.
anything = st.text(max_size=400) | st.text("ab.T/\\ \0é\u202e\ud800", max_size=30)
suffixed = st.builds(
    ".".join, st.lists(st.sampled_from(["", "a", "tar", "TAR", "gz", "é", "x" * 11]))
)


@pytest.fixture
def kissa(start: Callable[..., Kissa]) -> Kissa:
    """An app that waits for no disk: nothing here is about that."""
    return start(storage_durable="false")


@both_endpoints
@pytest.mark.parametrize(
    ("sent", "extension", "shown"),
    [
        pytest.param("a.b.c", ".c", "a.b.c", id="dots"),
        pytest.param("...", "", "...", id="dots-alone"),
        pytest.param("..", "", "..", id="parent"),
        pytest.param("a.", "", "a.", id="dot-last"),
        pytest.param("noext", "", "noext", id="no-dot"),
        pytest.param("../../etc/passwd", "", "passwd", id="slashes"),
        pytest.param("/etc/cron.d/x.sh", ".sh", "x.sh", id="absolute"),
        pytest.param(r"..\\..\\boot.ini", ".ini", "boot.ini", id="backslashes"),
        pytest.param(r"C:\fakepath\x.png", ".png", "x.png", id="fakepath"),
        pytest.param("a/.png", "", ".png", id="slash-then-dot"),
        pytest.param("x.png/", "", "", id="slash-last"),
        pytest.param("a\0b.png", ".png", "ab.png", id="nul"),
        pytest.param("a.png\0.exe", ".exe", "a.png.exe", id="nul-between-suffixes"),
        pytest.param("x" * 296 + ".png", ".png", "x" * 251 + ".png", id="300-characters"),
        pytest.param("кот.png", ".png", "кот.png", id="cyrillic"),
        pytest.param("🐈.png", ".png", "🐈.png", id="emoji"),
        pytest.param("a.ｐｎｇ", "", "a.ｐｎｇ", id="fullwidth-suffix"),
        pytest.param("a.é", "", "a.é", id="accented-suffix"),
        pytest.param("a.abcdefghij", ".abcdefghij", "a.abcdefghij", id="suffix-of-10"),
        pytest.param("a.abcdefghijk", "", "a.abcdefghijk", id="suffix-of-11"),
        pytest.param("a\u202egnp.exe", ".exe", "agnp.exe", id="bidi"),
        pytest.param("a\u2028b\u0085.png", ".png", "ab.png", id="line-separators"),
        pytest.param('a%22b.png', ".png", 'a"b.png', id="quote-as-browsers-send-it"),
        pytest.param(r"a\"b.png", ".png", 'a"b.png', id="quote-escaped"),
        pytest.param("a'b`c.png", ".png", "a'b`c.png", id="other-quotes"),
        pytest.param("a%0D%0AX: y.png", ".png", None, id="crlf-encoded"),
        pytest.param("a\nb.png", ".png", "ab.png", id="line-feed"),
        pytest.param("<script>.svg", ".svg", "<script>.svg", id="markup"),
        pytest.param(".bashrc", "", ".bashrc", id="dotfile"),
        pytest.param("a.tar.gz", ".tar.gz", "a.tar.gz", id="two-suffixes"),
        pytest.param("a.TAR.GZ", ".tar.gz", "a.TAR.GZ", id="two-upper-case-suffixes"),
        pytest.param(".tar.gz", ".gz", ".tar.gz", id="two-suffixes-alone"),
        pytest.param("x.tar.g!z", "", "x.tar.g!z", id="odd-second-suffix"),
        pytest.param("x.tar.png.JPG", ".jpg", "x.tar.png.JPG", id="tar-further-left"),
        pytest.param("con.png", ".png", "con.png", id="device"),
        pytest.param("x.png ", "", "x.png", id="blank-last"),
    ],
)  # fmt: skip
def test_odd_name_is_taken_apart(
    kissa: Kissa, alice: Person, endpoint: Endpoint, sent: str, extension: str, shown: str | None
) -> None:
    response = send(kissa, endpoint, alice, endpoint.body(PNG, sent.encode()))
    assert response.status_code == 200, response.text
    item = Item.get()
    assert kissa.files() == {item.name}
    assert NAME_PATTERN.fullmatch(item.name)
    assert item.name[7:] == extension
    assert item.original_name.isprintable()
    if shown is not None:
        assert item.original_name == (shown or item.name)


@bounded
@given(anything | suffixed)
def test_any_name_makes_a_stored_name(client_name: str) -> None:
    extension = extension_of(client_name)
    name = random_name(7, extension)
    assert NAME_PATTERN.fullmatch(name)
    assert extension_of(name) == extension
    assert client_name.lower().rstrip().endswith(extension)


@bounded
@given(anything | suffixed)
def test_any_name_can_be_shown(client_name: str) -> None:
    shown = display_name(client_name)
    assert len(shown) <= 255
    assert not BIDI.intersection(shown)
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set("/\\") & set(shown)
    assert shown == shown.strip()
    assert display_name(shown) == shown
    shown.encode()


@bounded
@given(st.text(max_size=200) | st.text("aA, \t\n\0sfwnl\ud800", max_size=200))
def test_any_tags_are_folded(text: str) -> None:
    try:
        tags = listing.parse_tags(text)
    except Invalid:
        return
    assert len(set(tags)) == len(tags) <= listing.MAX_TAGS
    assert not set(tags) & {"", *listing.RATINGS}
    for tag in tags:
        assert len(tag) <= listing.MAX_TAG_LENGTH
        assert tag == " ".join(tag.split()).lower()
        assert "," not in tag
        tag.encode()
    assert listing.parse_tags(",".join(tags)) == tags
