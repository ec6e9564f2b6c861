"""Hostile files, texts, pages and frames, met by signed-in victims: no script runs, nothing is
changed. A control shows that the tests would see a script that runs."""

import http.server
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import ClassVar
from urllib.parse import quote

import pytest
from playwright.sync_api import Dialog, Page, Route, expect

from tests.conftest import PNG, Person
from tests.live.attacks import CORPUS, FILES, forging_page, forms
from tests.live.browser import EVIL, FILES_URL, URL, Site, Visitor, browsing

pytestmark = pytest.mark.live
_REPORT = """async ([path, texts]) => { for (const text of texts)
  await fetch(path, { method: "POST", body: new URLSearchParams({ text }) }); }"""
EVENTS = ("mouseover", "focus", "click", "toggle")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with browsing(gallery_manual_approval="true", gallery_min_tags=0, uploads_per_minute=0) as site:
        yield site


@pytest.fixture(scope="module")
def miriam(site: Site) -> Person:
    return site.person("miriam", admin=True)


@pytest.fixture(scope="module")
def mallory(site: Site) -> Person:
    return site.person("mallory")


@pytest.fixture(scope="module")
def alice(site: Site) -> Person:
    return site.person("alice")


class Trap:
    """A victim's browser, with a marker for scripts that run or reach the attacker."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor, self.page = visitor, visitor.page
        self.ran: list[str] = []
        visitor.context.expose_binding("ran", lambda source, what=None: self.ran.append(str(what)))
        visitor.context.route(f"**://{EVIL}/**", self._beacon)
        visitor.page.on("dialog", self._dialog)

    def _dialog(self, dialog: Dialog) -> None:
        self.ran.append("dialog")
        dialog.dismiss()

    def _beacon(self, route: Route) -> None:
        self.ran.append(route.request.url)
        route.fulfill(body="")

    def spring(self, path: str) -> Page:
        """Open a page and touch all that could wait for it."""
        self.page.goto(path if path.startswith("http") else URL + path)
        self.page.evaluate(
            """(events) => { for (const part of document.querySelectorAll("*")) for (const one of
            events) if (!part.closest("form, a, button, summary") || one !== "click")
            part.dispatchEvent(new Event(one)); }""",
            EVENTS,
        )
        return self.page


@pytest.fixture
def trap(site: Site, miriam: Person) -> Iterator[Trap]:
    """The victim is an admin, who sees most and has most to lose."""
    trap = Trap(site.visitor(miriam, reduced_motion="reduce"))
    yield trap
    site.close_visitors()


@pytest.fixture(scope="module")
def hostile_items(site: Site, mallory: Person) -> list[int]:
    return [
        site.list_item(mallory, content.encode("latin-1"), name) for name, content in FILES.items()
    ]


def test_the_trap_sees_a_script_that_runs(trap: Trap) -> None:
    def serve(route: Route) -> None:
        route.fulfill(body=FILES["page.html"], content_type="text/html")

    trap.page.route(f"{FILES_URL}/control.html", serve)
    trap.spring(f"{FILES_URL}/control.html")
    for text in CORPUS[:20]:
        trap.page.set_content(f"<title>{text}</title>{text}<i data-x='{text}'></i>")
    assert len(set(trap.ran)) > 10


def test_hostile_files(site: Site, miriam: Person, hostile_items: list[int], trap: Trap) -> None:
    page = trap.spring("/admin/queue")
    expect(page.locator("[data-row]")).to_have_count(len(FILES))
    for item in hostile_items[:4]:
        trap.spring(f"/{item}")
        trap.page.goto(f"{URL}/waiting/{item}")
    for item in hostile_items:
        site.server.ask(f"/api/v2/queue/{item}/approve", miriam.by_admin_token)
    for path in ("/", "/?rating=all", "/admin/uploads"):
        trap.spring(path)
    opened = 0
    for item in hostile_items:
        trap.spring(f"/{item}")
        link = trap.page.get_by_role("link", name="Open", exact=True).get_attribute("href")
        assert link
        assert link.startswith(FILES_URL)
        name = link.rpartition("/")[2]
        for address in (link, f"{URL}/f/{name}", f"{URL}/d/{name}"):
            opened += _open(trap.page, address)
    print(f"hostile files: opened={opened} ran={len(trap.ran)} of {len(FILES)}")
    assert trap.ran == []


def _open(page: Page, address: str) -> int:
    """Go to a file by its link; a download ends where it is."""
    try:
        page.goto(address)
    except Exception as error:
        if "Download is starting" not in str(error) and "ERR_ABORTED" not in str(error):
            raise
    return 1


def test_hostile_scripts_do_not_run_on_our_pages(
    site: Site, miriam: Person, hostile_items: list[int], trap: Trap
) -> None:
    """An uploaded script, put into a page of ours as an injection would, is refused by the CSP."""
    names = [row[0] for row in site.server.rows("select name from item where name like '%js'")]
    page = trap.spring("/")
    for name in names:
        for address in (f"{FILES_URL}/{name}", f"{URL}/f/{name}", f"//{EVIL}/ran"):
            page.evaluate(
                """(address) => { const script = document.createElement("script");
                script.src = address; document.body.append(script);
                document.body.insertAdjacentHTML("beforeend", `<img src=x onerror="ran('inline')">
                <iframe src="${address}"></iframe><object data="${address}"></object>
                <link rel=stylesheet href="${address}"><form action="${address}"></form>`); }""",
                address,
            )
    page.evaluate("new Promise((done) => setTimeout(done, 200))")
    assert trap.ran == []
    assert any("script-src" in fault for fault in trap.visitor.watch.faults)


def test_hostile_texts(site: Site, miriam: Person, mallory: Person, trap: Trap) -> None:
    """Each text as file name, tag, comment, report, reason, key name and user agent."""
    items = []
    for number, text in enumerate(CORPUS):
        fields = {"tags": text.replace(",", ";")[:60], "comment": text}
        item = site.list_item(mallory, b"text", text.replace("/", "\u2215") + ".txt", **fields)
        items.append(item)
        if number % 3 == 0:
            reason = {"reason": text.encode().decode("latin-1")}
            headers = miriam.by_admin_token | reason
            site.server.ask(f"/api/v2/queue/{item}/reject", headers)
    page = trap.spring("/admin/queue")
    expect(page.locator("[data-row]").first).to_contain_text(CORPUS[-2][:20])
    for item in items[1::3] + items[2::3]:
        site.server.ask(f"/api/v2/queue/{item}/approve", miriam.by_admin_token)
    key = {"token": miriam.token}
    for text in CORPUS[:24]:
        site.server.post("/api/user/keys/create", key | {"name": text[:64]})
    for text in CORPUS[:20]:
        site.sign_in(miriam, text)
    page.evaluate(_REPORT, [f"/{items[1]}/report", CORPUS])
    pages = ["/", "/?user=mallory", "/settings", "/admin/reports", "/admin/uploads", "/admin/users"]
    pages += ["/admin/audit", "/admin/keys", *(f"/{item}" for item in items)]
    for path in pages:
        trap.spring(path)
    owner = Trap(site.visitor(mallory))
    for path in ("/files", *(f"/{item}" for item in items[::3])):
        owner.spring(path)
    for first in range(0, len(CORPUS), 11):
        told = quote("\n".join(CORPUS[first : first + 11]), safe="")
        for path in ("/?tag=", "/?user=", "/files?q=", "/signup?key=", "/admin/queue?decided="):
            trap.spring(path + told)
    print(f"texts: {len(CORPUS)} in 8 places, ran={len(trap.ran) + len(owner.ran)}")
    assert trap.ran == []
    assert owner.ran == []
    trap.visitor.watch.require_clean("status of 400", "status of 404")


class _Evil(BaseHTTPRequestHandler):
    """The attacker's site: answers each path with the page that was prepared for it."""

    pages: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        body = self.pages.get(self.path, "").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def evil() -> Iterator[str]:
    """The address of the attacker's site."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Evil)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://{EVIL}:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_forged_forms_change_nothing(site: Site, miriam: Person, alice: Person, evil: str) -> None:
    item = site.list_item(alice, PNG, "mine.png", tags="cat, window, warm")
    visitor = site.visitor(miriam)
    session = site.server.rows("select max(id) from session")[0][0]
    user = site.server.rows("select id from user where username = 'alice'")[0][0]
    key = site.server.rows("select max(id) from api_key")[0][0]
    before = _state(site)
    acts = forms(item, session, user, key)
    for number, (path, fields) in enumerate(acts):
        _Evil.pages[f"/{number}"] = forging_page(path, fields)
        visitor.page.goto(f"{evil}/{number}")
        visitor.page.wait_for_url(f"{URL}{path}")
        text = visitor.page.locator("main").inner_text()
        assert "This was not sent from a page of this host." in text or "Sign in" in text, path
        assert _state(site) == before, path
    visitor.open("/admin")  # still signed in, and as light as before
    expect(visitor.page.get_by_role("heading", name="Numbers")).to_be_visible()
    print(f"forged forms: sent={len(acts)} changed=0")
    visitor.close()


def _state(site: Site) -> list[object]:
    tables = "user item tag item_tag comment report session api_key registration_key audit"
    return [
        *(site.server.rows(f"select * from {table} order by 1") for table in tables.split()),
        {name for name in site.server.files() if not name.startswith(".thumbnails")},
    ]


@pytest.mark.parametrize("path", ["/", "/signin", "/settings", "/admin/queue", "/upload"])
def test_pages_cannot_be_framed(site: Site, miriam: Person, evil: str, path: str) -> None:
    visitor = site.visitor(miriam)
    _Evil.pages["/frame"] = f'<iframe src="{URL}{path}" width="800" height="600"></iframe>'
    visitor.page.goto(f"{evil}/frame")
    assert any("frame-ancestors" in fault for fault in visitor.watch.faults)
    assert [frame.locator(".bar").count() for frame in visitor.page.frames[1:]] == [0]
    visitor.close()
