"""Reads of databases of very different sizes: what a page or an answer takes as the rows grow."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import rows, wrk
from bench.nginx import Front
from bench.plan import Plan, in_turn, say
from bench.results import Results
from bench.servers import NGINX, Failed, Kissa

FILE, INFO, TOKEN = "a file, through nginx", "/api/info", "the token check"
LIST, MINE = "a list of 60 files", "the page My files"
GALLERY, TAGGED, ITEM = "the gallery", "the gallery of a tag", "an item's page"
ITEMS = "60 items as JSON"
PAGE = 60  # files on a page
SECONDS = 1  # at each size, in each round: some thousand requests, one after the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A request.

    Args:
        url: what is asked.
        expected: something that a good answer holds, and `times` how often at least.
    """

    url: str
    expected: bytes
    times: int = 1
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)


class Filled:
    """A server with many rows.

    Args:
        folder: where it keeps them.
        size: how many.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        name = f"Kissa with {size:,} rows"
        self.front = None if NGINX is None else Front(name, folder, direct=True)
        self.server: Kissa = self.front or Kissa(name, folder)

    def start(self) -> None:
        """Run it, and fill it."""
        self.server.start()
        way = self.server.way
        self.reads: dict[str, Read] = {}
        if self.front is not None:
            self.reads[FILE] = self._upload(way.token)
        cookie = self.server.sign_in()
        say(f"reads: making {self.size:,} rows")
        rows.fill(self.server.database, "alice", self.size)
        item = rows.one_listed(self.server.database)
        port = self.server.port if self.front is None else self.front.direct_port
        url = f"http://127.0.0.1:{port}"
        token = {"token": way.token}
        self.reads |= {
            INFO: Read(url=f"{url}/api/info", expected=b"totalfiles"),
            TOKEN: Read(
                url=f"{url}/api/token/valid", expected=b"valid", method="POST", headers=token
            ),
            LIST: Read(
                url=f"{url}/api/files/list",
                expected=b",",
                times=PAGE - 1,
                method="POST",
                headers=token | {"limit": str(PAGE)},
            ),
            MINE: Read(
                url=f"{url}/files",
                expected=b"Screenshot",
                times=PAGE,
                headers={"Cookie": cookie},
            ),
            GALLERY: Read(url=f"{url}/", expected=b"/t/", times=PAGE),
            TAGGED: Read(url=f"{url}/?tag=tag1", expected=b"/t/", times=PAGE),
            ITEM: Read(url=f"{url}/{item}", expected=b".png"),
            ITEMS: Read(url=f"{url}/api/v2/items?limit={PAGE}", expected=b"itemid", times=PAGE),
        }
        self.server.settle()

    def _upload(self, token: str) -> Read:
        """Upload 100 KB, to be read through nginx."""
        body = (
            b'--limit\r\nContent-Disposition: form-data; name="uploadFile"; '
            b'filename="a.png"\r\n\r\n' + b"0123456789abcdef" * 6400 + b"\r\n--limit--\r\n"
        )
        headers = {
            "token": token,
            "Content-Type": "multipart/form-data; boundary=limit",
            "Accept": "text/plain",
        }
        _, answer = self.server.ask("POST", "/api/files/upload", headers, body)
        return Read(url=answer.decode().strip(), expected=b"0123456789abcdef")


def measure(plan: Plan, results: Results) -> None:
    """The milliseconds of each read at each size: sizes in turn, in each round."""
    if wrk.WRK is None:
        results.note("There was no wrk: no reads were measured.")
        return
    sizes = [Filled(plan.folder / f"rows-{size}", size) for size in plan.rows]
    with ExitStack() as stack:
        for filled in sizes:
            stack.callback(filled.server.end)
            begun = time.monotonic()
            filled.start()
            say(f"reads: {filled.size:,} rows made in {time.monotonic() - begun:.0f} s")
            for name, read in filled.reads.items():
                _check(name, read, filled.server.ask)
        for number in range(plan.rounds):
            say(f"reads: round {number + 1} of {plan.rounds}")
            for name in sizes[0].reads:
                for filled in in_turn(sizes, number):
                    results.add("reads", name, f"rows {filled.size}", _time(filled.reads[name]))


def _time(read: Read) -> float:
    """The median of its milliseconds."""
    found = wrk.run(
        "read.lua",
        read.url,
        clients=1,
        seconds=SECONDS,
        environ={"METHOD": read.method},
        headers=read.headers,
    )
    if found.faults:
        raise Failed(f"{read.url}: {found.faults} requests failed")
    return found.p50


def _check(name: str, read: Read, ask: Callable[..., tuple[object, bytes]]) -> None:
    """See once that the right thing is measured."""
    path = read.url[read.url.index("/", len("http://")) :]
    _, content = ask(read.method, path, read.headers)
    if content.count(read.expected) < read.times:
        raise Failed(f"{name}: {read.url} answers {content[:200]!r}")
