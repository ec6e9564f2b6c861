"""What a browser and nginx make of tags, 304 and compressed answers."""

import gzip
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import PNG, Person
from tests.live.browser import Site, Visitor, browsing, settle
from tests.live.conftest import ROOT, until
from tests.live.nginx import SITE

pytestmark = pytest.mark.live
TIME = 'document.querySelector("time[data-ago]").textContent'


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with browsing() as site:
        yield site


@pytest.fixture(scope="module")
def alice(site: Site) -> Person:
    return site.person("alice")


@pytest.fixture(scope="module")
def item(site: Site, alice: Person) -> int:
    numbers = [site.list_item(alice, PNG, f"{number}.png") for number in range(5)]
    return numbers[0]


class Network:
    """The statuses that came over the wire; of what the browser has by itself, none."""

    def __init__(self, visitor: Visitor) -> None:
        self.asked: dict[str, str] = {}
        self.told: list[tuple[str, int]] = []  # an answer may be told before its request
        session = visitor.context.new_cdp_session(visitor.page)
        session.on("Network.requestWillBeSent", self._ask)
        session.on("Network.responseReceivedExtraInfo", self._tell)
        session.send("Network.enable")

    @property
    def statuses(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for request, status in self.told:
            path = self.asked.get(request, "?").partition(SITE)[2]
            found.setdefault(path, []).append(status)
        return found

    def _ask(self, told: dict[str, Any]) -> None:
        self.asked[told["requestId"]] = told["request"]["url"]

    def _tell(self, told: dict[str, Any]) -> None:
        self.told.append((told["requestId"], told["statusCode"]))


@pytest.mark.parametrize("path", ["/", "/{item}"])
def test_scripts_run_on_a_page_that_is_still_the_same(site: Site, item: int, path: str) -> None:
    """A 304 has no policy: the page that the browser has runs under the nonce that it came with."""
    path = path.format(item=item)
    visitor = site.visitor()
    network = Network(visitor)
    page = visitor.open(path)
    settle(page)
    nonce = page.evaluate("document.scripts[0].nonce")
    for turn in range(1, 3):
        page.reload()
        assert network.statuses[path] == [200] + [304] * turn
        assert page.evaluate("document.scripts[0].nonce") == nonce
        if path == "/":
            # gallery.js has taken up the pictures
            until(lambda: page.locator("img[data-shown]").count() >= 1, "a script has run")
        else:
            assert page.evaluate(TIME) == "just now"
        settle(page)
    visitor.watch.require_clean("status of 503")  # of thumbnails that are being made
    visitor.close()


def test_a_changed_page_comes_anew(site: Site, alice: Person, item: int) -> None:
    visitor = site.visitor()
    network = Network(visitor)
    page = visitor.open("/")
    newer = site.list_item(alice, PNG, "newer.png")
    page.reload()
    page.locator(f'a[href="/{newer}"]').wait_for()
    assert network.statuses["/"] == [200, 200]
    visitor.watch.require_clean("status of 503")
    visitor.close()


def test_through_nginx(site: Site, item: int) -> None:
    """Through nginx as without it: packed once, and no header of nginx's own on a 304."""
    nginx = site.nginx
    packed = {"Accept-Encoding": "gzip"}
    for path in ("/", f"/{item}", "/api/v2/items", "/api/openapi.json", "/static/kissa.css"):
        whole, small = (
            site.server.get(path, headers) for headers in ({"Accept-Encoding": ""}, packed)
        )
        assert "Content-Encoding" not in whole.headers
        assert small.headers["Content-Encoding"] == "gzip"
        assert re.sub('nonce="[^"]+"', "", whole.text) == re.sub('nonce="[^"]+"', "", small.text)
        assert small.headers["Vary"].count("Accept-Encoding") == 1
        again = site.server.get(path, packed | {"If-None-Match": small.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert "Content-Security-Policy" not in again.headers
        for name in ("ETag", "Cache-Control", "Vary", "Referrer-Policy", "X-Content-Type-Options"):
            assert again.headers.get(name) == small.headers[name], (path, name)
    assert nginx.tls


def test_the_signed_in_through_nginx(site: Site, alice: Person, item: int) -> None:
    cookie = site.sign_in(alice)
    headers = {"Cookie": f"{cookie['name']}={cookie['value']}", "Accept-Encoding": "gzip"}
    for path in (f"/{item}", "/files?q=png", "/settings"):
        answer = site.server.get(path, headers | {"If-None-Match": "*"})
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        assert "Content-Encoding" not in answer.headers
    front = site.server.get("/", headers)  # nothing in it but what everybody may see
    assert front.headers["Content-Encoding"] == "gzip"
    assert "ETag" not in front.headers


def test_the_style_is_sent_once_and_small(site: Site) -> None:
    address = re.findall(r'"(/static/kissa\.css\?v=[^"]+)"', site.server.get("/").text)[0]
    answer = site.server.get(address, {"Accept-Encoding": "gzip"}, stream=True)
    content = (ROOT / "static/kissa.css").read_bytes()
    assert gzip.decompress(answer.raw.read()) == content
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    visitor = site.visitor()
    network = Network(visitor)
    visitor.open("/")
    visitor.open("/rules-that-are-none")
    visitor.open("/")
    assert network.statuses[address] == [200]
    visitor.close()
