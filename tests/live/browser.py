"""Chromium, by Playwright, before the whole of Kissa: TLS, nginx, the files on a host of their own.

Names are mapped to the loopback by the browser's own resolver, so that origins are as in life.
"""

import base64
import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from tests.conftest import ADMIN_KEY, PASSWORD, Person
from tests.live.conftest import PATIENCE, until
from tests.live.nginx import FILES, SITE, Nginx, running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# What Chromium does beside the pages. The first three are pages of its own below the address bar,
# two for each window of ours, which take half of the processor time of opening one; the others are
# Playwright's list, since of several such flags the last one alone counts.
_WITHOUT = [
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup"),
    *("AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades"),
    *("HttpsFirstBalancedModeAutoEnable", "LensOverlay", "MediaRouter", "PaintHolding"),
    *("ThirdPartyStoragePartitioning", "AvoidCorsURLLoaderRestartOnRedirect"),
    *("OptimizationHints", "NetworkTimeServiceQuerying", "AimEnabled", "PreconnectToSearch"),
]
FLAGS = [
    f"--disable-features={','.join(_WITHOUT)}",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
]
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
DEVICES: dict[str, dict[str, Any]] = {
    "wide": {"viewport": WIDE},
    "phone": {"viewport": PHONE, "has_touch": True, "is_mobile": True},
}
PLAIN = {"viewport": PHONE, "has_touch": True, "java_script_enabled": False}
EVIL = "evil.example.net"  # the origin of an attacker
URL, FILES_URL = f"https://{SITE}", f"https://{FILES}"

# What a page tells of its policy's violations, before any script of its own runs.
_LISTEN = """
document.addEventListener("securitypolicyviolation", (event) => {
  window.tellViolation(`${event.effectiveDirective} ${event.blockedURI}`);
});
"""

# A button of the clipboard or a question would otherwise wait for somebody.
expect.set_options(timeout=PATIENCE * 1000 / 3)


class Watch:
    """What went wrong on the pages of one browser context."""

    def __init__(self, context: BrowserContext) -> None:
        self.faults: list[str] = []
        self.requests: list[str] = []
        context.on("console", lambda said: self._console(said.type, said.text))
        context.on("weberror", lambda error: self.faults.append(f"script: {error.error}"))
        context.on("request", lambda request: self._request(request.url))
        context.expose_binding("tellViolation", lambda _, text: self.faults.append(f"CSP: {text}"))
        context.add_init_script(_LISTEN)

    def _console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.faults.append(f"console: {text}")

    def _request(self, url: str) -> None:
        self.requests.append(url)
        if not url.startswith((f"{URL}/", f"{FILES_URL}/", "blob:", "data:", "about:")):
            self.faults.append(f"foreign: {url}")

    def require_clean(self, *allowed: str) -> None:
        """Fail for all that was seen but what contains one of `allowed`; forget it."""
        seen, self.faults = self.faults, []
        left = [one for one in seen if not any(part in one for part in allowed)]
        assert not left, left


class Visitor:
    """One browser of one person: a context with its pages watched, and a first page."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        context.set_default_timeout(PATIENCE * 1000 / 3)
        self.watch = Watch(context)
        self.page: Page = context.new_page()

    def open(self, path: str) -> Page:
        """Go to a page of the site."""
        self.page.goto(URL + path)
        return self.page

    def press(self, name: str) -> None:
        """Click the button of this name."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def close(self) -> None:
        self.context.close()


class Site:
    """The whole of Kissa, and a browser."""

    def __init__(self, nginx: Nginx, browser: Browser) -> None:
        self.nginx, self.browser = nginx, browser
        self.server = nginx.server
        self._visitors: list[Visitor] = []

    def visitor(self, person: Person | None = None, **options: Any) -> Visitor:
        """Another browser, in which `person` is signed in."""
        settings: dict[str, Any] = {"viewport": WIDE} | options
        context = self.browser.new_context(**settings)
        if person is not None:
            context.add_cookies([self.sign_in(person, options.get("user_agent", ""))])
        visitor = Visitor(context)
        self._visitors.append(visitor)
        return visitor

    def close_visitors(self) -> None:
        """Close every browser that is still open."""
        while self._visitors:
            self._visitors.pop().close()

    def sign_in(self, person: Person, agent: str = "") -> Any:
        """The cookie of a new session, past nginx, which counts sign-ins by address."""
        form = {"username": person.username, "password": person.password}
        headers = {"Origin": URL, "User-Agent": agent}
        answer = self._past_nginx("/signin", urllib.parse.urlencode(form), headers)
        name, _, value = answer.headers["Set-Cookie"].partition(";")[0].partition("=")
        return {"name": name, "value": value, "url": URL}

    def person(self, username: str, *, admin: bool = False, key: str = "") -> Person:
        """Somebody with an account, a token, a key and, as an admin, an admin token."""
        login = {"username": username, "password": PASSWORD}
        if admin:
            self._past_nginx("/api/admin/signup", "", login | {"adminkey": ADMIN_KEY})
        else:
            self._past_nginx("/api/user/signup", "", login | {"regkey": key})
        token = self._json("/api/token/get", login)["token"]
        key = self._json("/api/user/keys/create", {"token": token, "name": "tests"})["key"]
        admin_token = self._json("/api/admin/token/get", login)["token"] if admin else ""
        return Person(
            username=username, password=PASSWORD, token=token, api_key=key, admin_token=admin_token
        )

    def list_item(self, person: Person, content: bytes, name: str, **fields: str) -> int:
        """The id of a new item of the gallery."""
        data = {"rating": "sfw", "tags": "cat, window, warm"} | fields
        answer = self.server.ask(
            "/api/v2/upload", person.by_key, files={"file": (name, content)}, data=data
        )
        return int(answer["itemid"])

    def _json(self, path: str, headers: dict[str, str]) -> Any:
        return json.loads(self._past_nginx(path, "", headers).read())

    def _past_nginx(
        self, path: str, body: str, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(SITE, timeout=PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.nginx.socket))
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        more = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https", "Connection": "close"}
        connection.request("POST", path, body, headers | form | more)
        answer = connection.getresponse()
        assert answer.status in (200, 303), (path, answer.status, answer.read())
        return answer


@contextmanager
def browsing(**keys: object) -> Iterator[Site]:
    """A started Site, with Kissa's configuration in `keys`."""
    if CHROMIUM is None or shutil.which("openssl") is None:
        pytest.skip("no chromium or openssl: make test-packages installs them")
    defaults = {"site_url": f"{URL}/", "site_upload_url": f"{FILES_URL}/"}
    with running(tls=True, two_hosts=True, **(defaults | keys)) as nginx:
        port = nginx.tls_port
        hosts = ",".join(f"MAP {host}:443 127.0.0.1:{port}" for host in (SITE, FILES))
        flags = [
            *FLAGS,
            f"--host-resolver-rules={hosts},MAP {EVIL} 127.0.0.1",
            f"--ignore-certificate-errors-spki-list={_fingerprint(nginx)}",
        ]
        with (
            sync_playwright() as playwright,
            playwright.chromium.launch(executable_path=CHROMIUM, args=flags) as browser,
        ):
            yield Site(nginx, browser)


# Playwright's own waiting for a function needs eval, which our policy refuses.
_UNSETTLED = """() => [...document.images].some((image) =>
  (image.src && !image.complete)
  || (image.dataset.src && !("shown" in image.dataset)
      && image.getBoundingClientRect().top < innerHeight))"""


def settle(page: Page) -> None:
    """Wait until all pictures in sight are there."""
    until(lambda: not page.evaluate(_UNSETTLED), "the pictures are there")


def _fingerprint(nginx: Nginx) -> str:
    """The hash of nginx's key, which the browser takes as if it were certified: it keeps nothing in
    its cache that came with a certificate it merely puts up with."""
    certificate = ("openssl", "x509", "-pubkey", "-noout", "-in", nginx.folder / "fullchain.pem")
    key = subprocess.run(certificate, check=True, capture_output=True).stdout
    turned = ("openssl", "pkey", "-pubin", "-outform", "der")
    der = subprocess.run(turned, input=key, check=True, capture_output=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def screenshot(page: Page, name: str) -> None:
    """Keep a picture of the whole page where the environment asks for it."""
    folder = os.environ.get("KISSA_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True, animations="disabled")


@contextmanager
def slow_upload(page: Page, rate: int) -> Iterator[None]:
    """Within this, let the page send `rate` bytes a second."""
    session = page.context.new_cdp_session(page)
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1}
    command = "Network.emulateNetworkConditions"
    session.send("Network.enable")
    session.send(command, conditions | {"uploadThroughput": rate})
    yield
    session.send(command, conditions | {"uploadThroughput": -1})


def abort(route: Route) -> None:
    """Break a request off, as a lost connection does."""
    route.abort("connectionreset")
