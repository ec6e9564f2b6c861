"""Texts as they are looked at: read, decoded, coloured, rendered, guessed at.

Colouring and rendering happen in a child process with limits, since both are done by patterns that
a hostile text can keep busy for ever. What takes too long is shown as it is.
"""

import html
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import media
import text_child
from models import Item
from storage import MIB, Storage

log = logging.getLogger("kissa")
SHOWN = MIB  # bytes of a text that its page shows
LINES = 50_000  # a page of a million lines takes 200 MB of the server and all of a phone
MARKDOWN = frozenset({"md", "markdown"})
_PROSE = MARKDOWN | {"txt", "text", "nfo", "tex", "rst", "adoc"}
_AT_ONCE = 2  # child processes of one server process
_PATIENCE = 0.5  # seconds that a page waits for its turn
_PAUSE = 60.0  # seconds in which what was too slow is not tried again
_ENTRIES = 1000
_KEPT = 4 * MIB  # bytes of compressed results that one server process remembers
_CHILD = str(Path(text_child.__file__).resolve())


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one text may take.

    Args:
        seconds: from the child's start to its end; a page waits no longer.
        colouring: seconds after which the rest of a text goes without colours.
        cpu: seconds of processor time.
        memory: bytes of address space.
    """

    seconds: float = 2.0
    colouring: float = 1.2
    cpu: int = 2
    memory: int = 512 * MIB


LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The lines of a text, ready for a page.

    Attributes:
        html: list items, one a line, with the ids L1, L2 and so on.
        count: how many there are.
        coloured: how many of them have colours.
        has_language: whether its language is one that has colours.
    """

    html: str
    count: int
    coloured: int
    has_language: bool


class _TooSlow(Exception):
    """It was not done within its limits."""


class _Results:
    """The newest results by their key, compressed; a file's bytes never change under its name.
    What was too slow is not tried again for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], bytes] = OrderedDict()
        self._size = 0
        self._slow: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def find(self, key: tuple[str, ...]) -> str | None:
        with self._lock:
            if self._slow.get(key, 0) > time.monotonic():
                raise _TooSlow
            packed = self._kept.get(key)
            if packed is None:
                return None
            self._kept.move_to_end(key)
        return zlib.decompress(packed).decode()

    def keep(self, key: tuple[str, ...], result: str) -> None:
        packed = zlib.compress(result.encode(), 1)
        with self._lock:
            self._size += len(packed) - len(self._kept.pop(key, b""))
            self._kept[key] = packed
            while self._size > _KEPT or len(self._kept) > _ENTRIES:
                self._size -= len(self._kept.popitem(last=False)[1])

    def keep_away_from(self, key: tuple[str, ...]) -> None:
        with self._lock:
            self._slow[key] = time.monotonic() + _PAUSE
            self._slow.move_to_end(key)
            if len(self._slow) > _ENTRIES:
                self._slow.popitem(last=False)


_results = _Results()
_turns = threading.BoundedSemaphore(_AT_ONCE)


def find_text(store: Storage, item: Item) -> str | None:
    """The text of an item whose kind is text, with plain line ends; None when it cannot be shown:
    too long, gone, or no text at all."""
    if item.size > SHOWN:
        return None
    name = item.pending_name
    file = store.open_pending(name) if name else store.open_file(item.name)
    if file is None:
        return None
    with file:
        text = decode(file.read(SHOWN))
    return text if text is not None and len(_lines(text)) <= LINES else None


def decode(data: bytes) -> str | None:
    """`data` as text with plain line ends: UTF-8, else latin-1; None when there are NUL bytes."""
    if b"\0" in data:
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return re.sub(r"\r\n?", "\n", text)


def is_shown(name: str) -> bool:
    """Whether a file of this name is shown as text."""
    return media.kind(name.lower()) == "text"


def is_prose(name: str) -> bool:
    """Whether the stored file `name` is prose rather than code: its lines are wrapped."""
    return media.extension(name) in _PROSE


def is_markdown(name: str) -> bool:
    """Whether the stored file `name` can be rendered."""
    return media.extension(name) in MARKDOWN


def source(item: Item, text: str, *, is_late: bool = False) -> Source:
    """The lines of an item's `text`, with colours as far as they can be had in time.

    Args:
        is_late: whether the time for it has been spent already.
    """
    lines = _lines(html.escape(text, quote=False))
    result = None if is_late else _result("colour", item, text, item.original_name)
    coloured = 0
    if result:
        count, *found = result.split("\n")
        coloured, lines = min(int(count), len(lines)), found[: len(lines)]
    return Source(
        html="".join(
            f'<li id="L{number}"><a href="#L{number}" tabindex="-1" aria-hidden="true"></a>{line}\n'
            for number, line in enumerate(lines, 1)
        ),
        count=len(lines),
        coloured=coloured,
        has_language=result != "",
    )


def render(item: Item, text: str, own: tuple[str, ...]) -> str | None:
    """An item's Markdown as sanitised HTML; None when that cannot be had in time.

    Args:
        own: what the addresses of pictures begin with that may be shown.
    """
    return _result("render", item, text, *own) or None


def guess(text: str, extensions: tuple[str, ...]) -> str:
    """The extension, of these, of the language of `text`; txt when none fits, or in doubt."""
    try:
        found = (_run("guess", text, *extensions) or "").strip()
    except _TooSlow:
        found = ""
    return found if found in extensions else "txt"


def _lines(text: str) -> list[str]:
    """The lines of a text: its last line end ends one, and begins none."""
    return text.removesuffix("\n").split("\n")


def _result(what: str, item: Item, text: str, *rest: str) -> str | None:
    """What the child makes of an item's text, now or before: empty when that is nothing whenever
    it is asked, None when it could not be had in time."""
    key = (what, item.name, *rest)
    try:
        found = _results.find(key)
        if found is None:
            found = _run(what, text, *rest)
            if found is not None:
                _results.keep(key, found)
    except _TooSlow:
        _results.keep_away_from(key)
        return None
    return found


def _run(what: str, text: str, *rest: str) -> str | None:
    """What the child says; None when there is no place for one now.

    Raises:
        _TooSlow: it took more than its limits.
    """
    if not _turns.acquire(timeout=_PATIENCE):
        return None
    try:
        return _ask(what, text, *rest)
    finally:
        _turns.release()


def _ask(what: str, text: str, *rest: str) -> str:
    limits = (LIMITS.cpu, LIMITS.memory, LIMITS.colouring)
    # It needs nothing of the environment, which may hold the admin key and other secrets.
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    with subprocess.Popen(
        [sys.executable, "-I", _CHILD, what, *map(str, limits), *rest],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=kept,
        start_new_session=True,
    ) as process:
        try:
            answer, _ = process.communicate(text.encode(), timeout=LIMITS.seconds)
        except subprocess.TimeoutExpired:
            raise _TooSlow from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode == 0:
        return answer.decode()
    if process.returncode == text_child.REFUSED:
        return ""
    if process.returncode > 0:
        log.error("a text could not be shown: its process ended with %s", process.returncode)
    raise _TooSlow
